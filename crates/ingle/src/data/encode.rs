//! Turns any `Serialize` into a JSON value, and refuses what a session cannot hold.
//!
//! `serde_json::to_value` silently writes NaN as `null`, keeps integers that no store can hold, and
//! follows a value however deep it nests. This encoder says where such a value is. What a closure is
//! shown may have one that nobody set, and is only [compared](unstorable).
//!
//! It also compares each value with the stored one, and copies none that is equal. A closure leaves
//! most of what it is shown as it was.
//!
//! It tells objects that may be places from those that come and go, because only a place may keep
//! what a type does not know of it. A struct's field is a place, and so is a struct in it. What is in
//! an `Option`, an enum's variant, a map or a list comes and goes. An enum that serde writes without a
//! level of its own looks like a struct, and so does what it flattens: only the type itself
//! [knows](super::merge) whose a field is.

use std::{any::type_name, borrow::Cow, cell::Cell, fmt};

use serde::ser::{self, Serialize};
use serde_json::{Number, Value};

use super::{
    Data, InvalidValue, Limits, Reason, check_name,
    fields::{Fields, Kind, Part},
    unstorable,
};

mod parts;
mod stored;

use parts::{Encoded, Items, Object, Tag, in_variant};
use stored::Stored;

/// The value of one field.
///
/// # Errors
/// What [`Reason`] lists, with the path below the field.
pub(crate) fn value<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
) -> Result<Value, InvalidValue> {
    // The data that the field belongs to is level 1.
    alone(value, limits, 1)
}

/// The value of one item of the array in a field.
///
/// # Errors
/// What [`Reason`] lists, with the path below the item.
pub(crate) fn item<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
) -> Result<Value, InvalidValue> {
    alone(value, limits, 2)
}

fn alone<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
    depth: usize,
) -> Result<Value, InvalidValue> {
    let budget = Budget::new(limits);
    let mut value = Encoder::new(limits, &budget, depth, Stored::Nothing).value(value)?;
    if budget.unstorable.get() {
        unstorable::find(&value).map_or(Ok(()), Err)?;
        unstorable::leave_out(&mut value);
    }
    Ok(value)
}

/// The value of one field as it is compared with what is `stored` there. Sets `unstorable` if a
/// [part](unstorable) of it cannot be stored.
///
/// # Errors
/// What [`Reason`] lists, with the path below the field.
pub(crate) fn part<T: Serialize + ?Sized>(
    value: &T,
    stored: Option<&Value>,
    limits: &Limits,
    unstorable: &Cell<bool>,
) -> Result<Part, InvalidValue> {
    let budget = Budget::new(limits);
    let stored = stored.map_or(Stored::Nothing, Stored::Value);
    let encoded = value.serialize(Encoder::new(limits, &budget, 1, stored))?;
    unstorable.set(unstorable.get() || budget.unstorable.get());
    Ok(encoded.into_part(stored))
}

/// The fields of the whole data as they are compared with what is `stored`. Sets `unstorable` if a
/// [part](unstorable) of it cannot be stored.
///
/// # Errors
/// What [`Reason`] lists, with the path.
pub(crate) fn fields<T: Serialize + ?Sized>(
    value: &T,
    stored: &Data,
    limits: &Limits,
    unstorable: &Cell<bool>,
) -> Result<Fields, InvalidValue> {
    let budget = Budget::new(limits);
    let encoded = value.serialize(Encoder::new(limits, &budget, 0, Stored::Data(stored)))?;
    unstorable.set(unstorable.get() || budget.unstorable.get());
    match encoded {
        Encoded::Object { fields, .. } => Ok(fields),
        Encoded::Part(Part::Other(Value::Null)) => Ok(Fields::null()),
        Encoded::Part(_) => Err(InvalidValue::new(Reason::NotAnObject)),
    }
}

/// What is left for a value while it is encoded, and what was found in it.
struct Budget {
    /// How many bytes texts may still take. It stops a huge text before it is copied.
    bytes: Cell<usize>,
    /// Whether a part of it cannot be stored.
    unstorable: Cell<bool>,
}

