//! Turns any `Serialize` into a JSON value, and refuses what a session cannot hold.
//!
//! `serde_json::to_value` silently writes NaN as `null`, keeps integers that no store can hold, and
//! follows a value however deep it nests. This encoder stops at the first such value and says where
//! it is.
//!
//! It also compares each value with the stored one, and copies none that is equal. A closure leaves
//! most of what it is shown as it was.
//!
//! It tells objects that are places from those that come and go, because only a place may keep what
//! a type does not know of it. A struct's field is a place, and so is a struct in it. What is in an
//! `Option`, an enum's variant, a map or a list comes and goes.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::ser::{self, Serialize};
use serde_json::{Map, Number, Value};

use super::{
    Data, InvalidValue, Limits, Reason, check_name,
    fields::{Field, Fields, Part},
};

/// The value of one field.
///
/// # Errors
/// What [`Reason`] lists, with the path below the field.
pub(crate) fn value<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
) -> Result<Value, InvalidValue> {
    Ok(part(value, None, limits)?.into_value(None))
}

/// The value of one field, compared with what is `stored` there.
///
/// # Errors
/// What [`Reason`] lists, with the path below the field.
pub(crate) fn part<T: Serialize + ?Sized>(
    value: &T,
    stored: Option<&Value>,
    limits: &Limits,
) -> Result<Part, InvalidValue> {
    // The data that the field belongs to is level 1.
    let budget = Cell::new(limits.bytes_max);
    let stored = stored.map_or(Stored::Nothing, Stored::Value);
    Ok(value
        .serialize(Encoder { limits, budget: &budget, depth: 1, stored, is_place: true })?
        .into_part(stored))
}

/// The value of one item of the array in a field.
///
/// # Errors
/// What [`Reason`] lists, with the path below the item.
pub(crate) fn item<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
) -> Result<Value, InvalidValue> {
    let budget = Cell::new(limits.bytes_max);
    let stored = Stored::Nothing;
    let encoder = Encoder { limits, budget: &budget, depth: 2, stored, is_place: false };
    Ok(value.serialize(encoder)?.into_part(stored).into_value(None))
}

/// The fields of the whole data, compared with what is `stored`.
///
/// # Errors
/// What [`Reason`] lists, with the path.
pub(crate) fn fields<T: Serialize + ?Sized>(
    value: &T,
    stored: &Data,
    limits: &Limits,
) -> Result<Fields, InvalidValue> {
    let budget = Cell::new(limits.bytes_max);
    let stored = Stored::Data(stored);
    let encoder = Encoder { limits, budget: &budget, depth: 0, stored, is_place: true };
    match value.serialize(encoder)? {
        Encoded::Object { fields, .. } => Ok(fields),
        Encoded::Part(_) => Err(InvalidValue::new(Reason::NotAnObject)),
    }
}

/// The stored value at the place of the value that is encoded.
#[derive(Clone, Copy)]
enum Stored<'a> {
    Nothing,
    Value(&'a Value),
    Data(&'a Data),
}

impl<'a> Stored<'a> {
    fn object(self) -> Option<&'a Data> {
        match self {
            Self::Data(data) | Self::Value(Value::Object(data)) => Some(data),
            _ => None,
        }
    }

    fn array(self) -> Option<&'a [Value]> {
        match self {
            Self::Value(Value::Array(items)) => Some(items),
            _ => None,
        }
    }

    fn field(self, name: &str) -> Self {
        self.object().and_then(|data| data.get(name)).map_or(Self::Nothing, Self::Value)
    }

    fn item(self, index: usize) -> Self {
        self.array().and_then(|items| items.get(index)).map_or(Self::Nothing, Self::Value)
    }

    /// The stored content of an enum's variant: `{"Variant": content}`.
    fn variant(self, name: &str) -> Self {
        match self.object() {
            Some(data) if data.len() == 1 => self.field(name),
            _ => Self::Nothing,
        }
    }
}

/// The result of a serializer. The caller that needs an object as a value builds it.
enum Encoded {
    Part(Part),
    Object { fields: Fields, is_place: bool },
}

