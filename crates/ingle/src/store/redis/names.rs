//! The names of keys in Redis, and which of them a cluster keeps together.
//!
//! It knows nothing of what is under a key.

use sha2::{Digest as _, Sha256};

use crate::id::{Digits, HandlePrefix, Key};

/// One of 256 parts of all keys, which a cluster keeps on one server: what decides where a key belongs
/// is the text between its braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition(pub(super) u8);

/// A cluster's number of slots.
const SLOTS: u16 = 16384;

impl Partition {
    pub(super) fn of(key: &Key) -> Self {
        Self(key.as_bytes().first().copied().unwrap_or_default())
    }

    /// The partition of a user's set.
    pub(super) fn of_user(name: &str) -> Self {
        Self(Sha256::digest(name).first().copied().unwrap_or_default())
    }

    /// The slot of the partition's keys: CRC16, as XMODEM has it, of what stands between the braces.
    pub(super) fn slot(self) -> u16 {
        let digits = Digits::of([self.0]);
        let crc = digits.as_bytes().iter().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                let carry = if crc & 0x8000 == 0 { 0 } else { 0x1021 };
                (crc << 1) ^ carry
            })
        });
        crc % SLOTS
    }
}

/// The names of keys, which all begin with one prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name of a record, such as `ingle:{7f}:7f…`.
    pub(super) fn record(&self, key: &Key) -> String {
        let mut name = Vec::with_capacity(self.prefix.len() + 70);
        self.push_record(&mut name, key);
        String::from_utf8(name).unwrap_or_default()
    }

    /// Adds the name of a record.
    pub(super) fn push_record(&self, text: &mut Vec<u8>, key: &Key) {
        text.extend_from_slice(self.prefix.as_bytes());
        text.extend_from_slice(b":{");
        text.extend_from_slice(Digits::of([Partition::of(key).0]).as_bytes());
        text.extend_from_slice(b"}:");
        text.extend_from_slice(Digits::of(*key.as_bytes()).as_bytes());
    }

    /// The key of a record, if it is one.
    pub(super) fn key(&self, name: &[u8]) -> Option<Key> {
        let name = std::str::from_utf8(name).ok()?;
        let key: Key = name.strip_prefix(self.prefix.as_str())?.get(6..)?.parse().ok()?;
        (self.record(&key) == name).then_some(key)
    }

    /// The channel on which those who listen are told the names of records that have ended, such as
    /// `ingle:ended`.
    pub(super) fn ends(&self) -> String {
        format!("{}:ended", self.prefix)
    }

    /// A pattern that fits the names of all records.
    pub(super) fn records(&self) -> String {
        format!("{}:{{??}}:*", self.prefix)
    }

    /// A pattern that fits the names of the records whose handles begin so.
    pub(super) fn records_of(&self, prefix: &HandlePrefix) -> String {
        format!("{}:{{??}}:{prefix}*", self.prefix)
    }

    /// The name of a user's set, such as `ingle:user:{3c}:mary`.
    pub(super) fn user(&self, name: &str) -> String {
        self.of_user("user", name)
    }

    /// The name of how many members that set has. It begins in another way: who deletes all sets by a pattern
    /// leaves these.
    pub(super) fn size(&self, name: &str) -> String {
        self.of_user("size", name)
    }

    fn of_user(&self, what: &str, name: &str) -> String {
        format!("{}:{what}:{{{:02x}}}:{name}", self.prefix, Partition::of_user(name).0)
    }
}
