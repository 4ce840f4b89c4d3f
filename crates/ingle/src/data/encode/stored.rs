//! What is stored in the place of the value that is encoded.

use serde_json::Value;

use crate::data::Data;

#[derive(Clone, Copy)]
pub(super) enum Stored<'a> {
    Nothing,
    Value(&'a Value),
    Data(&'a Data),
}

impl<'a> Stored<'a> {
    pub(super) fn object(self) -> Option<&'a Data> {
        match self {
            Self::Data(data) | Self::Value(Value::Object(data)) => Some(data),
            _ => None,
        }
    }

    pub(super) fn array(self) -> Option<&'a [Value]> {
        match self {
            Self::Value(Value::Array(items)) => Some(items),
            _ => None,
        }
    }

    pub(super) fn field(self, name: &str) -> Self {
        self.object().and_then(|data| data.get(name)).map_or(Self::Nothing, Self::Value)
    }

    pub(super) fn item(self, index: usize) -> Self {
        self.array().and_then(|items| items.get(index)).map_or(Self::Nothing, Self::Value)
    }

    /// The stored content of an enum's variant: `{"Variant": content}`.
    pub(super) fn variant(self, name: &str) -> Self {
        match self.object() {
            Some(data) if data.len() == 1 => self.field(name),
            _ => Self::Nothing,
        }
    }
}
