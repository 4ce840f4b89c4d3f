//! Edits of a session beside what the app changes meanwhile: each is made only where the value is still
//! the one that was shown.

use ingle::{StoredSession, data::Data};
use serde_json::Value;

use crate::{
    path::{NotThere, Path, Segment},
    redact::{HIDDEN, holds_hidden, is_secret},
    value::is_scalar,
};

/// A change of one value, from what was shown to what is wanted.
///
/// A list is one value: an edit within it is an edit of all of it, because an item has no name that
/// would tell it from the others when the app moves them.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The place.
    pub path: Path,
    /// What was shown there, or `None` where there was nothing.
    pub before: Option<Value>,
    /// What is to be there, or `None` for nothing.
    pub yours: Option<Value>,
    /// Whether the map that it is in was there.
    had_parent: bool,
}

/// An edit that was not made: the value is another one than was shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The place.
    pub path: Path,
    /// What was shown.
    pub before: Option<Value>,
    /// What is there now.
    pub theirs: Option<Value>,
    /// What the edit would have put there.
    pub yours: Option<Value>,
}

/// What cannot be edited so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEdit {
    /// There is no such place.
    #[error(transparent)]
    NotThere(#[from] NotThere),
    /// Nothing is there to remove.
    #[error("there is no {0}, so it cannot be removed")]
    Missing(Path),
    /// The new value has a mark of what is hidden in it.
    #[error(
        "{0} has a hidden value in it, which is not known here: reveal the values and edit again, or \
         leave all of it as it is"
    )]
    Hidden(Path),
}

impl Edit {
    /// Puts a value at a place in the data that was shown.
    ///
    /// # Errors
    /// There is no such place.
    pub fn set(shown: &Data, path: &Path, value: Value) -> Result<Self, NoEdit> {
        Self::by(shown, path, |data| Ok(path.set(data, value)?))
    }

    /// Takes what is at a place in the data that was shown away.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn unset(shown: &Data, path: &Path) -> Result<Self, NoEdit> {
        Self::by(shown, path, |data| {
            path.remove(data).map(drop).ok_or_else(|| NoEdit::Missing(path.clone()))
        })
    }

    fn by(
        shown: &Data,
        path: &Path,
        change: impl FnOnce(&mut Data) -> Result<(), NoEdit>,
    ) -> Result<Self, NoEdit> {
        let mut data = shown.clone();
        change(&mut data)?;
        let place = path.list().unwrap_or_else(|| path.clone());
        let (before, yours) = (place.get(shown).cloned(), place.get(&data).cloned());
        Ok(Self::at(shown, place, before, yours))
    }

    fn at(shown: &Data, path: Path, before: Option<Value>, yours: Option<Value>) -> Self {
        let had_parent = path.parent().is_none_or(|parent| parent.get(shown).is_some());
        Self { path, before, yours, had_parent }
    }

    /// Takes the edit back: what was there before is to be there again.
    #[must_use]
    pub fn undone(&self) -> Self {
        Self { before: self.yours.clone(), yours: self.before.clone(), ..self.clone() }
    }

    /// What is in its way in the present data.
    fn conflict(&self, data: &Data) -> Option<Conflict> {
        let theirs = self.path.get(data);
        let has_parent = self.path.parent().is_none_or(|parent| parent.get(data).is_some());
        let is_as_shown = theirs == self.before.as_ref() && has_parent == self.had_parent;
        // Somebody has made the same change already.
        let is_done = theirs == self.yours.as_ref() && has_parent;
        (!is_as_shown && !is_done).then(|| Conflict {
            path: self.path.clone(),
            before: self.before.clone(),
            theirs: theirs.cloned(),
            yours: self.yours.clone(),
        })
    }
}

/// The session, with what the audit log is to say of these edits, whatever becomes of them.
#[must_use]
pub fn for_edits(session: &StoredSession, edits: &[Edit]) -> StoredSession {
    session.clone().naming(edits.iter().map(|edit| edit.path.field()))
}

