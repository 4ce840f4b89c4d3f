//! The store on memcached: quick, shared by any number of instances, and a cache.
//!
//! | law | how it is kept |
//! |---|---|
//! | 1 | a server keeps an item in one place; nothing is read from another one |
//! | 2 | the deadlines in the item are compared with the caller's time; the exptime is only a broom, set behind the deadline |
//! | 3 | `add`; in the place of what is dead, `cas` |
//! | 4 | `cas` with the token that the base had; a server gives no token twice as long as its items live, and the library uses no key twice |
//! | 5 | a `cas` never stores where nothing is; a touch is one, too |
//! | 6 | as readers see it, in one step: one `cas` on the old item decides, see below |
//! | 7 | a deletion that finds nothing is success |
//! | 8 | what was read is stored with another deadline, by `cas` |
//! | 9 | "no" where memcached refused this command or nothing was sent, else "maybe"; see `failure.rs` |
//! | 10 | **not kept**: memcached has no index, so there are no lists |
//! | 11 | the conditions are decided by the one server that has the key |
//!
//! # What an acknowledged commit survives
//!
//! Nothing: it is a cache. A server that is restarted or short of memory ends sessions. It ends them
//! whole, and corrupts none.
//!
//! # The states of an item
//!
//! An item is a record (*here*), or a record that is about to be moved there (*arriving*), or the
//! note that one was moved away (*left*). Two keys may be on two servers, and nothing writes to two
//! items at once. So a renew from `old` to `new` is three steps, of which the second decides:
//!
//! ```text
//!            old              new            who looks finds the record
//!            here             nothing        under old
//!  1  add                     arriving       under old: what is arriving is not there yet
//!  2  cas    left for new     arriving       under new: old says that it left, with the same op
//!  3  cas    left for new     here           under new
//! ```
//!
//! - Whoever finds a record arriving looks at the item that it comes from. If that says that it left
//!   for this very item, the renew was made, and whoever found it does the third step. The note has the
//!   item's token, since a first step that was held up on its way may come when all is over, and what
//!   arrived has been destroyed since.
//! - Of all that replace, renew or destroy `old` one wins, because each needs its token. A renew that
//!   loses takes back its first step.
//! - A crash after step 1 leaves an item that nobody ever sees and that memcached forgets after ten
//!   minutes; after step 2, a renew that is made and that the next load finishes. A renew that is sent
//!   again finds its own first step by its op, and goes on from there.
//! - *Left* stays for eleven minutes. Who comes late with the token of a record finds it gone, as
//!   after a deletion. A destroy leaves it there, since a record that is arriving needs it.
//!
//! # Several servers
//!
//! Rendezvous hashing says which server has a key. Where that one does not answer, the call fails: no
//! other server is asked in its place, which could bring back what was ended there. For the same
//! reason a server that was taken out of the list must be restarted before it is put back.
//!
//! # Limits
//!
//! An item has 1 MiB, or what the server's option `-I` says. memcached cannot list, so there is no
//! listing by user, and sweeps have nothing to do. Neither TLS nor passwords: memcached belongs on a
//! private network.
//!
//! # How to look at a session and change it
//!
//! With any client: a value is JSON text, `{"header": …, "data": …}`, under `ingle:KEY`. In a shell
//! `printf 'get ingle:KEY\r\nquit\r\n' | nc HOST 11211` shows it, and `printf 'delete
//! ingle:KEY\r\nquit\r\n' | nc HOST 11211` ends the session. Whoever writes should do it with `gets`
//! and `cas`, or lose what the app commits in between.
//!
//! # Why a client of our own
//!
//! Three commands are needed, each with its new cas token in the answer, so that a commit is one round
//! trip; and bounded connections with time limits, of which none is ever used again that a call was
//! given up on. Of the clients for Rust `async-memcached` comes nearest: it has the commands, and
//! neither pool, time limits, settings of a server nor a look at an answer's number. To write these
//! around it is more than the commands, which are a page of code in `wire.rs`.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{
    Applied, CommitError, Error, ErrorKind, Inspect, Promises, Renew, Shared, Store, Swept, Write,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Op, Record, Version},
};

mod failure;
mod item;
mod place;
mod pool;
mod wire;

use failure::Failed;
pub use failure::MemcachedError;
use item::{ARRIVING_TIME, Item, LEFT_TIME, exptime, newest_op};
pub use place::MemcachedConfig;
use place::claim;
use pool::Server;
use wire::{Command, Reply};

/// What messages and metrics call this store.
const NAME: &str = "memcached";

