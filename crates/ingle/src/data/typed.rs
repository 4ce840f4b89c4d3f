//! Data as the app's own type, and back: the typed view of a closure, and what the closure changed.
//!
//! Only the difference between the view before and the view after is written. So fields that the
//! type does not know stay as they are, at any depth. So do numbers that the type writes in another
//! way.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Data, InvalidValue, Limits, encode, fields::Fields, fields::Part};

/// The data does not have the type that the app reads it as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` in the data has the wrong type: {message}", path.escape_debug())]
pub struct WrongType {
    /// The place in the data, such as `cart.items[2].price`.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

/// Reads the whole data as a `T`.
///
/// No data gives `T::default()`, and a missing field is as in `T::default()`.
pub(crate) fn from_data<T: Serialize + DeserializeOwned + Default>(
    data: &Data,
) -> Result<T, WrongType> {
    if data.is_empty() {
        return Ok(T::default());
    }
    T::deserialize(data).or_else(|_| {
        // Errors and missing fields are rare, so the first attempt looks for neither.
        let mut complete = defaults::<T>();
        complete.extend(data.clone());
        at_path("", &Value::Object(complete))
    })
}

/// Reads one field as a `T`. A missing field gives `T::default()`.
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

/// Reads a value as a `T`, without a default for what is missing.
pub(crate) fn from_value<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, WrongType> {
    T::deserialize(value).or_else(|_| at_path(name, value))
}

/// The fields of `T::default()`, or none if it is not an object.
fn defaults<T: Serialize + Default>() -> Data {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(fields)) => fields,
        _ => Data::new(),
    }
}

/// Reads a value that is probably wrong, and keeps track of the place.
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

/// A message of serde without the value that it quotes, which may be a secret and would end in a
/// log. What serde expected stays. The words of a type's own check do not, because they may say
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

/// A view of the data or of a field, before or after a closure has worked on it. It holds only what
/// differs from what is stored.
pub(crate) struct View<V>(V);

impl View<Fields> {
    pub(crate) fn of_data<T: Serialize>(
        view: &T,
        stored: &Data,
        limits: &Limits,
    ) -> Result<Self, InvalidValue> {
        encode::fields(view, stored, limits).map(Self)
    }

    /// Says which fields of `stored` to set (`Some`) and to remove (`None`), given the view after.
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
                // If there is anything to write, the type's defaults are written, too.
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

    /// The value that replaces `stored`, given the view after. `None` if nothing changed.
    pub(crate) fn change(&self, Self(after): Self, stored: Option<&Value>) -> Option<Value> {
        change(&self.0, after, stored)
    }
}

/// The value that replaces `stored`, if the closure changed the view of it.
fn change(before: &Part, after: Part, stored: Option<&Value>) -> Option<Value> {
    match (before, after, stored) {
        (before, after, _) if *before == after => None,
        // The type knows all that is stored, or nothing is stored, so there is nothing else to
        // keep.
        (Part::Same, Part::Other(after), _) | (Part::Other(_), Part::Other(after), None) => {
            Some(after)
        }
        (Part::Other(before), after, Some(stored)) => {
            Some(merge(stored, before, after.into_value(stored)))
        }
        (_, Part::Same, _) => None,
    }
}

/// The stored value, with the difference between `before` and `after` applied to it.
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

/// The same for an array. Items count as the same ones if they stand before or behind everything
/// that changed, or at the same place where the length has not changed.
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

/// Whether `view` is what a type makes of `stored`, except for what it does not know or adds.
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
