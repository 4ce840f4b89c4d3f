//! The store on Redis and Valkey, one server or a cluster.
//!
//! | law | how it is kept |
//! |---|---|
//! | 1 | a record is one hash, read by one HMGET; replicas are refused |
//! | 2 | the deadlines in the hash are compared with the caller's time; PEXPIRE is only a broom |
//! | 3 to 5, 8 | one script looks at the record and then writes, in one step |
//! | 6 | the same; both keys have one partition, so they are on one server |
//! | 7 | a script that deletes without a condition |
//! | 9 | "no" where the code is proof or nothing was sent, else "maybe"; see `failure.rs` |
//! | 10 | a set for each user; a session is in it before it is the user's, and who is not is dropped on sight |
//! | 11 | the conditions are decided by Redis |
//!
//! A write is conditional on the record's counter, its epoch and its newest op, so that it is refused
//! also where a failover took the counter back and others moved it on again.
//!
//! # What an acknowledged commit survives
//!
//! What the server's append-only file does: with `appendfsync always` a power loss, with `everysec`
//! a crash, without it nothing. A failover to a replica loses what had not reached it; the protocol
//! notices, and counts, a record that went back. [`Store::survives`] says what is set.
//!
//! # Limits
//!
//! Redis 7.0 or later. The data of a record has at most 16 MiB. The clock of the server does not
//! matter; clocks of instances may differ by some minutes. In a cluster a login is two round trips,
//! one to the server of the user's set.
//!
//! # By hand
//!
//! `redis-cli HGETALL 'ingle:{7f}:7f…'` shows a session and `DEL` ends it. To change one move its
//! counter as well, the second number of its head, so that instances notice, and create none by accident:
//!
//! ```text
//! EVAL "local head = redis.call('HGET', KEYS[1], 'head') if not head then return 0 end
//!   local idle, counter, ops = string.match(head, '(%d+) (%d+)(.*)')
//!   redis.call('HSET', KEYS[1], 'data', ARGV[1], 'head', idle .. ' ' .. counter + 1 .. ops) return 1"
//!   1 'ingle:{7f}:7f…' '{"views":41}'
//! ```

use std::{fmt, slice, sync::Arc};

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::{
    Applied, CommitError, Cursor, Error, ErrorKind, Inspect, Page, Promises, Renew, Shared, Store,
    Swept, Write,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Header, Loaded, Record, Version},
};

mod advance;
mod bundle;
mod durability;
mod failure;
mod hash;
mod link;
mod lists;
mod node;
mod place;
mod scripts;
mod servers;
mod tls;

use advance::Advance;
use failure::Failure;
pub use failure::RedisError;
use hash::{SLACK, Unreadable};
use lists::Listing;
use node::Settings;
pub use place::RedisConfig;
use place::{Partition, Place};
use scripts::{Script, Scripts};
use servers::Servers;
use tls::Tls;

/// What messages and metrics call this store.
const NAME: &str = "redis";

/// The store on Redis and Valkey. Clones share the connections.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    config: RedisConfig,
    place: Place,
    servers: Servers,
    scripts: Scripts,
    survives: String,
    lists: lists::Known,
}

