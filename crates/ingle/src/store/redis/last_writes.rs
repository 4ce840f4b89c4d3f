//! What this process wrote last, as far as it remembers: of such a record it knows that Redis was told when to
//! delete it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{id::Key, record::Version};

/// For how many records. Two that share a place forget each other, and are told of again.
const PLACES: usize = 1 << 14;

pub(super) struct LastWrites(Box<[AtomicU64]>);

impl LastWrites {
    /// Whether this is what it wrote last under the key.
    pub(super) fn is_last(&self, key: &Key, version: Version) -> bool {
        self.place(key).is_some_and(|place| place.load(Ordering::Relaxed) == version.0)
    }

    pub(super) fn note(&self, key: &Key, version: Version) {
        if let Some(place) = self.place(key) {
            place.store(version.0, Ordering::Relaxed);
        }
    }

    /// By the end of the key, which is a hash.
    fn place(&self, key: &Key) -> Option<&AtomicU64> {
        let (_, end) = key.as_bytes().split_last_chunk()?;
        self.0.get(usize::from(u16::from_be_bytes(*end)) % PLACES)
    }
}

impl Default for LastWrites {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(Version::NONE.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_each_place_is_known() {
        let writes = LastWrites::default();
        let key = |byte| Key::from_bytes([byte; 32]);
        let (first, second) = (Version(7), Version(8));
        assert!(!writes.is_last(&key(1), first));
        writes.note(&key(1), first);
        writes.note(&key(2), second);
        assert!(writes.is_last(&key(1), first));
        assert!(!writes.is_last(&key(1), second) && !writes.is_last(&key(2), first));
        // One of another record with the same place.
        let mut other = [3; 32];
        other[30..].copy_from_slice(&[1, 1]);
        writes.note(&Key::from_bytes(other), second);
        assert!(!writes.is_last(&key(1), first));
    }
}
