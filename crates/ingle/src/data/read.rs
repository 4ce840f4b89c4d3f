//! Data read as the app's own type, also where it was written by another version of that type.
//!
//! A missing field is that of `T::default()`. Of a field that is stored under two names, the one by
//! its present name counts. What a type cannot read at all is an error, or begins anew, as the app
//! has decided.

use std::cell::Cell;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{
    Data, Limits, encode,
    fields::{Fields, Owner, Part, nothing_of_kind},
    order::alike,
    path,
    shown::Shown,
    typed::WrongType,
    unstorable,
};

mod object;

use object::Object;

/// What serde says where it cannot read a value, and where that is.
type JsonError = serde_path_to_error::Error<serde_json::Error>;

/// What of the data a type is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Whole,
    Field(&'a str),
}

/// What may be done so that data can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mend {
    /// A field that is stored under two names has the value under its present name.
    pub(crate) aliases: bool,
    /// A top-level field that does not fit is read as if it were missing.
    pub(crate) anew: bool,
}

/// Data as it was read.
pub(crate) struct Read<T> {
    pub(crate) view: T,
    /// The top-level fields that are stored, but did not fit.
    pub(crate) misfits: Vec<String>,
    /// Whether more than what is stored may have been needed, such as the default of a field.
    pub(crate) is_mended: bool,
}

impl<T: Default> Read<T> {
    fn of(view: T) -> Self {
        Self { view, misfits: Vec::new(), is_mended: false }
    }

    fn anew<'a>(misfits: impl IntoIterator<Item = &'a str>) -> Self {
        let misfits = misfits.into_iter().map(str::to_owned).collect();
        Self { view: T::default(), misfits, is_mended: true }
    }
}

/// Reads the data, or a field of it, as a `T`. What is not there is `T::default()`.
pub(crate) fn read<T>(place: Place<'_>, shown: Shown<'_>, mend: Mend) -> Result<Read<T>, WrongType>
where
    T: Serialize + DeserializeOwned + Default,
{
    let (object, name) = match place {
        Place::Whole if shown.fields().next().is_none() => return Ok(Read::of(of_nothing())),
        Place::Whole => (shown, None),
        Place::Field(name) => match shown.get(name) {
            None => return Ok(Read::of(T::default())),
            Some(Value::Object(fields)) => (Shown::of(fields), Some(name)),
            Some(value) => {
                let view = read_value(name, value, mend)?;
                return Ok(view.map_or_else(|| Read::anew([name]), Read::of));
            }
        },
    };
    let incomplete = Cell::new(false);
    let first = T::deserialize(Object { shown: object, incomplete: &incomplete });
    match first {
        Ok(view) if !incomplete.get() => Ok(Read::of(view)),
        first => completed(first.ok(), object, name, mend),
    }
}

/// Reads a value as a `T`, without a default for what is missing. `None` if it begins anew.
pub(crate) fn read_value<T: DeserializeOwned>(
    name: &str,
    value: &Value,
    mend: Mend,
) -> Result<Option<T>, WrongType> {
    if let Ok(view) = T::deserialize(value) {
        return Ok(Some(view));
    }
    let mut reading =
        Reading { data: value.clone(), defaults: Fields::null(), mend, misfits: None };
    reading.view(name)
}

/// The whole data where nothing is stored. That is `T::default()`, or if that is no object, such as
/// null for a JSON value, an object without fields.
fn of_nothing<T: Serialize + DeserializeOwned + Default>() -> T {
    let default = T::default();
    if !shown(&default).is_null() {
        return default;
    }
    let empty = T::deserialize(Value::Object(Data::new()));
    let empty = empty.ok().filter(|view| {
        let view = shown(view);
        view.len() == 0 && !view.is_null()
    });
    empty.unwrap_or(default)
}

/// The fields that a view shows, or null if it is not an object.
fn shown<T: Serialize>(view: &T) -> Fields {
    // What is stored is within the app's limits. What is only looked at need not be.
    let limits =
        Limits { bytes_max: usize::MAX, depth_max: Limits::DEPTH_MAX, ..Limits::default() };
    encode::fields(view, &Data::new(), &limits, &Cell::new(false))
        .unwrap_or_else(|_| Fields::null())
}

