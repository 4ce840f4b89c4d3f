//! A store in memory that is looked at after each write, and whose lists are slow and come session by session.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastrand::Rng;
use ingle::{
    clock::Timestamp,
    record::{Key, Loaded, Version},
    store::{
        CommitError, Cursor, Destroyed, Error, Info, List, Lookup, Memory, Page, Store, Swept,
        Write,
    },
};
use tokio::time::sleep;

use crate::simulation::world::locked;

/// Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    memory: Memory,
    user: &'static str,
    rng: Arc<Mutex<Rng>>,
    /// The keys in the order in which they were written: lists have it, the newest first, and the keys are random.
    keys: Arc<Mutex<Vec<Key>>>,
    most: Arc<AtomicUsize>,
}

impl Watched {
    pub(super) fn new(memory: Memory, user: &'static str, rng: Rng) -> Self {
        let (rng, keys, most) = (Arc::new(Mutex::new(rng)), Arc::default(), Arc::default());
        Self { memory, user, rng, keys, most }
    }

    /// How many live sessions the user had at most.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for Watched {
    fn info(&self) -> Info {
        self.memory.info()
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        self.memory.load(key, now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        locked(&self.keys).push(write.record().header.key);
        let done = self.memory.commit(write, now).await;
        let sessions = self.memory.list_by_user(self.user, None, usize::MAX, now).await?;
        self.most.fetch_max(sessions.records.len(), Ordering::Relaxed);
        done
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.memory.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        self.memory.destroy(key, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        self.memory.sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.memory.ping().await
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }
}

#[async_trait]
impl List for Watched {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        self.memory.list(after, limit, now).await
    }

    /// A page has one session, so that others move between two pages.
    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        _: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let slow = locked(&self.rng).u64(..20_000);
        sleep(Duration::from_micros(slow)).await;
        let page = self.memory.list_by_user(user, None, usize::MAX, now).await?;
        let keys = locked(&self.keys);
        let place = |loaded: &Loaded| keys.iter().position(|key| *key == loaded.record.header.key);
        let after = after.and_then(|Cursor(after)| after.parse().ok());
        let is_later =
            |loaded: &Loaded| after.is_none_or(|after: usize| place(loaded) < Some(after));
        let next = page.records.into_iter().filter(is_later).max_by_key(place);
        let cursor = next.as_ref().and_then(place).map(|place| Cursor(place.to_string()));
        Ok(Page { records: next.into_iter().collect(), next: cursor, ..page })
    }
}
