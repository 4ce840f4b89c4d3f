//! Where records live: the contract that every store keeps, and the stores.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::{Loaded, Record, Version},
};

mod by_handle;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "firestore")]
pub(crate) mod firestore;
mod floor;
mod info;
mod lazy;
mod mark;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
mod open;
mod open_error;
#[cfg(test)]
pub(crate) mod page;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod warning;

#[cfg(feature = "firestore")]
pub use firestore::{Firestore, FirestoreConfig};
#[cfg(feature = "memcached")]
pub use memcached::{Memcached, MemcachedConfig};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresConfig, PostgresTls};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisConfig};
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
#[cfg(feature = "conformance")]
pub use {
    crate::jitter::seed_waits,
    conformance::faulty::{Fault, Faulty, Step},
};
pub use {
    error::{Applied, BoxError, CommitError, Error, ErrorKind},
    info::{Capabilities, Ids, Info, Marks, Renew, Shared},
    memory::Memory,
    open::{migrate, open, open_lazily},
    open_error::{OpenError, OpenErrorKind},
    warning::Warning,
};

/// A place where records live, shared by all processes that serve the same sessions.
///
/// This is the contract between a store and the commit protocol of this library. A store moves
/// records and decides conditions. It knows nothing of cookies, HTTP, retries or changes. It never
/// tries a failed call a second time: it reports what happened, and the protocol decides.
///
/// # Laws
///
/// The module `conformance` has tests for each law, by number.
///
/// 1. `load` returns what the last successful commit wrote, or nothing.
/// 2. A record past a deadline is never returned, swept or not, whatever the store's own expiry
///    thinks. What time it is, the caller says.
/// 3. Create on a live key changes nothing and reports [`CommitError::Conflict`]. A key with a mark
///    (law 12) counts as live.
/// 4. Replace, or renew, with a stale version changes nothing and reports
///    [`CommitError::Conflict`]. A version counts for one life of its key: what was read before
///    another create is stale, however the versions count.
/// 5. Replace, touch and renew never create: of a record that is gone they report
///    [`CommitError::Gone`].
/// 6. Renew moves a record to its new key in one step: no reader finds both, none finds neither.
/// 7. Destroying what is not there is success.
/// 8. A touch moves the idle deadline forward only, never past the absolute one, and never carries
///    data. A replace whose record has the idle deadline of its base leaves the one that stands there.
/// 9. An error says whether the change surely did not happen or may have happened.
/// 10. Listing by user finds every live session of that user and no other.
/// 11. N writers on M processes that add 1 to one record each K times leave exactly N·M·K.
/// 12. For [`MARK_TIME`] after a renew or a destroy, a load of the old key returns
///     [`Lookup::Moved`] or [`Lookup::Ended`], not [`Lookup::Missing`]. A destroy that meets a
///     record's old key changes nothing and says where the record went.
/// 13. An act and its line ([`Transactions`]) are both stored or neither is, and nobody finds one
///     without the other.
///
/// A store that cannot keep a law says so in its documentation and in [`Info::capabilities`]. The
/// suite then tests the weaker law that is stated there.
///
/// A commit is one conditional write. It is never an upsert or the store's own blind increment:
/// both lose or double changes when an answer is lost.
///
/// A store around another one passes on every method, also those that have a default: what the inner store says
/// of itself, such as [`can_renew`](Self::can_renew), is true of the outer one as well. With
/// `#[deny(clippy::missing_trait_methods)]` none is forgotten.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What this store is, and which laws it keeps only in a weaker form. It never changes.
    fn info(&self) -> Info;

    /// Whether a record can be renewed from one of these keys to the other.
    ///
    /// A store that spreads its records over servers can move a record in one step only within a
    /// server. The library generates new ids until this returns true. So it must be true for at
    /// least one key in some hundreds, and depend on nothing but the two keys.
    fn can_renew(&self, _from: &Key, _to: &Key) -> bool {
        true
    }

    /// What is under `key` at the instant `now`.
    ///
    /// # Errors
    /// The store gave no answer. That is never the same as [`Lookup::Missing`].
    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error>;

    /// Does one write, if its condition holds at the instant `now`, and returns the version that
    /// the record has then.
    ///
    /// A record that is dead at `now` counts as gone: a create may take its place.
    ///
    /// # Errors
    /// [`Conflict`](CommitError::Conflict) and [`Gone`](CommitError::Gone) are proof that this call
    /// changed nothing. [`Failed`](CommitError::Failed) says in [`Error::applied`] whether it may
    /// have.
    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError>;

    /// Moves the idle deadline of a live record forward, whatever its version. The store caps it at
    /// the absolute deadline. A deadline before the record's changes nothing and is success.
    ///
    /// # Errors
    /// [`Gone`](CommitError::Gone) if no record is live. Never a conflict, unless the store's
    /// documentation says so. Otherwise as [`commit`](Self::commit).
    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError>;

    /// Ends the session under `key` and leaves a mark (law 12), whatever the version.
    ///
    /// # Errors
    /// The store failed; [`Error::applied`] says whether the session may have ended.
    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error>;

    /// Deletes at most `limit` records and marks that are dead at `now`, each only if it is still
    /// dead then.
    ///
    /// # Errors
    /// Some records may have been deleted all the same. That does no harm.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error>;

    /// Asks whether the store answers, and whether it would take commits as far as it can tell
    /// without a write. It is for readiness probes.
    ///
    /// # Errors
    /// The store does not answer, or it would refuse to serve sessions.
    async fn ping(&self) -> Result<(), Error>;

    /// Looks whether the server is set up as sessions need it, and says what is not. It is for operators'
    /// tools, and may take seconds. It changes nothing.
    ///
    /// The default returns no warnings.
    ///
    /// # Errors
    /// The store gave no answer.
    async fn check(&self, _now: Timestamp) -> Result<Vec<Warning>, Error> {
        Ok(Vec::new())
    }

    /// The store's lists, if it can list.
    fn as_list(&self) -> Option<&dyn List>;

    /// The store's transactions of two records, if it has them (law 13). The default is `None`.
    fn as_transactions(&self) -> Option<&dyn Transactions> {
        None
    }

    /// Begins to listen for the ends of sessions in all processes. What ends after this has returned
    /// is told. None if the store tells of no ends, or not here.
    ///
    /// It only makes the wait for an end shorter. So no commit and no destroy may fail, or take
    /// notably longer, because it cannot tell. A store need not tell of every end.
    ///
    /// # Errors
    /// The store cannot listen now. Another attempt may help.
    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        Ok(None)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn info(&self) -> Info {
        (**self).info()
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        (**self).can_renew(from, to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        (**self).load(key, now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        (**self).commit(write, now).await
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        (**self).touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        (**self).destroy(key, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        (**self).sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), Error> {
        (**self).ping().await
    }

    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        (**self).check(now).await
    }

    fn as_list(&self) -> Option<&dyn List> {
        (**self).as_list()
    }

    fn as_transactions(&self) -> Option<&dyn Transactions> {
        (**self).as_transactions()
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        (**self).listen().await
    }
}

/// Hears of sessions that end in any process, the answer of [`Store::listen`]. To drop it ends the
/// connection that it listens on.
#[async_trait]
pub trait Listener: Send {
    /// The key of a session that was destroyed or renewed, as far as the store was told. Nobody
    /// vouches for that: look in the store. The caller may drop this future and call again, and
    /// misses nothing by it.
    ///
    /// # Errors
    /// It hears nothing any more, and may have missed something. Listen anew.
    async fn next(&mut self) -> Result<Key, Error>;
}

/// Lists the records of a store, for its operators. What cannot be read stops no list: it is in
/// [`Page::damaged`].
#[async_trait]
pub trait List: Send + Sync {
    /// Live records, at most `limit` at a time. `after` is the end of the page before.
    ///
    /// A record that exists during the whole listing is on exactly one page.
    ///
    /// # Errors
    /// The store gave no answer.
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error>;

    /// The same, for the records of one user.
    ///
    /// # Errors
    /// The store gave no answer.
    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error>;

    /// The same, for the records whose handles begin so.
    ///
    /// The default goes through the list of all: a page may be empty, and yet others follow. A
    /// store that has its keys in order looks them up.
    ///
    /// # Errors
    /// The store gave no answer.
    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        in_any_order(self, prefix, after, limit, now).await
    }
}

