//! Data as the app's own type, and back: the typed view of a closure, and what the closure changed.
//!
//! Only what changed between the view before and the view after is written, so that fields which
//! the type does not know, at any depth, stay as they are, and so do numbers that it spells another
//! way.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Data, InvalidValue, Limits, encode, fields::Fields, fields::Part};

/// The data does not have the type that the app reads it as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` in the data has the wrong type: {message}", path.escape_debug())]
pub struct WrongType {
    /// Where in the data, such as `cart.items[2].price`.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

/// Reads the whole data as a `T`.
///
/// No data is `T::default()`, and a field that is missing is what it is in `T::default()`.
pub(crate) fn from_data<T: Serialize + DeserializeOwned + Default>(
    data: &Data,
) -> Result<T, WrongType> {
    if data.is_empty() {
        return Ok(T::default());
    }
    T::deserialize(data).or_else(|_| {
        // Errors and missing fields are rare, so the type is first read without looking for either.
        let mut complete = defaults::<T>();
        complete.extend(data.clone());
        at_path("", &Value::Object(complete))
    })
}

/// Reads one field as a `T`; a field that is missing is `T::default()`.
pub(crate) fn from_field<T: Serialize + DeserializeOwned + Default>(
    name: &str,
    value: Option<&Value>,
) -> Result<T, WrongType> {
    match value {
        None => Ok(T::default()),
        Some(value @ Value::Object(fields)) => T::deserialize(value).or_else(|_| {
            let mut complete = defaults::<T>();
            complete.extend(fields.clone());
            at_path(name, &Value::Object(complete))
        }),
        Some(value) => from_value(name, value),
    }
}

/// Reads a value as a `T`, with no default for what is missing.
pub(crate) fn from_value<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, WrongType> {
    T::deserialize(value).or_else(|_| at_path(name, value))
}

/// The fields of `T::default()`, or none if it is no object.
fn defaults<T: Serialize + Default>() -> Data {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(fields)) => fields,
        _ => Data::new(),
    }
}

/// Reads a value that is likely wrong, keeping track of where.
fn at_path<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, WrongType> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match (name, inner.as_str()) {
            ("", ".") => "(the whole data)".to_owned(),
            ("", inner) => inner.to_owned(),
            (name, ".") => name.to_owned(),
            (name, inner) if inner.starts_with('[') => format!("{name}{inner}"),
            (name, inner) => format!("{name}.{inner}"),
        };
        WrongType { path, message: without_values(&error.into_inner().to_string()) }
    })
}

/// A message of serde without the value that it quotes, which may be anyone's secret and would end
/// in a log. What it expected stays; the words of a type's own check do not, since they may say
/// anything.
fn without_values(message: &str) -> String {
    if message.starts_with("missing field ") || message.starts_with("duplicate field ") {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        None => "the type refuses what is there".to_owned(),
    }
}

/// A view of the data or of a field, before or after a closure has worked on it. It is known by what
/// it has other than what is stored.
pub(crate) struct View<V>(V);

impl View<Fields> {
    pub(crate) fn of_data<T: Serialize>(
        view: &T,
        stored: &Data,
        limits: &Limits,
    ) -> Result<Self, InvalidValue> {
        encode::fields(view, stored, limits).map(Self)
    }

    /// Tells which fields to set (`Some`) and to remove (`None`) in `stored`, given the view after.
    pub(crate) fn changes(
        &self,
        Self(after): Self,
        stored: &Data,
        mut tell: impl FnMut(String, Option<Value>),
    ) {
        if after == self.0 {
            return;
        }
        for name in self.0.names().filter(|name| after.get(name).is_none()) {
            tell(name.to_owned(), None);
        }
        for (name, after) in after {
            let value = match (stored.get(&*name), after) {
                // Once there is something to write, so is what the type has by default.
                (None, Part::Other(after)) => Some(after),
                (stored, after) => change(self.0.get(&name).unwrap_or(&Part::Same), after, stored),
            };
            if value.is_some() {
                tell(name.into_owned(), value);
            }
        }
    }
}

