//! Fields that are stored under another name than the type gives them.
//!
//! Only the type knows its old names (`alias`), and old forms (`from`, `untagged`). A name is an old
//! one of a field if the type shows something else without it, and the same as before with its value
//! under the name of the field. Or if the type says that it would have the field twice.

use std::cell::OnceCell;

use serde_json::Value;

use super::{
    Data,
    fields::{Fields, Part},
    law::{Law, is_twice},
    order::alike,
    path::{object, object_mut},
    read::Place,
    unstorable,
};
use serde::{Serialize, de::DeserializeOwned};

/// Which fields may have had another name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Those that the type shows with another value than its default, though it is not stored.
    Likely,
    All,
}

/// What is stored, with each field under its present name. None if that is how it is stored.
pub(super) fn renamed<T>(
    law: &Law<'_>,
    before: &Fields,
    after: &Fields,
    names: Names,
) -> Option<Data>
where
    T: Serialize + DeserializeOwned + Default,
{
    if are_stored(before, law.stored) {
        return None;
    }
    let default = OnceCell::new();
    let default = || default.get_or_init(|| law.default::<T>()).as_ref();
    let reads_as_before = |data: &Data| {
        let seen = law.afford(data).and_then(|()| law.shows::<T>(data));
        seen.is_some_and(|seen| alike(&seen, &before.to_value(law.stored)))
    };
    let has_twice = |path: &[&str], name: &str, other: &str| {
        let says = law.says_of_both::<T>(before, path, [name, other], false);
        says.is_some_and(|says| is_twice(&says, name))
    };
    let asked = Asked { reads_as_before: &reads_as_before, has_twice: &has_twice, names };
    let mut renamed: Option<Data> = None;
    let mut places: Vec<Object<'_>> = vec![Object { path: Vec::new(), before, after: Some(after) }];
    while let Some(place) = places.pop() {
        // Beside the field that is changed are others, which are not the type's.
        let is_type = !place.path.is_empty() || matches!(law.place, Place::Whole);
        let stored = object(renamed.as_ref().unwrap_or(law.stored), &place.path);
        let Some(stored) = stored else { continue };
        let is_candidate = |name: &str, part: &Part| {
            let default = || {
                place.path.iter().try_fold(default()?, |fields, name| fields.get(name)?.as_place())
            };
            names == Names::All
                || default()
                    .and_then(|fields| fields.get(name))
                    .is_none_or(|default| default.to_value(None) != part.to_value(None))
        };
        if is_type && let Some(candidates) = place.candidates(stored, is_candidate) {
            let data = renamed.take().unwrap_or_else(|| law.stored.clone());
            renamed = Some(candidates.rename(data, &place.path, asked));
        }
        places.extend(place.inner());
    }
    renamed.filter(|renamed| renamed != law.stored)
}

/// What the type is asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// Whether it shows the same of data as of what is stored.
    reads_as_before: &'a dyn Fn(&Data) -> bool,
    /// Whether it would have a field twice if it were stored under another name, too.
    has_twice: &'a dyn Fn(&[&str], &str, &str) -> bool,
    names: Names,
}

/// Whether all names are those of what is stored.
fn are_stored(fields: &Fields, stored: &Data) -> bool {
    fields.iter().all(|field| match (&field.part, stored.get(&*field.name)) {
        (Part::Same, _) => true,
        (Part::Place(fields), Some(Value::Object(stored))) => are_stored(fields, stored),
        (_, stored) => stored.is_some(),
    })
}

/// An object that is a place, before and after the change.
struct Object<'a> {
    path: Vec<&'a str>,
    before: &'a Fields,
    after: Option<&'a Fields>,
}

impl<'a> Object<'a> {
    fn inner(&self) -> impl Iterator<Item = Self> {
        self.before.iter().filter_map(|field| {
            let path = self.path.iter().copied().chain([&*field.name]).collect();
            let after = self.after.and_then(|after| after.get(&field.name)?.as_place());
            Some(Self { path, before: field.part.as_place()?, after })
        })
    }

    fn candidates(
        &self,
        stored: &Data,
        is_candidate: impl Fn(&str, &Part) -> bool,
    ) -> Option<Candidates> {
        let is_new = |name: &str, part: &Part| {
            *part != Part::Same && !stored.contains_key(name) && !unstorable::is_another(name)
        };
        let mut new =
            self.before.iter().filter(|field| is_new(&field.name, &field.part)).peekable();
        new.peek()?;
        let is_shown =
            |name: &str| self.before.get(name).or_else(|| self.after?.get(name)).is_some();
        let old: Vec<_> = stored.keys().filter(|name| !is_shown(name)).cloned().collect();
        if old.is_empty() {
            return None;
        }
        let shown = new.map(|field| {
            let is_candidate = is_candidate(&field.name, &field.part);
            (field.name.clone().into_owned(), field.part.to_value(None), is_candidate)
        });
        let mut candidates = Candidates { shown: Data::new(), new: Vec::new(), old };
        for (name, value, is_candidate) in shown {
            candidates.new.extend(is_candidate.then(|| name.clone()));
            candidates.shown.insert(name, value);
        }
        (!candidates.new.is_empty()).then_some(candidates)
    }
}

/// Names of an object: those that the type shows and that are not stored, and those that are stored
/// and that it does not show.
struct Candidates {
    /// All that is shown and not stored.
    shown: Data,
    /// The names of it that may have had another name.
    new: Vec<String>,
    old: Vec<String>,
}

impl Candidates {
    fn rename(mut self, mut data: Data, path: &[&str], asked: Asked<'_>) -> Data {
        let reads_as_before = asked.reads_as_before;
        let without = |data: &Data, name: &str| {
            let mut without = data.clone();
            let value = object_mut(&mut without, path)?.remove(name)?;
            Some((without, value))
        };
        let with = |data: &Data, name: &str, value: &Value| {
            let mut with = data.clone();
            object_mut(&mut with, path)?.insert(name.to_owned(), value.clone());
            Some(with)
        };
        let is_read = |name: &String| {
            without(&data, name).is_some_and(|(without, _)| !reads_as_before(&without))
        };
        let read: Vec<bool> = self.old.iter().map(is_read).collect();
        for (old, is_read) in self.old.iter().zip(read) {
            let Some((without, value)) = without(&data, old) else { continue };
            let has_twice = |new: &String| (asked.has_twice)(path, new, old);
            let is_shown_as = |new: &String| {
                // A type that tells its versions by their fields needs all of the present ones.
                let mut others = without.clone();
                let object = object_mut(&mut others, path)?;
                for (name, value) in self.shown.iter().filter(|(name, _)| *name != new) {
                    object.entry(name).or_insert_with(|| value.clone());
                }
                let renamed = with(&without, new, &value)?;
                let is_read =
                    reads_as_before(&renamed) || reads_as_before(&with(&others, new, &value)?);
                Some(is_read && !reads_as_before(&others))
            };
            let mut new = self.new.iter();
            let found = match (is_read, asked.names) {
                (true, _) => new.position(|new| is_shown_as(new) == Some(true) || has_twice(new)),
                (false, Names::All) => new.position(has_twice),
                (false, Names::Likely) => None,
            };
            if let Some(index) = found
                && let Some(renamed) = with(&without, &self.new.remove(index), &value)
            {
                data = renamed;
            }
        }
        data
    }
}