impl Encoded {
    fn into_part(self, stored: Stored<'_>) -> Part {
        let (fields, is_place) = match self {
            Self::Part(part) => return part,
            Self::Object { fields, is_place } => (fields, is_place),
        };
        let before = stored.object();
        let same = before.is_some_and(|before| {
            before.len() == fields.len() && fields.parts().all(|part| *part == Part::Same)
        });
        match (same, is_place) {
            (true, _) => Part::Same,
            (false, true) => Part::Place(fields),
            (false, false) => Part::Other(Value::Object(fields.into_data(before))),
        }
    }
}

impl ser::Error for InvalidValue {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Reason::Serialize(message.to_string()))
    }
}

#[derive(Clone, Copy)]
struct Encoder<'a> {
    limits: &'a Limits,
    /// How many bytes texts may still take. It stops a huge text before it is copied.
    budget: &'a Cell<usize>,
    /// How many objects and arrays are around this value.
    depth: usize,
    stored: Stored<'a>,
    /// Whether what is here stays the same object, whatever is in it.
    is_place: bool,
}

impl<'a> Encoder<'a> {
    /// The encoder for what is inside a container at this place.
    fn inside(self) -> Result<Self, InvalidValue> {
        if self.depth >= self.limits.depth_max {
            return Err(InvalidValue::new(Reason::TooDeep { max: self.limits.depth_max }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn spend(self, bytes: usize) -> Result<(), InvalidValue> {
        match self.budget.get().checked_sub(bytes) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(InvalidValue::new(Reason::TooLarge { max: self.limits.bytes_max })),
        }
    }

    /// The encoder of what comes and goes here.
    fn content(self) -> Self {
        Self { is_place: false, ..self }
    }

    /// The encoder of what an enum's variant contains.
    fn variant(self, name: &str) -> Result<Self, InvalidValue> {
        Ok(Self { stored: self.stored.variant(name), ..self.content().inside()? })
    }

    /// A value that is copied only if it differs from the stored one.
    fn scalar(self, is: impl FnOnce(&Value) -> bool, copy: impl FnOnce() -> Value) -> Encoded {
        Encoded::Part(match self.stored {
            Stored::Value(stored) if is(stored) => Part::Same,
            _ => Part::Other(copy()),
        })
    }

    fn array(self) -> Result<ArrayEncoder<'a>, InvalidValue> {
        let items = Items::SameSoFar(0);
        Ok(ArrayEncoder { inner: self.content().inside()?, items, variant: None })
    }

    fn object(self, fields: usize) -> Result<ObjectEncoder<'a>, InvalidValue> {
        let fields = Vec::with_capacity(fields.min(self.limits.fields_max));
        let inner = self.inside()?;
        Ok(ObjectEncoder { inner, fields, name: None, variant: None })
    }
}

impl<'a> ser::Serializer for Encoder<'a> {
    type Ok = Encoded;
    type Error = InvalidValue;
    type SerializeSeq = ArrayEncoder<'a>;
    type SerializeTuple = ArrayEncoder<'a>;
    type SerializeTupleStruct = ArrayEncoder<'a>;
    type SerializeTupleVariant = ArrayEncoder<'a>;
    type SerializeMap = ObjectEncoder<'a>;
    type SerializeStruct = ObjectEncoder<'a>;
    type SerializeStructVariant = ObjectEncoder<'a>;

    fn serialize_bool(self, value: bool) -> Result<Encoded, InvalidValue> {
        let value = Value::Bool(value);
        Ok(self.scalar(|stored| *stored == value, || value.clone()))
    }

    fn serialize_i8(self, value: i8) -> Result<Encoded, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<Encoded, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<Encoded, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<Encoded, InvalidValue> {
        self.spend(1)?;
        let value = Value::Number(value.into());
        Ok(self.scalar(|stored| *stored == value, || value.clone()))
    }

    fn serialize_i128(self, value: i128) -> Result<Encoded, InvalidValue> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => Err(InvalidValue::new(Reason::IntegerOutOfRange)),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<Encoded, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<Encoded, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<Encoded, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<Encoded, InvalidValue> {
        self.serialize_i128(value.into())
    }

