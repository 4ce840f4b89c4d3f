//! The store in a PostgreSQL database, shared by any number of instances.
//!
//! | law | how it is kept |
//! |---|---|
//! | 1 | each load is one statement, which sees all that was acknowledged before |
//! | 2 | every statement compares both deadlines with the caller's time; the server's clock is never asked |
//! | 3 | an `INSERT` that does nothing where the key is taken; what is dead there makes way |
//! | 4, 5 | an `UPDATE` where counter, epoch and ops are the base's and the row is live |
//! | 6 | an `UPDATE` of the key: one statement |
//! | 7 | a `DELETE` that finds nothing is done |
//! | 8 | `greatest(idle_deadline, least(the new one, absolute_deadline))`, and no other column |
//! | 9 | "no" where the server took the statement back or nothing was sent, else "maybe" |
//! | 10 | an index on user and key |
//! | 11 | the row's lock: who waits for it decides on what the row is then |
//!
//! Each statement is a transaction of its own and one round trip. Commits that meet in this process go
//! in one statement (`groups.rs`), and each of them stands or falls alone. None is sent a second time, but
//! where the key of a create or a renew was taken by a record that is dead, and where its group did
//! not decide it.
//!
//! # What an acknowledged commit survives
//!
//! A crash and a power loss, as PostgreSQL is set when it is installed. [`Store::survives`] says what
//! is true of the server as it is set when the store is opened: with `fsync`, `synchronous_commit` or
//! `full_page_writes` off it is less, and a warning is logged. Where a standby that is not
//! synchronous takes over, the last moments are lost; see `synchronous_standby_names`.
//!
//! # Limits
//!
//! PostgreSQL 13 or later, in a database with the encoding UTF8. At most `pool` connections, each
//! with one statement at a time; 2048 calls may wait for one, beyond that they fail at once. A
//! statement has 4 seconds on the server, and 0.4 seconds to wait for a lock (behind a pooler, what
//! the role's settings say); a connection that has not answered for 5 seconds is closed. The
//! idle timeout of a session is kept in milliseconds.
//!
//! # Looking at it, and changing it
//!
//! ```text
//! => SELECT user_name, idle_deadline, data FROM ingle_sessions WHERE key = '\x2b1f…';
//! => UPDATE ingle_sessions SET data = jsonb_set(data, '{views}', '7') WHERE key = '\x2b1f…';
//! => DELETE FROM ingle_sessions WHERE user_name = 'ada';
//! ```
//!
//! A trigger counts an `UPDATE` as a commit, so that a request under way replays its changes on the
//! new data and does not write over it; a constraint refuses what is not a JSON object. A number with
//! a point is a double, one without is an integer.
//!
//! See the page *PostgreSQL in production* for how to set it up.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio_postgres::{Row, error::SqlState};

use super::{
    Applied, CommitError, Cursor, Error, ErrorKind, Inspect, Page, Promises, Renew, Shared, Store,
    Swept, Write,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
};

mod failure;
mod groups;
mod place;
mod pool;
mod rows;
mod schema;
mod statements;
mod tls;
mod value;

use failure::Failure;
pub use failure::PostgresError;
use groups::{Fate, Groups};
pub use place::PostgresConfig;
use pool::Pool;
use rows::Param;
use statements::Kind;

/// What messages and metrics call this store.
const NAME: &str = "postgres";

/// How many rows one statement of a sweep looks at, so that none holds many locks for long.
const SWEEP_CHUNK: usize = 256;

/// How often a create or a renew tries to take a key. Each time it was taken, and then was not.
const LOOKS_MAX: usize = 8;

/// The store in a table of a PostgreSQL database. Clones share the connections.
#[derive(Clone)]
pub struct Postgres {
    pool: Arc<Pool>,
    groups: Arc<Groups>,
    survives: Arc<str>,
}