/// Makes all edits, or none if one is in conflict with what is there now.
///
/// # Errors
/// Each conflict. The data is as it was.
pub fn apply(data: &mut Data, edits: &[Edit]) -> Result<(), Vec<Conflict>> {
    let mut conflicts: Vec<_> = edits.iter().filter_map(|edit| edit.conflict(data)).collect();
    let mut edited = data.clone();
    for edit in edits {
        let made = match &edit.yours {
            Some(value) => edit.path.set(&mut edited, value.clone()).is_ok(),
            None => {
                edit.path.remove(&mut edited);
                true
            }
        };
        if !made && conflicts.is_empty() {
            let theirs = edit.path.get(data).cloned();
            let Edit { path, before, yours, .. } = edit.clone();
            conflicts.push(Conflict { path, before, theirs, yours });
        }
    }
    if conflicts.is_empty() {
        *data = edited;
        Ok(())
    } else {
        Err(conflicts)
    }
}

/// What somebody has changed who was shown `shown`, with what looks secret hidden, and left `wanted`:
/// an edit for each value that differs. `stored` is the data that was shown, with nothing hidden.
///
/// # Errors
/// A value that was changed has a hidden one in it.
pub fn differences(stored: &Data, shown: &Data, wanted: &Data) -> Result<Vec<Edit>, NoEdit> {
    let mut edits = Vec::new();
    for path in changed(shown, wanted) {
        let yours = path.get(wanted).cloned();
        if yours.as_ref().is_some_and(holds_hidden) {
            return Err(NoEdit::Hidden(path));
        }
        let before = path.get(stored).cloned();
        edits.push(Edit::at(stored, path, before, yours));
    }
    Ok(edits)
}

/// The places of the values that differ. A map is compared field by field, and a list is one value.
#[must_use]
pub fn changed(before: &Data, after: &Data) -> Vec<Path> {
    let mut found = Vec::new();
    let fields = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in fields {
        compare(&Path::of_field(name), before.get(name), after.get(name), &mut found);
    }
    found
}

/// Goes down where both are maps, and notes the place of each other difference.
fn compare(path: &Path, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Path>) {
    if before == after {
        return;
    }
    if let (Some(one), Some(other)) = (before, after)
        && let (Some(before), Some(after)) = (one.as_object(), other.as_object())
        && !is_scalar(one)
        && !is_scalar(other)
    {
        let added = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(added) {
            let inner = path.then(Segment::Name(name.clone()));
            compare(&inner, before.get(name), after.get(name), found);
        }
        return;
    }
    found.push(path.clone());
}

