//! The store on Google Cloud's Firestore: any number of instances, and no server to look after.
//!
//! | law | how it is kept |
//! |---|---|
//! | 1 | reads outside of transactions are strongly consistent |
//! | 2 | the deadlines in the document are compared with the caller's time; expired documents still read |
//! | 3 | a write with the condition that there is no document; of one that is dead, that it did not change |
//! | 4 | a write with the condition that the document was last changed at the base's microsecond |
//! | 5 | the same condition; a touch has it, too |
//! | 6 | one Commit of two writes |
//! | 7 | a delete without a condition |
//! | 8 | only the deadline's fields are in the mask |
//! | 9 | "no" where the code is proof or nothing was sent, else "maybe"; see `failure.rs` |
//! | 10 | a query on one indexed field |
//! | 11 | the conditions are decided by Firestore |
//!
//! No call is in a transaction: a transaction's read takes a lock, and requests that meet would wait
//! for each other until Firestore ends them all. No call is made twice by the client beneath.
//!
//! # What an acknowledged commit survives
//!
//! The loss of a zone, or of a region where the database is in several (Firestore's own promise).
//!
//! # Limits
//!
//! A document has 1 MiB. About one commit a second and document is what Google advises to sustain;
//! the requests of a hot session are combined, so that a process makes one at a time. The clock of the app
//! decides life and death; a TTL policy deletes what is dead within a day or so.
//!
//! See the page *Firestore in production* for how to set it up.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    Document, DocumentMask, Precondition, Write as Rpc, precondition::ConditionType,
    write::Operation,
};
use tonic::{Code, Status};

use super::{
    Applied, CommitError, Cursor, Error, ErrorKind, Inspect, Page, Promises, Renew, Shared, Store,
    Swept, Write,
};
use crate::{
    clock::Timestamp,
    id::{Ids, Key},
    record::{Loaded, Record, Version},
};

mod client;
mod document;
mod failure;
mod groups;
mod place;
pub(crate) mod plain;
mod query;
mod value;

use client::Client;
use document::{Fields, Unusable};
pub use failure::FirestoreError;
use groups::{Fate, Groups};
pub use place::FirestoreConfig;

/// What messages and metrics call this store.
const NAME: &str = "firestore";

/// How often one call looks again at a document that changes under it, before the caller is told that
/// others are at it.
const LOOKS_MAX: usize = 4;

/// How long a plain id that a session left is told from one that never was.
const TOMBSTONE_TIME: Duration = Duration::from_secs(60);

/// What stands under a key.
enum Found {
    Nothing,
    /// What nobody may see any more, and who comes may replace.
    Dead(Version),
    Live(Loaded),
}

impl Found {
    fn of(document: Document, key: &Key, now: Timestamp) -> Result<Self, Error> {
        if let Some(until) = document::tombstone_until(&document) {
            let version = document::version(document.update_time).ok_or(Unusable::NoTime)?;
            return if now < until { Err(Unusable::Moved.into()) } else { Ok(Self::Dead(version)) };
        }
        let loaded = document::read(document, key)?;
        let dead = loaded.record.is_dead(now);
        Ok(if dead { Self::Dead(loaded.version) } else { Self::Live(loaded) })
    }

    fn live(self) -> Option<Loaded> {
        match self {
            Self::Live(loaded) => Some(loaded),
            Self::Nothing | Self::Dead(_) => None,
        }
    }
}

/// The store on Google Cloud's Firestore. Clones share the connections.
#[derive(Clone)]
pub struct Firestore {
    client: Arc<Client>,
    groups: Arc<Groups>,
    /// Whether it was told that sweeps have no index.
    no_index: Arc<AtomicBool>,
}

