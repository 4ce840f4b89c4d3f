use std::sync::Arc;

use tokio::time::advance;

use super::*;
use crate::{
    clock::Timestamp,
    data::Data,
    record::{Epoch, Header, Record, Version},
};

const KEY: Key = Key::from_bytes([1; 32]);
const TICK: Duration = Duration::from_millis(1);

/// A record of this epoch and counter, with a text of so many bytes.
fn loaded(epoch: u64, counter: u64, bytes: usize) -> Loaded {
    let header = Header::foreign(KEY, Timestamp::from_millis(0), Epoch::from_bits(epoch));
    let data = Data::from_iter([("text".to_owned(), "x".repeat(bytes).into())]);
    let record = Arc::new(Record { header: Header { counter, ..header }, data });
    Loaded { record, version: Version(counter) }
}

fn key(n: usize) -> Key {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Key::from_bytes(bytes)
}

#[test]
fn large_records_fill_the_cache_by_their_bytes() {
    const LARGE: usize = 8 * 1024;
    let (cache, large) = (RecordCache::new(), loaded(1, 1, LARGE));
    (0..RECORDS_MAX / 2).for_each(|n| cache.offer(&key(n), &large));
    let n_cached = (0..RECORDS_MAX / 2).filter(|n| cache.get(&key(*n)).is_some()).count();
    let bytes = (n_cached * LARGE) as u64;
    assert!(bytes <= BYTES_MAX, "{n_cached} records");
    assert!(bytes > BYTES_MAX / 4, "only {n_cached} records");
}

#[test]
fn an_older_commit_never_takes_the_place_of_a_newer_one() {
    let cache = RecordCache::new();
    let now_cached = |offered: &Loaded| {
        cache.offer(&KEY, offered);
        cache.get(&KEY).unwrap().record.header.clone()
    };
    assert_eq!(now_cached(&loaded(1, 7, 0)).counter, 7);
    assert_eq!(now_cached(&loaded(1, 6, 0)).counter, 7);
    assert_eq!(now_cached(&loaded(1, 8, 0)).counter, 8);
    // Another record with this key counts anew.
    assert_eq!(now_cached(&loaded(2, 1, 0)).counter, 1);
}

#[tokio::test(start_paused = true)]
async fn another_process_is_remembered_for_a_second() {
    let cache = RecordCache::new();
    assert!(!cache.is_contended(&KEY));
    cache.note_contention(&KEY);
    assert!(cache.is_contended(&KEY));
    assert!(!cache.is_contended(&key(2)));
    advance(CONTENDED_FOR - TICK).await;
    assert!(cache.is_contended(&KEY));
    advance(TICK).await;
    assert!(!cache.is_contended(&KEY));
}
