//! JSON as Firestore's typed values, and back, to the last bit.
//!
//! | JSON | Firestore |
//! |---|---|
//! | null, booleans, texts, arrays, objects | the same |
//! | an integer | an integer |
//! | any other number | a double |
//! | `{"$timestamp": "2026-05-04T12:30:00.5Z"}` | a timestamp |
//! | `{"$bytes": "aGk="}`, in base64 | bytes |
//! | `{"$geopoint": [52.5, 13.4]}`, latitude and longitude | a geographical point |
//! | `{"$reference": "projects/…/documents/…"}` | a reference |
//! | `{"$double": "NaN"}`, or `Infinity`, `-Infinity` | that double |
//!
//! The texts count only in the one spelling that reading gives; anything else is an object like any
//! other. Firestore takes no array in an array, so the inner one becomes the map `{"$array": […]}`.
//!
//! So that each value has one form on either side, one more `$` tells what only looks like one of
//! these: in JSON a map of Firestore's, as in `{"$$bytes": "aGk="}`, and in Firestore an object in
//! an array, as in `[{"$$array": […]}]`.

use std::{collections::HashMap, ops::RangeInclusive};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use googleapis_tonic_google_firestore_v1::google::{
    firestore::v1::{ArrayValue, MapValue, Value as Typed, value::ValueType},
    r#type::LatLng,
};
use prost_types::Timestamp as Moment;
use serde_json::{Map, Number, Value as Json};

/// How deep Firestore lets maps and arrays nest.
const DEPTH_MAX: usize = 20;

/// How long a name may be, with the names of the objects around it.
const PATH_BYTES_MAX: usize = 1500;

/// The instants that Firestore takes, the years 1 to 9999, in seconds since 1970.
const MOMENTS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    #[error("maps and arrays may nest {DEPTH_MAX} levels deep")]
    TooDeep,
    #[error("a name, with those of the objects around it, may have {PATH_BYTES_MAX} bytes")]
    LongPath,
    #[error("an integer must fit into 64 bits with a sign")]
    IntegerOutOfRange,
    #[error(
        "it holds a value of a type that this version of ingle does not know, and which it would \
         lose"
    )]
    Unknown,
}

/// What stands for a value of a type that this version does not know. It can be read and never be
/// written.
const UNKNOWN: &str = "unknown";

pub(super) fn typed(value_type: ValueType) -> Typed {
    Typed { value_type: Some(value_type) }
}

/// How much room there is below a place.
#[derive(Clone, Copy)]
struct Room {
    levels: usize,
    path_bytes: usize,
}

impl Room {
    /// Inside of an array, or of a map that is no object of the app's.
    fn inside(self) -> Result<Self, Unwritable> {
        let levels = self.levels.checked_sub(1).ok_or(Unwritable::TooDeep)?;
        Ok(Self { levels, ..self })
    }

    /// Under a name and a dot.
    fn under(self, name: &str) -> Result<Self, Unwritable> {
        // The last name has no dot behind it.
        let left = (self.path_bytes + 1).checked_sub(name.len() + 1).ok_or(Unwritable::LongPath)?;
        Ok(Self { path_bytes: left.saturating_sub(1), ..self })
    }
}

/// Writes the value of a top-level field.
pub(super) fn write(name: &str, json: &Json) -> Result<Typed, Unwritable> {
    let room = Room { levels: DEPTH_MAX, path_bytes: PATH_BYTES_MAX };
    write_within(json, room.under(name)?, false)
}

fn write_within(json: &Json, room: Room, in_array: bool) -> Result<Typed, Unwritable> {
    Ok(typed(match json {
        Json::Null => ValueType::NullValue(0),
        Json::Bool(value) => ValueType::BooleanValue(*value),
        Json::Number(number) => write_number(number)?,
        Json::String(text) => ValueType::StringValue(text.clone()),
        Json::Array(_) if in_array => nested(write_within(json, room.inside()?, false)?),
        Json::Array(items) => {
            let room = room.inside()?;
            let values = items.iter().map(|item| write_within(item, room, true));
            ValueType::ArrayValue(ArrayValue { values: values.collect::<Result<_, _>>()? })
        }
        Json::Object(fields) => match look(fields) {
            Look::Special(content) => content.ok_or(Unwritable::Unknown)?,
            Look::LikeSpecial => write_map(&renamed(fields, fewer), room.inside()?)?,
            Look::Array | Look::LikeArray if in_array => {
                write_map(&renamed(fields, more), room.inside()?)?
            }
            Look::Array | Look::LikeArray | Look::Plain => write_map(fields, room.inside()?)?,
        },
    }))
}