/// Writes two records in one transaction: what an operator does to a session, and the line of the audit
/// log that says so. Both are stored or neither is (law 13).
///
/// [`CommitError::Conflict`], [`CommitError::Gone`] and [`Destroyed`] speak of the act. Where it could
/// be done and the line is no longer what it is made from, nothing is changed, and the error is
/// [`ErrorKind::Refused`].
#[async_trait]
pub trait Transactions: Send + Sync {
    /// Replaces a record as [`Store::commit`] does, and the line with it.
    ///
    /// # Errors
    /// As [`Store::commit`], of the act. [`ErrorKind::Refused`] if the line has changed or is gone.
    async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError>;

    /// Ends the session under `key` as [`Store::destroy`] does, and replaces the line with it. Where
    /// no session ends here, the line stays as it is.
    ///
    /// # Errors
    /// As [`Store::destroy`]. [`ErrorKind::Refused`] if the line has changed or is gone.
    async fn destroy_with(
        &self,
        key: &Key,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Destroyed, Error>;
}

/// A record that takes the place of another one, as [`Write::Replace`] has it.
#[derive(Clone, Copy, Debug)]
pub struct Replace<'a> {
    /// What the new record was made from, and the version that must still hold.
    pub base: &'a Loaded,
    /// What to write, under the same key.
    pub record: &'a Arc<Record>,
}

