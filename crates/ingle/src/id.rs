//! Ids, keys and tags: the three names of a session, and who may see which.
//!
//! The id is a secret that only the browser holds. The key is its hash, and all that a store ever
//! sees. The tag is for logs. No type here prints an id, and no function turns a key or a tag back.
//! The one exception has to be asked for: a plain id is its own key.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

mod uuid;

use uuid::Hyphenated;

/// 256 bits, where ASVS 5.0 7.2.3 asks for 128 and the OWASP session management sheet for 64.
const ID_BYTES: usize = 32;

/// How many characters an id has in the cookie: base64url without padding.
pub(crate) const ID_CHARS: usize = 43;

/// A plain id is a UUID; one of ours has 122 random bits (RFC 9562 5.4).
const UUID_BYTES: usize = 16;

/// Separates our hashes from every other use of SHA-256 on the same bytes.
const KEY_DOMAIN: &[u8] = b"ingle key v1";
const TAG_DOMAIN: &[u8] = b"ingle tag v1";

/// The operating system gave no random bytes, so no secret can be made.
///
/// There is no fallback: a weaker source is how session ids became predictable elsewhere
/// (CVE-2025-66565, CVE-2025-66630).
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness(#[from] getrandom::Error);

/// Which ids the sessions in a store have, and so what a browser may bring.
///
/// Anything but [`Hashed`](Self::Hashed) is for moving an app that has sessions already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ids {
    /// 256 random bits each, of which the store knows a hash. Whoever reads the store can make no
    /// cookie of what is there.
    #[default]
    Hashed,
    /// UUIDs, which are the keys themselves: whoever reads the store, a backup or a console can take
    /// over every session. For apps that share their sessions with one that does so.
    Plain,
    /// As [`Hashed`](Self::Hashed); and a session that has a plain id is still found, and moves to a
    /// new, safe one when its visitor next comes.
    Upgrade,
}

/// The two forms of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 32 random bytes, of which the store sees a hash.
    Safe,
    /// A UUID, which the store sees.
    Plain,
}

impl Ids {
    /// The form that new ids have.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Hashed | Self::Upgrade => Form::Safe,
            Self::Plain => Form::Plain,
        }
    }
}

/// The secret that a browser holds.
///
/// It has no `Display`, its `Debug` shows nothing of it, and its bytes are wiped when it is dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) enum SessionId {
    /// 32 random bytes, 43 characters in the cookie.
    Safe([u8; ID_BYTES]),
    /// A UUID, 36 characters in the cookie.
    Plain([u8; UUID_BYTES]),
}

impl SessionId {
    /// A new id from the operating system's random generator.
    pub(crate) fn random(form: Form) -> Result<Self, NoRandomness> {
        match form {
            Form::Safe => {
                let mut bytes = [0; ID_BYTES];
                getrandom::fill(&mut bytes)?;
                Ok(Self::Safe(bytes))
            }
            Form::Plain => {
                let mut bits = [0; UUID_BYTES];
                getrandom::fill(&mut bits)?;
                Ok(Self::Plain(uuid::version_4(bits)))
            }
        }
    }

    /// Reads a cookie's value; nothing but the one spelling that [`encode`](Self::encode) writes.
    pub(crate) fn decode(form: Form, value: &[u8]) -> Option<Self> {
        match form {
            // The length first: a value of any other size costs no work at all.
            Form::Safe if value.len() == ID_CHARS => {
                let mut bytes = [0; ID_BYTES];
                // The engine refuses padding, other alphabets, and bits behind the last byte.
                match URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) {
                    Ok(ID_BYTES) => Some(Self::Safe(bytes)),
                    _ => None,
                }
            }
            Form::Safe => None,
            Form::Plain => uuid::parse(value).map(Self::Plain),
        }
    }

    /// The cookie's value.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Safe(bytes) => URL_SAFE_NO_PAD.encode(bytes),
            Self::Plain(uuid) => Hyphenated(uuid).to_string(),
        }
    }

    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Safe(_) => Form::Safe,
            Self::Plain(_) => Form::Plain,
        }
    }

    /// The key that this id has in `namespace`; a plain one has the same key in all of them.
    pub(crate) fn key(&self, namespace: &Namespace) -> Key {
        Key(match self {
            Self::Safe(bytes) => {
                Repr::Hash(namespace.0.clone().chain_update(bytes).finalize().into())
            }
            Self::Plain(uuid) => Repr::Plain(*uuid),
        })
    }

    /// The tag that this id has in logs written under `log_key`.
    pub(crate) fn tag(&self, log_key: &LogKey) -> Tag {
        let bytes: &[u8] = match self {
            Self::Safe(bytes) => bytes,
            Self::Plain(uuid) => uuid,
        };
        let mac: [u8; 32] = log_key.0.clone().chain_update(bytes).finalize().into_bytes().into();
        let [a, b, c, d, ..] = mac;
        Tag(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(secret)")
    }
}

