//! What a closure changed in the data, and what of the rest stays.
//!
//! What is the same before and after keeps its stored form. What changed takes the form that the
//! type gives it. What the type does not know stays only where it is certain whose it is:
//!
//! - in an object that is a place, such as the data, a field, or a struct in a struct;
//! - in an item of a list that is the same before and after, wherever it stands now.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Data,
    fields::{Fields, Part},
};

/// Says which fields of `stored` to set (`Some`) and to remove (`None`). What is stored in `misfits`
/// is not what the type saw, so nothing of it stays where the closure set something else.
pub(super) fn changes(
    before: &Fields,
    after: &Fields,
    stored: &Data,
    misfits: &[String],
    mut tell: impl FnMut(&str, Option<Value>),
) {
    for name in before.names().filter(|name| after.get(name).is_none()) {
        tell(name, None);
    }
    for (name, after) in after.iter() {
        let value = match (before.get(name), stored.get(name)) {
            (Some(before), Some(_)) if before == after => continue,
            (Some(before), Some(stored)) if !misfits.iter().any(|misfit| misfit == name) => {
                merge(before, after, stored)
            }
            // If there is anything to write, the type's defaults are written, too.
            (_, stored) => after.to_value(stored),
        };
        tell(name, Some(value));
    }
}

/// The stored value, with the difference between `before` and `after` applied to it.
fn merge(before: &Part, after: &Part, stored: &Value) -> Value {
    match (before, after, stored) {
        (Part::Place(before), Part::Place(after), Value::Object(stored)) => {
            let mut merged = stored.clone();
            if is_another(before, after) {
                merged.retain(|name, _| after.get(name).is_some());
            }
            changes(before, after, stored, &[], |name, value| match value {
                Some(value) => drop(merged.insert(name.to_owned(), value)),
                None => drop(merged.remove(name)),
            });
            Value::Object(merged)
        }
        (
            Part::Other(Value::Array(before)),
            Part::Other(Value::Array(after)),
            Value::Array(stored),
        ) => Value::Array(merge_items(before, after, stored)),
        _ => after.to_value(Some(stored)),
    }
}

/// Whether the object that comes after is none of the fields, but another variant of an enum that
/// serde writes without a level of its own.
fn is_another(before: &Fields, after: &Fields) -> bool {
    before.names().any(|name| after.get(name).is_none())
        && after.names().any(|name| before.get(name).is_none())
}

/// The items after, in their stored form where they are the same as before.
///
/// Items that look the same to the type cannot be told apart. So each keeps its own only if none of
/// them came or went, or if they are the same in the store, too.
fn merge_items(before: &[Value], after: &[Value], stored: &[Value]) -> Vec<Value> {
    // A type may keep items in another order than the store has them.
    let in_order = before.len() == stored.len()
        && before.iter().zip(stored).all(|(before, stored)| shows(before, stored));
    if !in_order {
        return after.to_vec();
    }
    let mut alike: HashMap<&Value, Alike<'_>> = HashMap::new();
    for (before, stored) in before.iter().zip(stored) {
        alike.entry(before).or_default().stored.push(stored);
    }
    for item in after {
        if let Some(alike) = alike.get_mut(item) {
            alike.n_after += 1;
        }
    }
    let own = |item: &Value| {
        let kept = alike.get_mut(item).and_then(Alike::next);
        kept.unwrap_or(item).clone()
    };
    after.iter().map(own).collect()
}

/// The items of a list that look the same to the type.
#[derive(Default)]
struct Alike<'a> {
    stored: Vec<&'a Value>,
    n_after: usize,
    n_kept: usize,
}

impl<'a> Alike<'a> {
    fn next(&mut self) -> Option<&'a Value> {
        let all_the_same = || self.stored.windows(2).all(|pair| pair.first() == pair.last());
        let n_before = self.stored.len();
        let certain = self.n_after == n_before || self.n_after < n_before && all_the_same();
        let own = self.stored.get(self.n_kept).copied().filter(|_| certain);
        self.n_kept += 1;
        own
    }
}

/// Whether `view` is what a type makes of `stored`, except for what it does not know or adds.
fn shows(view: &Value, stored: &Value) -> bool {
    match (view, stored) {
        (Value::Object(view), Value::Object(stored)) => {
            let mut shared = view.iter().filter_map(|(name, view)| Some((view, stored.get(name)?)));
            let is_known = view.is_empty() || view.keys().any(|name| stored.contains_key(name));
            is_known && shared.all(|(view, field)| shows(view, field))
        }
        (Value::Array(view), Value::Array(stored)) => {
            view.len() == stored.len()
                && view.iter().zip(stored).all(|(view, item)| shows(view, item))
        }
        (Value::Number(view), Value::Number(stored)) => view.as_f64() == stored.as_f64(),
        (view, stored) => view == stored,
    }
}
