//! What a closure changed in the data, and what of the rest stays.
//!
//! What is the same before and after keeps its stored form. What changed takes the form that the
//! type gives it. What the type does not know stays only where it is certain whose it is:
//!
//! - in an object that is a place, such as the data, a field, or a struct in a struct;
//! - in an item of a list that is the same before and after, wherever it stands now.
//!
//! serde tells a struct from a map, an `Option`, and a variant of an enum. Where it writes several of
//! them as one object (`flatten`), the type's default tells what the object has always.

use std::cell::OnceCell;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Data,
    fields::{Field, Fields, Owner, Part},
    law::Law,
    path::set,
    read::Patch,
    unstorable,
};

mod items;

/// What becomes of a list that the closure did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unchanged {
    /// It is as it is stored.
    Stays,
    /// Its items are in the order in which the type shows them.
    InOrder,
}

/// The patch that makes of what is stored what the closure left. `renamed` is what is stored, with each
/// field under its present name.
pub(super) fn patch<T>(
    law: &Law<'_>,
    before: &Fields,
    after: &Fields,
    renamed: Option<&Data>,
    misfits: &[String],
    unchanged: Unchanged,
) -> Patch
where
    T: Serialize + DeserializeOwned + Default,
{
    let default = OnceCell::new();
    let view = Type {
        default: &|| default.get_or_init(|| law.default::<T>()).as_ref(),
        shows: &|data| {
            let data = data.as_object()?;
            law.afford(data).and_then(|()| law.shows::<T>(data))
        },
        unchanged,
        is_data: true,
    };
    let mut patch = Patch::new();
    if let Some(renamed) = renamed {
        patch.extend(difference(law.stored, renamed));
    }
    changes(before, after, renamed.unwrap_or(law.stored), misfits, view, &mut |name, value| {
        patch.insert(name.to_owned(), value);
    });
    if law.unstorable.get() {
        for value in patch.values_mut() {
            value.take_if(|value| !unstorable::leave_out(value));
        }
        patch.retain(|name, _| !unstorable::is_another(name));
    }
    patch
}

/// The patch that makes one of two objects the other.
pub(super) fn difference(from: &Data, to: &Data) -> Patch {
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), None));
    let new = to.iter().filter(|(name, value)| from.get(*name) != Some(*value));
    gone.chain(new.map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
}

/// What the type itself says of an object.
#[derive(Clone, Copy)]
struct Type<'a> {
    /// What its default has in the place of the object.
    default: &'a dyn Fn() -> Option<&'a Fields>,
    /// What it shows there if this is stored there.
    shows: &'a dyn Fn(Value) -> Option<Value>,
    unchanged: Unchanged,
    /// Whether the object is the data itself, which others use, too.
    is_data: bool,
}

/// Says which fields of `stored` to set (`Some`) and to remove (`None`). What is stored in `misfits`
/// is not what the type saw, so nothing of it stays where the closure set something else.
fn changes(
    before: &Fields,
    after: &Fields,
    stored: &Data,
    misfits: &[String],
    view: Type<'_>,
    tell: &mut dyn FnMut(&str, Option<Value>),
) {
    for name in before.names().filter(|name| after.get(name).is_none()) {
        tell(name, None);
    }
    let same_type = before.is_of_the_type_of(after);
    let comes_and_goes = |name: &str| !same_type || comes_and_goes(before, after, view, name);
    let changed =
        || before.names().chain(after.names()).filter(|name| before.get(name) != after.get(name));
    let another = !same_type || before.may_have_variant() && changed().any(comes_and_goes);
    for Field { name, part: after_part, owner } in after.iter() {
        let default = || -> Option<&Fields> { (view.default)()?.get(name)?.as_place() };
        let is_certain = || (before.is_struct() || *owner == Owner::Struct) && default().is_some();
        let shows = |value: Value| {
            let mut object = stored.clone();
            object.insert((**name).to_owned(), value);
            match (view.shows)(Value::Object(object))? {
                Value::Object(mut shown) => shown.remove(&**name),
                _ => None,
            }
        };
        let may_have_lists = matches!(after_part, Part::Place(_) | Part::Other(Value::Array(_)));
        let stays = view.unchanged == Unchanged::Stays || !may_have_lists;
        let value = match (before.get(name), stored.get(&**name)) {
            (_, stored) if another && comes_and_goes(name) => after_part.to_value(stored),
            (Some(before), Some(_)) if before == after_part && stays => continue,
            (Some(before), Some(stored)) if !misfits.iter().any(|misfit| misfit == name) => {
                let view = Type { default: &default, shows: &shows, is_data: false, ..view };
                merge(before, after_part, stored, view, is_certain)
            }
            // If there is anything to write, the type's defaults are written, too.
            (_, stored) => after_part.to_value(stored),
        };
        tell(name, Some(value));
    }
}

/// Whether a field may be that of a variant, or of a flattened `Option`, which can be another one.
fn comes_and_goes(before: &Fields, after: &Fields, view: Type<'_>, name: &str) -> bool {
    // Where the default has nothing, it is a map, whose entries are each for themselves.
    let leaves_out = |default: &Fields| default.len() > 0 && default.get(name).is_none();
    let owner = after.field(name).or_else(|| before.field(name)).map(|field| field.owner);
    match owner {
        Some(Owner::Variant) => true,
        Some(Owner::Struct) => {
            !before.is_struct() && !view.is_data && (view.default)().is_some_and(leaves_out)
        }
        Some(Owner::Map) | None => false,
    }
}

/// The stored value of a field, with the difference between `before` and `after` applied to it.
///
/// A struct is a place only if the default has it, too. An `Option` that is written by hand looks like
/// the struct in it, but begins with nothing.
fn merge(
    before: &Part,
    after: &Part,
    stored: &Value,
    view: Type<'_>,
    is_certain: impl FnOnce() -> bool,
) -> Value {
    match (before, after, stored) {
        (Part::Place(before), Part::Place(after), Value::Object(stored))
            if before.is_of_the_type_of(after) && is_certain() =>
        {
            let mut merged = stored.clone();
            if !unknown_stays(before, after, view) {
                merged.retain(|name, _| before.get(name).is_some());
            }
            changes(before, after, stored, &[], view, &mut |name, value| {
                set(&mut merged, name, value);
            });
            Value::Object(merged)
        }
        (
            Part::Other(Value::Array(before)),
            Part::Other(Value::Array(after)),
            Value::Array(stored),
        ) => Value::Array(items::merge(before, after, stored, view.shows)),
        _ => after.to_value(Some(stored)),
    }
}

/// Whether what the type does not know of an object is still that of the same one. If serde writes a
/// map, some of the fields may be those of a flattened `Option` or enum, which is another one now.
fn unknown_stays(before: &Fields, after: &Fields, view: Type<'_>) -> bool {
    let is_always_there = |name: &str| {
        let owners = [before, after].map(|fields| fields.field(name).map(|field| field.owner));
        owners.into_iter().flatten().all(|owner| owner == Owner::Struct)
            && (view.default)().is_some_and(|default| default.get(name).is_some())
    };
    let mut changed =
        before.names().chain(after.names()).filter(|name| before.get(name) != after.get(name));
    before.is_struct() || changed.all(is_always_there)
}
