//! The fields of an object on their way into a type that may ask for more than there is.

use std::cell::Cell;

use serde::{
    Deserializer,
    de::{IntoDeserializer, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};
use serde_json::Value;

use crate::data::shown::Shown;

/// An object, for a type that may have more fields.
pub(super) struct Object<'a> {
    pub(super) shown: Shown<'a>,
    /// Whether fields that the type has may be missing, here or in a struct in it.
    pub(super) incomplete: &'a Cell<bool>,
}

macro_rules! as_a_map {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.incomplete.set(true);
            match self.shown.as_stored() {
                Some(data) => data.$method($($argument,)* visitor),
                None => self.shown.to_data().$method($($argument,)* visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Object<'de> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let Self { shown, incomplete } = self;
        if fields.iter().any(|name| shown.get(name).is_none()) {
            incomplete.set(true);
        }
        let fields = shown.fields().map(|(name, value)| (name, Inside { value, incomplete }));
        visitor.visit_map(MapDeserializer::new(fields))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    as_a_map! {
        deserialize_any();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The value of a field. It is as it is, but for a struct, which may be incomplete.
struct Inside<'a> {
    value: &'a Value,
    incomplete: &'a Cell<bool>,
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Inside<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Inside<'de> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let Self { value, incomplete } = self;
        match value {
            Value::Object(object) => Object { shown: Shown::of(object), incomplete }
                .deserialize_struct(name, fields, visitor),
            value => value.deserialize_struct(name, fields, visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.value {
            // Other names are those of serde_json, for what it does in its own way.
            Value::Object(_) if !name.starts_with('$') => visitor.visit_newtype_struct(self),
            value => value.deserialize_newtype_struct(name, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.value.deserialize_option(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        // A struct that flattens something is read as a map, and one of many versions as anything.
        if self.value.is_object() {
            self.incomplete.set(true);
        }
        self.value.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}