impl Budget {
    fn new(limits: &Limits) -> Self {
        Self { bytes: Cell::new(limits.bytes_max), unstorable: Cell::new(false) }
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
    budget: &'a Budget,
    /// How many objects and arrays are around this value.
    depth: usize,
    stored: Stored<'a>,
    /// Whether what is here stays the same object, whatever is in it.
    is_place: bool,
}

impl<'a> Encoder<'a> {
    fn new(limits: &'a Limits, budget: &'a Budget, depth: usize, stored: Stored<'a>) -> Self {
        Self { limits, budget, depth, stored, is_place: true }
    }

    fn value<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, InvalidValue> {
        Ok(value.serialize(self)?.into_part(self.stored).into_value(None))
    }

    /// The encoder for what is inside a container at this place.
    fn inside(self) -> Result<Self, InvalidValue> {
        if self.depth >= self.limits.depth_max {
            return Err(InvalidValue::new(Reason::TooDeep { max: self.limits.depth_max }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn spend(self, bytes: usize) -> Result<(), InvalidValue> {
        match self.budget.bytes.get().checked_sub(bytes) {
            Some(left) => {
                self.budget.bytes.set(left);
                Ok(())
            }
            None => Err(InvalidValue::new(Reason::TooLarge { max: self.limits.bytes_max })),
        }
    }

    /// The encoder of what comes and goes here.
    fn content(self) -> Self {
        Self { is_place: false, ..self }
    }

    /// A value that can be compared, but not stored.
    fn unstorable(self, value: Value) -> Encoded {
        self.budget.unstorable.set(true);
        Encoded::Part(Part::Other(value))
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

    fn number(self, number: &Number) -> Result<Encoded, InvalidValue> {
        match (number.as_i128(), number.as_f64()) {
            (Some(integer), _) => ser::Serializer::serialize_i128(self, integer),
            (None, Some(double)) => ser::Serializer::serialize_f64(self, double),
            (None, None) => Err(InvalidValue::new(Reason::NonFinite)),
        }
    }

    fn array(self) -> Result<ArrayEncoder<'a>, InvalidValue> {
        let items = Items::new(self.stored.array());
        Ok(ArrayEncoder { inner: self.content().inside()?, items, variant: None })
    }

    fn object(self, fields: usize, kind: Kind) -> Result<ObjectEncoder<'a>, InvalidValue> {
        let object = Object::new(fields.min(self.limits.fields_max), kind);
        Ok(ObjectEncoder { inner: self.inside()?, object, name: None, variant: None })
    }

    fn a_struct(
        self,
        name: &'static str,
        fields: usize,
    ) -> Result<ObjectEncoder<'a>, InvalidValue> {
        self.object(fields, Kind::Struct { name, skipped: Vec::new() })
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
            Err(_) => Ok(self.unstorable(unstorable::number(value))),
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
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => Ok(self.unstorable(value.into())),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<Encoded, InvalidValue> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => Ok(self.unstorable(unstorable::number(value))),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<Encoded, InvalidValue> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Encoded, InvalidValue> {
        self.spend(1)?;
        match Number::from_f64(value).map(Value::Number) {
            Some(value) => Ok(self.scalar(|stored| *stored == value, || value.clone())),
            None => Ok(self.unstorable(unstorable::number(value))),
        }
    }

    fn serialize_char(self, value: char) -> Result<Encoded, InvalidValue> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Encoded, InvalidValue> {
        self.spend(value.len() + 2)?;
        if value.contains('\0') {
            return Ok(self.unstorable(value.into()));
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
        let mut object = self.content().object(1, Kind::Map)?;
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
        self.object(fields.unwrap_or_default(), Kind::Map)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        fields: usize,
    ) -> Result<ObjectEncoder<'a>, InvalidValue> {
        self.a_struct(name, fields)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        fields: usize,
    ) -> Result<ObjectEncoder<'a>, InvalidValue> {
        let object = self.variant(variant)?.a_struct(variant, fields)?;
        Ok(ObjectEncoder { variant: Some(variant), ..object })
    }
}

struct ArrayEncoder<'a> {
    inner: Encoder<'a>,
    items: Items<'a>,
    variant: Option<&'static str>,
}

impl ArrayEncoder<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), InvalidValue> {
        let index = self.items.len();
        self.inner.spend(1)?;
        let stored = self.inner.stored.item(index);
        let encoded = item.serialize(Encoder { stored, ..self.inner });
        let part = encoded.map_err(|error| error.under(&format!("[{index}]")))?.into_part(stored);
        self.items.push(part);
        Ok(())
    }