    fn serialize_u128(self, value: u128) -> Result<Encoded, InvalidValue> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => Err(InvalidValue::new(Reason::IntegerOutOfRange)),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<Encoded, InvalidValue> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Encoded, InvalidValue> {
        self.spend(1)?;
        let value = Number::from_f64(value).map(Value::Number);
        let value = value.ok_or_else(|| InvalidValue::new(Reason::NonFinite))?;
        Ok(self.scalar(|stored| *stored == value, || value.clone()))
    }

    fn serialize_char(self, value: char) -> Result<Encoded, InvalidValue> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Encoded, InvalidValue> {
        self.spend(value.len() + 2)?;
        if value.contains('\0') {
            return Err(InvalidValue::new(Reason::Nul));
        }
        Ok(self.scalar(|stored| stored == value, || Value::String(value.to_owned())))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Encoded, InvalidValue> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<Encoded, InvalidValue> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Encoded, InvalidValue> {
        value.serialize(self.content())
    }

    fn serialize_unit(self) -> Result<Encoded, InvalidValue> {
        self.spend(1)?;
        Ok(self.scalar(Value::is_null, || Value::Null))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Encoded, InvalidValue> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Encoded, InvalidValue> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Encoded, InvalidValue> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Encoded, InvalidValue> {
        let mut object = self.content().object(1)?;
        object.put(Cow::Borrowed(variant), value, false)?;
        ser::SerializeMap::end(object)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ArrayEncoder<'a>, InvalidValue> {
        self.array()
    }

    fn serialize_tuple(self, _: usize) -> Result<ArrayEncoder<'a>, InvalidValue> {
        self.array()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<ArrayEncoder<'a>, InvalidValue> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ArrayEncoder<'a>, InvalidValue> {
        let array = self.variant(variant)?.array()?;
        Ok(ArrayEncoder { variant: Some(variant), ..array })
    }

    fn serialize_map(self, fields: Option<usize>) -> Result<ObjectEncoder<'a>, InvalidValue> {
        self.object(fields.unwrap_or_default())
    }

    fn serialize_struct(
        self,
        _: &'static str,
        fields: usize,
    ) -> Result<ObjectEncoder<'a>, InvalidValue> {
        self.object(fields)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        fields: usize,
    ) -> Result<ObjectEncoder<'a>, InvalidValue> {
        let object = self.variant(variant)?.object(fields)?;
        Ok(ObjectEncoder { variant: Some(variant), ..object })
    }
}

/// Wraps the content of an enum's variant as serde_json does: `{"Variant": content}`.
fn in_variant(variant: Option<&'static str>, content: Part) -> Part {
    match (variant, content) {
        (None, content) | (_, content @ Part::Same) => content,
        (Some(name), content) => {
            let content = content.into_value(None);
            Part::Other(Value::Object(Map::from_iter([(name.to_owned(), content)])))
        }
    }
}

struct ArrayEncoder<'a> {
    inner: Encoder<'a>,
    items: Items,
    variant: Option<&'static str>,
}

/// The items of an array. They are copied from the first one on that differs from the stored one.
enum Items {
    SameSoFar(usize),
    Others(Vec<Value>),
}

impl ArrayEncoder<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), InvalidValue> {
        let index = match &self.items {
            Items::SameSoFar(count) => *count,
            Items::Others(items) => items.len(),
        };
        self.inner.spend(1)?;
        let stored = self.inner.stored.item(index);
        let encoded = item.serialize(Encoder { stored, ..self.inner });
        let part = encoded.map_err(|error| error.under(&format!("[{index}]")))?.into_part(stored);
        match (&mut self.items, part) {
            (Items::SameSoFar(count), Part::Same) => *count += 1,
            (Items::SameSoFar(_), Part::Other(item)) => {
                let mut items = self.first(index);
                items.push(item);
                self.items = Items::Others(items);
            }
            (Items::Others(items), Part::Other(item)) => items.push(item),
            (Items::Others(items), Part::Same) => {
                if let Stored::Value(stored) = stored {
                    items.push(stored.clone());
                }
            }
            // No item is a place.
            (_, Part::Place(_)) => {}
        }
        Ok(())
    }

    /// The first stored items.
    fn first(&self, count: usize) -> Vec<Value> {
        let stored = self.inner.stored.array().unwrap_or_default();
        stored.get(..count).unwrap_or(stored).to_vec()
    }

    fn finish(self) -> Encoded {
        let stored = self.inner.stored.array();
        let part = match self.items {
            Items::SameSoFar(count) if stored.is_some_and(|stored| stored.len() == count) => {
                Part::Same
            }
            Items::SameSoFar(count) => Part::Other(Value::Array(self.first(count))),
            Items::Others(items) => Part::Other(Value::Array(items)),
        };
        Encoded::Part(in_variant(self.variant, part))
    }
}

