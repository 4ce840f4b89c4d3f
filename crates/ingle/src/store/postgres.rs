//! The store in a PostgreSQL database, shared by any number of instances.
//!
//! `config.rs` says where it is, `connect.rs` and `deadpool.rs` make connections, `pool.rs` bounds them.
//! `statements.rs` has the SQL, `codec.rs` what a row holds, `write.rs`, `batch.rs`, `list.rs` and
//! `listen.rs` what is asked, `schema.rs` the table, and `error.rs` what a failure means.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    CommitError, Cursor, Destroyed, Error, Info, List, Listener, Lookup, OpenError, Page, Replace,
    Store, Swept, Transactions, Warning, Write,
};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::Version,
    store::by_handle,
};

mod batch;
mod codec;
mod config;
mod connect;
#[cfg(feature = "deadpool-postgres")]
mod deadpool;
mod error;
mod jsonb;
mod link;
mod list;
mod listen;
mod pool;
mod schema;
mod statements;
mod stream;
mod write;

pub use config::{PostgresConfig, PostgresTls};
use error::NAME;
use pool::Pool;
use statements::Kind;
use write::Writer;

/// The store in a table of a PostgreSQL database. Clones share the connections.
///
/// # How it keeps the laws
///
/// By the numbers of [`Store`]'s laws:
///
/// | law | how it is kept |
/// |---|---|
/// | 1 | each load is one statement, which sees all that was acknowledged before |
/// | 2 | every statement compares both deadlines with the caller's time; the server's clock is never asked |
/// | 3 | an `INSERT` that does nothing where the key is taken; what is dead there makes way |
/// | 4, 5 | an `UPDATE` where counter, epoch and ops are the base's and the row is live |
/// | 6 | one statement turns the old row into a mark and inserts the record under its new key |
/// | 7 | an `UPDATE` that finds no live row is done |
/// | 8 | `greatest(idle_deadline, least(the new one, absolute_deadline))`, and no other column |
/// | 9 | "no" where the server took the statement back or nothing was sent, else "unknown" |
/// | 10 | an index on user and key |
/// | 11 | the row's lock: who waits for it decides on what the row is then |
/// | 12 | a row of the same table, written by the statement that renews or destroys |
/// | 13 | one statement locks the line, does the act, and writes the line |
///
/// Each statement is a transaction of its own and one round trip. Commits that are made at the same
/// time in this process go in one statement, and each of them stands or falls alone. None is sent a
/// second time, except where a dead row had the key of a create or a renew, and where its batch did
/// not decide it.
///
#[doc = include_str!("../../docs/postgresql.md")]
#[derive(Clone)]
pub struct Postgres {
    pool: Arc<Pool>,
    writer: Writer,
    info: Info,
}

impl Postgres {
    /// Opens the store, and asks the server once whether it and the table will do.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong, and what to do. The table is not made here: see
    /// [`migrate`](Self::migrate).
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: PostgresConfig) -> Result<Self, OpenError> {
        let pool = Pool::new(config)?;
        let setup = schema::check(&pool).await?;
        for warning in &setup.warnings {
            tracing::warn!("{warning}");
        }
        let info = Info::new(NAME, setup.durability);
        let writer = Writer::new(Arc::clone(&pool));
        Ok(Self { pool, writer, info })
    }

    /// Makes the table, where it is not there yet. Any number may do it at once.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong. A table that is not this library's, or a newer one's, is
    /// left as it is.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn migrate(config: PostgresConfig) -> Result<(), OpenError> {
        Ok(schema::migrate(&Pool::new(config)?).await?)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("config", self.pool.config()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Postgres {
    fn info(&self) -> Info {
        self.info.clone()
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        self.writer.load(key, now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record } => self.writer.create(record, now).await,
            Write::Replace { base, record } => {
                self.writer.replace(Replace { base, record }, now).await
            }
            Write::Renew { base, record } => self.writer.renew(base, record, now).await,
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.writer.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        self.writer.destroy(key, None, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        list::sweep(&self.pool, now, limit).await
    }

    /// One statement: whether the server takes writes, and the table is there.
    async fn ping(&self) -> Result<(), Error> {
        let rows = self.pool.ask(Kind::Ping, Vec::new()).await;
        let rows = rows.map_err(|failure| failure.of_read(self.pool.names()))?;
        let only_reads = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(true);
        if only_reads {
            self.pool.close_all();
            return Err(error::read_only(self.pool.names()));
        }
        Ok(())
    }

    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        self.ping().await?;
        let began = Instant::now();
        let setup = schema::check(&self.pool).await.map_err(error::unfit)?;
        let answered = now.after(began.elapsed());
        let whose = format!("PostgreSQL at {}", self.pool.names().hosts);
        let mut warnings = setup.warnings;
        warnings.extend(Warning::of_clocks(&whose, now, answered, setup.clock));
        Ok(warnings)
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }

    fn as_transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    /// On a connection of its own, if it is no pooler's and no pool of the app's.
    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        let ends = self.pool.listen().await;
        let ends = ends.map_err(|failure| failure.of_read(self.pool.names()))?;
        Ok(ends.map(|ends| Box::new(ends) as Box<dyn Listener>))
    }
}

#[async_trait]
impl Transactions for Postgres {
    async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        self.writer.replace_with(act, line, now).await
    }

    async fn destroy_with(
        &self,
        key: &Key,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Destroyed, Error> {
        self.writer.destroy(key, Some(line), now).await
    }
}

#[async_trait]
impl List for Postgres {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        list::page(&self.pool, None, after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        list::page(&self.pool, Some(user), after, limit, now).await
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
mod tests {
    use super::{batch, config, connect::ANSWER_TIME, pool, write};
    use crate::store::page;

    #[test]
    fn the_page_says_the_bounds_of_the_code() {
        let own = [
            (
                "connections of one process, unless `pool` says more or less",
                config::POOL.to_string(),
            ),
            ("connections that `pool` can say", config::POOL_MAX.to_string()),
            ("calls that wait for a connection", pool::WAITING_MAX.to_string()),
            ("commits that wait for a batch", pool::WAITING_MAX.to_string()),
            ("batches under way", batch::AT_ONCE.to_string()),
            ("commits in one batch", batch::BATCH_MAX.to_string()),
            (
                "the wait for the answer to a batch, before others go another way",
                page::time(batch::PATIENCE),
            ),
            ("the answer to a statement", page::time(ANSWER_TIME)),
            (
                "a connection to one host, unless `connect_timeout` says more or less",
                page::time(config::CONNECT_TIME),
            ),
            (
                "attempts of one write at a key that others take and leave",
                write::ATTEMPTS_MAX.to_string(),
            ),
        ];
        page::check(include_str!("../../docs/postgresql.md"), &own);
    }
}
