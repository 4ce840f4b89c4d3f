//! Values and their types, as operators read and write them.
//!
//! JSON has six types, and Firestore has more. Those are objects with one field, such as
//! `{"$timestamp": "2026-05-04T12:30:00Z"}`, as the store reads and writes them.

use std::{
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Number, Value, json};

/// What a larger integer would become, nobody has asked for.
const TOO_LARGE: &str =
    "whole numbers of 64 bits: write a larger one as a text (text:), or as 1e20 to have it rounded";

/// A text is no value of the type that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{type_name}:` takes {takes}")]
pub struct NotAValue {
    type_name: &'static str,
    takes: &'static str,
}

impl NotAValue {
    /// What the type takes, such as `a whole number of 64 bits`.
    #[must_use]
    pub fn takes(&self) -> &'static str {
        self.takes
    }
}

/// A value as it is written with its type: `int:3`, `text:3`, or as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed(pub Value);

impl FromStr for Typed {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        of_text(text).map(Self)
    }
}

/// Reads a value: with a type (`int:3`), as JSON (`3`, `"3"`, `{"a": 1}`), or as the text that it is.
///
/// # Errors
/// It names a type, and what follows is none of it.
pub fn of_text(text: &str) -> Result<Value, NotAValue> {
    let (name, rest) = text.split_once(':').unwrap_or(("", text));
    let wrong = |type_name, takes| NotAValue { type_name, takes };
    match name {
        "int" => {
            let int = rest.parse::<i64>().ok().filter(|_| !rest.starts_with('+'));
            int.map(Value::from).ok_or(wrong("int", "a whole number of 64 bits"))
        }
        "double" => double(rest).ok_or(wrong("double", "a number, NaN, Infinity or -Infinity")),
        "text" => Ok(rest.into()),
        "bool" => rest.parse::<bool>().map(Value::from).map_err(|_| wrong("bool", "true or false")),
        "null" if rest.is_empty() => Ok(Value::Null),
        "null" => Err(wrong("null", "nothing behind it")),
        "timestamp" => {
            let instant = humantime::parse_rfc3339(rest).ok().map(spelled);
            let value = instant.map(|text| json!({ "$timestamp": text }));
            value.ok_or(wrong("timestamp", "a time from 1970 on, such as 2026-05-04T12:30:00.5Z"))
        }
        "bytes" => {
            let bytes = STANDARD.decode(rest).is_ok();
            bytes.then(|| json!({ "$bytes": rest })).ok_or(wrong("bytes", "base64 with padding"))
        }
        "geopoint" => {
            geopoint(rest).ok_or(wrong("geopoint", "latitude and longitude, such as 52.5,13.4"))
        }
        "reference" if !rest.is_empty() => Ok(json!({ "$reference": rest })),
        "reference" => Err(wrong("reference", "the name of a document")),
        "json" => match serde_json::from_str(rest) {
            Ok(_) if has_too_large_integer(rest) => Err(wrong("json", TOO_LARGE)),
            Ok(value) => Ok(value),
            Err(_) => Err(wrong("json", "a value in JSON")),
        },
        _ => match serde_json::from_str(text) {
            Ok(_) if has_too_large_integer(text) => Err(wrong("int", TOO_LARGE)),
            Ok(value) => Ok(value),
            Err(_) => Ok(text.into()),
        },
    }
}

/// Whether JSON has an integer in it that the JSON's reader would make a double of, which rounds.
#[must_use]
pub fn has_too_large_integer(json: &str) -> bool {
    let mut rest = json;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = rest.get(start..).unwrap_or_default();
        if rest.starts_with('"') {
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let _ = texts.next();
            rest = rest.get(texts.byte_offset().max(1)..).unwrap_or_default();
            continue;
        }
        let ends = |c: char| !c.is_ascii_digit() && !"+-.eE".contains(c);
        let (number, behind) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        let is_integer = !number.contains(['.', 'e', 'E']);
        if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return true;
        }
        rest = behind;
    }
    false
}

