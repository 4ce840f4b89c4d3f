//! The store on Redis and Valkey, one server or a cluster.
//!
//! `write.rs` and `list.rs` are what is asked for, `scripts.rs` the writes that are more than one command,
//! `connect.rs` the way to the servers; `codec.rs` is a record as a string, `names.rs` what keys are called,
//! `user_set.rs` who is listed where, and `mend.rs` what happens when that was changed by hand. `last_writes.rs`
//! knows for which records Redis need not be told again when to delete them. It knows no cookie and no id. What is
//! promised stands on [`Redis`] and in `docs/redis.md`.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{
    CommitError, Cursor, Destroyed, Error, Info, List, Listener, Lookup, OpenError, Page, Store,
    Swept, Warning, Write,
};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::Version,
};

mod codec;
mod config;
mod connect;
mod error;
mod last_writes;
mod list;
mod mend;
mod names;
mod scan;
mod scripts;
mod user_set;
mod write;

use codec::Entry;
pub use config::RedisConfig;
use connect::{Client, check};
use error::{Failure, NAME};
use names::Partition;

/// The store on Redis and Valkey. Clones share the connections.
///
/// | law | how it is kept |
/// |---|---|
/// | 1 | a record is one string, read by one `GET`; replicas are refused |
/// | 2 | the deadlines in the string are compared with the caller's time; Redis deletes it later, which only frees memory |
/// | 3 to 5 | one command, `SET … NX` or `SET … IFEQ`, or a script that compares and sets |
/// | 6 | one script; both keys have one partition, so they are on one server |
/// | 7 | a script that does nothing where nothing is |
/// | 8 | a script that moves the deadline in the string, in one step |
/// | 9 | "no" where the server's code is proof or nothing was sent, else "unknown" |
/// | 10 | a set for each user; a session joins it before it is the user's, and stale members are removed when a list is read. A set that a person changed is found by its size, and made anew |
/// | 11 | Redis decides the conditions |
/// | 12 | the script that renews or destroys leaves the mark under the old key, in the same step |
///
/// A write is conditional on the whole string that the record was. So it is also refused where a failover
/// took the record back and other commits moved it on again, and where a person has edited it. A
/// [`Version`] is a hash of that string, to tell one from another; it is not the condition.
///
/// [`ping`](Store::ping) asks each master to run a script that may write and does not. A replica, a server
/// without memory and one whose disk fails refuse it, as they refuse commits.
///
#[doc = include_str!("../../docs/redis.md")]
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    config: RedisConfig,
    client: Arc<Client>,
    info: Info,
    lists: list::Cache,
    mends: mend::Mends,
}

impl Redis {
    /// Opens the store: connects, and tries that the user may do all that is needed.
    ///
    /// Warns in the log where the server is set up so that it may lose sessions.
    ///
    /// # Errors
    /// The text of the error says what is wrong and what mends it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: RedisConfig) -> Result<Self, OpenError> {
        config.check().map_err(|problem| error::config(&format!("the configuration {problem}")))?;
        let client = Client::open(&config).await?;
        probe(&client).await.map_err(|failure| failure.into_cause(&config.prefix))?;
        let setup = check::setup(&client).await;
        for warning in &setup.warnings {
            tracing::warn!("{warning}");
        }
        let info = Info::new(NAME, setup.durability).with_server(client.describe());
        let (client, lists, mends) = (Arc::new(client), list::Cache::default(), Arc::default());
        Ok(Self(Arc::new(Inner { config, client, info, lists, mends })))
    }

    /// Opens the store on the server of an app's client, as the same user and in the same database.
    ///
    /// The connections are the store's own, since each commit must be sent once and no more. To set more
    /// than that, begin with [`RedisConfig::from_client`].
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`RedisConfig::from_client`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn from_client(client: redis::Client) -> Result<Self, OpenError> {
        Self::open(RedisConfig::from_client(&client)?).await
    }
}

/// Tries all that the user must be allowed to do.
async fn probe(client: &Client) -> Result<(), Failure> {
    let mut bits = [0; 32];
    // Another key each time, so that no two who open meet; if there are no random bytes, they may.
    let _ = getrandom::fill(&mut bits);
    let key = Key::from_bytes(bits);
    // A script that the server has already would be run by its name alone.
    let mut whole = redis::cmd("EVAL");
    whole.arg("return 1").arg(1).arg(client.names.record(&key));
    client.call(Partition::of(&key), &whole).await?;
    write::probe(client, &key).await?;
    match list::probe(client).await {
        Err(Failure::Refused(refusal)) if error::is_forbidden(&refusal) => {
            tracing::warn!(
                "this user may not call SCAN in Redis, so sessions can be listed by user alone; all else \
                 works"
            );
            Ok(())
        }
        scanned => scanned,
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("config", &self.0.config)
            .field("cluster", &self.0.client.is_cluster())
            .finish_non_exhaustive()
    }
}

/// Whether one script reaches both keys.
pub(super) fn can_renew(from: &Key, to: &Key) -> bool {
    Partition::of(from) == Partition::of(to)
}

#[async_trait]
impl Store for Redis {
    fn info(&self) -> Info {
        self.0.info.clone()
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        can_renew(from, to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        let client = &self.0.client;
        let answer = client.call(Partition::of(key), &codec::load(&client.names, key)).await;
        let found = codec::read(answer.map_err(|failure| client.error(failure))?, key)?;
        Ok(match found {
            Some(Entry::Record(loaded)) if !loaded.record.is_dead(now) => Lookup::Live(loaded),
            Some(Entry::Mark(mark)) => mark.lookup(now),
            Some(Entry::Record(_)) | None => Lookup::Missing,
        })
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        let client = &self.0.client;
        match write {
            Write::Replace { base, record } if write::is_advance(base, record, now) => {
                write::advance(client, base, record, now).await
            }
            // What is rarely taken is boxed, so that the usual way is a small future.
            Write::Create { record } => Box::pin(write::create(client, record, now)).await,
            Write::Replace { base, record } => {
                Box::pin(write::replace(client, base, record, now)).await
            }
            Write::Renew { base, record } => {
                Box::pin(write::renew(client, base, record, now)).await
            }
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        write::touch(&self.0.client, key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        write::destroy(&self.0.client, key, now).await
    }

    /// Redis deletes by itself what is dead, so there is nothing to do.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<Swept, Error> {
        self.ping().await.map(|()| Swept::default())
    }

    async fn ping(&self) -> Result<(), Error> {
        let client = &self.0.client;
        write::ping(client).await.map_err(|failure| client.error(failure))
    }

    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        self.ping().await?;
        let mut warnings = check::setup(&self.0.client).await.warnings;
        warnings.extend(check::clocks(&self.0.client, now).await);
        Ok(warnings)
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }

    /// On a connection of its own, if this user may subscribe.
    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        let client = &self.0.client;
        let ends = client.listen().await.map_err(|failure| client.error(failure))?;
        Ok(ends.map(|ends| Box::new(ends) as Box<dyn Listener>))
    }
}

#[async_trait]
impl List for Redis {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        list::page(&self.0.client, &self.0.lists, after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let Inner { client, mends, lists, .. } = &*self.0;
        list::page_of_user(client, mends, lists, user, after, limit, now).await
    }

    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        list::page_of_handle(&self.0.client, prefix, after, limit, now).await
    }
}

#[cfg(test)]
mod tests;
