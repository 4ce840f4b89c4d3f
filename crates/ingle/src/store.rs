//! Where records live: the contract that every store keeps, and the stores.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    id::{Ids, Key},
    record::{Loaded, Record, Version},
};

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "firestore")]
mod firestore;
#[cfg(any(feature = "firestore", feature = "redis"))]
mod meeting;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "embedded")]
pub use embedded::{Embedded, EmbeddedError};
#[cfg(feature = "firestore")]
pub use firestore::{Firestore, FirestoreConfig, FirestoreError};
#[cfg(feature = "memcached")]
pub use memcached::{Memcached, MemcachedConfig, MemcachedError};
pub use memory::Memory;
pub use open::{OpenError, migrate, open};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresConfig, PostgresError};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisConfig, RedisError};
#[cfg(feature = "conformance")]
pub use {
    crate::jitter::seed_waits,
    conformance::faulty::{Fault, Faulty, Step},
};

/// A place where records live, shared by all that serve the same sessions.
///
/// This is a contract between whoever writes a store and the commit protocol of this library. A
/// store moves records and decides conditions. It knows nothing of cookies, of HTTP, of retries or
/// of what a change is, and it never tries a failed call a second time: it reports what happened, and
/// the protocol decides.
///
/// # Laws
///
/// `conformance` has a test for each, by number.
///
/// 1. `load` returns what the last successful commit wrote, or nothing.
/// 2. A record past a deadline is never returned, swept or not, whatever the store's own expiry
///    thinks. What time it is, the caller says.
/// 3. Create on a live key changes nothing and reports [`CommitError::Conflict`].
/// 4. Replace, or renew, with a stale version changes nothing and reports
///    [`CommitError::Conflict`]. A version counts for one life of its key: what was read before
///    another create is stale, however the versions count.
/// 5. Replace, touch and renew never create: of a record that is gone they report
///    [`CommitError::Gone`].
/// 6. Renew moves a record to its new key in one step: no reader finds both, none finds neither.
/// 7. Destroying what is not there is success.
/// 8. A touch moves the idle deadline forward only, never past the absolute one, and never carries
///    data.
/// 9. An error says whether the change surely did not happen or may have happened.
/// 10. Listing by user finds every live session of that user and no other.
/// 11. N writers on M processes that add 1 to one record each K times leave exactly N·M·K.
///
/// A store that cannot keep a law says so in its documentation and in [`promises`](Self::promises);
/// the suite then tests the weaker law that is stated there.
///
/// A commit is one conditional write. An upsert, or the store's own blind increment, is never one:
/// both lose or double changes when an answer is lost.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What this kind of store is called in messages and metrics, such as `embedded`.
    fn name(&self) -> &'static str;

    /// Which laws this store keeps only in a weaker form.
    fn promises(&self) -> Promises;

    /// What an acknowledged commit survives, as the end of a sentence: `a crash and a power loss`.
    fn survives(&self) -> &str;

    /// Which ids its sessions have.
    ///
    /// With [`Ids::Upgrade`], a load or a destroy of a plain key that a renew has left a moment ago
    /// fails with [`ErrorKind::Moved`]: a request that is still on its way with the old id must be told from one
    /// of a visitor without a session, who would get a new one in the place of the moved.
    fn ids(&self) -> Ids {
        Ids::Hashed
    }

    /// Whether a record can be renewed from one of these keys to the other.
    ///
    /// A store that spreads its records over servers moves one in a single step only within a
    /// server. New ids are drawn until this says yes, so it must do so for at least one key in some
    /// hundreds, and must depend on nothing but the two keys.
    fn can_renew(&self, _from: &Key, _to: &Key) -> bool {
        true
    }

    /// The record that is live under `key` at the instant `now`, if there is one.
    ///
    /// # Errors
    /// The store cannot tell. That is never the same as "there is none".
    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error>;

    /// Does one write, if its condition holds at the instant `now`, and returns the version that
    /// the record has then.
    ///
    /// A record that is dead at `now` counts as gone: a create may take its place.
    ///
    /// # Errors
    /// [`Conflict`](CommitError::Conflict) and [`Gone`](CommitError::Gone) are proof that this call
    /// changed nothing. [`Failed`](CommitError::Failed) says in [`Error::happened`] whether it may
    /// have.
    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError>;

    /// Deletes at most `limit` records that are dead at `now`, each only if it still is.
    ///
    /// # Errors
    /// Some records may have been deleted all the same, which does no harm.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error>;

    /// The store's lists, if it can list.
    fn inspect(&self) -> Option<&dyn Inspect>;
}

/// Lists the records of a store, for people who look after it.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Live records, at most `limit` at a time; `after` is where the page before ended.
    ///
    /// A record that is there during the whole listing is on exactly one page.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error>;

    /// The same, of the records of one user.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error>;
}

