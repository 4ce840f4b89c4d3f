//! The items of a list after a change, each with what is its own.
//!
//! An item is known by what the type shows of it. Where the type shows less than is stored, or
//! something else, such as another name or a rounded number, it is asked what it makes of the stored
//! item alone.

use std::collections::HashMap;

use serde_json::Value;

use crate::data::order;

/// The items after, in their stored form where they are certainly the same as before.
///
/// `shows` says what the type shows of a list.
pub(super) fn merge(
    before: &[Value],
    after: &[Value],
    stored: &[Value],
    shows: &dyn Fn(Value) -> Option<Value>,
) -> Vec<Value> {
    let mut alike: HashMap<&Value, Alike<'_>> = HashMap::new();
    for (index, item) in before.iter().enumerate() {
        alike.entry(item).or_default().before.push(index);
    }
    for (index, item) in after.iter().enumerate() {
        if let Some(alike) = alike.get_mut(item) {
            alike.after.push(index);
        }
    }
    for (index, item) in stored.iter().enumerate() {
        let own = before.get(index).filter(|_| before.len() == stored.len());
        let shown = own
            .filter(|own| shows_all_of(own, item))
            .or_else(|| shown_alone(before, item, shows))
            .or_else(|| own.filter(|_| shown_instead(before, index, item, shows)));
        if let Some(alike) = shown.and_then(|item| alike.get_mut(item)) {
            alike.stored.push((index, item));
        }
    }
    let unmoved = Unmoved::of(before, after);
    let mut merged = after.to_vec();
    for alike in alike.values() {
        for (index, stored) in alike.kept(&unmoved) {
            if let Some(item) = merged.get_mut(index) {
                stored.clone_into(item);
            }
        }
    }
    merged
}

/// Whether all that the type shows of an item is what is stored. Then the item is that one.
fn shows_all_of(item: &Value, stored: &Value) -> bool {
    match (item, stored) {
        (Value::Object(item), Value::Object(stored)) if !item.is_empty() => {
            item.iter().all(|(name, value)| {
                stored.get(name).is_some_and(|stored| shows_all_of(value, stored))
            })
        }
        (Value::Array(items), Value::Array(stored)) => {
            items.len() == stored.len()
                && items.iter().zip(stored).all(|(item, stored)| shows_all_of(item, stored))
        }
        (Value::Number(item), Value::Number(stored)) => item.as_f64() == stored.as_f64(),
        (item, stored) => item == stored,
    }
}

/// The item as which the type shows a stored one in a list of its own, if it is certain.
fn shown_alone<'a>(
    before: &'a [Value],
    stored: &Value,
    shows: &dyn Fn(Value) -> Option<Value>,
) -> Option<&'a Value> {
    let Value::Array(shown) = shows(Value::Array(vec![stored.clone()]))? else { return None };
    let [shown] = &shown[..] else { return None };
    if let Some(item) = before.iter().find(|item| *item == shown) {
        return Some(item);
    }
    // A set in it has another order each time.
    let mut alike = before.iter().filter(|item| order::alike(item, shown));
    let first = alike.next()?;
    alike.all(|item| item == first).then_some(first)
}

/// Whether the type shows the same with a stored item in the place of what it shows. That is how an
/// array or a tuple can be asked, which has as many items as ever.
fn shown_instead(
    before: &[Value],
    index: usize,
    stored: &Value,
    shows: &dyn Fn(Value) -> Option<Value>,
) -> bool {
    let mut items = before.to_vec();
    items.get_mut(index).into_iter().for_each(|item| stored.clone_into(item));
    let shown = shows(Value::Array(items));
    shown.and_then(|shown| Some(order::in_order(shown.as_array()?, before))).unwrap_or_default()
}

/// The items of a list that look the same to the type: where they are, and what is stored of them.
#[derive(Default)]
struct Alike<'a> {
    before: Vec<usize>,
    after: Vec<usize>,
    stored: Vec<(usize, &'a Value)>,
}

impl<'a> Alike<'a> {
    /// What is stored of which item after.
    ///
    /// They cannot be told apart. So each keeps its own only if it does not matter which it is, or if
    /// all of them are where they were.
    fn kept(&self, unmoved: &Unmoved) -> impl Iterator<Item = (usize, &'a Value)> {
        let n_after = self.after.len();
        let are_the_same =
            self.stored.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
        let is_certain = if are_the_same {
            n_after <= self.stored.len()
        } else {
            let own = self.stored.iter().map(|(index, _)| index);
            let stay = self.before.iter().map(|index| unmoved.after(*index));
            own.eq(&self.before) && stay.eq(self.after.iter().map(|index| Some(*index)))
        };
        let kept = self.after.iter().zip(&self.stored).filter(move |_| is_certain);
        kept.map(|(after, (_, stored))| (*after, *stored))
    }
}

/// The items at both ends of a list that are the same as before.
struct Unmoved {
    n_first: usize,
    n_last: usize,
    n_before: usize,
    n_after: usize,
}

impl Unmoved {
    fn of(before: &[Value], after: &[Value]) -> Self {
        let n_same = |(one, other): &(&Value, &Value)| one == other;
        let n_first = before.iter().zip(after).take_while(n_same).count();
        let rest = before.iter().skip(n_first).rev().zip(after.iter().skip(n_first).rev());
        let n_last = rest.take_while(n_same).count();
        Self { n_first, n_last, n_before: before.len(), n_after: after.len() }
    }

    /// Where an item stands after, if it has not moved.
    fn after(&self, before: usize) -> Option<usize> {
        if before < self.n_first {
            return Some(before);
        }
        let from_end = self.n_before.checked_sub(before)?;
        if from_end <= self.n_last { self.n_after.checked_sub(from_end) } else { None }
    }
}
