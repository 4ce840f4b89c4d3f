//! Ids, keys and handles: the three names of a session, and which part of the system sees which.
//!
//! The id is a secret that only the browser holds. The key is a hash of it, and the only name that
//! a store sees. The handle is the beginning of the key, for logs and people. No type here prints
//! an id, and no function turns a key back into one.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::clock::Timestamp;

/// 256 bits. ASVS 5.0 7.2.3 asks for 128, and the OWASP Session Management Cheat Sheet for 64.
const ID_BYTES: usize = 32;

/// How many characters an id has in the cookie: base64url without padding.
pub(crate) const ID_CHARS: usize = 43;

/// Separates these hashes from every other use of SHA-256 on the same bytes.
const KEY_DOMAIN: &[u8] = b"ingle key v1";
const USER_DOMAIN: &[u8] = b"ingle user v1";

/// What SHA-256 takes at once.
const BLOCK_BYTES: usize = 64;

/// How the keys of records end that are no sessions: that of a user, and a line of the audit log. A
/// session's key ends so once in 2^64.
const USER_KEY_END: [u8; 8] = [0; 8];
const AUDIT_KEY_END: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// The operating system gave no random bytes, so no secret can be made.
///
/// There is no fallback: weaker sources made session ids predictable in other libraries
/// (CVE-2025-66565, CVE-2025-66630).
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

impl NoRandomness {
    // Not a `From`, which would make the generator's crate a part of the public API.
    pub(crate) fn new(cause: getrandom::Error) -> Self {
        Self(cause)
    }
}

/// How a layer makes ids and reads them.
pub(crate) trait IdScheme: fmt::Debug + Send + Sync {
    /// A new id.
    fn generate(&self) -> Result<SessionId, NoRandomness>;

    /// Reads a cookie's value. It accepts only the one spelling that a new id has.
    fn decode(&self, value: &[u8]) -> Option<SessionId>;

    /// The key of the record that is kept of a user beside their sessions. None if the records of
    /// such ids have no room for one.
    fn key_of_user(&self, name: &str) -> Option<Key>;
}

/// The secret that a browser holds, and the key that follows from it.
///
/// It has no `Display`, its `Debug` shows nothing of it, and its memory is wiped when it is
/// dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct SessionId {
    /// The cookie's value, in the first `len` bytes.
    text: [u8; ID_CHARS],
    len: usize,
    #[zeroize(skip)]
    key: Key,
    #[zeroize(skip)]
    is_outdated: bool,
}

impl SessionId {
    /// The id that is `text` in the cookie, in ASCII, and `key` in the store.
    pub(crate) fn new<const N: usize>(text: [u8; N], key: Key) -> Self {
        const { assert!(N <= ID_CHARS, "no id is longer") };
        let mut bytes = [0; ID_CHARS];
        bytes.iter_mut().zip(text).for_each(|(byte, of_text)| *byte = of_text);
        Self { text: bytes, len: N, key, is_outdated: false }
    }

    /// The same id, marked as of a kind that the layer makes no longer: its session gets a new id.
    #[cfg(feature = "firestore")]
    pub(crate) fn outdated(mut self) -> Self {
        self.is_outdated = true;
        self
    }

    /// The cookie's value.
    pub(crate) fn as_str(&self) -> &str {
        self.text.get(..self.len).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    pub(crate) fn handle(&self) -> Handle {
        self.key.handle()
    }

    /// Whether the session of this id is to get a new one.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(secret)")
    }
}

/// Ids of 32 random bytes. A store learns a hash of namespace and id.
///
/// The namespace keeps the sessions of apps that share a store apart: the same id has another key
/// in each. The same holds for users.
#[derive(Clone)]
pub(crate) struct HashedIds {
    /// The hash of everything before the id, in whole blocks, so that a key costs one block.
    ids: Sha256,
    users: Sha256,
}

