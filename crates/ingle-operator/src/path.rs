//! Places in the data of a session: `cart.items[0].n`, with a name in quotes where it is not plain:
//! `"a.b".c`.

use std::{fmt, str::FromStr};

use ingle::data::Data;
use serde_json::Value;

use crate::value::is_scalar;

/// How many steps a path that is read may have. Data nests less deep than that.
const STEPS_MAX: usize = 100;

/// A place in the data. It has at least one name, because the data is an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Segment>);

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Into a map.
    Name(String),
    /// Into a list.
    Index(usize),
}

/// A text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {at} of the path: a path is such as cart.items[0].n or \"a.b\".c")]
pub struct NotAPath {
    problem: &'static str,
    /// Counted from 1.
    at: usize,
}

/// The data has no room at this place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotThere(String);

impl Path {
    /// The path of a top-level field.
    #[must_use]
    pub fn of_field(name: impl Into<String>) -> Self {
        Self(vec![Segment::Name(name.into())])
    }

    /// The steps.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The top-level field that it is or leads into.
    #[must_use]
    pub fn field(&self) -> &str {
        match self.0.first() {
            Some(Segment::Name(name)) => name,
            _ => "",
        }
    }

    /// The place of a name or an index within this place.
    #[must_use]
    pub fn then(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The place that this one is in, if that is not the data itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, before) = self.0.split_last()?;
        (!before.is_empty()).then(|| Self(before.to_vec()))
    }

    /// The outermost list that this place is in.
    #[must_use]
    pub fn list(&self) -> Option<Self> {
        let first = self.0.iter().position(|segment| matches!(segment, Segment::Index(_)))?;
        Some(Self(self.0.get(..first)?.to_vec()))
    }

    /// The value at this place.
    #[must_use]
    pub fn get<'a>(&self, data: &'a Data) -> Option<&'a Value> {
        let mut found = data.get(self.field())?;
        for segment in self.0.iter().skip(1) {
            found = match segment {
                Segment::Name(name) => found.as_object()?.get(name)?,
                Segment::Index(index) => found.as_array()?.get(*index)?,
            };
        }
        Some(found)
    }

    /// Puts a value at this place. Maps on the way are made where nothing is. An index may be one behind
    /// the last item of a list, which appends.
    ///
    /// # Errors
    /// The place is in something that is neither a map nor a list, or too far behind the end of a list.
    /// Nothing was changed.
    pub fn set(&self, data: &mut Data, value: Value) -> Result<(), NotThere> {
        let mut whole = Value::Object(std::mem::take(data));
        let done = set(&mut whole, &self.0, value, "the data");
        if let Value::Object(fields) = whole {
            *data = fields;
        }
        done
    }

    /// Takes the value at this place away, and returns it. Items of a list behind it move up.
    pub fn remove(&self, data: &mut Data) -> Option<Value> {
        let (last, before) = self.0.split_last()?;
        let Some((Segment::Name(first), between)) = before.split_first() else {
            return data.remove(self.field());
        };
        let mut found = data.get_mut(first)?;
        for segment in between {
            found = match segment {
                Segment::Name(name) => found.as_object_mut()?.get_mut(name)?,
                Segment::Index(index) => found.as_array_mut()?.get_mut(*index)?,
            };
        }
        match last {
            Segment::Name(name) => found.as_object_mut()?.remove(name),
            Segment::Index(index) => {
                let items = found.as_array_mut()?;
                (*index < items.len()).then(|| items.remove(*index))
            }
        }
    }
}

/// Takes the values at several places away. Each is a place in the data as it is now, whatever moves up when
/// others go. It may be named twice, or lie within another one.
///
/// # Errors
/// The first of them where nothing is. Nothing was changed.
pub fn remove_all(data: &mut Data, mut paths: Vec<Path>) -> Result<(), Path> {
    if let Some(missing) = paths.iter().find(|path| path.get(data).is_none()) {
        return Err(missing.clone());
    }
    // The last item of a list goes first, and what lies within another place before that: none that is still
    // to go moves.
    paths.sort_unstable_by(|one, other| other.cmp(one));
    paths.dedup();
    for path in &paths {
        path.remove(data);
    }
    Ok(())
}

