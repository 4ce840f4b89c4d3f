//! Ids, keys and tags: the three names of a session, and who may see which.
//!
//! The id is a secret that only the browser holds. The key is its hash, and all that a store ever
//! sees. The tag is for logs. No type here prints an id, and no function turns a key or a tag back.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// 256 bits, where ASVS 5.0 7.2.3 asks for 128 and the OWASP session management sheet for 64.
const ID_BYTES: usize = 32;

/// How many characters an id has in the cookie: base64url without padding.
pub(crate) const ID_CHARS: usize = 43;

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

/// The secret that a browser holds: 32 random bytes, 43 characters in the cookie.
///
/// It has no `Display`, its `Debug` shows nothing of it, and its bytes are wiped when it is dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct SessionId([u8; ID_BYTES]);

impl SessionId {
    /// A new id from the operating system's random generator.
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads a cookie's value; nothing but the one spelling that [`encode`](Self::encode) writes.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        // The length first: a value of any other size costs no work at all.
        if value.len() != ID_CHARS {
            return None;
        }
        let mut bytes = [0; ID_BYTES];
        // The engine refuses padding, other alphabets, and bits behind the last byte.
        match URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) {
            Ok(ID_BYTES) => Some(Self(bytes)),
            _ => None,
        }
    }

    /// The cookie's value.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The key that this id has in `namespace`.
    pub(crate) fn key(&self, namespace: &Namespace) -> Key {
        Key(namespace.0.clone().chain_update(self.0).finalize().into())
    }

    /// The tag that this id has in logs written under `log_key`.
    pub(crate) fn tag(&self, log_key: &LogKey) -> Tag {
        let mac: [u8; 32] = log_key.0.clone().chain_update(self.0).finalize().into_bytes().into();
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

/// What a store and its operators know a session by: SHA-256 of namespace and id.
///
/// Whoever reads a store's content learns keys and can make no cookie of them (the lesson of
/// CVE-2019-16782, CVE-2020-26228 and CVE-2021-21339). Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key with these bytes, as a store reads it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of this key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// A text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits in lower case")]
pub struct NotAKey;

impl std::str::FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAKey),
        };
        let mut key = [0; 32];
        if text.len() != 2 * key.len() {
            return Err(NotAKey);
        }
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return Err(NotAKey) };
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Ok(Self(key))
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