impl<'a> From<Replace<'a>> for Write<'a> {
    fn from(Replace { base, record }: Replace<'a>) -> Self {
        Self::Replace { base, record }
    }
}

/// A page of the list of all, without the records whose handles begin otherwise.
async fn in_any_order<L: List + ?Sized>(
    list: &L,
    prefix: &HandlePrefix,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let mut page = list.list(after, limit, now).await?;
    page.retain(|key| prefix.is_of(&key.handle()));
    Ok(page)
}

/// One conditional write, the argument of [`Store::commit`].
///
/// The header of a record holds its key.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// Writes a record where none is live. [`CommitError::Conflict`] if one is.
    Create {
        /// What to write.
        record: &'a Arc<Record>,
    },
    /// Replaces `base` by `record`. [`CommitError::Conflict`] if the version moved on,
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
}

impl<'a> Write<'a> {
    /// The record that is written.
    #[must_use]
    pub fn record(&self) -> &'a Arc<Record> {
        match self {
            Self::Create { record } | Self::Replace { record, .. } | Self::Renew { record, .. } => {
                record
            }
        }
    }
}

/// What a store holds under a key, the answer of [`Store::load`].
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// A live record.
    Live(Loaded),
    /// A renew moved the record to another key, less than [`MARK_TIME`] ago.
    Moved {
        /// The key that it was moved to. The record may have moved on or ended since.
        to: Key,
    },
    /// A destroy ended the session, less than [`MARK_TIME`] ago.
    Ended,
    /// Nothing: there never was a session, it expired, or it ended more than [`MARK_TIME`] ago.
    Missing,
}

impl Lookup {
    /// The record, if it is live.
    #[must_use]
    pub fn live(self) -> Option<Loaded> {
        match self {
            Self::Live(loaded) => Some(loaded),
            Self::Moved { .. } | Self::Ended | Self::Missing => None,
        }
    }
}

/// What a destroy found, the answer of [`Store::destroy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// A record stood there. Its session has ended.
    Ended,
    /// No session lived under the key.
    Nothing,
    /// The record had moved before, so this key was dead already. Nothing was changed.
    Moved {
        /// The key that it was moved to.
        to: Key,
    },
}

/// How long a renew or a destroy leaves a mark under the old key (law 12). A request that began before it
/// and is under way for longer finds no session.
pub const MARK_TIME: Duration = Duration::from_secs(60);

/// What one call of [`Store::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many records were deleted.
    pub deleted: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records of this page.
    pub records: Vec<Loaded>,
    /// What stands among them and cannot be read. Whether it lives, nobody can tell.
    pub damaged: Vec<Damaged>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<Cursor>,
}

impl Page {
    /// Adds what a store has read under a key.
    pub(crate) fn push(&mut self, read: Result<Loaded, Damaged>) {
        match read {
            Ok(loaded) => self.records.push(loaded),
            Err(damaged) => self.damaged.push(damaged),
        }
    }

    /// How many it has, readable or not.
    pub(crate) fn len(&self) -> usize {
        self.records.len() + self.damaged.len()
    }

    /// Leaves out those whose keys are not wanted.
    fn retain(&mut self, wanted: impl Fn(&Key) -> bool) {
        self.records.retain(|loaded| wanted(&loaded.record.header.key));
        self.damaged.retain(|damaged| wanted(&damaged.key));
    }
}

/// What stands under a key and is no record that this version can read: it is damaged, or a newer version
/// wrote it. A [destroy](Store::destroy) ends it all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The key that it stands under.
    pub key: Key,
    /// What is wrong. It tells nothing of a session.
    pub cause: String,
    /// How a person finds it with the store's own tool: a query or a command. It has no id.
    pub look: String,
}

/// The end of a page, in the form of the store that issued it.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

impl fmt::Debug for Cursor {
    /// It may be a plain id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(…)")
    }
}