impl Redis {
    /// Opens the store: connects, and tries that the user may do all that is needed.
    ///
    /// Warns in the log where the server is set up so that it may lose sessions.
    ///
    /// # Errors
    /// [`RedisError`] says what is wrong and what mends it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: RedisConfig) -> Result<Self, RedisError> {
        config.check().map_err(RedisError::Config)?;
        let tls = if config.tls {
            let cacert = config.cacert.clone();
            let tls = tokio::task::spawn_blocking(move || Tls::new(cacert.as_deref())).await;
            let stopped =
                |error: tokio::task::JoinError| RedisError::Cacert { message: error.to_string() };
            Some(tls.map_err(stopped)??)
        } else {
            None
        };
        let (place, scripts) = (Place::new(&config.prefix), Scripts::new());
        let servers = Servers::find(Settings { config: config.clone(), tls }).await?;
        let survives = durability::of(&servers).await;
        let lists = lists::Known::default();
        let store = Self(Arc::new(Inner { config, place, servers, scripts, survives, lists }));
        store.probe().await.map_err(|failure| failure.explained(&store.0.config.prefix))?;
        Ok(store)
    }

    /// Tries all that the user must be allowed to do.
    async fn probe(&self) -> Result<(), Failure> {
        let Inner { place, scripts, .. } = &*self.0;
        let mut bits = [0; 32];
        // Another key each time, so that no two who open meet; if there are no random bytes, they may.
        let _ = getrandom::fill(&mut bits);
        let key = Key::from_bytes(bits);
        let name = place.record(&key);
        let mut command = scripts.probe.call(1);
        self.run(Partition::of(&key), &scripts.probe, command.arg(&name)).await?;
        // The key stands for a user here: it is a name that nobody has.
        let user = key.to_string();
        let (partition, name) = (Partition::of_user(&user), place.user(&user));
        let mut command = scripts.probe_list.call(1);
        self.run(partition, &scripts.probe_list, command.arg(&name)).await?;
        self.0.servers.call(Partition::of(&key), &hash::load(place, &key)).await?;
        lists::probe(&self.0.servers).await
    }

    /// Runs a script. That a server does not have it yet is proof that nothing happened.
    async fn run(
        &self,
        partition: Partition,
        script: &Script,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        match self.0.servers.call(partition, command).await {
            Err(Failure::Refused(refusal)) if refusal.code() == "NOSCRIPT" => {
                let whole = script.with_text(command);
                Box::pin(self.0.servers.call(partition, &whole)).await
            }
            answer => answer,
        }
    }

    fn told(&self, failure: Failure) -> Error {
        failure.told(&self.0.config.prefix)
    }

    async fn create(&self, record: &Record, now: Timestamp) -> Result<Version, CommitError> {
        let name = self.0.place.record(&record.header.key);
        let listing = Listing::of(None, record, now);
        let script = &self.0.scripts.create;
        let mut command = self.begin(script, &[&name], None, record, listing.as_ref(), now);
        hash::whole(&mut command, record, listing.as_ref().map(Listing::stamp))?;
        match self.write(script, record, listing.as_ref(), &command, now).await? {
            Value::BulkString(_) => Ok(Version(record.header.counter)),
            Value::Int(_) => Err(CommitError::Conflict(None)),
            _ => Err(strange()),
        }
    }

    async fn replace(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let before = &base.record.header;
        let name = self.0.place.record(&record.header.key);
        let listing = Listing::of(Some(before), record, now);
        let script = &self.0.scripts.replace;
        let mut command = self.begin(script, &[&name], Some(before), record, listing.as_ref(), now);
        let stamp = listing.as_ref().map(Listing::stamp);
        hash::changed(&mut command, &base.record, record, stamp)?;
        let answer = self.write(script, record, listing.as_ref(), &command, now).await?;
        self.written(base, record, answer)
    }

    /// The replace that nearly every commit is, on a base that is live. On one server it goes together
    /// with those that meet it.
    async fn advance(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        // Made last, so that the future keeps no room for it.
        let advance = || Advance::of(&self.0.place, base, record, now);
        let answer = match &self.0.servers {
            Servers::One(node) => {
                let link = servers::link_of(node).await.map_err(|failure| self.told(failure))?;
                servers::advance(&link, advance()?).await
            }
            Servers::Cluster(_) => {
                let partition = Partition::of(&record.header.key);
                Box::pin(self.advance_alone(partition, advance()?)).await
            }
        };
        match answer.map_err(|failure| self.told(failure))? {
            Value::Nil => Ok(Version(record.header.counter)),
            found @ Value::Array(_) => {
                let found = hash::read(found).map_err(Error::from)?;
                let live = found.filter(|found| !found.record.is_dead(now));
                Err(live.map_or(CommitError::Gone, |newer| CommitError::Conflict(Some(newer))))
            }
            _ => Err(strange()),
        }
    }

    /// What one call is about is on one server of a cluster only where it has one partition.
    async fn advance_alone(
        &self,
        partition: Partition,
        advance: Advance,
    ) -> Result<Value, Failure> {
        let call = advance::call(slice::from_ref(&advance));
        let answer = self.run(partition, advance::script(), &call).await?;
        let answers = advance::answers(answer, 1).and_then(|answers| answers.into_iter().next());
        answers.ok_or_else(|| Failure::Lost("the answer makes no sense".to_owned()))
    }

    async fn renew(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let before = &base.record.header;
        let (from, to) =
            (self.0.place.record(&before.key), self.0.place.record(&record.header.key));
        let listing = Listing::of(Some(before), record, now);
        let script = &self.0.scripts.renew;
        let keys = [from.as_str(), &to];
        let mut command = self.begin(script, &keys, Some(before), record, listing.as_ref(), now);
        hash::whole(&mut command, record, listing.as_ref().map(Listing::stamp))?;
        let answer = self.write(script, record, listing.as_ref(), &command, now).await?;
        self.written(base, record, answer)
    }

    /// The beginning of a write: its keys, and what the scripts know by its place.
    fn begin(
        &self,
        script: &Script,
        keys: &[&str],
        base: Option<&Header>,
        record: &Record,
        listing: Option<&Listing>,
        now: Timestamp,
    ) -> Cmd {
        // Where it is on another server, the list is written before.
        let listing = listing.filter(|_| !self.0.servers.is_cluster());
        let mut command = script.call(keys.len() + usize::from(listing.is_some()));
        keys.iter().for_each(|key| _ = command.arg(key));
        if let Some(listing) = listing {
            command.arg(self.0.place.user(&listing.user));
        }
        command.arg(now.as_millis()).arg(hash::broom(&record.header, now));
        match listing {
            Some(listing) => listing.arguments(&mut command, now),
            None => _ = command.arg("").arg("").arg("").arg(""),
        }
        match base {
            Some(base) => command.arg(hash::condition(base)).arg(hash::epoch(base)),
            None => command.arg("").arg(""),
        };
        command
    }

    /// Sends a write. In a cluster the session is put into its user's list before: from its first
    /// moment on it is found there.
    async fn write(
        &self,
        script: &Script,
        record: &Record,
        listing: Option<&Listing>,
        command: &Cmd,
        now: Timestamp,
    ) -> Result<Value, Error> {
        if let Some(listing) = listing.filter(|_| self.0.servers.is_cluster()) {
            self.list_before(listing, now).await?;
        }
        let answer = self.run(Partition::of(&record.header.key), script, command).await;
        answer.map_err(|failure| self.told(failure))
    }

    /// What became of a replace or a renew.
    fn written(
        &self,
        base: &Loaded,
        record: &Record,
        answer: Value,
    ) -> Result<Version, CommitError> {
        match answer {
            Value::BulkString(stamp) => {
                let (before, after) = (&base.record.header, &record.header);
                if before.key != after.key || name(before) != name(after) {
                    self.unlist(&before.key, name(before), &stamp);
                }
                Ok(Version(after.counter))
            }
            Value::Nil => Err(CommitError::Gone),
            Value::Int(_) => Err(CommitError::Conflict(None)),
            newer @ Value::Array(_) => {
                Err(CommitError::Conflict(hash::read(newer).map_err(Error::from)?))
            }
            _ => Err(strange()),
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let script = &self.0.scripts.touch;
        let mut command = script.call(1);
        command.arg(self.0.place.record(key)).arg(now.as_millis());
        command.arg(idle_deadline.as_millis()).arg(hash::millis(SLACK));
        let touched = self.run(Partition::of(key), script, &command);
        match touched.await.map_err(|failure| self.told(failure))? {
            Value::Nil => Err(CommitError::Gone),
            Value::BulkString(counter) => {
                let counter = std::str::from_utf8(&counter).ok().and_then(|text| text.parse().ok());
                let counter = counter.ok_or(Unreadable::Field("counter")).map_err(Error::from)?;
                Ok(Version(counter))
            }
            _ => Err(strange()),
        }
    }

    async fn destroy(&self, key: &Key) -> Result<Version, CommitError> {
        let script = &self.0.scripts.destroy;
        let mut command = script.call(1);
        let destroyed = self.run(Partition::of(key), script, command.arg(self.0.place.record(key)));
        let was = destroyed.await.map_err(|failure| self.told(failure))?;
        if let Value::Array(was) = was
            && let [Value::BulkString(user), Value::BulkString(stamp)] = was.as_slice()
        {
            let user = std::str::from_utf8(user).ok();
            self.unlist(key, user, stamp);
        }
        Ok(Version::NONE)
    }
}

