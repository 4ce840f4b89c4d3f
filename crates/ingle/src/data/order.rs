//! Values that are the same but for the order of their lists: a set may have another one each time.

use serde_json::Value;

use super::{InvalidValue, Reason, path::step, unstorable};

/// A value with all of its lists sorted.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_cached_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
        }
        other => other.clone(),
    }
}

/// Whether two values are the same but for the order of their lists.
pub(super) fn alike(one: &Value, other: &Value) -> bool {
    one == other || sorted(one) == sorted(other)
}

/// Whether two lists have the same items one by one, whatever the order within them.
pub(super) fn in_order(items: &[Value], others: &[Value]) -> bool {
    items.len() == others.len() && items.iter().zip(others).all(|(one, other)| alike(one, other))
}

/// What is not the same in two values.
pub(super) enum Difference {
    /// These lists have the same items in another order. Each is a JSON pointer.
    Orders(Vec<String>),
    /// The values differ, and this says where.
    Value(InvalidValue),
}

pub(super) fn difference(one: &Value, other: &Value) -> Difference {
    let mut lists = Vec::new();
    match compare(one, other, &mut String::new(), &mut lists) {
        Ok(()) => Difference::Orders(lists),
        Err(error) => Difference::Value(error),
    }
}

fn compare(
    one: &Value,
    other: &Value,
    place: &mut String,
    lists: &mut Vec<String>,
) -> Result<(), InvalidValue> {
    let here = place.len();
    let differs = || InvalidValue::new(Reason::NotReadBack);
    match (one, other) {
        (one, other) if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
            for name in names {
                step(place, name);
                let compared = match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => compare(one, other, place, lists),
                    _ => Err(differs()),
                };
                compared.map_err(|error| error.under(unstorable::own_name(name)))?;
                place.truncate(here);
            }
        }
        (Value::Array(items), Value::Array(others)) => {
            if !in_order(items, others) && alike(one, other) {
                lists.push(place.clone());
                return Ok(());
            }
            if items.len() != others.len() {
                return Err(differs());
            }
            for (index, (one, other)) in items.iter().zip(others).enumerate() {
                step(place, &index.to_string());
                compare(one, other, place, lists)
                    .map_err(|error| error.under(&format!("[{index}]")))?;
                place.truncate(here);
            }
        }
        _ => return Err(differs()),
    }
    Ok(())
}
