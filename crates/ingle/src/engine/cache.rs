//! The cached records: what this process last knew of each. A cached record is never the answer to
//! a read, and never the reason to say "nothing to do" or "no".

use std::time::Duration;

use foldhash::quality::RandomState;
use quick_cache::{
    UnitWeighter, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::time::Instant;

use crate::{data::memory_len, id::Key, record::Loaded};

/// How many records one process caches, and how many bytes of them.
const RECORDS_MAX: usize = 16 * 1024;
const BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What a record takes beside its data, roughly.
const RECORD_BYTES: u64 = 512;

/// How many sessions one process remembers as contended, and how long.
const CONTENDED_MAX: usize = 1024;
const CONTENDED_FOR: Duration = Duration::from_secs(1);

/// The bounded cache of the records that this process last loaded or committed.
#[derive(Debug)]
pub(crate) struct RecordCache {
    records: Cache<Key, Loaded, Weight, RandomState>,
    /// When another process was last seen to commit to a session that this process commits to.
    contended: Cache<Key, Instant, UnitWeighter, RandomState>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Loaded> for Weight {
    fn weight(&self, _: &Key, loaded: &Loaded) -> u64 {
        RECORD_BYTES + memory_len(&loaded.record.data) as u64
    }
}

impl RecordCache {
    pub(crate) fn new() -> Self {
        Self {
            records: cache(RECORDS_MAX, BYTES_MAX, Weight),
            contended: cache(CONTENDED_MAX, CONTENDED_MAX as u64, UnitWeighter),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Loaded> {
        self.records.get(key)
    }

    /// Keeps what was loaded or committed, unless something newer is cached already. A race here
    /// costs no more than a conflict.
    pub(crate) fn offer(&self, key: &Key, loaded: &Loaded) {
        let header = &loaded.record.header;
        let newer = |cached: Loaded| {
            let known = &cached.record.header;
            known.epoch == header.epoch && known.counter > header.counter
        };
        if !self.records.peek(key).is_some_and(newer) {
            self.records.insert(*key, loaded.clone());
        }
    }

    /// Keeps the result of a commit to the record under `key`. The record of a renewed session is
    /// kept under its new key.
    pub(crate) fn keep(&self, key: &Key, loaded: &Loaded) {
        let current = loaded.record.header.key;
        if current != *key {
            self.remove(key);
        }
        self.offer(&current, loaded);
    }

    pub(crate) fn remove(&self, key: &Key) -> Option<Loaded> {
        self.records.remove(key).map(|(_, loaded)| loaded)
    }

    /// Notes that another process commits to the record under this key.
    pub(crate) fn note_contention(&self, key: &Key) {
        self.contended.insert(*key, Instant::now());
    }

    /// Whether another process was seen to commit to the record a moment ago.
    pub(crate) fn is_contended(&self, key: &Key) -> bool {
        self.contended.get(key).is_some_and(|noted| noted.elapsed() < CONTENDED_FOR)
    }
}

fn cache<V: Clone, W: Weighter<Key, V> + Clone>(
    max: usize,
    weight_max: u64,
    weighter: W,
) -> Cache<Key, V, W, RandomState> {
    Cache::with(max, weight_max, weighter, RandomState::default(), DefaultLifecycle::default())
}

#[cfg(test)]
mod tests;
