//! The store in one local file: SQLite, with no server.
//!
//! `writer.rs` and `reader.rs` are the threads that work on the file, by the statements of `write.rs`,
//! `list.rs` and `listen.rs`; `codec.rs` is a row, `schema.rs` the table, `connect.rs` the file. It knows no cookie
//! and no id. What is promised stands on [`Sqlite`] and in `docs/sqlite.md`.

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use rusqlite::Transaction;
use tokio::sync::mpsc;

use super::{
    Applied, CommitError, Cursor, Destroyed, Error, Info, List, Listener, Lookup, OpenError, Page,
    Replace, Store, Swept, Transactions, Warning, Write,
};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::Version,
    store::{by_handle, floor::platform::Platform},
};

mod codec;
mod config;
mod connect;
mod error;
mod list;
mod listen;
mod queue;
mod reader;
mod schema;
mod wakes;
mod write;
mod writer;

pub(super) use config::folder_of;
use error::{NAME, Unserved, no_thread};
use queue::ask;
use write::OwnedReplace;

/// How many dead rows go in one transaction, so that a long sweep does not hold up the commits.
const SWEEP_CHUNK: usize = 256;

/// SQLite: the store in one local file, shared by all processes of one machine.
///
/// Clones share its threads, which end after the last clone, when all that was queued is done.
///
/// | law | how it is kept |
/// |---|---|
/// | 1 | each load is a new read transaction, which sees all that was acknowledged before |
/// | 2 | every statement compares `dead_at`, the earlier deadline, with the caller's time |
/// | 3 | an `INSERT` that does nothing where the key is taken; a dead record or mark there makes way |
/// | 4, 5 | an `UPDATE` where counter and epoch are the base's and the row is a live record |
/// | 6 | both keys change within one transaction |
/// | 7 | an `UPDATE` that finds no record is success |
/// | 8 | `max(idle_deadline, min(the new one, absolute_deadline))`, and no other column |
/// | 9 | a write fails alone; a failed `COMMIT` is "no" where its code is proof, else "unknown" |
/// | 10 | an index on user and key |
/// | 11 | the file's lock: one transaction writes at a time, whichever process it is of |
/// | 12 | the mark takes the record's row, in the same transaction |
/// | 13 | both rows change within one transaction |
///
#[doc = include_str!("../../docs/sqlite.md")]
#[derive(Clone)]
pub struct Sqlite {
    folder: Arc<Path>,
    writes: mpsc::Sender<writer::Job>,
    reads: mpsc::Sender<reader::Job>,
    poison: writer::Poison,
}

impl Sqlite {
    /// Opens the store in `folder`, in the file `sessions.sqlite`. It makes both where they are not
    /// there, for this user alone (modes 0700 and 0600).
    ///
    /// Any number of processes may open the same folder, and do it at the same moment.
    ///
    /// # Errors
    /// The text of the error says what is wrong with the folder or the file, and what to do. A file
    /// that is not this library's, or of a newer version, is left as it is.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let folder = folder.as_ref().to_owned();
        config::check(&folder)?;
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&folder)).await;
        opened.map_err(|ended| no_thread(&ended.into()))?
    }

    /// The same by URL: `sqlite:///absolute/folder` or `sqlite:relative/folder`.
    ///
    /// # Errors
    /// The URL is wrong; else as [`open`](Self::open).
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub async fn open_url(url: &str) -> Result<Self, OpenError> {
        Self::open(folder_of(url)?).await
    }

    fn open_blocking(folder: &Path) -> Result<Self, OpenError> {
        let (folder, file) = connect::prepare(folder)?;
        let (writes, poison) = writer::start(schema::prepare(&file)?)?;
        let reads = reader::start(&file)?;
        if let Some(warning) = warning() {
            tracing::warn!("{warning}");
        }
        Ok(Self { folder: folder.into(), writes, reads, poison })
    }

    /// The folder, as an absolute path without links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets the writer run statements, and waits until they are on the disk.
    async fn change<T, E>(
        &self,
        statements: impl Fn(&mut Transaction<'_>) -> write::Done<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        ask(&self.writes, Applied::Unknown, |reply| {
            writer::Job::Change(writer::change(statements, reply))
        })
        .await
    }

    async fn page(
        &self,
        user: Option<String>,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        let list = list::List { user, after, limit, now };
        ask(&self.reads, Applied::No, |reply| reader::Job::List { list, reply }).await
    }
}

/// What is wrong with a file here at all.
fn warning() -> Option<Warning> {
    Platform::here().filter(|platform| platform.forgets_files()).map(error::forgotten)
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Sqlite {
    fn info(&self) -> Info {
        Info::new(NAME, "a crash and a power loss")
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        let key = *key;
        ask(&self.reads, Applied::No, |reply| reader::Job::Load { key, now, reply }).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        let write = write::OwnedWrite::of(write)?;
        self.change(move |transaction| write.run(transaction, now)).await
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let key = *key;
        self.change(move |transaction| write::touch(transaction, &key, idle_deadline, now)).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        let key = *key;
        self.change(move |transaction| write::destroy(transaction, &key, now)).await
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

    async fn ping(&self) -> Result<(), Error> {
        // Not by the writer's queue, which may wait for a lock and yet be well.
        writer::check(&self.poison)?;
        if self.writes.is_closed() {
            return Err(Unserved::NoThread.error(Applied::No));
        }
        ask(&self.reads, Applied::No, |reply| reader::Job::Ping { reply }).await
    }

    async fn check(&self, _: Timestamp) -> Result<Vec<Warning>, Error> {
        Ok(warning().into_iter().collect())
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }

    fn as_transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    /// The newest marks, which are read a few times a second.
    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        Ok(Some(Box::new(listen::Ends::listen(self.reads.clone()).await?)))
    }
}

#[async_trait]
impl Transactions for Sqlite {
    async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let (act, line) = (OwnedReplace::of(act)?, OwnedReplace::of(line)?);
        self.change(move |transaction| write::replace_with(transaction, &act, &line, now)).await
    }

    async fn destroy_with(
        &self,
        key: &Key,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Destroyed, Error> {
        let (key, line) = (*key, OwnedReplace::of(line)?);
        self.change(move |transaction| write::destroy_with(transaction, &key, &line, now)).await
    }
}

#[async_trait]
impl List for Sqlite {
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

#[cfg(test)]
mod tests;