/// Reads an object that may lack fields, or has fields that do not fit.
fn completed<T>(
    first: Option<T>,
    object: Shown<'_>,
    name: Option<&str>,
    mend: Mend,
) -> Result<Read<T>, WrongType>
where
    T: Serialize + DeserializeOwned + Default,
{
    let defaults = shown(&T::default());
    let view = match first {
        Some(view) if missing(&defaults, object).is_empty() => return Ok(Read::of(view)),
        first => first,
    };
    let misfits = name.is_none().then(Vec::new);
    let data = Value::Object(object.to_data());
    let mut reading = Reading { data, defaults, mend, misfits };
    let view = match view {
        Some(view) => Some(view),
        None => reading.view(name.unwrap_or_default())?,
    };
    let Some(view) = view else {
        return Ok(match name {
            Some(name) => Read::anew([name]),
            None => Read::anew(object.fields().map(|(name, _)| name)),
        });
    };
    let view = reading.filled_in(view);
    let misfits = reading.misfits.unwrap_or_default();
    Ok(Read { view, misfits, is_mended: true })
}

/// A value on its way into a type, mended as far as is needed and allowed.
struct Reading {
    data: Value,
    /// What `T::default()` shows. Null if there is none, or if it is not an object.
    defaults: Fields,
    mend: Mend,
    /// The top-level fields that did not fit. None if the value is itself one field.
    misfits: Option<Vec<String>>,
}