impl Postgres {
    /// Opens the store, and asks the server once whether it and the table will do.
    ///
    /// # Errors
    /// [`PostgresError`] says what is wrong, and what mends it. The table is not made here: see
    /// [`migrate`](Self::migrate).
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: PostgresConfig) -> Result<Self, PostgresError> {
        let pool = Pool::new(config)?;
        let survives = schema::check(&pool).await?.into();
        let groups = Groups::new(Arc::clone(&pool));
        Ok(Self { pool, groups, survives })
    }

    /// Makes the table, where it is not there yet. Any number may do it at once.
    ///
    /// # Errors
    /// [`PostgresError`] says what is wrong. A table that is not this library's, or a newer one's, is
    /// left as it is.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn migrate(config: PostgresConfig) -> Result<(), PostgresError> {
        schema::migrate(&Pool::new(config)?).await
    }

    async fn ask(&self, kind: Kind, params: Vec<Param>) -> Result<Vec<Row>, Failure> {
        self.pool.ask(kind, params).await
    }

    fn failed(&self, failure: &Failure) -> Error {
        failure.of_call(self.pool.config())
    }

    /// The error of what changes no record, whatever became of it.
    fn not_read(&self, failure: &Failure) -> Error {
        failure.of_read(self.pool.config())
    }

    async fn create(&self, record: &Record, now: Timestamp) -> Result<Version, CommitError> {
        for _ in 0..LOOKS_MAX {
            let rows = self.ask(Kind::Create, rows::params(record)?).await;
            if !rows.map_err(|failure| self.failed(&failure))?.is_empty() {
                return Ok(version(record));
            }
            if self.is_taken(&record.header.key, now).await? {
                return Err(CommitError::Conflict(None));
            }
        }
        Err(contended().into())
    }

    /// A replace, in a group if it can be.
    async fn replace(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        if base.record.header.only_moves(&record.header) {
            match self.groups.commit(base, record, now).await? {
                Fate::Applied => return Ok(version(record)),
                Fate::Unmet => return Err(self.why_not(base, now).await),
                Fate::Alone => {}
            }
        }
        self.write(base, record, now).await
    }

    /// A replace by itself or, under another key, a renew.
    async fn write(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        for _ in 0..LOOKS_MAX {
            let mut params = rows::params(record)?;
            params.push(Param::Time(now));
            params.extend(rows::condition(base));
            match self.ask(Kind::Write, params).await {
                Ok(rows) if rows.is_empty() => return Err(self.why_not(base, now).await),
                Ok(_) => return Ok(version(record)),
                Err(failure) if failure.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    if self.is_taken(&record.header.key, now).await? {
                        return Err(self.why_not(base, now).await);
                    }
                }
                Err(failure) => return Err(self.failed(&failure).into()),
            }
        }
        Err(contended().into())
    }

    /// Whether a live record has the key. Who is dead makes way.
    async fn is_taken(&self, key: &Key, now: Timestamp) -> Result<bool, Error> {
        let params = vec![Param::key(key), Param::Time(now)];
        let gone = self.ask(Kind::MakeWay, params).await;
        let gone = gone.map_err(|failure| self.not_read(&failure))?;
        Ok(gone.is_empty() && self.load(key, now).await?.is_some())
    }

    /// Why no row met the condition of a write.
    ///
    /// Asked in a statement of its own: the write may have waited for another one to end, and then
    /// all of it but the write itself would still see what was there before.
    async fn why_not(&self, base: &Loaded, now: Timestamp) -> CommitError {
        match self.load(&base.record.header.key, now).await {
            Ok(Some(newer)) => CommitError::Conflict(Some(newer)),
            Ok(None) => CommitError::Gone,
            Err(error) => error.into(),
        }
    }

    async fn page(
        &self,
        user: Option<&str>,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
        // One more than asked for tells whether this is the last page.
        let count = Param::count(limit.saturating_add(1));
        let mut params = vec![Param::Bytes(after), Param::Time(now), count];
        let kind = match user {
            None => Kind::List,
            Some(user) => {
                params.push(Param::Text(Some(user.to_owned())));
                Kind::ListByUser
            }
        };
        let rows = self.ask(kind, params).await.map_err(|failure| self.not_read(&failure))?;
        // One that is unreadable fails the list: without it, it would be wrong.
        let mut records = rows.iter().map(rows::read).collect::<Result<Vec<_>, _>>()?;
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().filter(|_| more);
        let next = last.map(|last| Cursor(last.record.header.key.to_string()));
        Ok(Page { records, next })
    }

    /// One statement of a sweep: how many rows were deleted, and whether there may be more to see.
    async fn sweep_chunk(&self, now: Timestamp, limit: usize) -> Result<(usize, bool), Error> {
        let params = vec![Param::Time(now), Param::count(limit)];
        let rows = self.ask(Kind::Sweep, params).await.map_err(|failure| self.failed(&failure))?;
        let count = |column| {
            let row = rows.first()?;
            usize::try_from(row.try_get::<_, i64>(column).ok()?).ok()
        };
        Ok((count(0).unwrap_or(0), count(1).unwrap_or(0) >= limit))
    }
}

/// Others kept taking the key and leaving it.
fn contended() -> Error {
    Error::new(NAME, ErrorKind::Contended, Applied::No)
}

fn version(record: &Record) -> Version {
    Version(record.header.counter)
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("config", self.pool.config()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Postgres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        Promises { renew: Renew::OneStep, shared: Shared::Processes, lists_by_user: true }
    }

    fn survives(&self) -> &str {
        &self.survives
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
        let params = vec![Param::key(key), Param::Time(now)];
        let rows = self.ask(Kind::Load, params).await.map_err(|failure| self.not_read(&failure))?;
        Ok(rows.first().map(rows::read).transpose()?)
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record } => self.create(record, now).await,
            Write::Replace { base, record } => self.replace(base, record, now).await,
            Write::Renew { base, record } => self.write(base, record, now).await,
            Write::Touch { key, idle_deadline } => {
                let params = vec![Param::key(key), Param::Time(idle_deadline), Param::Time(now)];
                let rows = self.ask(Kind::Touch, params).await;
                let rows = rows.map_err(|failure| self.failed(&failure))?;
                let row = rows.first().ok_or(CommitError::Gone)?;
                let counter = row.try_get::<_, i64>(0).map_err(|error| {
                    Error::new(NAME, ErrorKind::Corrupt, Applied::Unknown).with_source(error)
                })?;
                Ok(Version(counter.cast_unsigned()))
            }
            Write::Destroy { key } => {
                let deleted = self.ask(Kind::Destroy, vec![Param::key(key)]).await;
                deleted.map_err(|failure| self.failed(&failure))?;
                Ok(Version::NONE)
            }
        }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        let (mut deleted, mut looked_at) = (0, 0);
        loop {
            let chunk = SWEEP_CHUNK.min(limit.saturating_sub(looked_at));
            if chunk == 0 {
                return Ok(Swept { deleted, more: true });
            }
            let (dead, more) = self.sweep_chunk(now, chunk).await?;
            deleted += dead;
            looked_at += chunk;
            if !more {
                return Ok(Swept { deleted, more: false });
            }
        }
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for Postgres {
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
        self.page(Some(user), after, limit, now).await
    }
}