/// One conditional write, the argument of [`Store::commit`].
///
/// The key of a record that is written stands in its header.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// Writes a record where none is live. [`CommitError::Conflict`] if one is.
    Create {
        /// What to write.
        record: &'a Arc<Record>,
    },
    /// Writes `record` in the place of `base`. [`CommitError::Conflict`] if the version moved on,
    /// [`CommitError::Gone`] if the record is no longer there.
    Replace {
        /// What the new record was made from, and the version that must still hold.
        base: &'a Loaded,
        /// What to write, under the same key.
        record: &'a Arc<Record>,
    },
    /// Moves a record to another key: writes `record` under its own key and removes `base`, in one
    /// step. [`CommitError::Conflict`] if the version moved on or the new key is taken,
    /// [`CommitError::Gone`] if `base` is no longer there.
    Renew {
        /// What the new record was made from, and the version that must still hold.
        base: &'a Loaded,
        /// What to write, under another key.
        record: &'a Arc<Record>,
    },
    /// Moves the idle deadline forward, whatever the version. An earlier deadline than the record
    /// has changes nothing and is success. [`CommitError::Gone`] if no record is live.
    Touch {
        /// Which record.
        key: &'a Key,
        /// The new deadline; the store keeps the absolute one if that is earlier.
        idle_deadline: Timestamp,
    },
    /// Ends a session. There is no condition: to destroy what is not there is success. Returns
    /// [`Version::NONE`].
    Destroy {
        /// Which record.
        key: &'a Key,
    },
}

/// Which laws a store keeps only in a weaker form. The conformance suite reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// How law 6 is kept.
    pub renew: Renew,
    /// Who can share the records (law 11).
    pub shared: Shared,
    /// Whether law 10 is kept: the store has an [`Inspect`] that lists by user.
    pub lists_by_user: bool,
}

/// How a store renews (law 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renew {
    /// In one step, as the law says.
    OneStep,
    /// In two: the new key is there before the old one ends, so a reader may find both for a
    /// moment and never neither.
    TwoSteps,
}

/// Who can share the records of a store (law 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// The threads of one process.
    Process,
    /// Any number of processes, on one machine or on many.
    Processes,
}

/// What one call of [`Store::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many records were deleted.
    pub deleted: usize,
    /// Whether there may be more of them.
    pub more: bool,
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records of this page.
    pub records: Vec<Loaded>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<Cursor>,
}

/// The end of a page, in the words of the store that gave it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

impl fmt::Debug for Cursor {
    /// It may be a plain id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(…)")
    }
}

/// A store could not do what it was asked.
///
/// As text it names the store and the kind of failure, and nothing that belongs to a session.
#[derive(Debug, thiserror::Error)]
#[error("the {store} store {kind}")]
pub struct Error {
    store: &'static str,
    kind: ErrorKind,
    happened: Happened,
    #[source]
    source: Option<BoxError>,
}

/// The cause of an error, in the words of whoever caused it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a caller does about a store's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It did not answer, or not in time. Another attempt may help.
    Unavailable,
    /// The record is larger than the store takes.
    TooLarge,
    /// It cannot hold such data, whoever asks.
    Unfit,
    /// What it holds is not a record that this version of the library can read.
    Corrupt,
    /// It said no, and will say no again: a permission or a setting.
    Refused,
    /// A session was here, and has moved to another key a moment ago.
    Moved,
    /// The record is in another writer's hands at this moment. The store is well, and another
    /// attempt will help.
    Contended,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "is not available",
            Self::TooLarge => "takes no record of this size",
            Self::Unfit => "cannot hold this data",
            Self::Corrupt => "holds what is not a readable record",
            Self::Refused => "refuses to do this",
            Self::Moved => "has moved the record to another key",
            Self::Contended => "has the record in another writer's hands",
        })
    }
}

/// Whether a write that failed may have been done all the same (law 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It surely was not, and never will be.
    No,
    /// It may have been, or may still be.
    Maybe,
}

impl Error {
    /// An error of the store called `store`.
    pub fn new(store: &'static str, kind: ErrorKind, happened: Happened) -> Self {
        Self { store, kind, happened, source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether it is the data that was refused, and surely not written.
    pub(crate) fn is_about_the_data(&self) -> bool {
        let data = matches!(self.kind, ErrorKind::TooLarge | ErrorKind::Unfit);
        data && self.happened == Happened::No
    }

    /// Why, down to the first cause.
    pub(crate) fn cause(&self) -> String {
        let mut text = String::new();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Whether the write may have been done all the same.
    #[must_use]
    pub fn happened(&self) -> Happened {
        self.happened
    }
}

/// Why a commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The condition does not hold: the record moved on, or the key is taken. Nothing was changed.
    ///
    /// A store that has seen the record under the base's key meanwhile gives it along, which saves a
    /// load.
    #[error("the record moved on")]
    Conflict(Option<Loaded>),
    /// There is no live record. Nothing was changed.
    #[error("the record is gone")]
    Gone,
    /// The store failed; the error says what is true now.
    #[error(transparent)]
    Failed(#[from] Error),
}