struct ObjectEncoder<'a> {
    inner: Encoder<'a>,
    fields: Vec<Field>,
    /// The name that the next value belongs to, for a map that is written in two steps.
    name: Option<String>,
    variant: Option<&'static str>,
}

impl ObjectEncoder<'_> {
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: Cow<'static, str>,
        value: &T,
        is_place: bool,
    ) -> Result<(), InvalidValue> {
        check_name(&name)?;
        self.inner.spend(name.len() + 3)?;
        let stored = self.inner.stored.field(&name);
        let encoded = value.serialize(Encoder { stored, is_place, ..self.inner });
        let part = encoded.map_err(|error| error.under(&name))?.into_part(stored);
        self.fields.push((name, part));
        Ok(())
    }

    fn put_named<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        is_place: bool,
    ) -> Result<(), InvalidValue> {
        match self.name.take() {
            Some(name) => self.put(Cow::Owned(name), value, is_place),
            None => Err(ser::Error::custom("a value came before its name")),
        }
    }

    fn finish(self) -> Encoded {
        let is_place = self.inner.is_place;
        let fields = Encoded::Object { fields: Fields::new(self.fields), is_place };
        match self.variant {
            None => fields,
            Some(_) => {
                let content = fields.into_part(self.inner.stored);
                Encoded::Part(in_variant(self.variant, content))
            }
        }
    }
}

macro_rules! array_encoder {
    ($($trait:ident :: $method:ident),*) => {$(
        impl ser::$trait for ArrayEncoder<'_> {
            type Ok = Encoded;
            type Error = InvalidValue;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), InvalidValue> {
                self.add(item)
            }

            fn end(self) -> Result<Encoded, InvalidValue> {
                Ok(self.finish())
            }
        }
    )*};
}

array_encoder!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! object_encoder {
    ($($trait:ident),*) => {$(
        impl ser::$trait for ObjectEncoder<'_> {
            type Ok = Encoded;
            type Error = InvalidValue;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), InvalidValue> {
                self.put(Cow::Borrowed(name), value, self.inner.is_place)
            }

            fn end(self) -> Result<Encoded, InvalidValue> {
                Ok(self.finish())
            }
        }
    )*};
}

object_encoder!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for ObjectEncoder<'_> {
    type Ok = Encoded;
    type Error = InvalidValue;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), InvalidValue> {
        let alone = Encoder { stored: Stored::Nothing, ..self.inner };
        self.name = Some(match name.serialize(alone)? {
            Encoded::Part(Part::Other(Value::String(name))) => name,
            Encoded::Part(Part::Other(Value::Number(name))) => name.to_string(),
            Encoded::Part(Part::Other(Value::Bool(name))) => name.to_string(),
            _ => return Err(ser::Error::custom("a name must be a text, a number or a boolean")),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), InvalidValue> {
        self.put_named(value, false)
    }

    fn serialize_entry<K, V>(&mut self, name: &K, value: &V) -> Result<(), InvalidValue>
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        self.serialize_key(name)?;
        // A struct with `flatten` is written as a map, too. But no map owns names without a size,
        // so this one is a `str`, the name of a struct's field.
        let is_field = size_of::<&K>() > size_of::<&u8>();
        self.put_named(value, is_field && self.inner.is_place)
    }

    fn end(self) -> Result<Encoded, InvalidValue> {
        Ok(self.finish())
    }
}
