//! A change that the type does not read back as it was merged, because it reads more than it writes,
//! such as a field's old name.
//!
//! It is settled from the other side: what the type writes is stored, with as much of the rest as the
//! law allows. If the type does not read back even what it wrote, the update is refused.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Data, InvalidValue, Reason,
    fields::{Fields, nothing_of_kind},
    law::{Law, Reading},
    merge::{self, Unchanged},
    order::alike,
    patch::Patch,
    path::{object, object_mut, set, step},
    rename::{Names, renamed},
    shown::Shown,
    unstorable,
};

/// The patch that keeps as much as the law allows of what is stored.
pub(super) fn settle<T>(
    law: &Law<'_>,
    before: &Fields,
    after: &Fields,
    misfits: &[String],
) -> Result<Patch, InvalidValue>
where
    T: Serialize + DeserializeOwned + Default,
{
    let broken_at = |data: &Data| {
        let reading = Reading { aliases: false, as_it_is: true };
        law.broken_at::<T>(Shown::of(data), after, reading)
    };
    let written = written::<T>(law, after, broken_at)?;
    let renamed = renamed::<T>(law, before, after, Names::All);
    let merged = |unchanged| {
        let mut merged = law.stored.clone();
        let renamed = renamed.as_ref();
        for (name, value) in merge::patch::<T>(law, before, after, renamed, misfits, unchanged) {
            set(&mut merged, &name, value);
        }
        Value::Object(merged)
    };
    let (merged, in_order) = (merged(Unchanged::Stays), merged(Unchanged::InOrder));
    let mut settled = Value::Object(written.clone());
    let mut differences = Differences { found: Vec::new(), pointer: String::new() };
    differences.find(&Value::Object(written), &merged, Some(&in_order), Some(after));
    keep(&mut settled, &differences.found, &|data| {
        let data = data.as_object();
        data.is_some_and(|data| law.afford(data).is_some() && broken_at(data).is_none())
    });
    Ok(merge::difference(law.stored, settled.as_object().unwrap_or(law.stored)))
}

/// What the type writes, if it reads it back.
fn written<T>(
    law: &Law<'_>,
    after: &Fields,
    broken_at: impl Fn(&Data) -> Option<InvalidValue>,
) -> Result<Data, InvalidValue>
where
    T: Serialize + DeserializeOwned + Default,
{
    if after.is_null() {
        return Err(InvalidValue::new(Reason::NotAnObject));
    }
    let mut written = after.to_value(law.stored);
    unstorable::leave_out(&mut written);
    let Value::Object(mut written) = written else { return Ok(Data::new()) };
    for all in [false, true] {
        if broken_at(&written).is_some() {
            write_missing::<T>(law, after, &mut written, all);
        }
    }
    match broken_at(&written) {
        None => Ok(written),
        Some(InvalidValue { path, .. }) => {
            let unstorable = unstorable::find(&after.to_value(law.stored));
            Err(unstorable.unwrap_or(InvalidValue { path, reason: Reason::NotReadBack }))
        }
    }
}

/// Writes fields that the type leaves out, where missing ones would be those of a default: as null, or
/// as nothing of their kind. If `all`, also where the default is the same, because not every read has it.
fn write_missing<T>(law: &Law<'_>, after: &Fields, written: &mut Data, all: bool)
where
    T: Serialize + DeserializeOwned + Default,
{
    let Some(default) = law.default::<T>() else { return };
    let left = after.clone().into_data(Some(law.stored));
    let mut places = vec![(Vec::new(), &default)];
    while let Some((path, default)) = places.pop() {
        for name in default.all_names() {
            let part = default.get(name);
            if let Some(inner) = part.and_then(|part| part.as_place()) {
                places.push((path.iter().copied().chain([name]).collect(), inner));
            }
            let is_missing =
                |data: &Data| object(data, &path).is_some_and(|object| !object.contains_key(name));
            let is_seen = |data: &Data| {
                let Some(Value::Object(seen)) = law.shows::<T>(data) else { return false };
                let [seen, left] = [&seen, &left].map(|data| object(data, &path)?.get(name));
                match (seen, left) {
                    (Some(seen), Some(left)) => alike(seen, left),
                    (seen, left) => seen == left,
                }
            };
            if !is_missing(written) || !all && is_seen(written) {
                continue;
            }
            let default = part.map(|part| part.to_value(None));
            let mut with_nothing =
                nothing_of_kind(default.as_ref()).into_iter().filter_map(|nothing| {
                    let mut data = written.clone();
                    set(object_mut(&mut data, &path)?, name, Some(nothing));
                    Some(data)
                });
            if let Some(data) = with_nothing.find(is_seen) {
                *written = data;
            }
        }
    }
}

/// One place where the result of the merge differs from what the type wrote: the JSON pointer to what
/// it is in, its name there, and the value, if there is one.
struct Difference<'a> {
    place: String,
    name: String,
    value: Option<&'a Value>,
    /// What to try if the law does not allow it: parts of it.
    parts: Vec<Self>,
}