impl Reading {
    /// The value as a `T`, or `None` if all of it begins anew.
    fn view<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, WrongType> {
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(&self.data) {
                Ok(view) => return Ok(Some(view)),
                Err(error) => error,
            };
            let (path, message) = (error.path(), error.inner().to_string());
            if self.add_missing::<T>(path, &message) || self.drop_alias::<T>(path, &message) {
                continue;
            }
            let wrong = WrongType::new(name, path, &message);
            if !self.mend.anew {
                return Err(wrong);
            }
            if self.mend.aliases {
                tracing::warn!(error = %wrong, "data that does not fit begins anew");
            }
            if !self.drop_misfit::<T>(path, &message) {
                return Ok(None);
            }
        }
    }

    /// Adds a field that the type cannot do without, as `T::default()` has it in the same place. What
    /// the default has in a list, a map, an `Option` or an enum is another value's.
    fn add_missing<T: DeserializeOwned>(&mut self, path: &Path, message: &str) -> bool {
        let Some(name) = quoted(message, "missing field `") else { return false };
        let fields = path.iter().try_fold(&self.defaults, |fields, segment| match segment {
            Segment::Map { key } => fields.get(key)?.as_place().filter(|fields| !fields.has_tag()),
            _ => None,
        });
        let (Some(fields), Some(place)) = (fields, pointer(path)) else { return false };
        let shown = fields.get(name);
        let default = match shown {
            Some(part) => vec![part.to_value(None)],
            // The default has it, and leaves it out.
            None if fields.all_names().contains(&name) => nothing_of_kind(None),
            None => return false,
        };
        let inside = format!("{place}/{name}");
        let fits = |data: &Value| match serde_path_to_error::deserialize::<_, T>(data) {
            Err(error) if shown.is_none() => {
                error.inner().to_string() != message
                    && pointer(error.path()).is_none_or(|place| !place.starts_with(&inside))
            }
            _ => true,
        };
        let with = |default: Value| {
            let mut data = self.data.clone();
            let object = data.pointer_mut(&place)?.as_object_mut()?;
            object.insert(name.to_owned(), default).is_none().then_some(data)
        };
        let found = default.into_iter().filter(unstorable::is_json).filter_map(with).find(fits);
        found.map(|data| self.data = data).is_some()
    }

    /// Drops the values of a field under all of its names but one: the present one, if it is there.
    fn drop_alias<T: DeserializeOwned>(&mut self, path: &Path, message: &str) -> bool {
        let place = pointer(path).filter(|_| self.mend.aliases);
        let (Some(name), Some(place)) = (quoted(message, "duplicate field `"), place) else {
            return false;
        };
        // A type with parts that serde flattens does not say where in them it failed.
        let mut objects = vec![place.clone()];
        let inner = self.data.pointer(&place);
        inner.into_iter().for_each(|inner| objects_with(name, inner, &place, &mut objects));
        let is_twice = |error: &JsonError| {
            pointer(error.path()).as_ref() == Some(&place) && error.inner().to_string() == message
        };
        objects.iter().any(|object| self.drop_alias_in::<T>(object, name, &is_twice))
    }

    /// Drops them in one object, if they are there.
    fn drop_alias_in<T: DeserializeOwned>(
        &mut self,
        place: &str,
        name: &str,
        is_twice: &dyn Fn(&JsonError) -> bool,
    ) -> bool {
        let Some(Value::Object(object)) = self.data.pointer_mut(place).map(Value::take) else {
            return false;
        };
        let mut set = |object: Data| {
            if let Some(here) = self.data.pointer_mut(place) {
                *here = Value::Object(object);
            }
            serde_path_to_error::deserialize::<_, T>(&self.data).err()
        };
        // What must be there so that the type comes to read the field at all.
        let mut is_twice_in = |object: Data| set(object).as_ref().is_some_and(is_twice);
        let by_name = |value: &Value| {
            let mut object = object.clone();
            object.entry(name).or_insert_with(|| value.clone());
            object
        };
        let all = object.values().map(by_name).find(|all| is_twice_in(all.clone()));
        let is_needed = |other: &&String| {
            let mut others = all.clone().unwrap_or_default();
            *other != name && others.remove(*other).is_some() && !is_twice_in(others)
        };
        let needed: Vec<&String> = object.keys().filter(is_needed).collect();
        // Only another name of the field is in its own way beside it: alone, or where the type reads
        // other fields first, beside these. Then it does not matter which of the two is there.
        let mut is_alias = |(other, value): &(&String, &Value)| {
            let mut with = |others: bool, names: &[&str]| {
                let rest = needed.iter().filter(|rest| others && **rest != *other);
                let rest = rest.filter_map(|name| object.get_key_value(*name));
                let names = names.iter().map(|name| ((*name).to_owned(), (*value).clone()));
                set(rest.map(|(name, value)| (name.clone(), value.clone())).chain(names).collect())
            };
            let message = |error: JsonError| error.inner().to_string();
            let mut is_in_the_way = |others: bool| {
                with(others, &[name, other]).as_ref().is_some_and(is_twice)
                    && !with(others, &[name]).as_ref().is_some_and(is_twice)
            };
            *other != name
                && (is_in_the_way(false)
                    || is_in_the_way(true)
                        && with(true, &[name]).map(message) == with(true, &[other]).map(message))
        };
        let aliases: Vec<String> =
            object.iter().filter(&mut is_alias).map(|(name, _)| name.clone()).collect();
        let kept = usize::from(!object.contains_key(name)).min(aliases.len());
        let mut left = object;
        for alias in aliases.iter().take(aliases.len() - kept) {
            left.remove(alias);
        }
        set(left);
        aliases.len() > kept
    }

    /// Drops the top-level field that does not fit, so that it is as if it were missing.
    fn drop_misfit<T: DeserializeOwned>(&mut self, path: &Path, message: &str) -> bool {
        let (Some(misfits), Value::Object(data)) = (&mut self.misfits, &mut self.data) else {
            return false;
        };
        let told = match path.iter().next() {
            Some(Segment::Map { key }) => Some(key.clone()),
            Some(_) => None,
            None => quoted(message, "unknown field `").map(str::to_owned),
        };
        // A type with parts that serde flattens does not say where it failed.
        let found = told.or_else(|| {
            let fits_without = |name: &&String| {
                let mut others = data.clone();
                match self.defaults.get(name) {
                    Some(default) => others.insert((*name).clone(), default.to_value(None)),
                    None => others.remove(*name),
                };
                T::deserialize(Value::Object(others)).is_ok()
            };
            data.keys().find(fits_without).cloned()
        });
        let Some(name) = found.filter(|name| !misfits.contains(name)) else { return false };
        let dropped = data.remove(&name).is_some();
        misfits.push(name);
        dropped
    }

    /// Some missing fields serde fills in by itself: an `Option`, and what has a default of its own.
    /// For these `T::default()` counts all the same.
    fn filled_in<T: Serialize + DeserializeOwned>(&mut self, mut view: T) -> T {
        let Value::Object(data) = &mut self.data else { return view };
        let missing = missing(&self.defaults, Shown::of(data));
        if missing.is_empty() {
            return view;
        }
        let defaults = self.defaults.clone().into_data(None);
        let mut seen = shown(&view).into_data(None);
        for Missing { path, name } in missing {
            let at = |data: &Data| path::object(data, &path)?.get(name).cloned();
            let without = |data: &Data| {
                let mut data = data.clone();
                path::object_mut(&mut data, &path).map(|object| object.remove(name));
                data
            };
            let default = at(&defaults);
            // Whether the type has this value if the field is missing, and only then.
            let is_filled_in_by_serde = || {
                T::deserialize(without(&defaults))
                    .is_ok_and(|view| at(&shown(&view).into_data(None)) == at(&seen))
            };
            if at(&seen) == default || !is_filled_in_by_serde() {
                continue;
            }
            let mut with = data.clone();
            let object = path::object_mut(&mut with, &path);
            object.into_iter().for_each(|object| path::set(object, name, default.clone()));
            let filled = T::deserialize(&with).ok().filter(|filled| {
                let now = without(&shown(filled).into_data(None));
                alike(&Value::Object(now), &Value::Object(without(&seen)))
            });
            // If it is not, the type knows the field under another name, which is there.
            if let Some(filled) = filled {
                seen = shown(&filled).into_data(None);
                (view, *data) = (filled, with);
            }
        }
        view
    }
}

