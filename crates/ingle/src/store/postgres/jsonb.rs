//! Data as the text of a `jsonb`, and back, to the last bit.
//!
//! A number in a `jsonb` is a decimal: it has no negative zero, and keeps no exponent. What is an
//! integer and what a double is told by the point: PostgreSQL keeps the zero of `1.0`, and turns
//! `1e16` into `10000000000000000`. So
//!
//! | data | `jsonb` |
//! |---|---|
//! | an integer | an integer |
//! | a double | with a fraction (`1.0`), or an integer of 21 digits and more |
//! | -0.0 | `{"$double": "-0.0"}` |
//! | `{"$double": "-0.0"}`, with one `$` or more | the same with one more `$` |
//!
//! Everything else is the same on both sides, but for the order of names.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value, ser::Formatter};

use crate::data::Data;

/// From here on a double is written with an exponent: as an integer it has more digits than any
/// integer of 64 bits, and so is read as a double.
const LARGE: f64 = 1e20;

const TAG: &str = "double";
const NEGATIVE_ZERO: &str = "-0.0";

/// The text to write.
pub(super) fn write(data: &Data) -> serde_json::Result<String> {
    let mut text = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, WithPoint);
    Fields(data).serialize(&mut serializer)?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// What a text says.
pub(super) fn read(text: &str) -> serde_json::Result<Value> {
    let mut value = serde_json::from_str(text)?;
    // Hardly any text has one.
    if text.contains("$double\"")
        && let Value::Object(fields) = &mut value
    {
        fields.values_mut().for_each(untag);
    }
    Ok(value)
}

/// Writes doubles so that they are doubles when they come back.
struct WithPoint;

impl Formatter for WithPoint {
    fn write_f64<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        value: f64,
    ) -> std::io::Result<()> {
        if value == 0.0 && value.is_sign_negative() {
            write!(writer, "{{\"${TAG}\":\"{NEGATIVE_ZERO}\"}}")
        } else if value.fract() == 0.0 && value.abs() < LARGE {
            write!(writer, "{value:.1}")
        } else {
            // The shortest text that is this double and no other.
            write!(writer, "{value:e}")
        }
    }
}

/// An object whose values are to be written.
struct Fields<'a>(&'a Map<String, Value>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &Written(value))?;
        }
        map.end()
    }
}

struct Written<'a>(&'a Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => match tagged(fields) {
                Some(tag) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry(&format!("${tag}"), NEGATIVE_ZERO)?;
                    map.end()
                }
                None => Fields(fields).serialize(serializer),
            },
            Value::Array(items) => serializer.collect_seq(items.iter().map(Written)),
            other => other.serialize(serializer),
        }
    }
}

/// The name of the only field, if the object is one that stands for -0.0, but for the number of `$`.
fn tagged(fields: &Map<String, Value>) -> Option<&str> {
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (Some((name, Value::String(text))), None) if text == NEGATIVE_ZERO => {
            (name.starts_with('$') && name.trim_start_matches('$') == TAG).then_some(name)
        }
        _ => None,
    }
}

fn untag(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let Some(tag) = tagged(fields) else {
                return fields.values_mut().for_each(untag);
            };
            *value = match tag.strip_prefix('$') {
                Some(fewer) if fewer != TAG => {
                    Value::Object(Map::from_iter([(fewer.to_owned(), NEGATIVE_ZERO.into())]))
                }
                _ => Value::from(-0.0),
            };
        }
        Value::Array(items) => items.iter_mut().for_each(untag),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fuzz::{self, fuzz, spoiled};

    #[test]
    fn fuzz_the_text_of_a_jsonb() {
        let words =
            ["-0.0", "1e400", "\\ud800", "$double", "[", "{", "\"", "9223372036854775808", "é"];
        fuzz("a jsonb of PostgreSQL", |u| {
            let text = write(&fuzz::object(u, 4)?).unwrap();
            let text = spoiled(u, &[text.as_bytes()], &words)?;
            let Ok(text) = std::str::from_utf8(&text) else { return Ok(()) };
            if let Ok(Value::Object(read)) = super::read(text) {
                let again = super::read(&write(&read).unwrap()).unwrap();
                // As text, because -0.0 equals 0.0.
                assert_eq!(again.to_string(), Value::Object(read).to_string(), "{text}");
            }
            Ok(())
        });
    }

    /// What PostgreSQL makes of a number: a decimal without an exponent.
    fn plain(text: &str) -> String {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        let (digits, exponent) = digits.split_once('e').unwrap_or((digits, "0"));
        let exponent: i32 = exponent.parse().unwrap();
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let point = whole.len() as i32 + exponent;
        let mut all = format!("{whole}{fraction}");
        if point <= 0 {
            return format!("{sign}0.{}{all}", "0".repeat(point.unsigned_abs() as usize));
        }
        let point = point as usize;
        while all.len() < point {
            all.push('0');
        }
        let scale = if all.len() > point { "." } else { "" };
        format!("{sign}{}{scale}{}", &all[..point], &all[point..])
    }

    /// Writes, as PostgreSQL keeps it, and reads.
    fn through(value: Value) -> Value {
        let text = write(&Map::from_iter([("a".to_owned(), value)])).unwrap();
        let mut kept = String::new();
        let (mut number, mut in_text, mut escaped) = (String::new(), false, false);
        for c in text.chars() {
            if !in_text
                && (c.is_ascii_digit() || "+-.".contains(c) || c == 'e' && !number.is_empty())
            {
                number.push(c);
                continue;
            }
            if !number.is_empty() {
                kept.push_str(&plain(&std::mem::take(&mut number)));
            }
            in_text ^= c == '"' && !escaped;
            escaped = in_text && c == '\\' && !escaped;
            kept.push(c);
        }
        read(&kept).unwrap()["a"].clone()
    }

    fn value() -> impl Strategy<Value = Value> {
        let name = prop_oneof!["[a$\"\\\\]{0,3}", "\\${0,3}double"];
        let text = prop_oneof!["[a0-9\"\\\\-]{0,4}", Just("-0.0".to_owned())];
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n))),
            Just(Value::from(-0.0)),
            text.prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 3, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map(name.clone(), inner, 0..3)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in value()) {
            // As text, because -0.0 equals 0.0.
            prop_assert_eq!(through(value.clone()).to_string(), value.to_string());
        }
    }

    #[test]
    fn numbers_are_as_people_write_them() {
        let data = json!({ "a": 1.0, "b": 1, "c": 1e16, "d": -2.5, "e": -0.0, "f": 0.0 });
        let Value::Object(data) = data else { unreachable!() };
        assert_eq!(
            write(&data).unwrap(),
            r#"{"a":1.0,"b":1,"c":10000000000000000.0,"d":-2.5e0,"e":{"$double":"-0.0"},"f":0.0}"#
        );
    }

    #[test]
    fn only_what_stands_for_it_is_negative_zero() {
        let read = |text| super::read(text).unwrap()["a"].to_string();
        assert_eq!(read(r#"{"a": {"$double": "-0.0"}}"#), "-0.0");
        assert_eq!(read(r#"{"a": {"$$double": "-0.0"}}"#), r#"{"$double":"-0.0"}"#);
        assert_eq!(read(r#"{"a": {"$double": "-0"}}"#), r#"{"$double":"-0"}"#);
        assert_eq!(read(r#"{"a": {"double": "-0.0"}}"#), r#"{"double":"-0.0"}"#);
    }
}
