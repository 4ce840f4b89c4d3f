//! The app's part of a record: a JSON object, what may be in it, and how large it may be.
//!
//! Data may hold what every store can hold without changing it. So NaN, integers beyond 64 bits
//! with a sign, NUL, and names that Firestore reserves are refused. The check runs before a value
//! is kept, so a record is written whole or not at all.

use serde_json::{Map, Value};

pub(crate) mod encode;
mod fields;
mod law;
mod merge;
mod order;
pub(crate) mod patch;
mod path;
pub(crate) mod read;
mod rename;
mod settle;
pub(crate) mod shown;
pub(crate) mod typed;
mod unstorable;
pub(crate) mod update;

/// The data of a session: a JSON object with the app's own top-level fields.
pub type Data = Map<String, Value>;

/// How much data one session may hold. The defaults fit every store.
///
/// End it with `..Limits::default()`: a later version may add a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the data written as JSON without spaces. Default 65,536.
    pub bytes_max: usize,
    /// How deep objects and arrays may nest; the data itself is level 1. Default 16, at most
    /// [`DEPTH_MAX`](Self::DEPTH_MAX).
    pub depth_max: usize,
    /// How many top-level fields there may be. Default 1000.
    pub fields_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 64 * 1024, depth_max: 16, fields_max: 1000 }
    }
}

impl Limits {
    /// The highest [`depth_max`](Self::depth_max). What nests deeper could be stored, but readers of
    /// JSON refuse it from about 127 levels on, so nobody could load it again.
    pub const DEPTH_MAX: usize = 100;

    /// Encodes within these limits. Where stored data has outgrown them elsewhere, the limit is the
    /// size that it has, so that it can still be read and made smaller.
    pub(crate) fn with_room_for<T>(
        &self,
        stored: &Data,
        encode: impl Fn(&Self) -> Result<T, InvalidValue>,
    ) -> Result<T, InvalidValue> {
        match encode(self) {
            Err(InvalidValue { reason: Reason::TooLarge { .. }, .. })
                if data_len(stored) > self.bytes_max =>
            {
                encode(&Self { bytes_max: data_len(stored), ..*self })
            }
            done => done,
        }
    }
}

/// The longest name of a field, in bytes. Firestore's limit for an update mask is the lowest of all
/// stores.
const NAME_BYTES_MAX: usize = 1499;

/// The prefix of the library's own fields where a store keeps them beside the app's.
pub(crate) const RESERVED: &str = "_ingle";

/// The field for one-time messages. No app can name it.
pub(crate) const FLASH: &str = "_flash";

/// The field for tickets. No app can name it.
pub(crate) const TICKETS: &str = "_tickets";

/// Whether a field is the library's own, in the midst of the app's.
pub(crate) fn is_own(name: &str) -> bool {
    name == FLASH || name == TICKETS
}

/// A session cannot hold a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", At(path))]
#[non_exhaustive]
pub struct InvalidValue {
    /// The place of the value in the data, such as `cart.items[2].price`. Empty for the data
    /// itself.
    pub path: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Writes a path as the beginning of a sentence, on one line whatever names it holds.
struct At<'a>(&'a str);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "`{}`: ", self.0.escape_debug()) }
    }
}

