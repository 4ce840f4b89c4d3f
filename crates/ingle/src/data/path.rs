//! Ways to a place in the data: names of objects in objects, and JSON pointers.

use serde_json::Value;

use super::{Data, InvalidValue, Reason};

/// The object at the end of these names.
pub(super) fn object<'a>(data: &'a Data, names: &[&str]) -> Option<&'a Data> {
    names.iter().try_fold(data, |object, name| object.get(*name)?.as_object())
}

pub(super) fn object_mut<'a>(data: &'a mut Data, names: &[&str]) -> Option<&'a mut Data> {
    names.iter().try_fold(data, |object, name| object.get_mut(*name)?.as_object_mut())
}

/// Sets a field, or removes it.
pub(super) fn set(data: &mut Data, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(data.insert(name.to_owned(), value)),
        None => drop(data.remove(name)),
    }
}

/// Goes one step further in a JSON pointer.
pub(super) fn step(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

/// A JSON pointer as errors name the place.
pub(super) fn named(mut value: &Value, pointer: &str) -> String {
    let mut steps = Vec::new();
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        let inside = match value {
            Value::Array(items) => name.parse().ok().and_then(|index: usize| items.get(index)),
            value => value.get(&name),
        };
        steps.push(if value.is_array() { format!("[{name}]") } else { name });
        value = inside.unwrap_or(&Value::Null);
    }
    let place = InvalidValue::new(Reason::NotReadBack);
    steps.iter().rev().fold(place, |place, step| place.under(step)).path
}
