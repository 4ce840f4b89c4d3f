//! What a closure changed in the data, and what of the rest stays.
//!
//! What is the same before and after keeps its stored form. What changed takes the form that the
//! type gives it. What the type does not know stays only where it is certain whose it is:
//!
//! - in an object that is a place, such as the data, a field, or a struct in a struct;
//! - in an item of a list that is the same before and after, wherever it stands now.
//!
//! serde tells a struct from a map, an `Option`, and a variant of an enum. Where it writes several of
//! them as one object (`flatten`), the type is asked [whose a field is](Belongs).

use std::cell::OnceCell;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Data,
    fields::{Field, Fields, Owner, Part},
    law::{Law, is_twice},
    patch::Patch,
    path::set,
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
        path: &[],
        default: &|| default.get_or_init(|| law.default::<T>()).as_ref(),
        shows: &|data| {
            let data = data.as_object()?;
            law.afford(data).and_then(|()| law.shows::<T>(data))
        },
        belongs: &|path, object, field| belongs::<T>(law, [before, after], path, object, field),
        unchanged,
    };
    let mut patch = Patch::new();
    if let Some(renamed) = renamed {
        patch.extend(difference(law.stored, renamed));
    }
    changes(before, after, renamed.unwrap_or(law.stored), misfits, view, &mut |name, value| {
        patch.set(name.to_owned(), value);
    });
    if law.unstorable.get() {
        patch.retain(|name, value| {
            value.take_if(|value| !unstorable::leave_out(value));
            !unstorable::is_another(name)
        });
    }
    patch
}

/// The patch that makes one of two objects the other.
pub(super) fn difference(from: &Data, to: &Data) -> Patch {
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), None));
    let new = to.iter().filter(|(name, value)| from.get(*name) != Some(*value));
    gone.chain(new.map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
}

/// Whose a field is in an object that serde may have written of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belongs {
    /// It is the object's own, or that of a struct in it which is always there.
    Object,
    /// It is the entry of a map, for itself.
    Itself,
    /// It may be that of a variant of an enum, or of an `Option`, which can be another one.
    Variant,
}

/// Asks the type for it.
///
/// Only a struct says of a field that it is there twice: a map takes the last one, and an `Option` or an
/// enum takes it that all of it is not there. What has a tag says so, too, but not without its tag.
fn belongs<T>(
    law: &Law<'_>,
    views: [&Fields; 2],
    path: &[&str],
    object: &Fields,
    field: &Field,
) -> Belongs
where
    T: Serialize + DeserializeOwned + Default,
{
    let name = &*field.name;
    let says = |alone| {
        let mut views = views.into_iter();
        views
            .find_map(|view| law.says_of_both::<T>(view, path, [name; 2], alone))
            .unwrap_or_default()
    };
    let is_map = || views.into_iter().find_map(|view| law.is_map::<T>(view, path, name));
    match (field.owner, object.struct_name()) {
        (Owner::Map, _) => Belongs::Itself,
        (Owner::Tag, _) => Belongs::Variant,
        (Owner::Variant, _) if is_twice(&says(true), name) => Belongs::Object,
        (Owner::Variant, _) => Belongs::Variant,
        // The field of the data that the type is for.
        (Owner::Struct, Some("")) => Belongs::Object,
        (Owner::Struct, Some(object)) => {
            let untagged = format!("data did not match any variant of untagged enum {object} ");
            if says(false).starts_with(&untagged) { Belongs::Variant } else { Belongs::Object }
        }
        (Owner::Struct, None) if is_twice(&says(false), name) => Belongs::Object,
        (Owner::Struct, None) if is_map().unwrap_or_default() => Belongs::Itself,
        (Owner::Struct, None) => Belongs::Variant,
    }
}