impl Conflict {
    /// The same with what looks secret hidden, to be shown.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let is_secret_place = self.path.segments().iter().any(|segment| match segment {
            Segment::Name(name) => is_secret(name),
            Segment::Index(_) => false,
        });
        let hide = |value: &Option<Value>| {
            value.as_ref().map(|value| match is_secret_place {
                true => serde_json::json!({ HIDDEN: crate::value::kind(value) }),
                false => {
                    let field = Data::from_iter([("value".to_owned(), value.clone())]);
                    crate::redact::redacted(&field).data.remove("value").unwrap_or_default()
                }
            })
        };
        Self {
            path: self.path.clone(),
            before: hide(&self.before),
            theirs: hide(&self.theirs),
            yours: hide(&self.yours),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::redact::redacted;

    fn data(value: Value) -> Data {
        let Value::Object(fields) = value else { panic!("the data is an object") };
        fields
    }

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    fn shop() -> Data {
        data(json!({ "views": 1, "greeting": "Hi", "cart": { "items": [{ "n": 1 }], "total": 5 } }))
    }

    #[test]
    fn an_edit_is_made_beside_what_the_app_changes() {
        let shown = shop();
        let edits = [
            Edit::set(&shown, &path("greeting"), json!("Hola")).unwrap(),
            Edit::set(&shown, &path("cart.items[0].n"), json!(2)).unwrap(),
            Edit::set(&shown, &path("cart.note"), json!("x")).unwrap(),
            Edit::unset(&shown, &path("cart.total")).unwrap(),
        ];
        let mut now = shop();
        now.insert("views".to_owned(), json!(500));
        path("cart.coupon").set(&mut now, json!("c")).unwrap();
        apply(&mut now, &edits).unwrap();
        let expected = json!({
            "views": 500,
            "greeting": "Hola",
            "cart": { "items": [{ "n": 2 }], "note": "x", "coupon": "c" },
        });
        assert_eq!(now, data(expected));
    }

    #[test]
    fn an_edit_of_what_has_changed_is_a_conflict_and_none_is_made() {
        let shown = shop();
        let edits = [
            Edit::set(&shown, &path("greeting"), json!("Hola")).unwrap(),
            Edit::set(&shown, &path("views"), json!(7)).unwrap(),
        ];
        let mut now = shop();
        now.insert("views".to_owned(), json!(2));
        let before = now.clone();
        let conflicts = apply(&mut now, &edits).unwrap_err();
        let expected = Conflict {
            path: path("views"),
            before: Some(json!(1)),
            theirs: Some(json!(2)),
            yours: Some(json!(7)),
        };
        assert_eq!(conflicts, [expected]);
        assert_eq!(now, before);
    }

    #[test]
    fn an_edit_that_somebody_has_made_already_is_no_conflict() {
        let shown = shop();
        let edit = Edit::set(&shown, &path("views"), json!(7)).unwrap();
        let mut now = shop();
        now.insert("views".to_owned(), json!(7));
        apply(&mut now, &[edit]).unwrap();
        let edit = Edit::unset(&shown, &path("greeting")).unwrap();
        now.remove("greeting");
        apply(&mut now, &[edit]).unwrap();
    }

    #[test]
    fn an_item_of_a_list_is_edited_only_if_the_list_is_as_it_was() {
        let shown = data(json!({ "items": [1, 1, 1] }));
        let edit = Edit::set(&shown, &path("items[0]"), json!(2)).unwrap();
        let mut now = data(json!({ "items": [0, 1, 1, 1] }));
        let conflicts = apply(&mut now, std::slice::from_ref(&edit)).unwrap_err();
        assert_eq!(conflicts[0].path, path("items"));
        let mut now = shown.clone();
        apply(&mut now, &[edit]).unwrap();
        assert_eq!(now, data(json!({ "items": [2, 1, 1] })));
    }

    #[test]
    fn nothing_is_added_to_a_map_that_has_gone() {
        let shown = shop();
        let add = Edit::set(&shown, &path("cart.note"), json!("x")).unwrap();
        let mut now = data(json!({ "views": 1 }));
        assert_eq!(apply(&mut now, std::slice::from_ref(&add)).unwrap_err().len(), 1);
        assert_eq!(now, data(json!({ "views": 1 })));
        let mut now = data(json!({ "cart": 3 }));
        assert_eq!(apply(&mut now, &[add]).unwrap_err().len(), 1);
        // A map that was not there is made, unless somebody has made something else of it.
        let make = Edit::set(&shown, &path("new.inner"), json!(1)).unwrap();
        let mut now = shop();
        apply(&mut now, std::slice::from_ref(&make)).unwrap();
        assert_eq!(now["new"], json!({ "inner": 1 }));
        let mut now = data(json!({ "new": { "other": 1 } }));
        assert!(apply(&mut now, &[make]).is_err());
    }

    #[test]
    fn an_undo_is_an_edit_like_any_other() {
        let shown = shop();
        let edit = Edit::set(&shown, &path("views"), json!(7)).unwrap();
        let mut now = shown.clone();
        apply(&mut now, std::slice::from_ref(&edit)).unwrap();
        let undo = edit.undone();
        let mut moved_on = now.clone();
        moved_on.insert("views".to_owned(), json!(8));
        assert!(apply(&mut moved_on, std::slice::from_ref(&undo)).is_err());
        apply(&mut now, &[undo]).unwrap();
        assert_eq!(now, shown);
    }

    #[test]
    fn differences_are_found_value_by_value() {
        let stored = shop();
        let wanted = data(json!({
            "views": 1, "greeting": "Hola", "cart": { "items": [{ "n": 1 }, 2] }, "new": { "a": 1 },
        }));
        let mut edits = differences(&stored, &stored, &wanted).unwrap();
        edits.sort_by(|one, other| one.path.cmp(&other.path));
        let shown: Vec<_> =
            edits.iter().map(|edit| (edit.path.to_string(), edit.yours.clone())).collect();
        let expected = [
            ("cart.items".to_owned(), Some(json!([{ "n": 1 }, 2]))),
            ("cart.total".to_owned(), None),
            ("greeting".to_owned(), Some(json!("Hola"))),
            ("new".to_owned(), Some(json!({ "a": 1 }))),
        ];
        assert_eq!(shown, expected);
        let mut now = stored.clone();
        apply(&mut now, &edits).unwrap();
        assert_eq!(now, wanted);
        assert_eq!(differences(&stored, &stored, &stored), Ok(Vec::new()));
    }

    #[test]
    fn a_value_of_another_type_is_one_value() {
        let stored = data(json!({ "at": { "$timestamp": "2026-05-04T12:30:00Z" } }));
        let wanted = data(json!({ "at": { "$timestamp": "2026-05-05T12:30:00Z" } }));
        let edits = differences(&stored, &stored, &wanted).unwrap();
        assert_eq!(edits[0].path, path("at"));
        assert_eq!(edits.len(), 1);
    }

    #[test]
    fn what_is_hidden_stays_as_it_is_unless_it_is_replaced() {
        let stored = data(json!({
            "password": "old", "a": { "token": "t", "n": 1 }, "list": [{ "pin": 1 }],
            "body": "{\"token\":1}",
        }));
        let shown = redacted(&stored).data;
        let mut wanted = shown.clone();
        path("a.n").set(&mut wanted, json!(2)).unwrap();
        let edits = differences(&stored, &shown, &wanted).unwrap();
        let mut now = stored.clone();
        apply(&mut now, &edits).unwrap();
        path("a.n").set(&mut now, json!(1)).unwrap();
        assert_eq!(now, stored, "nothing but n has changed");

        let mut wanted = shown.clone();
        wanted.insert("password".to_owned(), json!("new"));
        let edits = differences(&stored, &shown, &wanted).unwrap();
        assert_eq!(edits[0].before, Some(json!("old")));
        apply(&mut now, &edits).unwrap();
        assert_eq!(now["password"], json!("new"));

        for (place, value) in [
            ("list[1]", json!(1)),
            ("body", json!("{\"token\":\"[hidden]\",\"a\":1}")),
            ("copy", json!({ "$hidden": "text" })),
        ] {
            let mut wanted = shown.clone();
            path(place).set(&mut wanted, value).unwrap();
            let refused = differences(&stored, &shown, &wanted).unwrap_err();
            assert!(matches!(refused, NoEdit::Hidden(_)), "{place}");
        }
    }

    #[test]
    fn a_conflict_is_shown_without_secrets() {
        let conflict = Conflict {
            path: path("a.token"),
            before: Some(json!("s3cret-1")),
            theirs: None,
            yours: Some(json!({ "password": "s3cret-2" })),
        };
        assert!(!format!("{:?}", conflict.redacted()).contains("s3cret"));
        let conflict = Conflict { path: path("a.b"), ..conflict };
        let shown = conflict.redacted();
        assert_eq!(shown.before, Some(json!("s3cret-1")));
        assert_eq!(shown.yours, Some(json!({ "password": { "$hidden": "text" } })));
    }

    #[test]
    fn what_has_no_place_cannot_be_edited() {
        let shown = shop();
        assert!(matches!(Edit::set(&shown, &path("views.x"), json!(1)), Err(NoEdit::NotThere(_))));
        assert!(matches!(Edit::unset(&shown, &path("missing")), Err(NoEdit::Missing(_))));
    }
}
