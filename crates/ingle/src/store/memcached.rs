//! The store on memcached: quick, shared by any number of instances, and a cache.
//!
//! `write.rs` has the writes and the steps of a renew, `find.rs` what a reader finds, `codec.rs` an item,
//! `connect.rs` the servers, `wire.rs` the protocol. It knows no cookie and no id. What is promised stands
//! on [`Memcached`] and in `docs/memcached.md`.
//!
//! The client is the store's own. A commit is one round trip only if the answer brings the new cas token.
//! Of the clients for Rust only `async-memcached` has the commands for that. It has no pool, no time limits
//! and no look at an answer's number, which together are more code than the commands.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{
    Capabilities, CommitError, Destroyed, Error, Info, List, Lookup, OpenError, Store, Swept,
    Warning, Write,
};
use crate::{clock::Timestamp, id::Key, record::Version};

mod codec;
mod config;
mod connect;
mod error;
mod find;
mod wire;
mod write;

pub use config::MemcachedConfig;
use connect::Servers;
use error::{Failure, NAME};
use find::{Found, find};

/// The store on memcached: a cache. Clones share the connections.
///
/// | law | how it is kept |
/// |---|---|
/// | 1 | a server keeps an item in one place; nothing is read from another one |
/// | 2 | the deadlines in the item are compared with the caller's time; the exptime is only a broom, set behind the deadline |
/// | 3 | `add`; in the place of what is dead, `cas` |
/// | 4 | `cas` with the token that the base had; a server gives no token twice as long as its items live, and the library uses no key twice |
/// | 5 | a `cas` never stores where nothing is; a touch is one, too |
/// | 6 | for readers in one step: of the three steps of a renew one `cas` on the old item decides |
/// | 7 | a destroy that finds nothing is success |
/// | 8 | what was read is stored with another deadline, by `cas` |
/// | 9 | "no" where memcached refused this command or nothing was sent, else "unknown" |
/// | 10 | **not kept**: memcached has no index, so there are no lists |
/// | 11 | the conditions are decided by the one server that has the key |
/// | 12 | **weaker**: the mark takes the item's place by the same `cas` that renews or destroys; memcached may evict it early, and then the old key is as if nothing had been there |
///
#[doc = include_str!("../../docs/memcached.md")]
#[derive(Clone)]
pub struct Memcached(Arc<Servers>);

impl Memcached {
    /// Opens the store and asks each server whether it can be used.
    ///
    /// # Errors
    /// The text of the error says what is wrong and what to do.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: MemcachedConfig) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Servers::open(config).await?)))
    }
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memcached").field(&self.0).finish()
    }
}

/// What the store says of itself, also before it is open.
pub(super) fn info() -> Info {
    Info::new(NAME, "nothing: the store is a cache; a restart or an eviction ends sessions")
        .with_capabilities(Capabilities::default().without_lists().forgetting_marks())
}

#[async_trait]
impl Store for Memcached {
    fn info(&self) -> Info {
        info()
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        Ok(match find(&self.0, key, now).await? {
            Found::Live(loaded) => Lookup::Live(loaded),
            Found::Marked(mark) => mark.lookup(now),
            Found::Nothing | Found::Vacant { .. } | Found::Arriving { .. } => Lookup::Missing,
        })
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record } => write::create(&self.0, record, now).await,
            Write::Replace { base, record } => write::replace(&self.0, base, record, now).await,
            Write::Renew { base, record } => write::renew(&self.0, base, record, now).await,
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        write::touch(&self.0, key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        write::destroy(&self.0, key, now).await
    }

    /// memcached forgets what is dead by itself, so this only says whether the servers answer.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<Swept, Error> {
        self.ping().await.map(|()| Swept::default())
    }

    async fn ping(&self) -> Result<(), Error> {
        self.0.ping().await.map_err(Failure::beside)
    }

    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        self.0.check(now).await.map_err(Failure::beside)
    }

    fn as_list(&self) -> Option<&dyn List> {
        None
    }
}

#[cfg(test)]
mod tests;