/// Keeps the sessions of apps that share a store apart: the same id has another key in each.
///
/// It holds the hash of everything that comes before the id, so that a key costs one block.
#[derive(Clone)]
pub(crate) struct Namespace(Sha256);

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        // The length keeps ("ab", "c…") and ("a", "bc…") apart.
        let length = (name.len() as u64).to_be_bytes();
        Self(Sha256::new().chain_update(KEY_DOMAIN).chain_update(length).chain_update(name))
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Namespace")
    }
}

/// What a store and its operators know a session by: SHA-256 of namespace and id, written as 64
/// hexadecimal digits.
///
/// Whoever reads a store's content learns keys and can make no cookie of them (the lesson of
/// CVE-2019-16782, CVE-2020-26228 and CVE-2021-21339).
///
/// The exception has a name: with [`Ids::Plain`] a key is the id itself, a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Repr);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Repr {
    Hash([u8; 32]),
    Plain([u8; UUID_BYTES]),
}

impl Key {
    /// The key with these bytes, as a store reads it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Repr::Hash(bytes))
    }

    /// The bytes of this key: 32, or the 16 of a plain id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Hash(bytes) => bytes,
            Repr::Plain(uuid) => uuid,
        }
    }

    /// Whether this is the id itself, which no log may show.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.0, Repr::Plain(_))
    }
}

/// Bytes as two digits each, as `{:02x}` has them. Nearly every call of a store names a key and ops, for
/// which the formatter takes as long as for all else.
pub(crate) struct Digits<const N: usize>([[u8; 2]; N]);

/// The digits of each byte.
#[expect(clippy::indexing_slicing, reason = "an index that is too large does not compile")]
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

impl<const N: usize> Digits<N> {
    #[expect(clippy::indexing_slicing, reason = "there is a pair for each byte")]
    pub(crate) fn of(bytes: [u8; N]) -> Self {
        Self(bytes.map(|byte| PAIRS[usize::from(byte)]))
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

impl Hash for Key {
    /// A part of a hash is as good as the whole, and each request hashes its key some times.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::Hash([a, b, c, d, e, f, g, h, ..]) => {
                state.write_u64(u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]));
            }
            // Whoever sends a plain id may choose its bits.
            Repr::Plain(uuid) => state.write_u128(u128::from_ne_bytes(*uuid)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Hash(bytes) => f.write_str(Digits::of(*bytes).as_str()),
            Repr::Plain(uuid) => Hyphenated(uuid).fmt(f),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Hash(_) => write!(f, "Key({self})"),
            Repr::Plain(_) => f.write_str("Key(plain id)"),
        }
    }
}

/// A text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits in lower case, or a UUID")]
pub struct NotAKey;

impl std::str::FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        if let Some(uuid) = uuid::parse(text.as_bytes()) {
            return Ok(Self(Repr::Plain(uuid)));
        }
        let mut key = [0; 32];
        uuid::hexadecimal(text.as_bytes(), &mut key).ok_or(NotAKey)?;
        Ok(Self(Repr::Hash(key)))
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The secret that makes tags; instances that share it write the same tag for the same session.
#[derive(Clone)]
pub(crate) struct LogKey(Hmac<Sha256>);

impl LogKey {
    /// The log key of a secret that the app chose.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        // An HMAC takes a key of any length; its error has no case.
        let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| unreachable!());
        Self(mac.chain_update(TAG_DOMAIN))
    }

    /// The log key of an app that chose none: equal on all instances of one namespace.
    ///
    /// A tag still tells nothing of the id, whose 256 bits nobody can search.
    pub(crate) fn of_namespace(name: &str) -> Self {
        let mut secret: [u8; 32] =
            Sha256::new().chain_update(TAG_DOMAIN).chain_update(name).finalize().into();
        let log_key = Self::new(&secret);
        secret.zeroize();
        log_key
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey(secret)")
    }
}

/// What logs call a session: 8 hexadecimal digits of an HMAC of its id (ASVS 5.0 16.2.5).
///
/// It joins the lines of one session and can neither be turned into a cookie nor into a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u32);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

#[cfg(test)]
mod tests;