impl HashedIds {
    pub(crate) fn new(namespace: &str) -> Self {
        // The length keeps ("ab", "c…") and ("a", "bc…") apart.
        let length = (namespace.len() as u64).to_be_bytes();
        let [ids, users] = [KEY_DOMAIN, USER_DOMAIN].map(|domain| {
            let mut before = [domain, &length, namespace.as_bytes()].concat();
            before.resize(before.len().next_multiple_of(BLOCK_BYTES), 0);
            Sha256::new_with_prefix(before)
        });
        Self { ids, users }
    }

    fn id(&self, bytes: &[u8; ID_BYTES], text: [u8; ID_CHARS]) -> SessionId {
        let key = Key(self.ids.clone().chain_update(bytes).finalize().into());
        SessionId::new(text, key)
    }
}

impl IdScheme for HashedIds {
    fn generate(&self) -> Result<SessionId, NoRandomness> {
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes).map_err(NoRandomness::new)?;
        let mut text = [0; ID_CHARS];
        // 32 bytes are 43 characters, so they fit.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        let id = self.id(&bytes, text);
        bytes.zeroize();
        text.zeroize();
        Ok(id)
    }

    fn decode(&self, value: &[u8]) -> Option<SessionId> {
        // The length first: a value of any other size costs no work.
        let text: [u8; ID_CHARS] = value.try_into().ok()?;
        let mut bytes = [0; ID_BYTES];
        // The decoder refuses padding, other alphabets, and bits behind the last byte.
        match URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) {
            Ok(ID_BYTES) => Some(self.id(&bytes, text)),
            _ => None,
        }
    }

    fn key_of_user(&self, name: &str) -> Option<Key> {
        let mut bytes: [u8; 32] = self.users.clone().chain_update(name).finalize().into();
        bytes.iter_mut().rev().zip(USER_KEY_END).for_each(|(byte, end)| *byte = end);
        Some(Key(bytes))
    }
}

impl fmt::Debug for HashedIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedIds")
    }
}

/// The name of a session in a store: SHA-256 of namespace and id, written as 64 hexadecimal digits.
///
/// An attacker who reads a store's content learns keys and cannot make cookies of them (the lesson
/// of CVE-2019-16782, CVE-2020-26228 and CVE-2021-21339).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Whether it is the key of a user's record, which is no session.
    #[must_use]
    pub fn is_of_user(&self) -> bool {
        self.0.ends_with(&USER_KEY_END)
    }

    /// Whether it is the key of a line of the audit log, which is no session.
    #[must_use]
    pub fn is_of_audit(&self) -> bool {
        self.0.ends_with(&AUDIT_KEY_END)
    }

    /// Whether it is the key of a session.
    #[must_use]
    pub fn is_of_session(&self) -> bool {
        !self.is_of_user() && !self.is_of_audit()
    }

    /// A key for a line of the audit log that begins now. In the order of keys, the newest is the first.
    pub(crate) fn of_audit(now: Timestamp) -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(NoRandomness::new)?;
        let newest_first = (u64::MAX - now.as_millis()).to_be_bytes();
        bytes.iter_mut().zip(newest_first).for_each(|(byte, of_time)| *byte = of_time);
        bytes.iter_mut().rev().zip(AUDIT_KEY_END.iter().rev()).for_each(|(byte, end)| *byte = *end);
        Ok(Self(bytes))
    }

    /// The greatest key that is less than all keys of handles with this beginning.
    pub(crate) fn before(prefix: &HandlePrefix) -> Option<Self> {
        let before = u64::from_be_bytes(prefix.bytes).checked_sub(1)?;
        let mut bytes = [0xff; 32];
        bytes.iter_mut().zip(before.to_be_bytes()).for_each(|(byte, of_handle)| *byte = of_handle);
        Some(Self(bytes))
    }

    /// What logs and people call the session under this key.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        Handle([a, b, c, d, e, f, g, h])
    }
}

