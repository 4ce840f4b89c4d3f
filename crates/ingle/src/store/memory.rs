//! The store in the memory of one process: for tests, and the reference that the others are read
//! against.
//!
//! | law | how it is kept |
//! |---|---|
//! | 1 to 5, 7, 8 | one lock around the map, held for one look and one write |
//! | 6 | both keys change under the same lock |
//! | 9 | nothing can fail |
//! | 10 | looks at every record |
//! | 11 | within one process; no other can reach the map |
//!
//! An acknowledged commit survives nothing: the records end with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    CommitError, Cursor, Error, Inspect, Page, Promises, Renew, Shared, Store, Swept, Write,
};
use crate::{
    clock::Timestamp,
    id::Key,
    planted::Bug,
    record::{Loaded, Record, Version},
};

/// The store in the memory of one process. Clones share the records.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    records: Arc<Mutex<Records>>,
}

type Records = BTreeMap<Key, Arc<Record>>;

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records there are, the dead ones that no sweep has met yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locked(|records| records.len())
    }

    /// Whether there is no record at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn locked<R>(&self, work: impl FnOnce(&mut Records) -> R) -> R {
        // Each write below is one call on the map, so a panic in between leaves nothing half done.
        work(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn promises(&self) -> Promises {
        Promises { renew: Renew::OneStep, shared: Shared::Process, lists_by_user: true }
    }

    fn survives(&self) -> &str {
        "nothing: the store ends with this process"
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
        Ok(self.locked(|records| live(records, key, now).map(loaded)))
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        self.locked(|records| commit(records, write, now))
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        Ok(self.locked(|records| {
            let dead = records.iter().filter(|(_, record)| record.is_dead(now));
            let dead: Vec<Key> = dead.map(|(key, _)| *key).take(limit).collect();
            dead.iter().for_each(|key| drop(records.remove(key)));
            Swept { deleted: dead.len(), more: dead.len() == limit }
        }))
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for Memory {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        Ok(self.page(after, limit, |record| !record.is_dead(now)))
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let of_user =
            |record: &Record| record.header.user.as_ref().is_some_and(|other| other.name == user);
        Ok(self.page(after, limit, |record| !record.is_dead(now) && of_user(record)))
    }
}

impl Memory {
    fn page(&self, after: Option<&Cursor>, limit: usize, wanted: impl Fn(&Record) -> bool) -> Page {
        let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut records: Vec<Loaded> = self.locked(|records| {
            let range = records.range((start, Bound::Unbounded));
            let wanted = range.map(|(_, record)| record).filter(|record| wanted(record));
            wanted.take(limit.saturating_add(1)).map(loaded).collect()
        });
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().filter(|_| more);
        let next = last.map(|last| Cursor(last.record.header.key.to_string()));
        Page { records, next }
    }
}

fn commit(records: &mut Records, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
    match write {
        Write::Create { record } => {
            let key = record.header.key;
            if live(records, &key, now).is_some() {
                return Err(CommitError::Conflict(None));
            }
            records.insert(key, Arc::clone(record));
            Ok(version(record))
        }
        Write::Replace { base, record } => {
            check(records, base, now)?;
            records.insert(record.header.key, Arc::clone(record));
            Ok(version(record))
        }
        Write::Renew { base, record } => {
            check(records, base, now)?;
            if live(records, &record.header.key, now).is_some() {
                return Err(CommitError::Conflict(None));
            }
            records.remove(&base.record.header.key);
            records.insert(record.header.key, Arc::clone(record));
            Ok(version(record))
        }
        Write::Touch { key, idle_deadline } => {
            live(records, key, now).ok_or(CommitError::Gone)?;
            let record = records.get_mut(key).ok_or(CommitError::Gone)?;
            let deadline = idle_deadline.min(record.header.absolute_deadline);
            if deadline > record.header.idle_deadline {
                Arc::make_mut(record).header.idle_deadline = deadline;
            }
            Ok(version(record))
        }
        Write::Destroy { key } => {
            records.remove(key);
            Ok(Version::NONE)
        }
    }
}

/// The condition of a replace and of a renew.
fn check(records: &Records, base: &Loaded, now: Timestamp) -> Result<(), CommitError> {
    match live(records, &base.record.header.key, now) {
        None => Err(CommitError::Gone),
        _ if Bug::NoVersionCheck.is_planted() => Ok(()),
        Some(record) if version(record) != base.version => Err(CommitError::Conflict(None)),
        // The counter begins anew in each life of a key, so an earlier one may have counted alike.
        Some(record) if record.header.epoch != base.record.header.epoch => {
            Err(CommitError::Conflict(None))
        }
        Some(_) => Ok(()),
    }
}

fn live<'a>(records: &'a Records, key: &Key, now: Timestamp) -> Option<&'a Arc<Record>> {
    records.get(key).filter(|record| Bug::ExpiryTrusted.is_planted() || !record.is_dead(now))
}

fn version(record: &Record) -> Version {
    Version(record.header.counter)
}

fn loaded(record: &Arc<Record>) -> Loaded {
    Loaded { record: Arc::clone(record), version: version(record) }
}
