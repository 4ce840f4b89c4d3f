//! What a type shows and no session can hold, in a form that can be compared.
//!
//! A value may be there though nobody set it: a `char` begins as NUL, and a limit as infinity. Such a
//! value is left out of what is stored. If the next read gives it all the same, the law holds. If
//! not, the update is refused, and the reason is the value's own.
//!
//! A name that an object has twice is such a value, too. Only the last one can be stored.

use serde_json::{Map, Value};

use super::{InvalidValue, Reason};

/// The name that no stored object has: a name must not contain NUL.
pub(super) const NUL: &str = "\0";

/// A number that is not finite, or an integer that is too large for any JSON number.
pub(super) fn number(value: impl std::fmt::Display) -> Value {
    Value::Object(Map::from_iter([(NUL.to_owned(), value.to_string().into())]))
}

/// An integer that is too large for any JSON number, in digits. A name can be one.
pub(super) fn large_integer(value: &Value) -> Option<&str> {
    let digits = value.get(NUL)?.as_str()?;
    (digits.parse::<i128>().is_ok() || digits.parse::<u128>().is_ok()).then_some(digits)
}

/// The name under which an earlier value of the same name is compared.
pub(super) fn another(name: &str) -> String {
    format!("{NUL}{name}")
}

pub(super) fn is_another(name: &str) -> bool {
    name.starts_with(NUL)
}

/// The name that the object really has.
pub(super) fn own_name(name: &str) -> &str {
    name.trim_start_matches(NUL)
}

/// Why a session cannot hold this, apart from what is in it.
fn reason(value: &Value) -> Option<Reason> {
    match value {
        Value::String(text) => text.contains(NUL).then_some(Reason::Nul),
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            Some(Reason::IntegerOutOfRange)
        }
        Value::Object(fields) => {
            let number = fields.get(NUL)?.as_str()?.parse::<f64>().ok()?;
            Some(if number.is_finite() { Reason::IntegerOutOfRange } else { Reason::NonFinite })
        }
        _ => None,
    }
}

/// Whether a type could read this value from JSON.
pub(super) fn is_json(value: &Value) -> bool {
    value.get(NUL).is_none()
}

/// The first value that a session cannot hold.
pub(super) fn find(value: &Value) -> Option<InvalidValue> {
    if let Some(reason) = reason(value) {
        return Some(InvalidValue::new(reason));
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !is_another(name))
            .find_map(|(name, value)| Some(find(value)?.under(name))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| Some(find(item)?.under(&format!("[{index}]")))),
        _ => None,
    }
}

/// Leaves out the fields that a session cannot hold. Returns whether the value can now be stored.
pub(super) fn leave_out(value: &mut Value) -> bool {
    if reason(value).is_some() {
        return false;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !is_another(name) && leave_out(value));
            true
        }
        Value::Array(items) => items.iter_mut().all(leave_out),
        _ => true,
    }
}
