//! The store in one local file, with no server: SQLite, shared by all processes of one machine.
//!
//! | law | how it is kept |
//! |---|---|
//! | 1 | each load is a new read transaction, which sees all that was acknowledged before |
//! | 2 | every statement compares `dead_at`, the earlier deadline, with the caller's time |
//! | 3 | an `INSERT` that does nothing where the key is taken; what is dead there makes way |
//! | 4, 5 | an `UPDATE` where counter and epoch are the base's and the row is live |
//! | 6 | both keys change within one transaction |
//! | 7 | a `DELETE` that finds nothing is done |
//! | 8 | `max(idle_deadline, min(the new one, absolute_deadline))`, and no other column |
//! | 9 | a write fails alone; a failed `COMMIT` is "no" where its code is proof, else "maybe" |
//! | 10 | an index on user and key |
//! | 11 | the file's lock: one transaction writes at a time, whichever process it is of |
//!
//! # What an acknowledged commit survives
//!
//! The end of the process, and the loss of power if the disk keeps what its fsync reported: a
//! commit is acknowledged after the log was synced (`journal_mode=WAL`, `synchronous=FULL`). One
//! thread gathers the commits that wait and runs them in one transaction, so that one sync serves
//! them all.
//!
//! A sync that failed is never tried again: the operating system may have dropped the pages and
//! report success the next time ("fsyncgate", PostgreSQL 2018). From then on every commit of this
//! store fails at once, loads go on, and the process must be restarted.
//!
//! # What is noticed of a damaged file
//!
//! Each row has a checksum of its own, which a load verifies, because SQLite has none in its file: a
//! record that is not as it was written is an error ([`ErrorKind::Corrupt`](super::ErrorKind)) and
//! never anybody's session. Where SQLite itself finds damage, opening or the call fails. Three things
//! are not noticed:
//!
//! - Damage in the index by key, or in a row's key, can make a session look as if it were not there,
//!   and damage in a row's deadlines can make the sweep delete it. The visitor begins anew.
//!   `PRAGMA integrity_check` finds the former, and `REINDEX` mends it, as it does an index that a
//!   sweep fails for.
//! - Of a damaged log beside the file, SQLite takes what is before the damage, as after a power loss:
//!   the commits behind it are taken back, all as they were at one moment.
//! - A file of which nothing is left, or a single byte, is a new one to SQLite, without any session.
//!
//! # Limits
//!
//! The folder must stay where it is while a process has it open: one that is moved or deleted under
//! a process takes with it what that process goes on to acknowledge. It must be on a local disk,
//! because the processes share memory through it. At most 4096
//! commits wait and as many loads; beyond that they fail at once. A group of commits waits 5
//! seconds for another process, then it fails. The idle timeout of a session is kept in
//! milliseconds.
//!
//! # Looking at it, and changing it
//!
//! The table `sessions` is for reading, here with a key as `SELECT hex(key)` shows it:
//!
//! ```text
//! $ sqlite3 -line sessions.sqlite \
//!     "SELECT user, datetime(dead_at / 1000, 'unixepoch') AS ends, data FROM sessions
//!      WHERE key = x'2b1f…'"
//!  user = ada
//!  ends = 2026-05-04 12:30:00
//!  data = {"greeting":"hello","views":3}
//! ```
//!
//! and for changing, while the app runs:
//!
//! ```text
//! $ sqlite3 sessions.sqlite ".timeout 5000" \
//!     "UPDATE sessions SET data = json_set(data, '$.views', 7) WHERE key = x'2b1f…'"
//! ```
//!
//! A trigger counts that as a commit, so that a request under way replays its changes on the new
//! data and does not write over it, and refuses what is not a JSON object. It also takes the row's
//! `sum` away, which the next commit gives it again. Who sets `counter`, `epoch`, `ops` or `format`
//! sets `sum` to NULL as well. The store's own writes run no trigger, be it yours.

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{
    Applied, CommitError, Cursor, Error, Inspect, Page, Promises, Renew, Shared, Store, Swept,
    Write,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Version},
};