fn name(header: &Header) -> Option<&str> {
    header.user.as_ref().map(|user| user.name.as_str())
}

/// An answer that none of our scripts gives. Whatever did give it may have written.
fn strange() -> CommitError {
    Error::new(NAME, ErrorKind::Corrupt, Applied::Unknown).with_source(Unreadable::Answer).into()
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("config", &self.0.config)
            .field("cluster", &self.0.servers.is_cluster())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Redis {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        Promises { renew: Renew::OneStep, shared: Shared::Processes, lists_by_user: true }
    }

    fn survives(&self) -> &str {
        &self.0.survives
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        Partition::of(from) == Partition::of(to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
        let answer = self.0.servers.call(Partition::of(key), &hash::load(&self.0.place, key)).await;
        let loaded = hash::read(answer.map_err(|failure| self.told(failure))?)?;
        Ok(loaded.filter(|loaded| !loaded.record.is_dead(now)))
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Replace { base, record } if advance::is_one(base, record, now) => {
                self.advance(base, record, now).await
            }
            // What is rarely taken is boxed, so that the usual way is a small future.
            Write::Create { record } => Box::pin(self.create(record, now)).await,
            Write::Replace { base, record } => Box::pin(self.replace(base, record, now)).await,
            Write::Renew { base, record } => Box::pin(self.renew(base, record, now)).await,
            Write::Touch { key, idle_deadline } => {
                Box::pin(self.touch(key, idle_deadline, now)).await
            }
            Write::Destroy { key } => Box::pin(self.destroy(key)).await,
        }
    }

    /// Redis deletes by itself what is dead, so there is nothing to do.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<Swept, Error> {
        for master in self.0.servers.masters() {
            let link = master.link().await.map_err(|error| self.told(Failure::NotSent(error)))?;
            link.call(&redis::cmd("PING")).await.map_err(|failure| self.told(failure))?;
        }
        Ok(Swept::default())
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for Redis {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        self.page(after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        self.page_of_user(user, after, limit, now).await
    }
}

#[cfg(test)]
mod tests;