/// An instant in the one spelling that the Firestore store takes for a timestamp: with 0, 3 or 6 digits
/// behind the second, because Firestore keeps microseconds.
fn spelled(instant: SystemTime) -> String {
    let nanos = instant.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let text = if nanos < 1000 {
        humantime::format_rfc3339_seconds(instant)
    } else if nanos % 1_000_000 < 1000 {
        humantime::format_rfc3339_millis(instant)
    } else {
        humantime::format_rfc3339_micros(instant)
    };
    text.to_string()
}

fn double(text: &str) -> Option<Value> {
    if let "NaN" | "Infinity" | "-Infinity" = text {
        return Some(json!({ "$double": text }));
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number = text.parse::<f64>().ok().filter(|_| is_plain);
    number.and_then(Number::from_f64).map(Value::Number)
}

fn geopoint(text: &str) -> Option<Value> {
    let (latitude, longitude) = text.split_once(',')?;
    let read = |text: &str, max: f64| {
        let number = double(text.trim())?.as_f64()?;
        (-max..=max).contains(&number).then_some(number)
    };
    Some(json!({ "$geopoint": [read(latitude, 90.0)?, read(longitude, 180.0)?] }))
}

/// The name of a value's type, for people.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => match special(value) {
            Some(("$timestamp", _)) => "timestamp",
            Some(("$bytes", _)) => "bytes",
            Some(("$geopoint", _)) => "geographical point",
            Some(("$reference", _)) => "reference",
            Some(("$double", _)) => "double",
            Some(_) => "value of an unknown type",
            None => "map",
        },
    }
}

/// Whether the text in an object that stands for a timestamp or a double is one.
pub(crate) fn is_valid(value: &Value) -> bool {
    match special(value) {
        Some(("$timestamp", Value::String(text))) => humantime::parse_rfc3339(text).is_ok(),
        Some(("$double", Value::String(text))) => {
            matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity")
        }
        _ => true,
    }
}

/// Whether a value is one for itself, though it is an object in JSON.
#[must_use]
pub(crate) fn is_scalar(value: &Value) -> bool {
    special(value).is_some()
}

/// The type and the content of an object that stands for a value of another type.
fn special(value: &Value) -> Option<(&str, &Value)> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let (name, content) = fields.iter().next()?;
    let is_one = match name.as_str() {
        "$timestamp" | "$bytes" | "$reference" | "$double" => content.is_string(),
        "$geopoint" => content.as_array().is_some_and(|items| items.len() == 2),
        "$unknown" | crate::redact::HIDDEN => true,
        _ => false,
    };
    is_one.then_some((name, content))
}