/// A place, and the text of the value that it is to have: `cart.items[0].n=int:3`.
///
/// # Errors
/// The place is none, or there is no `=` behind it.
pub fn assignment(text: &str) -> Result<(Path, &str), NotAnAssignment> {
    let (path, rest) = Path::read(text)?;
    let value = rest.strip_prefix('=').ok_or(NotAnAssignment::NoValue)?;
    Ok((path, value))
}

/// A text is no assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAssignment {
    /// It begins with no path.
    #[error(transparent)]
    Path(#[from] NotAPath),
    /// There is no value.
    #[error("there is no `=` and a value behind the path, as in greeting=Hola and views=int:3")]
    NoValue,
}

/// Puts a value at a place in another one. What is on the way is looked at before anything changes.
fn set(at: &mut Value, path: &[Segment], value: Value, called: &str) -> Result<(), NotThere> {
    let Some((segment, rest)) = path.split_first() else {
        *at = value;
        return Ok(());
    };
    match (segment, at) {
        (Segment::Name(name), Value::Object(fields)) => {
            let called = shown(name);
            if let Some(inner) = fields.get_mut(name) {
                if !rest.is_empty() && is_scalar(inner) {
                    return Err(NotThere(format!(
                        "{called} is a value of its own, without fields"
                    )));
                }
                return set(inner, rest, value, &called);
            }
            let mut inner = Value::Object(Data::new());
            set(&mut inner, rest, value, &called)?;
            fields.insert(name.clone(), inner);
            Ok(())
        }
        (Segment::Index(index), Value::Array(items)) => {
            let n_items = items.len();
            let what = if n_items == 1 { "item" } else { "items" };
            match items.get_mut(*index) {
                Some(inner) => set(inner, rest, value, &format!("{called}[{index}]")),
                None if *index == n_items => {
                    let mut inner = Value::Object(Data::new());
                    set(&mut inner, rest, value, &format!("{called}[{index}]"))?;
                    items.push(inner);
                    Ok(())
                }
                None => Err(NotThere(format!(
                    "{called} has {n_items} {what}, so there is no place [{index}]"
                ))),
            }
        }
        (Segment::Name(name), _) => {
            Err(NotThere(format!("{called} is no map, so it has no field {}", shown(name))))
        }
        (Segment::Index(index), _) => {
            Err(NotThere(format!("{called} is no list, so it has no item [{index}]")))
        }
    }
}

/// A name as it is written in a path: in quotes unless it is plain.
fn shown(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '$';
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Name(name) if n == 0 => f.write_str(&shown(name))?,
                Segment::Name(name) => write!(f, ".{}", shown(name))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let (path, rest) = Self::read(text)?;
        if rest.is_empty() {
            return Ok(path);
        }
        Err(wrong(text, rest, "something else than a dot or a bracket stands"))
    }
}

