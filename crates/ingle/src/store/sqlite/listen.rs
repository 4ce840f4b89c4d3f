//! How a process hears of the sessions that other processes end: it reads the newest marks, now and then.
//!
//! SQLite tells nobody of a commit of another process. To read the marks by their index costs a look at a
//! few pages, so it is done whether the file has changed or not.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use tokio::{sync::mpsc, time::sleep};

use super::{queue::ask, reader::Job};
use crate::{
    id::Key,
    store::{Applied, Error, Listener},
};

/// How often the marks are read.
const EVERY: Duration = Duration::from_millis(250);

/// How much older than the newest mark one may be that was committed later, in milliseconds: a writer
/// reads the clock first and then waits for the lock, 5 seconds at most, and for the changes before it.
/// Where a clock was set back, the marks that are older than this are not told.
const LATE_MAX: i64 = 10_000;

/// Who reads the marks.
pub(super) struct Ends {
    reads: mpsc::Sender<Job>,
    /// When the newest mark ends that was read.
    newest: i64,
    /// The marks that were read last. Most of them are read again.
    known: HashSet<Key>,
    /// Those that were not told yet.
    new: Vec<Key>,
}

impl Ends {
    /// Listens for what ends from now on.
    pub(super) async fn listen(reads: mpsc::Sender<Job>) -> Result<Self, Error> {
        let mut ends = Self { reads, newest: 0, known: HashSet::new(), new: Vec::new() };
        ends.read().await?;
        ends.new.clear();
        Ok(ends)
    }

    async fn read(&mut self) -> Result<(), Error> {
        let since = self.newest - LATE_MAX;
        let marks = ask(&self.reads, Applied::No, |reply| Job::Marks { since, reply }).await?;
        if let Some((newest, _)) = marks.last() {
            self.newest = *newest;
        }
        let keys: HashSet<Key> = marks.into_iter().map(|(_, key)| key).collect();
        self.new.extend(keys.difference(&self.known));
        self.known = keys;
        Ok(())
    }
}

#[async_trait]
impl Listener for Ends {
    async fn next(&mut self) -> Result<Key, Error> {
        loop {
            if let Some(key) = self.new.pop() {
                return Ok(key);
            }
            sleep(EVERY).await;
            self.read().await?;
        }
    }
}
