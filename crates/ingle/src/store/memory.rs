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
//! | 12 | the mark takes the record's place in the map |
//! | 13 | both records change under the same lock |
//!
//! An acknowledged commit survives nothing: the records end with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    Capabilities, CommitError, Cursor, Destroyed, Error, Info, List, Lookup, Page, Replace, Store,
    Swept, Transactions, Warning, Write, by_handle, mark::Mark,
};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::{Loaded, Record, Version},
};

/// The store in the memory of one process. Clones share the records.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    records: Arc<Mutex<Records>>,
}

type Records = BTreeMap<Key, Entry>;

/// What stands under a key.
#[derive(Debug)]
enum Entry {
    Record(Arc<Record>),
    Mark(Mark),
}

impl Entry {
    fn is_dead(&self, now: Timestamp) -> bool {
        match self {
            Self::Record(record) => record.is_dead(now),
            Self::Mark(mark) => mark.is_dead(now),
        }
    }

    fn record(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Record(record) => Some(record),
            Self::Mark(_) => None,
        }
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records there are, including dead ones that no sweep has deleted yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locked(|records| records.values().filter_map(Entry::record).count())
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
    fn info(&self) -> Info {
        Info::new("memory", "nothing: the store ends with this process")
            .with_capabilities(Capabilities::default().in_one_process())
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        Ok(self.locked(|records| match records.get(key) {
            Some(Entry::Record(record)) if !record.is_dead(now) => Lookup::Live(loaded(record)),
            Some(Entry::Mark(mark)) => mark.lookup(now),
            Some(Entry::Record(_)) | None => Lookup::Missing,
        }))
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        self.locked(|records| commit(records, write, now))
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.locked(|records| match records.get_mut(key) {
            Some(Entry::Record(record)) if !record.is_dead(now) => {
                let deadline = idle_deadline.min(record.header.absolute_deadline);
                if deadline > record.header.idle_deadline {
                    Arc::make_mut(record).header.idle_deadline = deadline;
                }
                Ok(())
            }
            _ => Err(CommitError::Gone),
        })
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        Ok(self.locked(|records| destroy(records, key, now)))
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        Ok(self.locked(|records| {
            let dead = records.iter().filter(|(_, entry)| entry.is_dead(now));
            let dead: Vec<Key> = dead.map(|(key, _)| *key).take(limit).collect();
            dead.iter().for_each(|key| drop(records.remove(key)));
            Swept { deleted: dead.len(), more: dead.len() == limit }
        }))
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    /// This store is for tests.
    async fn check(&self, _: Timestamp) -> Result<Vec<Warning>, Error> {
        let problem = "the sessions are in the memory of one process, and end with it";
        let help = "name a store by its URL: `sqlite:FOLDER` on one machine, else `postgres:`, `redis:` or \
                    `firestore:`";
        Ok(vec![Warning::new("shared", problem, help)])
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }

    fn as_transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }
}

#[async_trait]
impl Transactions for Memory {
    async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        self.locked(|records| {
            check(records, act.base, now)?;
            write_line(records, line, now)?;
            commit(records, act.into(), now)
        })
    }

    async fn destroy_with(
        &self,
        key: &Key,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Destroyed, Error> {
        self.locked(|records| {
            if records.get(key).and_then(Entry::record).is_some() {
                write_line(records, line, now)?;
            }
            Ok(destroy(records, key, now))
        })
    }
}

#[async_trait]
impl List for Memory {
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

    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        by_handle::in_order(self, prefix, after, limit, now).await
    }
}

impl Memory {
    fn page(&self, after: Option<&Cursor>, limit: usize, wanted: impl Fn(&Record) -> bool) -> Page {
        let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut records: Vec<Loaded> = self.locked(|records| {
            let range = records.range((start, Bound::Unbounded));
            let wanted =
                range.filter_map(|(_, entry)| entry.record()).filter(|record| wanted(record));
            wanted.take(limit.saturating_add(1)).map(loaded).collect()
        });
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().filter(|_| more);
        let next = last.map(|last| Cursor(last.record.header.key.to_string()));
        let mut page = Page { next, ..Page::default() };
        // Here nothing is damaged.
        records.into_iter().for_each(|loaded| page.push(Ok(loaded)));
        page
    }
}

fn commit(records: &mut Records, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
    let record = write.record();
    let entry = || Entry::Record(Arc::clone(record));
    match write {
        Write::Replace { base, .. } => {
            let place = check(records, base, now)?;
            let mut record = Arc::clone(record);
            if record.keeps_idle_deadline(&base.record)
                && record.header.idle_deadline != place.header.idle_deadline
            {
                Arc::make_mut(&mut record).header.idle_deadline = place.header.idle_deadline;
            }
            *place = record;
        }
        Write::Create { .. } => {
            free(records, &record.header.key, now)?;
            records.insert(record.header.key, entry());
        }
        Write::Renew { base, .. } => {
            let (from, to) = (base.record.header.key, record.header.key);
            check(records, base, now)?;
            free(records, &to, now)?;
            records.insert(from, Entry::Mark(Mark::moved(to, now)));
            records.insert(to, entry());
        }
    }
    Ok(version(record))
}

fn destroy(records: &mut Records, key: &Key, now: Timestamp) -> Destroyed {
    match records.get_mut(key) {
        Some(Entry::Mark(mark)) => mark.destroyed(now),
        Some(entry) => {
            *entry = Entry::Mark(Mark::ended(now));
            Destroyed::Ended
        }
        None => Destroyed::Nothing,
    }
}

/// Writes the line of an act, which follows under the same lock.
fn write_line(records: &mut Records, line: Replace<'_>, now: Timestamp) -> Result<(), Error> {
    commit(records, line.into(), now).map(drop).map_err(|_| Error::of_line("memory"))
}

/// The condition of a create, and of a renew for its new key.
fn free(records: &Records, key: &Key, now: Timestamp) -> Result<(), CommitError> {
    match records.get(key) {
        Some(entry) if !entry.is_dead(now) => Err(CommitError::Conflict(None)),
        _ => Ok(()),
    }
}

/// The condition of a replace and of a renew. Returns what the write takes the place of.
fn check<'a>(
    records: &'a mut Records,
    base: &Loaded,
    now: Timestamp,
) -> Result<&'a mut Arc<Record>, CommitError> {
    let Some(Entry::Record(record)) = records.get_mut(&base.record.header.key) else {
        return Err(CommitError::Gone);
    };
    if record.is_dead(now) {
        return Err(CommitError::Gone);
    }
    // The counter begins anew in each life of a key, so an earlier life may have had this count.
    if version(record) != base.version || record.header.epoch != base.record.header.epoch {
        return Err(CommitError::Conflict(None));
    }
    Ok(record)
}

fn version(record: &Record) -> Version {
    Version(record.header.counter)
}

fn loaded(record: &Arc<Record>) -> Loaded {
    Loaded { record: Arc::clone(record), version: version(record) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Epoch, Header};

    #[tokio::test]
    async fn a_last_page_that_is_full_names_no_next_one() {
        let (store, now) = (Memory::new(), Timestamp::from_millis(5));
        for number in 1..=4 {
            let header = Header::foreign(Key::from_bytes([number; 32]), now, Epoch::from_bits(1));
            let record = &Arc::new(Record { header, data: crate::data::Data::new() });
            store.commit(Write::Create { record }, now).await.unwrap();
        }
        let first = store.list(None, 2, now).await.unwrap();
        assert!(first.next.is_some());
        let last = store.list(first.next.as_ref(), 2, now).await.unwrap();
        assert_eq!((last.records.len(), last.next), (2, None));
    }
}