impl Path {
    /// Reads a path, and returns also what stands behind it.
    pub(crate) fn read(text: &str) -> Result<(Self, &str), NotAPath> {
        let (first, mut rest) = name(text, text)?;
        let mut segments = vec![Segment::Name(first)];
        loop {
            if segments.len() > STEPS_MAX {
                return Err(wrong(text, rest, "there are more than 100 steps"));
            }
            if let Some(behind) = rest.strip_prefix('.') {
                let (name, behind) = name(text, behind)?;
                segments.push(Segment::Name(name));
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix('[') {
                let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
                let index = behind.get(..digits).and_then(|digits| digits.parse().ok());
                let closed = behind.get(digits..).and_then(|behind| behind.strip_prefix(']'));
                let (Some(index), Some(behind)) = (index, closed) else {
                    return Err(wrong(text, behind, "a bracket holds no number"));
                };
                segments.push(Segment::Index(index));
                rest = behind;
            } else {
                return Ok((Self(segments), rest));
            }
        }
    }
}

/// A name at the beginning of `rest`, which is the end of `text`.
fn name<'a>(text: &str, rest: &'a str) -> Result<(String, &'a str), NotAPath> {
    if rest.starts_with('"') {
        let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        return match texts.next() {
            Some(Ok(name)) => Ok((name, rest.get(texts.byte_offset()..).unwrap_or_default())),
            _ => Err(wrong(text, rest, "a quoted name is not as in JSON")),
        };
    }
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'.[](){}=!<>&|,:".contains(c);
    let len = rest.find(ends).unwrap_or(rest.len());
    match rest.split_at_checked(len) {
        Some((name, behind)) if !name.is_empty() => Ok((name.to_owned(), behind)),
        _ => Err(wrong(text, rest, "a name is missing")),
    }
}