/// How often one call looks again at an item that changes under it. Each time another writer has
/// made progress, so this is far more than it takes.
const LOOKS_MAX: usize = 64;

/// The store on memcached. Clones share the connections.
#[derive(Clone)]
pub struct Memcached {
    servers: Arc<[Server]>,
    prefix: Arc<str>,
}

/// What stands under a key.
enum Found {
    Nothing,
    /// What nobody may see any more, and who comes may replace.
    Vacant {
        token: u64,
        /// Where the record has gone, if it has left.
        left_for: Option<Key>,
    },
    /// What may become a record, if the renew that it belongs to goes on.
    Arriving {
        token: u64,
        from: Key,
        record: Arc<Record>,
    },
    Live(Loaded),
}

/// The steps of a renew, and where it begins and ends.
#[derive(Clone, Copy)]
struct Move<'a> {
    base: &'a Loaded,
    record: &'a Record,
    op: Op,
    now: Timestamp,
}

impl Memcached {
    /// Opens the store and asks each server whether it can be used.
    ///
    /// # Errors
    /// [`MemcachedError`] says what is wrong and what mends it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: MemcachedConfig) -> Result<Self, MemcachedError> {
        let addresses = config.addresses().map_err(MemcachedError::Config)?;
        let mut servers = Vec::new();
        for address in addresses {
            servers.push(Server::open(address, &config.prefix).await?);
        }
        Ok(Self { servers: servers.into(), prefix: config.prefix.into() })
    }

    /// Asks the server that has the key.
    async fn ask(&self, key: &Key, command: Command<'_>) -> Result<Reply, Failed> {
        self.server(key)?.ask(&format!("{}:{key}", self.prefix), command).await
    }

    fn server(&self, key: &Key) -> Result<&Server, Failed> {
        let server = match &*self.servers {
            [only] => Some(only),
            servers => servers.iter().max_by_key(|server| claim(&server.name, key)),
        };
        server.ok_or_else(|| Failed::unsent(MemcachedError::Config("names no server")))
    }

    /// How long an item with this record may stand.
    fn exptime(&self, record: &Record, now: Timestamp) -> Result<u32, Failed> {
        Ok(exptime(&record.header, now, self.server(&record.header.key)?.now()))
    }

    async fn get(&self, key: &Key) -> Result<Option<(Vec<u8>, u64)>, Failed> {
        match self.ask(key, Command::Get).await? {
            Reply::Value { value, token } => Ok(Some((value, token))),
            Reply::NotFound => Ok(None),
            // Whatever that is, it does not say that there is nothing.
            Reply::Done { .. } | Reply::Exists => {
                Err(Failed::of(wire::Fault::Garbled, &self.server(key)?.name))
            }
        }
    }

    /// Stores a record by `cas`.
    async fn put(&self, record: &Record, token: u64, now: Timestamp) -> Result<Reply, Error> {
        let value = Item::here(record)?;
        let exptime = self.exptime(record, now)?;
        let cas = Command::Cas { value: &value, exptime, token };
        Ok(self.ask(&record.header.key, cas).await?)
    }

    /// What stands under a key. Finishes a renew to this key that was made and not finished.
    async fn find(&self, key: &Key, now: Timestamp) -> Result<Found, Error> {
        for _ in 0..LOOKS_MAX {
            let Some((value, token)) = self.get(key).await.map_err(Failed::beside)? else {
                return Ok(Found::Nothing);
            };
            let (from, record) = match Item::read(&value, key)? {
                Item::Left { to, .. } => {
                    return Ok(Found::Vacant { token, left_for: Some(to) });
                }
                Item::Here(record) | Item::Arriving { record, .. } if record.is_dead(now) => {
                    return Ok(Found::Vacant { token, left_for: None });
                }
                Item::Here(record) => {
                    return Ok(Found::Live(Loaded { record, version: Version(token) }));
                }
                Item::Arriving { from, record } => (from, record),
            };
            let op = newest_op(&record);
            let made = match op {
                Some(op) => self.has_left(&from, key, op, token).await?,
                None => false,
            };
            if !made {
                return Ok(Found::Arriving { token, from, record });
            }
            if let Reply::Done { token } =
                self.put(&record, token, now).await.map_err(not_of_the_write)?
            {
                return Ok(Found::Live(Loaded { record, version: Version(token) }));
            }
        }
        Err(contended())
    }

    /// Whether this renew has moved the record away, to the very item that arrived with this token.
    async fn has_left(&self, from: &Key, to: &Key, op: Op, arrived: u64) -> Result<bool, Error> {
        let Some((value, _)) = self.get(from).await.map_err(Failed::beside)? else {
            return Ok(false);
        };
        Ok(Item::read(&value, from)? == Item::Left { to: *to, op, arrived })
    }

    async fn create(&self, record: &Record, now: Timestamp) -> Result<Version, CommitError> {
        let value = Item::here(record)?;
        let exptime = self.exptime(record, now).map_err(Error::from)?;
        let mut command = Command::Add { value: &value, exptime };
        for _ in 0..LOOKS_MAX {
            let key = &record.header.key;
            if let Reply::Done { token } = self.ask(key, command).await.map_err(Error::from)? {
                return Ok(Version(token));
            }
            command = match self.find(key, now).await? {
                Found::Live(_) | Found::Arriving { .. } => return Err(CommitError::Conflict(None)),
                Found::Nothing => Command::Add { value: &value, exptime },
                Found::Vacant { token, left_for } => {
                    self.settle(left_for.as_ref(), now).await?;
                    Command::Cas { value: &value, exptime, token }
                }
            };
        }
        Err(contended().into())
    }

    async fn replace(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        if base.record.is_dead(now) {
            return Err(self.refusal(base, now).await);
        }
        match self.put(record, base.version.0, now).await? {
            Reply::Done { token } => Ok(Version(token)),
            Reply::NotFound => Err(CommitError::Gone),
            _ => Err(self.refusal(base, now).await),
        }
    }

    async fn renew(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        if base.record.is_dead(now) {
            return Err(self.refusal(base, now).await);
        }
        let (from, to) = (&base.record.header.key, &record.header.key);
        let op = newest_op(record).ok_or_else(|| {
            Error::new(NAME, ErrorKind::Refused, Applied::No).with_source("a renew must have an op")
        })?;
        let renew = Move { base, record, op, now };
        // Nothing of this counts before the second step: a failure here is surely no renew.
        let Some(arriving) = self.arrive(renew).await? else {
            return Err(match self.find(from, now).await? {
                Found::Live(old) => CommitError::Conflict(Some(old)),
                _ => CommitError::Gone,
            });
        };
        let value = Item::left(to, op, arriving)?;
        let leave = Command::Cas { value: &value, exptime: LEFT_TIME, token: base.version.0 };
        if !matches!(self.ask(from, leave).await.map_err(Error::from)?, Reply::Done { .. }) {
            // It may be this very renew that was faster, sent once before.
            let made = self.has_left(from, to, op, arriving).await.map_err(of_the_write)?;
            if !made {
                // What stays if this fails is seen by nobody, and forgotten.
                let _ = self.ask(to, Command::Delete { token: Some(arriving) }).await;
                return Err(self.refusal(base, now).await);
            }
        }
        self.settle_in(renew, arriving).await
    }

    /// The first step of a renew: the record is under its new key, where nobody sees it yet. Returns
    /// its token, or none if the key is taken.
    async fn arrive(&self, renew: Move<'_>) -> Result<Option<u64>, Error> {
        let Move { base, record, op, now } = renew;
        let (from, to) = (&base.record.header.key, &record.header.key);
        let value = Item::arriving(record, from)?;
        let mut command = Command::Add { value: &value, exptime: ARRIVING_TIME };
        for _ in 0..LOOKS_MAX {
            if let Reply::Done { token } = self.ask(to, command).await.map_err(Failed::beside)? {
                return Ok(Some(token));
            }
            command = match self.find(to, now).await? {
                Found::Nothing => Command::Add { value: &value, exptime: ARRIVING_TIME },
                Found::Vacant { token, left_for } => {
                    self.settle(left_for.as_ref(), now).await?;
                    Command::Cas { value: &value, exptime: ARRIVING_TIME, token }
                }
                // This very renew was sent once before, and came so far.
                Found::Arriving { token, from: whence, record: same }
                    if whence == *from && newest_op(&same) == Some(op) && *same == *record =>
                {
                    return Ok(Some(token));
                }
                Found::Arriving { .. } | Found::Live(_) => return Ok(None),
            };
        }
        Err(contended())
    }

    /// The last step of a renew that was made: what arrived is a record as any other.
    async fn settle_in(&self, renew: Move<'_>, arriving: u64) -> Result<Version, CommitError> {
        let Move { record, now, .. } = renew;
        match self.put(record, arriving, now).await.map_err(of_the_write)? {
            Reply::Done { token } => return Ok(Version(token)),
            Reply::NotFound => return Err(CommitError::Gone),
            _ => {}
        }
        // Somebody has looked meanwhile, and done it.
        let key = &record.header.key;
        let found = self.get(key).await.map_err(Failed::after)?;
        let Some((value, token)) = found else { return Err(CommitError::Gone) };
        match Item::read(&value, key).map_err(|error| of_the_write(error.into()))? {
            Item::Here(same) if *same == *record => Ok(Version(token)),
            // What arrived has ended; this is a first step that was sent once more and came late.
            Item::Arriving { .. } => Err(CommitError::Gone),
            // It has moved on. The version that it had for a moment will be stale for ever, which
            // is what a version of before must be.
            _ => Ok(Version(arriving)),
        }
    }

    /// Before the note that a record has left is overwritten, the record must have arrived.
    async fn settle(&self, left_for: Option<&Key>, now: Timestamp) -> Result<(), Error> {
        match left_for {
            Some(to) => self.find(to, now).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        for _ in 0..LOOKS_MAX {
            let Found::Live(found) = self.find(key, now).await? else {
                return Err(CommitError::Gone);
            };
            let header = &found.record.header;
            let idle_deadline = idle_deadline.min(header.absolute_deadline);
            if idle_deadline <= header.idle_deadline {
                return Ok(found.version);
            }
            let mut record = Record::clone(&found.record);
            record.header.idle_deadline = idle_deadline;
            match self.put(&record, found.version.0, now).await? {
                Reply::Done { token } => return Ok(Version(token)),
                Reply::NotFound => return Err(CommitError::Gone),
                // Another commit was faster; its data stays.
                _ => {}
            }
        }
        Err(contended().into())
    }

    async fn destroy(&self, key: &Key) -> Result<Version, CommitError> {
        for _ in 0..LOOKS_MAX {
            let found = self.get(key).await.map_err(Failed::beside)?;
            let Some((value, token)) = found else { return Ok(Version::NONE) };
            // What has left is not here, and the note of it is still needed. What cannot be read can
            // be destroyed all the same.
            if matches!(Item::read(&value, key), Ok(Item::Left { .. })) {
                return Ok(Version::NONE);
            }
            let delete = Command::Delete { token: Some(token) };
            match self.ask(key, delete).await.map_err(Error::from)? {
                Reply::Done { .. } | Reply::NotFound => return Ok(Version::NONE),
                _ => {}
            }
        }
        // A record that is written so often is one: there is nothing to take care of.
        self.ask(key, Command::Delete { token: None }).await.map_err(Error::from)?;
        Ok(Version::NONE)
    }

    /// What to say of a write whose condition does not hold: the record is gone, or newer.
    async fn refusal(&self, base: &Loaded, now: Timestamp) -> CommitError {
        match self.find(&base.record.header.key, now).await {
            Ok(Found::Live(same)) if same.version == base.version => contended().into(),
            Ok(Found::Live(newer)) => CommitError::Conflict(Some(newer)),
            Ok(_) => CommitError::Gone,
            Err(error) => error.into(),
        }
    }
}