/// What the type itself says of an object.
#[derive(Clone, Copy)]
struct Type<'a> {
    /// The names on the way to the object.
    path: &'a [&'a str],
    /// What its default has in the place of the object.
    default: &'a dyn Fn() -> Option<&'a Fields>,
    /// What it shows there if this is stored there.
    shows: &'a dyn Fn(Value) -> Option<Value>,
    /// Whose a field of an object is, which is at the end of a path.
    belongs: &'a dyn Fn(&[&str], &Fields, &Field) -> Belongs,
    unchanged: Unchanged,
}

/// What changes in an object.
struct Change<'a, 'v> {
    before: &'a Fields,
    after: &'a Fields,
    view: Type<'v>,
}

impl Change<'_, '_> {
    fn belongs(&self, name: &str) -> Belongs {
        // What stands where the content of one variant would may be nothing of the sort in another one.
        let mut fields =
            [self.after, self.before].into_iter().filter_map(|fields| fields.field(name));
        let field =
            fields.clone().find(|field| field.owner != Owner::Tag).or_else(|| fields.next());
        field.map_or(Belongs::Object, |field| {
            (self.view.belongs)(self.view.path, self.before, field)
        })
    }

    /// Whether all that changes is of this kind.
    fn all_belong(&self, is: impl Fn(Belongs) -> bool) -> bool {
        let Self { before, after, .. } = self;
        let mut changed =
            before.names().chain(after.names()).filter(|name| before.get(name) != after.get(name));
        changed.all(|name| is(self.belongs(name)))
    }
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
    let change = Change { before, after, view };
    let same_type = before.is_of_the_type_of(after);
    let another = OnceCell::new();
    let another =
        || !same_type || *another.get_or_init(|| !change.all_belong(|to| to != Belongs::Variant));
    for Field { name, part: after_part, .. } in after.iter() {
        let default = || -> Option<&Fields> { (view.default)()?.get(name)?.as_place() };
        let shows = |value: Value| {
            let mut object = stored.clone();
            object.insert((**name).to_owned(), value);
            match (view.shows)(Value::Object(object))? {
                Value::Object(mut shown) => shown.remove(&**name),
                _ => None,
            }
        };
        // A struct is there by default, and cannot be null. An `Option` that is written by hand looks
        // like the struct in it.
        let is_certain = || {
            default().is_some()
                && change.belongs(name) == Belongs::Object
                && shows(Value::Null) != Some(Value::Null)
        };
        let is_misfit = || misfits.iter().any(|misfit| misfit == name);
        let is_another = || another() && (!same_type || change.belongs(name) == Belongs::Variant);
        let may_have_lists = matches!(after_part, Part::Place(_) | Part::Other(Value::Array(_)));
        let stays = view.unchanged == Unchanged::Stays || !may_have_lists;
        let value = match (before.get(name), stored.get(&**name)) {
            (Some(before), Some(stored)) if has_unknown(before, stored) && is_another() => {
                after_part.to_value(Some(stored))
            }
            (Some(before), Some(_)) if before == after_part && stays => continue,
            (Some(before), Some(stored)) if has_unknown(before, stored) && !is_misfit() => {
                let path: Vec<&str> = view.path.iter().copied().chain([&**name]).collect();
                let view = Type { path: &path, default: &default, shows: &shows, ..view };
                merge(before, after_part, stored, view, is_certain)
            }
            // If there is anything to write, the type's defaults are written, too.
            (_, stored) => after_part.to_value(stored),
        };
        tell(name, Some(value));
    }
}

/// Whether more is stored than the type shows.
fn has_unknown(part: &Part, stored: &Value) -> bool {
    match (part, stored) {
        (Part::Same, _) => false,
        (Part::Place(fields), Value::Object(stored)) => stored
            .iter()
            .any(|(name, value)| fields.get(name).is_none_or(|part| has_unknown(part, value))),
        (Part::Place(_) | Part::Other(_), _) => true,
    }
}

/// The stored value of a field, with the difference between `before` and `after` applied to it.
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
            let has_unknown = stored.keys().any(|name| before.get(name).is_none());
            let change = Change { before, after, view };
            // What the type does not know may be that of another one now.
            if has_unknown && !change.all_belong(|to| to == Belongs::Object) {
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