/// A field that the default has in an object, and that is not stored there.
struct Missing<'a> {
    path: Vec<&'a str>,
    name: &'a str,
}

/// The fields that the default has always, and that are missing: in the object, and in each object in it
/// that is a place. The entries of a map are none, and what is in an enum is another variant's.
fn missing<'a>(defaults: &'a Fields, object: Shown<'_>) -> Vec<Missing<'a>> {
    let mut all = Vec::new();
    let own = defaults.iter().filter(|field| field.owner != Owner::Map);
    for field in own.filter(|field| !unstorable::is_another(&field.name)) {
        let name = &*field.name;
        match (object.get(name), &field.part) {
            (None, _) => all.push(Missing { path: Vec::new(), name }),
            (Some(Value::Object(object)), Part::Place(fields)) if !fields.has_tag() => {
                all.extend(missing(fields, Shown::of(object)).into_iter().map(|mut missing| {
                    missing.path.insert(0, name);
                    missing
                }));
            }
            _ => {}
        }
    }
    all
}

/// The place of an error as a JSON pointer, if serde knows it.
fn pointer(path: &Path) -> Option<String> {
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => return None,
        }
    }
    Some(pointer)
}

/// The places within a value where an object has a field of this name.
fn objects_with(name: &str, value: &Value, place: &str, found: &mut Vec<String>) {
    let mut inside = |step: &str, value: &Value| {
        let mut place = place.to_owned();
        path::step(&mut place, step);
        if value.get(name).is_some() {
            found.push(place.clone());
        }
        objects_with(name, value, &place, found);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| inside(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| inside(&index.to_string(), item));
        }
        _ => {}
    }
}

/// The name that serde quotes in a message that begins like this.
fn quoted<'a>(message: &'a str, beginning: &str) -> Option<&'a str> {
    message.strip_prefix(beginning)?.split('`').next()
}