impl Firestore {
    /// Opens the store and asks Firestore once whether it can be used.
    ///
    /// The credentials are the application default ones. If FIRESTORE_EMULATOR_HOST is set, the
    /// emulator there is used in the place of Google's Firestore, as by Google's own clients; a
    /// warning is logged then.
    ///
    /// # Errors
    /// [`FirestoreError`] says what is wrong and which command mends it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: FirestoreConfig) -> Result<Self, FirestoreError> {
        let client = Client::new(config)?;
        let nobody = client.names.document(&Key::from_bytes([0; 32]));
        let found = client.get(vec![nobody], Some(DocumentMask::default())).await;
        found.map_err(|status| client.server.explain(&status))?;
        if let Some(host) = &client.server.emulator {
            tracing::warn!(
                host,
                "sessions are kept in a Firestore emulator (FIRESTORE_EMULATOR_HOST), for tests only"
            );
        }
        let client = Arc::new(client);
        let groups = Arc::new(Groups::new(Arc::clone(&client)));
        Ok(Self { client, groups, no_index: Arc::default() })
    }

    async fn load_key(&self, key: &Key, now: Timestamp) -> Result<Found, Error> {
        let [found] = self.load_keys([key], now).await?;
        Ok(found)
    }

    async fn load_keys<const N: usize>(
        &self,
        keys: [&Key; N],
        now: Timestamp,
    ) -> Result<[Found; N], Error> {
        let names = keys.map(|key| self.client.names.document(key)).into();
        let documents = self.client.get(names, None).await;
        let documents = documents.map_err(|status| self.client.server.read_failed(&status))?;
        let mut found = [const { Found::Nothing }; N];
        for ((key, document), found) in keys.into_iter().zip(documents).zip(&mut found) {
            if let Some(document) = document {
                *found = Found::of(document, key, now)?;
            }
        }
        Ok(found)
    }

    async fn create(&self, record: &Record, now: Timestamp) -> Result<Version, CommitError> {
        let key = &record.header.key;
        let fields = document::whole(record).map_err(Error::from)?;
        let mut condition = ConditionType::Exists(false);
        for _ in 0..LOOKS_MAX {
            let write = self.update(key, fields.clone(), None, condition);
            let status = match self.commit_all(vec![write]).await {
                Ok(version) => return Ok(version),
                Err(status) => self.condition_or_failure(status)?,
            };
            // Who is dead makes way, unless it changes meanwhile.
            condition = match self.load_key(key, now).await? {
                Found::Live(_) => return Err(CommitError::Conflict(None)),
                dead => self.condition_in_the_place_of(&dead, &status)?,
            };
        }
        Err(self.contended(None).into())
    }

    async fn replace(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let key = &record.header.key;
        if base.record.is_dead(now) {
            return Err(self.refusal(base, now, None).await);
        }
        let (fields, mask) = document::changed(&base.record, record).map_err(Error::from)?;
        let write = self.update(key, fields, Some(mask), unchanged(base.version));
        match self.make(key, write, record).await? {
            Ok(version) => Ok(version),
            Err(status) => {
                let status = self.condition_or_failure(status)?;
                Err(self.refusal(base, now, Some(&status)).await)
            }
        }
    }

    /// Makes the write of a replace, if it may with those of others that meet it.
    async fn make(
        &self,
        key: &Key,
        write: Rpc,
        record: &Record,
    ) -> Result<Result<Version, Status>, Error> {
        // Another app may lock what it shares with this one, and who met it would wait.
        let may_meet = !key.is_plain() && document::is_small(record);
        let write = match may_meet {
            false => Box::new(write),
            true => match self.groups.join(*key, write).await {
                Fate::Decided(outcome) => return Ok(outcome),
                Fate::Alone(write) => write,
                Fate::Unknown => {
                    let error = Error::new(NAME, ErrorKind::Contended, Applied::Unknown);
                    return Err(error.with_source("another session's change kept it waiting"));
                }
            },
        };
        Ok(self.commit_all(vec![*write]).await)
    }

    async fn renew(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let (from, to) = (&base.record.header.key, &record.header.key);
        if base.record.is_dead(now) {
            return Err(self.refusal(base, now, None).await);
        }
        let fields = document::whole(record).map_err(Error::from)?;
        let mut condition = ConditionType::Exists(false);
        for _ in 0..LOOKS_MAX {
            let leave = self.leave(from, base.version, now);
            let enter = self.update(to, fields.clone(), None, condition);
            let status = match self.commit_all(vec![leave, enter]).await {
                Ok(version) => return Ok(version),
                Err(status) => self.condition_or_failure(status)?,
            };
            let [old, new] = self.load_keys([from, to], now).await?;
            let old = old.live().ok_or(CommitError::Gone)?;
            condition = match new {
                Found::Live(_) => return Err(CommitError::Conflict(Some(old))),
                _ if old.version != base.version => return Err(CommitError::Conflict(Some(old))),
                dead => self.condition_in_the_place_of(&dead, &status)?,
            };
        }
        Err(self.contended(None).into())
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        for _ in 0..LOOKS_MAX {
            let found = self.load_key(key, now).await?.live().ok_or(CommitError::Gone)?;
            let mut header = found.record.header.clone();
            let idle_deadline = idle_deadline.min(header.absolute_deadline);
            if idle_deadline <= header.idle_deadline {
                return Ok(found.version);
            }
            header.idle_deadline = idle_deadline;
            let (fields, mask) = document::touched(&header);
            let write = self.update(key, fields, Some(mask), unchanged(found.version));
            match self.commit_all(vec![write]).await {
                Ok(version) => return Ok(version),
                Err(status) => _ = self.condition_or_failure(status)?,
            }
        }
        Err(self.contended(None).into())
    }

    /// Ends a session under an id that it may be leaving: to delete what it left would end nothing.
    async fn destroy_unless_moved(
        &self,
        key: &Key,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let version = match self.load_key(key, now).await? {
                Found::Nothing => return Ok(Version::NONE),
                Found::Dead(version) => version,
                Found::Live(loaded) => loaded.version,
            };
            match self.client.commit(vec![self.delete(key, Some(unchanged(version)))]).await {
                Ok(_) => return Ok(Version::NONE),
                Err(status) => last = Some(self.condition_or_failure(status)?),
            }
        }
        Err(self.contended(last.as_ref()).into())
    }

    /// What to say of a replace whose condition does not hold: the record is gone, or newer.
    async fn refusal(&self, base: &Loaded, now: Timestamp, status: Option<&Status>) -> CommitError {
        let found = match self.load_key(&base.record.header.key, now).await {
            Ok(found) => found.live(),
            Err(error) => return self.unseen(error, status).into(),
        };
        match (found, status) {
            (None, _) => CommitError::Gone,
            (Some(same), Some(status)) if same.version == base.version => match status.code() {
                // It was not the condition that was wrong with the request.
                Code::InvalidArgument => self.failed(status),
                _ => self.contended(Some(status)).into(),
            },
            (Some(newer), _) => CommitError::Conflict(Some(newer)),
        }
    }

    /// The condition for a second attempt to take a place where nothing lives.
    fn condition_in_the_place_of(
        &self,
        dead: &Found,
        refused: &Status,
    ) -> Result<ConditionType, CommitError> {
        match dead {
            // Who is dead makes way, unless it changes meanwhile.
            Found::Dead(version) => Ok(unchanged(*version)),
            // It was not the condition that was wrong with the request.
            _ if refused.code() == Code::InvalidArgument => Err(self.failed(refused)),
            _ => Ok(ConditionType::Exists(false)),
        }
    }

    /// Lets those answers pass that can mean that a condition did not hold; a look at the document
    /// follows, which fails if it was something else. A version that is newer than the document's is
    /// called an invalid argument.
    fn condition_or_failure(&self, status: Status) -> Result<Status, CommitError> {
        match status.code() {
            Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::NotFound => Ok(status),
            _ => Err(self.failed(&status)),
        }
    }

    /// Others kept changing the document, as far as Firestore's last answer tells.
    fn contended(&self, status: Option<&Status>) -> Error {
        let error = Error::new(NAME, ErrorKind::Contended, Applied::No);
        match status {
            Some(status) => error.with_source(self.client.server.explain(status)),
            None => error,
        }
    }

    /// The look at a document failed that a refused commit asked for. Not every refusal is proof.
    fn unseen(&self, error: Error, refused: Option<&Status>) -> Error {
        match refused.map(failure::happened) {
            Some(happened @ Applied::Unknown) => {
                Error::new(NAME, error.kind(), happened).with_source(error)
            }
            _ => error,
        }
    }

    fn failed(&self, status: &Status) -> CommitError {
        self.client.server.commit_failed(status).into()
    }

    /// Makes all the writes or none, and returns the version that the last one's document has then.
    async fn commit_all(&self, writes: Vec<Rpc>) -> Result<Version, Status> {
        let versions = self.client.commit(writes).await?;
        version_of(versions.last().copied().flatten())
    }

    fn update(
        &self,
        key: &Key,
        fields: Fields,
        update_mask: Option<DocumentMask>,
        condition: ConditionType,
    ) -> Rpc {
        let name = self.client.names.document(key);
        let document = Document { name, fields, create_time: None, update_time: None };
        Rpc {
            update_mask,
            update_transforms: Vec::new(),
            current_document: Some(Precondition { condition_type: Some(condition) }),
            operation: Some(Operation::Update(document)),
        }
    }

    /// The half of a renew that ends the old key.
    ///
    /// A plain id that was left is remembered for a while: another request of the same visitor may
    /// still be under way with it, and must neither begin a session nor take the new id away.
    fn leave(&self, key: &Key, version: Version, now: Timestamp) -> Rpc {
        if key.is_plain() && self.ids() == Ids::Upgrade {
            let fields = document::tombstone(key, now.after(TOMBSTONE_TIME));
            self.update(key, fields, None, unchanged(version))
        } else {
            self.delete(key, Some(unchanged(version)))
        }
    }

    fn delete(&self, key: &Key, condition: Option<ConditionType>) -> Rpc {
        delete(self.client.names.document(key), condition)
    }
}