    fn finish(self) -> Encoded {
        Encoded::Part(in_variant(self.variant, self.items.into_part()))
    }
}

struct ObjectEncoder<'a> {
    inner: Encoder<'a>,
    object: Object,
    /// The name that the next value belongs to, for a map that is written in two steps.
    name: Option<String>,
    variant: Option<&'static str>,
}

impl ObjectEncoder<'_> {
    /// Adds a field. It is the struct's own, or the entry of a map.
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: Cow<'static, str>,
        value: &T,
        is_own: bool,
    ) -> Result<(), InvalidValue> {
        check_name(&name)?;
        self.inner.spend(name.len() + 3)?;
        let stored = self.inner.stored.field(&name);
        let is_place = self.inner.is_place && is_own;
        let encoded = value.serialize(Encoder { stored, is_place, ..self.inner });
        let encoded = encoded.map_err(|error| error.under(&name))?;
        self.object.push(name, encoded, stored, is_own, tag_of::<T>().filter(|_| is_own));
        Ok(())
    }

    fn put_named<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        is_own: bool,
    ) -> Result<(), InvalidValue> {
        match self.name.take() {
            Some(name) => self.put(Cow::Owned(name), value, is_own),
            None => Err(ser::Error::custom("a value came before its name")),
        }
    }

    fn finish(self) -> Result<Encoded, InvalidValue> {
        if let Some(json) = self.object.as_json() {
            let value: Value = serde_json::from_str(json).map_err(ser::Error::custom)?;
            let outside = Encoder { depth: self.inner.depth - 1, ..self.inner };
            return match value {
                Value::Number(number) => outside.number(&number),
                value => value.serialize(outside),
            };
        }
        let fields = self.object.into_encoded(self.inner.is_place);
        if fields.has_twice() {
            self.inner.budget.unstorable.set(true);
        }
        Ok(match self.variant {
            None => fields,
            Some(_) => {
                let content = fields.into_part(self.inner.stored);
                Encoded::Part(in_variant(self.variant, content))
            }
        })
    }
}

/// Whether a field's value is the name of an enum's variant.
fn tag_of<T: ?Sized>() -> Option<Tag> {
    // What is written with a content has a type of serde's own.
    if type_name::<T>().ends_with("::AdjacentlyTaggedEnumVariant") {
        return Some(Tag::Content);
    }
    // The value of any other field has a size. What has none is a `str`.
    (size_of::<&T>() > size_of::<&u8>()).then_some(Tag::Fields)
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
                self.put(Cow::Borrowed(name), value, true)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), InvalidValue> {
                self.object.skip(name);
                Ok(())
            }

            fn end(self) -> Result<Encoded, InvalidValue> {
                self.finish()
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
        let (bytes, read) = (self.inner.budget.bytes.get(), alone.value(name)?);
        // What a name costs, it costs with its value.
        self.inner.budget.bytes.set(bytes);
        self.name = Some(match read {
            Value::String(name) => name,
            Value::Number(name) => name.to_string(),
            Value::Bool(name) => name.to_string(),
            other => unstorable::large_integer(&other).map(str::to_owned).ok_or_else(|| {
                <InvalidValue as ser::Error>::custom("a name must be a text, a number or a boolean")
            })?,
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
        let is_own = size_of::<&K>() > size_of::<&u8>();
        self.put_named(value, is_own)
    }

    fn end(self) -> Result<Encoded, InvalidValue> {
        self.finish()
    }
}