fn wrong(text: &str, rest: &str, problem: &'static str) -> NotAPath {
    let before = text.get(..text.len().saturating_sub(rest.len())).unwrap_or_default();
    NotAPath { problem, at: before.chars().count() + 1 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    fn data(value: Value) -> Data {
        let Value::Object(fields) = value else { panic!("the data is an object") };
        fields
    }

    #[test]
    fn a_path_is_written_as_it_is_read() {
        for text in [
            "n",
            "cart.items[0].n",
            "a[0][1].b",
            r#""a.b".c"#,
            r#""""#,
            r#"a."".b"#,
            r#""[0]""#,
            r#""with \" quote""#,
            "größe.1",
            "a-b_c.$timestamp",
            r#""a b""#,
        ] {
            assert_eq!(path(text).to_string(), text);
        }
        assert_eq!(path(r#""plain".x"#).to_string(), "plain.x");
    }

    #[test]
    fn any_path_can_be_written_and_read() {
        arbtest::arbtest(|u| {
            let mut segments = vec![Segment::Name(u.arbitrary()?)];
            for _ in 0..u.int_in_range(0..=4)? {
                let name: bool = u.arbitrary()?;
                segments.push(match name {
                    true => Segment::Name(u.arbitrary()?),
                    false => Segment::Index(u.int_in_range(0..=1_000_000)?),
                });
            }
            let path = Path(segments);
            assert_eq!(path.to_string().parse(), Ok(path));
            Ok(())
        });
    }

    #[test]
    fn what_names_no_place_says_where_it_is_wrong() {
        for (text, at) in [
            ("", 1),
            (".a", 1),
            ("a.", 3),
            ("a..b", 3),
            ("[0]", 1),
            ("a[", 3),
            ("a[]", 3),
            ("a[x]", 3),
            ("a[-1]", 3),
            ("a[0", 3),
            ("a[99999999999999999999]", 3),
            ("a b", 2),
            ("é.\"x", 3),
            ("a=1", 2),
            ("a[0]b", 5),
        ] {
            let error = text.parse::<Path>().unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }

    #[test]
    fn a_path_has_100_steps_at_most() {
        for step in [".a", "[0]"] {
            let longest = format!("a{}", step.repeat(STEPS_MAX - 1));
            assert_eq!(path(&longest).to_string(), longest);
            for n in [STEPS_MAX, 40_000] {
                let error = format!("a{}", step.repeat(n)).parse::<Path>().unwrap_err();
                assert!(error.to_string().contains("more than 100 steps"), "{error}");
            }
        }
    }

    #[test]
    fn a_value_is_found_set_and_removed_at_its_place() {
        let mut session = data(json!({ "cart": { "items": [{ "n": 1 }] }, "a.b": 2 }));
        assert_eq!(path("cart.items[0].n").get(&session), Some(&json!(1)));
        assert_eq!(path(r#""a.b""#).get(&session), Some(&json!(2)));
        for none in ["cart.items[1]", "cart.items.n", "cart[0]", "b", "cart.items[0].n.x"] {
            assert_eq!(path(none).get(&session), None, "{none}");
            assert_eq!(path(none).remove(&mut session), None, "{none}");
        }
        path("cart.items[0].n").set(&mut session, json!(3)).unwrap();
        path("cart.items[1]").set(&mut session, json!("end")).unwrap();
        path("new.inner.x").set(&mut session, json!(true)).unwrap();
        let expected = json!({
            "cart": { "items": [{ "n": 3 }, "end"] }, "a.b": 2, "new": { "inner": { "x": true } },
        });
        assert_eq!(session, data(expected));
        assert_eq!(path("cart.items[0]").remove(&mut session), Some(json!({ "n": 3 })));
        assert_eq!(path("new.inner.x").remove(&mut session), Some(json!(true)));
        assert_eq!(path("a").remove(&mut session), None);
        let expected = json!({ "cart": { "items": ["end"] }, "a.b": 2, "new": { "inner": {} } });
        assert_eq!(session, data(expected));
    }

    #[test]
    fn several_values_are_removed_from_where_they_stand_before_any_goes() {
        let before =
            data(json!({ "items": [0, { "n": 1, "m": 2 }, 2, 3], "a": { "b": 1 }, "c": 1 }));
        let remove = |places: &[&str]| {
            let mut session = before.clone();
            let paths = places.iter().map(|text| path(text)).collect();
            remove_all(&mut session, paths).map(|()| session)
        };
        let expected = data(json!({ "items": [{ "m": 2 }, 3], "a": { "b": 1 } }));
        assert_eq!(remove(&["items[0]", "c", "items[1].n", "items[2]"]), Ok(expected));
        let expected = data(json!({ "items": [2, 3], "c": 1 }));
        assert_eq!(
            remove(&["items[1]", "a", "items[1].n", "items[0]", "a.b", "a", "items[0]"]),
            Ok(expected)
        );
        assert_eq!(remove(&["items[0]", "items[4]", "d"]), Err(path("items[4]")));
        assert_eq!(remove(&[]), Ok(before.clone()));
    }

    #[test]
    fn where_there_is_no_room_nothing_changes() {
        let before = data(json!({ "n": 1, "items": [1], "at": { "$timestamp": "x" } }));
        for (text, says) in [
            ("n.x", "n is no map, so it has no field x"),
            ("n[0]", "n is no list, so it has no item [0]"),
            ("items[2]", "items has 1 item, so there is no place [2]"),
            ("items[1][0]", "items[1] is no list"),
            ("items.x", "items is no map"),
            ("new[0]", "new is no list"),
            ("at.x", "at is a value of its own, without fields"),
            ("at.$timestamp", "at is a value of its own"),
        ] {
            let mut session = before.clone();
            let error = path(text).set(&mut session, json!(0)).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert_eq!(session, before, "{text}");
        }
    }

    #[test]
    fn an_assignment_is_a_path_and_a_value() {
        for (text, place, value) in [
            ("cart.items[0].n=int:3", "cart.items[0].n", "int:3"),
            ("greeting=Hola Mundo", "greeting", "Hola Mundo"),
            ("a==b", "a", "=b"),
            ("a=", "a", ""),
            (r#""a=b"=1"#, r#""a=b""#, "1"),
        ] {
            assert_eq!(assignment(text), Ok((path(place), value)), "{text}");
        }
        assert_eq!(assignment("a"), Err(NotAnAssignment::NoValue));
        assert_eq!(assignment("a 1"), Err(NotAnAssignment::NoValue));
        assert!(matches!(assignment("=1"), Err(NotAnAssignment::Path(_))));
    }

    #[test]
    fn a_place_in_a_list_knows_the_list() {
        assert_eq!(path("a.b[0].c[1]").list(), Some(path("a.b")));
        assert_eq!(path("a.b").list(), None);
        assert_eq!(path("a.b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), None);
        assert_eq!(path("a.b").field(), "a");
    }
}