/// Others kept changing the item.
fn contended() -> Error {
    Error::new(NAME, ErrorKind::Contended, Applied::No)
}

/// A failure of a step that decides, or of one after it: the write may have been made.
fn of_the_write(error: Error) -> Error {
    Error { happened: Applied::Unknown, ..error }
}

/// A failure of a step that is not the caller's write.
fn not_of_the_write(error: Error) -> Error {
    Error { happened: Applied::No, ..error }
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, prefix } = self;
        f.debug_struct("Memcached").field("servers", servers).field("prefix", prefix).finish()
    }
}

#[async_trait]
impl Store for Memcached {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        Promises { renew: Renew::OneStep, shared: Shared::Processes, lists_by_user: false }
    }

    fn survives(&self) -> &str {
        "nothing: the store is a cache; a restart or an eviction ends sessions"
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
        Ok(match self.find(key, now).await? {
            Found::Live(loaded) => Some(loaded),
            Found::Nothing | Found::Vacant { .. } | Found::Arriving { .. } => None,
        })
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record } => self.create(record, now).await,
            Write::Replace { base, record } => self.replace(base, record, now).await,
            Write::Renew { base, record } => self.renew(base, record, now).await,
            Write::Touch { key, idle_deadline } => self.touch(key, idle_deadline, now).await,
            Write::Destroy { key } => self.destroy(key).await,
        }
    }

    /// memcached forgets what is dead by itself, so this only says whether the servers answer.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<Swept, Error> {
        for server in self.servers.iter() {
            server.ping().await?;
        }
        Ok(Swept::default())
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        None
    }
}

#[cfg(test)]
mod tests;