/// Bytes as two digits each, as `{:02x}` writes them. Nearly every call of a store names a key and
/// ops, and the formatter would take as long for them as for everything else.
pub(crate) struct Digits<const N: usize>([[u8; 2]; N]);

impl<const N: usize> Digits<N> {
    pub(crate) fn of(bytes: [u8; N]) -> Self {
        let mut pairs = [[0; 2]; N];
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = [digit(byte >> 4), digit(byte & 0x0f)];
        }
        Self(pairs)
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

/// The digit of a number below 16. It neither branches nor looks up, so many of them become vectors.
const fn digit(value: u8) -> u8 {
    let behind_nine = if value > 9 { b'a' - b'9' - 1 } else { 0 };
    value.wrapping_add(b'0').wrapping_add(behind_nine)
}

impl Hash for Key {
    /// A part of a hash is as good as the whole, and each request hashes its key several times.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Digits::of(self.0).as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}…)", self.handle())
    }
}

/// A text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits in lower case")]
pub struct NotAKey;

impl std::str::FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        from_digits(text.as_bytes()).map(Self).ok_or(NotAKey)
    }
}

/// Reads bytes from twice as many hexadecimal digits in lower case.
fn from_digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
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

/// The name of a session in logs and for people: the first 16 hexadecimal digits of its key.
///
/// It finds the record in the store's own tools. It cannot be turned into a cookie or an id (ASVS
/// 5.0 16.2.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle([u8; 8]);

impl Handle {
    #[allow(dead_code, reason = "only some stores write a handle")]
    pub(crate) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// A key that begins so.
    #[allow(dead_code, reason = "only some stores read a handle")]
    pub(crate) fn any_key(self) -> Key {
        let mut bytes = [0xff; 32];
        bytes.iter_mut().zip(self.0).for_each(|(place, byte)| *place = byte);
        Key(bytes)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Digits::of(self.0).as_str())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// A text is not a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handle is 16 hexadecimal digits in lower case")]
pub struct NotAHandle;

impl std::str::FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        from_digits(text.as_bytes()).map(Self).ok_or(NotAHandle)
    }
}

/// The beginning of a handle, as people shorten it: 1 to 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandlePrefix {
    /// The digits, and zeros behind them.
    bytes: [u8; 8],
    n_digits: usize,
}

impl HandlePrefix {
    /// How many digits a handle has.
    const DIGITS: usize = 16;

    /// Whether it is the beginning of this handle.
    #[must_use]
    pub fn is_of(&self, handle: &Handle) -> bool {
        let beyond = 4 * (Self::DIGITS - self.n_digits);
        let digits = |bytes| u64::from_be_bytes(bytes) >> beyond;
        digits(self.bytes) == digits(handle.0)
    }

    /// Whether it is a whole handle.
    pub(crate) fn is_whole(&self) -> bool {
        self.n_digits == Self::DIGITS
    }
}

impl From<Handle> for HandlePrefix {
    fn from(handle: Handle) -> Self {
        Self { bytes: handle.0, n_digits: Self::DIGITS }
    }
}

impl fmt::Display for HandlePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Digits::of(self.bytes).as_str().get(..self.n_digits).unwrap_or_default())
    }
}

impl fmt::Debug for HandlePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlePrefix({self})")
    }
}

/// A text is not the beginning of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handle, or the beginning of one, is 1 to 16 hexadecimal digits in lower case")]
pub struct NotAHandlePrefix;

impl std::str::FromStr for HandlePrefix {
    type Err = NotAHandlePrefix;

    fn from_str(text: &str) -> Result<Self, NotAHandlePrefix> {
        if text.is_empty() || text.len() > Self::DIGITS {
            return Err(NotAHandlePrefix);
        }
        let bytes = from_digits(format!("{text:0<16}").as_bytes()).ok_or(NotAHandlePrefix)?;
        Ok(Self { bytes, n_digits: text.len() })
    }
}

#[cfg(test)]
mod tests;