/// Why a session cannot hold a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// NaN or an infinity, which JSON cannot express.
    #[error("a number must be finite")]
    NonFinite,
    /// An integer that does not fit into 64 bits with a sign.
    #[error("an integer must fit into 64 bits with a sign")]
    IntegerOutOfRange,
    /// Objects and arrays nest too deep.
    #[error("objects and arrays may nest {max} levels deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// There are too many top-level fields.
    #[error("there may be {max} top-level fields")]
    TooManyFields {
        /// The limit.
        max: usize,
    },
    /// The data would become too large.
    #[error("the data may have {max} bytes as JSON")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The name of a field, at any depth, is empty, longer than 1499 bytes, of the form `__…__`, or
    /// contains NUL. Or it begins with `_ingle`, or is `_flash` or `_tickets`. The names of a map count
    /// as well.
    #[error(
        "a name must have 1 to 1499 bytes, no NUL, and none of the reserved forms `__…__`, \
         `_ingle…`, `_flash` and `_tickets`"
    )]
    Name,
    /// A text contains a NUL character, which PostgreSQL cannot hold.
    #[error("a text must not contain a NUL character")]
    Nul,
    /// The data as a whole must be an object, because its top-level fields have names.
    #[error("the data of a session must be an object with named fields")]
    NotAnObject,
    /// The name of a user is empty, longer than 256 bytes, or has a control character.
    #[error("a user's name must have 1 to 256 bytes, and no control characters")]
    UserName,
    /// The ticket of a login is another user's.
    #[error("the ticket of the login was taken for another user")]
    OtherTicket,
    /// The store cannot hold it, for this reason.
    #[error("{0}")]
    Store(String),
    /// The type does not read what it writes, so no later read would show the change. Its
    /// `Serialize` and its `Deserialize` must match.
    #[error(
        "the type reads something else than it writes, so the change would not be seen; make its \
         `Serialize` match its `Deserialize`"
    )]
    NotReadBack,
    /// The value's own `Serialize` failed, with this message.
    #[error("{0}")]
    Serialize(String),
}

impl InvalidValue {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { path: String::new(), reason }
    }

    /// The same error, seen from the object that holds the value under `name`.
    pub(crate) fn under(mut self, name: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{separator}{}", self.path);
        self
    }
}

/// Checks the name of a field.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidValue> {
    let reserved = name.len() >= 4 && name.starts_with("__") && name.ends_with("__");
    let reserved = reserved || name.starts_with(RESERVED) || is_own(name);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || reserved || name.contains('\0') {
        return Err(InvalidValue::new(Reason::Name).under(name.get(..64).unwrap_or(name)));
    }
    Ok(())
}

/// How many bytes a value has as JSON without spaces.
pub(crate) fn json_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number_len(number),
        Value::String(text) => text_len(text),
        // Between n items stand n - 1 commas; with the two brackets that is n + 1, but 2 for none.
        Value::Array(items) => {
            items.iter().map(|item| json_len(item) + 1).sum::<usize>().max(1) + 1
        }
        Value::Object(fields) => data_len(fields),
    }
}

/// How many bytes an object has as JSON without spaces.
pub(crate) fn data_len(data: &Data) -> usize {
    data.iter().map(|(name, value)| field_len(name, value)).sum::<usize>().max(1) + 1
}

/// What a field adds to its object: name, colon, value and comma.
pub(crate) fn field_len(name: &str, value: &Value) -> usize {
    text_len(name) + json_len(value) + 2
}

/// How many bytes of memory an object takes, roughly. Many small values take far more than as JSON.
pub(crate) fn memory_len(data: &Data) -> usize {
    let entry = size_of::<(String, Value)>();
    data.iter().map(|(name, value)| entry + name.len() + inner_memory_len(value)).sum()
}

fn inner_memory_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => {
            items.iter().map(|item| size_of::<Value>() + inner_memory_len(item)).sum()
        }
        Value::Object(fields) => memory_len(fields),
    }
}

fn number_len(number: &serde_json::Number) -> usize {
    match number.as_i64() {
        Some(integer) => {
            let sign = usize::from(integer < 0);
            integer.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1) + sign
        }
        None => number.to_string().len(),
    }
}

fn text_len(text: &str) -> usize {
    // Nearly no text has one. To ask without a branch is to ask for many bytes at once.
    let has_escapes = text
        .bytes()
        .fold(false, |any, byte| any | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    let escapes = if has_escapes { text.bytes().map(escape_len).sum() } else { 0 };
    text.len() + 2 + escapes
}

/// What a byte takes more in a JSON text than in memory.
fn escape_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