/// Every write that changes something has a time; without it, nobody knows the version.
fn version_of(version: Option<Version>) -> Result<Version, Status> {
    version.ok_or_else(|| Status::internal("the answer has no time of the change"))
}

/// Deletes the document with this name.
fn delete(name: String, condition: Option<ConditionType>) -> Rpc {
    Rpc {
        current_document: condition
            .map(|condition| Precondition { condition_type: Some(condition) }),
        operation: Some(Operation::Delete(name)),
        ..Rpc::default()
    }
}

/// The condition that a document was not changed since it had this version.
fn unchanged(version: Version) -> ConditionType {
    ConditionType::UpdateTime(document::moment(version))
}

impl fmt::Debug for Firestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.client.server;
        f.debug_struct("Firestore")
            .field("config", &server.config)
            .field("emulator", &server.emulator)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Firestore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        Promises { renew: Renew::OneStep, shared: Shared::Processes, lists_by_user: true }
    }

    fn survives(&self) -> &str {
        match self.client.server.emulator {
            Some(_) => "nothing: FIRESTORE_EMULATOR_HOST names an emulator, which is for tests",
            None => "the loss of a zone",
        }
    }

    fn ids(&self) -> Ids {
        self.client.server.config.ids
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
        Ok(self.load_key(key, now).await?.live())
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record } => self.create(record, now).await,
            Write::Replace { base, record } => self.replace(base, record, now).await,
            Write::Renew { base, record } => self.renew(base, record, now).await,
            Write::Touch { key, idle_deadline } => self.touch(key, idle_deadline, now).await,
            Write::Destroy { key } if key.is_plain() && self.ids() == Ids::Upgrade => {
                self.destroy_unless_moved(key, now).await
            }
            Write::Destroy { key } => {
                let deleted = self.client.commit(vec![self.delete(key, None)]).await;
                deleted.map(|_| Version::NONE).map_err(|status| self.failed(&status))
            }
        }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        match self.sweep_dead(now, limit).await {
            // Where there is no index, the TTL policy is the broom.
            Err(status) if status.code() == Code::FailedPrecondition => {
                if !self.no_index.swap(true, Ordering::Relaxed) {
                    let why = self.client.server.explain(&status);
                    tracing::warn!(%why, "expired sessions are left to the TTL policy");
                }
                Ok(Swept::default())
            }
            swept => swept.map_err(|status| self.client.server.commit_failed(&status)),
        }
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for Firestore {
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

#[cfg(test)]
mod tests;