fn write_map(fields: &Map<String, Json>, room: Room) -> Result<ValueType, Unwritable> {
    let mut written = HashMap::with_capacity(fields.len());
    for (name, value) in fields {
        written.insert(name.clone(), write_within(value, room.under(name)?, false)?);
    }
    Ok(ValueType::MapValue(MapValue { fields: written }))
}

/// An array in an array.
fn nested(array: Typed) -> ValueType {
    ValueType::MapValue(MapValue { fields: HashMap::from([("$array".to_owned(), array)]) })
}

/// What an object may be taken for.
enum Look {
    /// What JSON cannot say; `None` is what this version cannot write.
    Special(Option<ValueType>),
    /// The same, but for more than one `$`.
    LikeSpecial,
    /// An array in an array.
    Array,
    /// The same, but for more than one `$`.
    LikeArray,
    /// Nothing else.
    Plain,
}

fn look(fields: &Map<String, Json>) -> Look {
    let mut iterator = fields.iter();
    let (Some((name, content)), None) = (iterator.next(), iterator.next()) else {
        return Look::Plain;
    };
    let tag = name.trim_start_matches('$');
    let one = match name.len() - tag.len() {
        0 => return Look::Plain,
        n => n == 1,
    };
    let value = match (tag, content) {
        ("array", Json::Array(_)) => return if one { Look::Array } else { Look::LikeArray },
        (UNKNOWN, Json::Null) => None,
        _ => match special(tag, content) {
            None => return Look::Plain,
            value => value,
        },
    };
    if one { Look::Special(value) } else { Look::LikeSpecial }
}

/// A copy of an object whose names are others.
fn renamed(fields: &Map<String, Json>, rename: impl Fn(&str) -> String) -> Map<String, Json> {
    fields.iter().map(|(name, value)| (rename(name), value.clone())).collect()
}

fn more(name: &str) -> String {
    format!("${name}")
}

fn fewer(name: &str) -> String {
    name.strip_prefix('$').unwrap_or(name).to_owned()
}

fn write_number(number: &Number) -> Result<ValueType, Unwritable> {
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => Ok(ValueType::IntegerValue(integer)),
        (None, Some(double)) if number.is_f64() => Ok(ValueType::DoubleValue(double)),
        _ => Err(Unwritable::IntegerOutOfRange),
    }
}

/// What JSON cannot say, from what stands for it.
fn special(tag: &str, content: &Json) -> Option<ValueType> {
    match (tag, content) {
        ("timestamp", Json::String(text)) => {
            let moment: Moment = text.parse().ok()?;
            // Firestore keeps microseconds and drops what is finer.
            let exact = MOMENTS.contains(&moment.seconds) && moment.nanos % 1000 == 0;
            (exact && moment.to_string() == *text).then_some(ValueType::TimestampValue(moment))
        }
        ("bytes", Json::String(text)) => {
            let bytes = STANDARD.decode(text).ok()?;
            (STANDARD.encode(&bytes) == *text).then_some(ValueType::BytesValue(bytes))
        }
        ("geopoint", Json::Array(point)) => geo_point(point),
        ("reference", Json::String(name)) => {
            is_reference(name).then(|| ValueType::ReferenceValue(name.clone()))
        }
        ("double", Json::String(text)) => match text.as_str() {
            "NaN" => Some(ValueType::DoubleValue(f64::NAN)),
            "Infinity" => Some(ValueType::DoubleValue(f64::INFINITY)),
            "-Infinity" => Some(ValueType::DoubleValue(f64::NEG_INFINITY)),
            _ => None,
        },
        _ => None,
    }
}