/// Writes a value so that [`of_text`] reads it back: with its type where that is shorter or clearer.
#[must_use]
pub fn typed(value: &Value) -> String {
    match (value, special(value)) {
        (_, Some(("$timestamp", Value::String(text)))) => format!("timestamp:{text}"),
        (_, Some(("$bytes", Value::String(text)))) => format!("bytes:{text}"),
        (_, Some(("$reference", Value::String(text)))) => format!("reference:{text}"),
        (_, Some(("$double", Value::String(text)))) => format!("double:{text}"),
        (_, Some(("$geopoint", Value::Array(items)))) => {
            let numbers: Vec<_> = items.iter().map(Value::to_string).collect();
            format!("geopoint:{}", numbers.join(","))
        }
        (Value::Number(number), _) if number.is_f64() => format!("double:{number}"),
        (Value::Number(number), _) => format!("int:{number}"),
        (Value::String(text), _) => format!("text:{text}"),
        (Value::Bool(value), _) => format!("bool:{value}"),
        (Value::Null, _) => "null".to_owned(),
        (other, _) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_with_its_type_as_json_or_as_text() {
        for (text, value) in [
            ("int:3", json!(3)),
            ("int:-9223372036854775808", json!(i64::MIN)),
            ("double:1", json!(1.0)),
            ("double:-0.5e3", json!(-500.0)),
            ("double:NaN", json!({ "$double": "NaN" })),
            ("text:3", json!("3")),
            ("text:", json!("")),
            ("text:a:b", json!("a:b")),
            ("bool:true", json!(true)),
            ("null:", json!(null)),
            ("null", json!(null)),
            (
                "timestamp:2026-05-04T12:30:00.5Z",
                json!({ "$timestamp": "2026-05-04T12:30:00.500Z" }),
            ),
            ("timestamp:2026-05-04T12:30:00Z", json!({ "$timestamp": "2026-05-04T12:30:00Z" })),
            (
                "timestamp:2026-05-04T12:30:00.123456789Z",
                json!({ "$timestamp": "2026-05-04T12:30:00.123456Z" }),
            ),
            ("bytes:aGk=", json!({ "$bytes": "aGk=" })),
            ("geopoint:52.5,13.4", json!({ "$geopoint": [52.5, 13.4] })),
            ("reference:projects/p/x", json!({ "$reference": "projects/p/x" })),
            ("json:[1,2]", json!([1, 2])),
            ("3", json!(3)),
            ("3.0", json!(3.0)),
            ("true", json!(true)),
            ("\"3\"", json!("3")),
            (r#"{"a": [1]}"#, json!({ "a": [1] })),
            ("Hola Mundo", json!("Hola Mundo")),
            ("01234", json!("01234")),
            ("https://example.com", json!("https://example.com")),
            ("", json!("")),
        ] {
            assert_eq!(of_text(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_none_of_its_type_is_refused_and_says_what_the_type_takes() {
        for text in [
            "int:3.0",
            "int:",
            "int:+3",
            "int:9223372036854775808",
            "double:x",
            "double:inf",
            "double:1e999",
            "bool:yes",
            "null:x",
            "timestamp:today",
            "bytes:a",
            "geopoint:91,0",
            "geopoint:1",
            "reference:",
            "json:{",
        ] {
            let error = of_text(text).unwrap_err().to_string();
            let name = text.split(':').next().unwrap();
            assert!(error.starts_with(&format!("`{name}:` takes ")), "{text}: {error}");
        }
    }

    #[test]
    fn no_integer_is_rounded_unasked() {
        for text in [
            "18446744073709551616",
            "-9223372036854775809",
            r#"{"a": ["\"", 1, 99999999999999999999]}"#,
            "json:[99999999999999999999]",
        ] {
            let error = of_text(text).unwrap_err().to_string();
            assert!(error.contains("whole numbers of 64 bits"), "{text}: {error}");
        }
        for (text, value) in [
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("99999999999999999999.0", json!(1e20)),
            ("1e20", json!(1e20)),
            (r#""99999999999999999999""#, json!("99999999999999999999")),
            (r#"{"\"99999999999999999999": -0}"#, json!({ "\"99999999999999999999": -0.0 })),
            ("text:99999999999999999999", json!("99999999999999999999")),
            ("call 99999999999999999999", json!("call 99999999999999999999")),
        ] {
            assert_eq!(of_text(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_value_is_written_as_it_is_read() {
        for value in [
            json!(null),
            json!(true),
            json!(1),
            json!(1.0),
            json!(1e300),
            json!(""),
            json!("int:3"),
            json!([1, "a"]),
            json!({ "a": null }),
            json!({ "$timestamp": "2026-05-04T12:30:00Z" }),
            json!({ "$bytes": "aGk=" }),
            json!({ "$geopoint": [52.5, -13.0] }),
            json!({ "$reference": "a/b" }),
            json!({ "$double": "-Infinity" }),
            json!({ "$$bytes": "aGk=" }),
        ] {
            assert_eq!(of_text(&typed(&value)), Ok(value.clone()), "{value}");
        }
    }

    #[test]
    fn each_type_has_a_name() {
        for (value, name) in [
            (json!(1), "integer"),
            (json!(1.0), "double"),
            (json!({ "$double": "NaN" }), "double"),
            (json!({ "$timestamp": "x" }), "timestamp"),
            (json!({ "$timestamp": 1 }), "map"),
            (json!({ "$timestamp": "x", "a": 1 }), "map"),
            (json!({ "$$timestamp": "x" }), "map"),
            (json!({ "$unknown": null }), "value of an unknown type"),
            (json!({}), "map"),
            (json!([]), "list"),
        ] {
            assert_eq!(kind(&value), name, "{value}");
        }
    }
}