mod failure;
mod file;
mod reader;
mod rows;
mod schema;
mod writer;
mod writes;

pub use failure::EmbeddedError;
use failure::Unserved;

/// What messages and metrics call this store.
const NAME: &str = "embedded";

/// How many commits may wait, and how many loads: a tenth of a second of work, and beyond it an
/// answer that comes at once is worth more than one that comes late.
const QUEUE_MAX: usize = 4096;

/// How many dead rows go in one transaction, so that a long sweep does not hold up the commits.
const SWEEP_CHUNK: usize = 256;

/// The store in one local file, shared by all processes of one machine. Clones share its threads,
/// which end after the last clone, when all that was queued is done.
#[derive(Clone)]
pub struct Embedded {
    folder: Arc<Path>,
    writes: mpsc::Sender<writer::Job>,
    reads: mpsc::Sender<reader::Job>,
}

impl Embedded {
    /// Opens the store in `folder`, in the file `sessions.sqlite`, and makes both where they are
    /// not there, for this user alone (modes 0700 and 0600).
    ///
    /// Any number of processes may open the same folder, and do it at the same moment.
    ///
    /// # Errors
    /// [`EmbeddedError`] says what is wrong with the folder or the file, and what to do. A file
    /// that is not this library's, or of a newer version, is left as it is.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, EmbeddedError> {
        let folder = folder.as_ref().to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&folder)).await;
        opened.map_err(|ended| EmbeddedError::Thread { source: ended.into() })?
    }

    fn open_blocking(folder: &Path) -> Result<Self, EmbeddedError> {
        let (folder, file) = file::prepare(folder)?;
        let writes = writer::start(schema::prepare(&file)?)?;
        let reads = reader::start(&file)?;
        Ok(Self { folder: folder.into(), writes, reads })
    }

    /// The folder, as an absolute path without links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Embedded {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        Promises { renew: Renew::OneStep, shared: Shared::Processes, lists_by_user: true }
    }

    fn survives(&self) -> &str {
        "a crash and a power loss"
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
        let key = *key;
        ask(&self.reads, Applied::No, |reply| reader::Job::Load { key, now, reply }).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        let write = writes::OwnedWrite::of(write)?;
        ask(&self.writes, Applied::Unknown, |reply| {
            writer::Job::Commit(writer::Commit { write, now, reply })
        })
        .await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        let mut deleted = 0;
        loop {
            let chunk = SWEEP_CHUNK.min(limit - deleted);
            let sweep = |reply| writer::Job::Sweep { now, limit: chunk, reply };
            let found = ask(&self.writes, Applied::Unknown, sweep).await?;
            deleted += found.deleted;
            if !found.more || deleted == limit {
                return Ok(Swept { deleted, more: found.more });
            }
        }
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for Embedded {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        self.page(None, after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        self.page(Some(user.to_owned()), after, limit, now).await
    }
}

impl Embedded {
    async fn page(
        &self,
        user: Option<String>,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        let list = reader::List { user, after, limit, now };
        ask(&self.reads, Applied::No, |reply| reader::Job::List { list, reply }).await
    }
}

/// Queues a job for a thread and waits for its answer; `unanswered` is what may have happened if
/// the thread ends without one.
async fn ask<J, T, E: From<Error>>(
    queue: &mpsc::Sender<J>,
    unanswered: Applied,
    job: impl FnOnce(oneshot::Sender<Result<T, E>>) -> J,
) -> Result<T, E> {
    let (reply, answer) = oneshot::channel();
    queue.try_send(job(reply)).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(_) => Unserved::QueueFull.happened(Applied::No),
        mpsc::error::TrySendError::Closed(_) => Unserved::NoThread.happened(Applied::No),
    })?;
    answer.await.unwrap_or_else(|_| Err(Unserved::NoThread.happened(unanswered).into()))
}

#[cfg(test)]
mod tests;