fn geo_point(point: &[Json]) -> Option<ValueType> {
    let [Json::Number(latitude), Json::Number(longitude)] = point else { return None };
    let double = |number: &Number| number.as_f64().filter(|_| number.is_f64());
    let (latitude, longitude) = (double(latitude)?, double(longitude)?);
    let on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
    on_earth.then_some(ValueType::GeoPointValue(LatLng { latitude, longitude }))
}

/// Whether Firestore takes a text as the name of a document.
fn is_reference(name: &str) -> bool {
    let mut parts = name.splitn(6, '/');
    let (projects, project) = (parts.next(), parts.next());
    let (databases, database) = (parts.next(), parts.next());
    let (documents, path) = (parts.next(), parts.next());
    let named = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    let ids = path.unwrap_or_default().split('/');
    (projects, databases, documents) == (Some("projects"), Some("databases"), Some("documents"))
        && named(project)
        && named(database)
        && ids.clone().count().is_multiple_of(2)
        && ids.into_iter().all(super::config::is_id)
}

/// Reads the value of a top-level field.
pub(super) fn read(value: Typed) -> Json {
    read_within(value, false)
}

fn read_within(value: Typed, in_array: bool) -> Json {
    match value.value_type {
        Some(ValueType::NullValue(_)) => Json::Null,
        Some(ValueType::BooleanValue(value)) => Json::Bool(value),
        Some(ValueType::IntegerValue(integer)) => Json::Number(integer.into()),
        Some(ValueType::DoubleValue(double)) => match Number::from_f64(double) {
            Some(number) => Json::Number(number),
            None if double.is_nan() => tagged("double", "NaN"),
            None if double > 0.0 => tagged("double", "Infinity"),
            None => tagged("double", "-Infinity"),
        },
        Some(ValueType::TimestampValue(moment)) => tagged("timestamp", moment.to_string()),
        Some(ValueType::StringValue(text)) => Json::String(text),
        Some(ValueType::BytesValue(bytes)) => tagged("bytes", STANDARD.encode(bytes)),
        Some(ValueType::ReferenceValue(name)) => tagged("reference", name),
        Some(ValueType::GeoPointValue(LatLng { latitude, longitude })) => {
            tagged("geopoint", vec![latitude, longitude])
        }
        Some(ValueType::ArrayValue(array)) => {
            Json::Array(array.values.into_iter().map(|item| read_within(item, true)).collect())
        }
        Some(ValueType::MapValue(map)) => read_map(map, in_array),
        _ => tagged(UNKNOWN, Json::Null),
    }
}

fn read_map(map: MapValue, in_array: bool) -> Json {
    let fields = map.fields.into_iter();
    let fields: Map<String, Json> =
        fields.map(|(name, value)| (name, read_within(value, false))).collect();
    match look(&fields) {
        Look::Special(_) | Look::LikeSpecial => Json::Object(renamed(&fields, more)),
        Look::Array if in_array => {
            fields.into_iter().next().map(|(_, array)| array).unwrap_or_default()
        }
        Look::LikeArray if in_array => Json::Object(renamed(&fields, fewer)),
        Look::Array | Look::LikeArray | Look::Plain => Json::Object(fields),
    }
}

fn tagged(tag: &str, content: impl Into<Json>) -> Json {
    Json::Object(Map::from_iter([(format!("${tag}"), content.into())]))
}

/// How many bytes Firestore counts for a value
/// (<https://firebase.google.com/docs/firestore/storage-size>).
pub(super) fn stored_len(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) => 1,
        Json::Number(_) => 8,
        Json::String(text) => text.len() + 1,
        Json::Array(items) => items.iter().map(item_len).sum(),
        Json::Object(fields) => fields_len(fields),
    }
}

fn item_len(json: &Json) -> usize {
    // The map around an array in an array.
    let around = if json.is_array() { "$array".len() + 1 } else { 0 };
    around + stored_len(json)
}

/// The same for named fields.
pub(super) fn fields_len(fields: &Map<String, Json>) -> usize {
    fields.iter().map(|(name, value)| name.len() + 1 + stored_len(value)).sum()
}