struct Differences<'a> {
    found: Vec<Difference<'a>>,
    pointer: String,
}

impl<'a> Differences<'a> {
    /// Finds them in two values. Only items that are [in order](Unchanged::InOrder) are the same ones
    /// in both: those of a list in a `place`.
    fn find(
        &mut self,
        written: &Value,
        merged: &'a Value,
        in_order: Option<&'a Value>,
        place: Option<&Fields>,
    ) {
        let (Value::Object(written), Value::Object(merged)) = (written, merged) else { return };
        for name in written.keys().filter(|name| !merged.contains_key(*name)) {
            self.push(name, None, Vec::new());
        }
        for (name, merged) in merged {
            let in_order = in_order.and_then(|object| object.get(name));
            match (written.get(name), merged) {
                (Some(written), merged) if written == merged => {}
                (Some(written), merged) if written.is_object() && merged.is_object() => {
                    let place = place.and_then(|fields| fields.get(name)?.as_place());
                    self.inside(name, |this| {
                        this.find(written, merged, in_order.filter(|_| place.is_some()), place);
                    });
                }
                (Some(Value::Array(written)), merged) => {
                    let before = self.found.len();
                    self.inside(name, |this| this.find_in_items(written, in_order));
                    let parts = self.found.split_off(before);
                    if Some(merged) == in_order {
                        self.found.extend(parts);
                    } else {
                        self.push(name, Some(merged), parts);
                    }
                }
                _ => self.push(name, Some(merged), Vec::new()),
            }
        }
    }

    fn find_in_items(&mut self, written: &[Value], in_order: Option<&'a Value>) {
        let Some(items) = in_order.and_then(Value::as_array) else { return };
        for (index, (written, item)) in written.iter().zip(items).enumerate() {
            let name = index.to_string();
            let before = self.found.len();
            self.inside(&name, |this| this.find(written, item, None, None));
            let parts = self.found.split_off(before);
            if written != item {
                self.push(&name, Some(item), parts);
            }
        }
    }

    fn inside(&mut self, name: &str, find: impl FnOnce(&mut Self)) {
        let here = self.pointer.len();
        step(&mut self.pointer, name);
        find(self);
        self.pointer.truncate(here);
    }

    fn push(&mut self, name: &str, value: Option<&'a Value>, parts: Vec<Difference<'a>>) {
        let (place, name) = (self.pointer.clone(), name.to_owned());
        self.found.push(Difference { place, name, value, parts });
    }
}

/// Applies as many of the differences as the law allows: all, or those of each half.
fn keep(data: &mut Value, differences: &[Difference<'_>], holds: &impl Fn(&Value) -> bool) {
    let mut kept = data.clone();
    for Difference { place, name, value, .. } in differences {
        match (kept.pointer_mut(place), value) {
            (Some(Value::Object(object)), value) => set(object, name, value.cloned()),
            (Some(Value::Array(items)), Some(value)) => {
                let item = name.parse().ok().and_then(|index: usize| items.get_mut(index));
                item.into_iter().for_each(|item| (*value).clone_into(item));
            }
            _ => {}
        }
    }
    match differences {
        [] => {}
        _ if holds(&kept) => *data = kept,
        [one] => keep(data, &one.parts, holds),
        more => {
            let (one, other) = more.split_at(more.len() / 2);
            keep(data, one, holds);
            keep(data, other, holds);
        }
    }
}
