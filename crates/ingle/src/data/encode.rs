//! Turns any `Serialize` into a JSON value, and refuses what a session cannot hold on the way.
//!
//! `serde_json::to_value` writes NaN as `null` in silence, keeps integers that no store can, and
//! follows a value however deep it nests. This one stops at the first such thing and says where.

use std::{cell::Cell, fmt};

use serde::ser::{self, Serialize};
use serde_json::{Map, Number, Value};

use super::{Data, InvalidValue, Limits, Reason, check_name};

/// The value of one field.
///
/// # Errors
/// What [`Reason`] lists, with the path below the field.
pub(crate) fn value<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
) -> Result<Value, InvalidValue> {
    // The data that the field belongs to is level 1.
    let budget = Cell::new(limits.bytes_max);
    value.serialize(Encoder { limits, budget: &budget, depth: 1 })
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
    value.serialize(Encoder { limits, budget: &budget, depth: 2 })
}

/// The whole data.
///
/// # Errors
/// What [`Reason`] lists, with the path.
pub(crate) fn data<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
) -> Result<Data, InvalidValue> {
    let budget = Cell::new(limits.bytes_max);
    match value.serialize(Encoder { limits, budget: &budget, depth: 0 })? {
        Value::Object(data) => Ok(data),
        _ => Err(InvalidValue::new(Reason::NotAnObject)),
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
    /// Bytes that texts may still take; it stops a huge text before it is copied.
    budget: &'a Cell<usize>,
    /// How many objects and arrays are around this value.
    depth: usize,
}

impl Encoder<'_> {
    /// The encoder of what is inside a container at this place.
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

    fn array(self) -> Result<ArrayEncoder<Self>, InvalidValue> {
        Ok(ArrayEncoder { inner: self.inside()?, items: Vec::new(), variant: None })
    }

    fn object(self) -> Result<ObjectEncoder<Self>, InvalidValue> {
        Ok(ObjectEncoder { inner: self.inside()?, fields: Map::new(), name: None, variant: None })
    }
}

impl<'a> ser::Serializer for Encoder<'a> {
    type Ok = Value;
    type Error = InvalidValue;
    type SerializeSeq = ArrayEncoder<Self>;
    type SerializeTuple = ArrayEncoder<Self>;
    type SerializeTupleStruct = ArrayEncoder<Self>;
    type SerializeTupleVariant = ArrayEncoder<Self>;
    type SerializeMap = ObjectEncoder<Self>;
    type SerializeStruct = ObjectEncoder<Self>;
    type SerializeStructVariant = ObjectEncoder<Self>;

    fn serialize_bool(self, value: bool) -> Result<Value, InvalidValue> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<Value, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<Value, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<Value, InvalidValue> {
        self.spend(1)?;
        Ok(Value::Number(value.into()))
    }

    fn serialize_i128(self, value: i128) -> Result<Value, InvalidValue> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => Err(InvalidValue::new(Reason::IntegerOutOfRange)),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<Value, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<Value, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<Value, InvalidValue> {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<Value, InvalidValue> {
        self.serialize_i128(value.into())
    }

    fn serialize_u128(self, value: u128) -> Result<Value, InvalidValue> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => Err(InvalidValue::new(Reason::IntegerOutOfRange)),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<Value, InvalidValue> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Value, InvalidValue> {
        self.spend(1)?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| InvalidValue::new(Reason::NonFinite))
    }

    fn serialize_char(self, value: char) -> Result<Value, InvalidValue> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Value, InvalidValue> {
        self.spend(value.len() + 2)?;
        if value.contains('\0') {
            return Err(InvalidValue::new(Reason::Nul));
        }
        Ok(Value::String(value.to_owned()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, InvalidValue> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<Value, InvalidValue> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, InvalidValue> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, InvalidValue> {
        self.spend(1)?;
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, InvalidValue> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, InvalidValue> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, InvalidValue> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, InvalidValue> {
        let mut object = self.object()?;
        object.put(variant.to_owned(), value)?;
        ser::SerializeMap::end(object)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ArrayEncoder<Self>, InvalidValue> {
        self.array()
    }

    fn serialize_tuple(self, _: usize) -> Result<ArrayEncoder<Self>, InvalidValue> {
        self.array()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<ArrayEncoder<Self>, InvalidValue> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ArrayEncoder<Self>, InvalidValue> {
        let array = self.inside()?.array()?;
        Ok(ArrayEncoder { variant: Some(variant), ..array })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<ObjectEncoder<Self>, InvalidValue> {
        self.object()
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<ObjectEncoder<Self>, InvalidValue> {
        self.object()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ObjectEncoder<Self>, InvalidValue> {
        let object = self.inside()?.object()?;
        Ok(ObjectEncoder { variant: Some(variant), ..object })
    }
}

/// Wraps the content of an enum's variant as serde_json does: `{"Variant": content}`.
fn in_variant(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        None => content,
        Some(name) => Value::Object(Map::from_iter([(name.to_owned(), content)])),
    }
}

struct ArrayEncoder<E> {
    inner: E,
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl ArrayEncoder<Encoder<'_>> {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), InvalidValue> {
        let index = self.items.len();
        self.inner.spend(1)?;
        let item =
            item.serialize(self.inner).map_err(|error| error.under(&format!("[{index}]")))?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Value {
        in_variant(self.variant, Value::Array(self.items))
    }
}

struct ObjectEncoder<E> {
    inner: E,
    fields: Data,
    /// The name that the next value belongs to, of a map that is written in two steps.
    name: Option<String>,
    variant: Option<&'static str>,
}

impl ObjectEncoder<Encoder<'_>> {
    fn put<T: Serialize + ?Sized>(&mut self, name: String, value: &T) -> Result<(), InvalidValue> {
        check_name(&name)?;
        self.inner.spend(name.len() + 3)?;
        let value = value.serialize(self.inner).map_err(|error| error.under(&name))?;
        self.fields.insert(name, value);
        Ok(())
    }

    fn finish(self) -> Value {
        in_variant(self.variant, Value::Object(self.fields))
    }
}

macro_rules! array_encoder {
    ($($trait:ident :: $method:ident),*) => {$(
        impl ser::$trait for ArrayEncoder<Encoder<'_>> {
            type Ok = Value;
            type Error = InvalidValue;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), InvalidValue> {
                self.add(item)
            }

            fn end(self) -> Result<Value, InvalidValue> {
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
        impl ser::$trait for ObjectEncoder<Encoder<'_>> {
            type Ok = Value;
            type Error = InvalidValue;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), InvalidValue> {
                self.put(name.to_owned(), value)
            }

            fn end(self) -> Result<Value, InvalidValue> {
                Ok(self.finish())
            }
        }
    )*};
}

object_encoder!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for ObjectEncoder<Encoder<'_>> {
    type Ok = Value;
    type Error = InvalidValue;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), InvalidValue> {
        self.name = Some(match name.serialize(self.inner)? {
            Value::String(name) => name,
            Value::Number(name) => name.to_string(),
            Value::Bool(name) => name.to_string(),
            _ => return Err(ser::Error::custom("a name must be a text, a number or a boolean")),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), InvalidValue> {
        match self.name.take() {
            Some(name) => self.put(name, value),
            None => Err(ser::Error::custom("a value came before its name")),
        }
    }

    fn end(self) -> Result<Value, InvalidValue> {
        Ok(self.finish())
    }
}