impl View<Part> {
    pub(crate) fn of_field<T: Serialize>(
        view: &T,
        stored: Option<&Value>,
        limits: &Limits,
    ) -> Result<Self, InvalidValue> {
        encode::part(view, stored, limits).map(Self)
    }

    /// What to put in the place of `stored`, given the view after; `None` if nothing changed.
    pub(crate) fn change(&self, Self(after): Self, stored: Option<&Value>) -> Option<Value> {
        change(&self.0, after, stored)
    }
}

/// What to put in the place of `stored`, if the closure changed the view of it.
fn change(before: &Part, after: Part, stored: Option<&Value>) -> Option<Value> {
    match (before, after, stored) {
        (before, after, _) if *before == after => None,
        // The type knows all that is stored, or nothing is, so there is nothing else to keep.
        (Part::Same, Part::Other(after), _) | (Part::Other(_), Part::Other(after), None) => {
            Some(after)
        }
        (Part::Other(before), after, Some(stored)) => {
            Some(merge(stored, before, after.into_value(stored)))
        }
        (_, Part::Same, _) => None,
    }
}

/// What was stored, with the difference between `before` and `after` made to it.
fn merge(stored: &Value, before: &Value, after: Value) -> Value {
    if *before == after {
        return stored.clone();
    }
    match (stored, before, after) {
        (Value::Object(stored), Value::Object(before), Value::Object(mut after)) => {
            for (name, stored) in stored {
                match (before.get(name), after.get_mut(name)) {
                    // The type does not know this field.
                    (None, None) => drop(after.insert(name.clone(), stored.clone())),
                    (Some(before), Some(after)) => *after = merge(stored, before, after.take()),
                    // The closure removed it, or added what the type had not read.
                    (Some(_), None) | (None, Some(_)) => {}
                }
            }
            Value::Object(after)
        }
        (Value::Array(stored), Value::Array(before), Value::Array(after)) => {
            Value::Array(merge_items(stored, before, after))
        }
        (_, _, after) => after,
    }
}

/// The same of an array. Items are the same ones as before if they stand before or behind all that
/// changed, or in the place of one another where as many are there as were.
fn merge_items(stored: &[Value], before: &[Value], mut after: Vec<Value>) -> Vec<Value> {
    let same = |(before, after): &(&Value, &Value)| before == after;
    let head = before.iter().zip(&after).take_while(same).count();
    let tail = before.iter().rev().zip(after.iter().rev()).take_while(same).count();
    let as_many = before.len() == after.len();
    let tail = tail.min(before.len().min(after.len()) - head);
    let (n_before, n_after) = (before.len(), after.len());
    for (index, after) in after.iter_mut().enumerate() {
        let from = match index {
            index if index < head || as_many => index,
            index if index >= n_after - tail => index + n_before - n_after,
            _ => continue,
        };
        // A type may keep items in another order than the store has them.
        if let (Some(stored), Some(before)) = (stored.get(from), before.get(from))
            && shows(before, stored)
        {
            *after = merge(stored, before, after.take());
        }
    }
    after
}

/// Whether `view` is what a type makes of `stored`, apart from what it does not know or adds.
fn shows(view: &Value, stored: &Value) -> bool {
    match (view, stored) {
        (Value::Object(view), Value::Object(stored)) => {
            let shows_field =
                |(name, view)| stored.get(name).is_none_or(|field| shows(view, field));
            view.iter().all(shows_field)
        }
        (Value::Array(view), Value::Array(stored)) => {
            view.len() == stored.len()
                && view.iter().zip(stored).all(|(view, item)| shows(view, item))
        }
        (Value::Number(view), Value::Number(stored)) => view.as_f64() == stored.as_f64(),
        (view, stored) => view == stored,
    }
}

#[cfg(test)]
mod tests;
