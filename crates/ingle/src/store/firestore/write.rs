//! Commits, touches and destroys, and their conditions.
//!
//! Each is one Commit, which Firestore makes whole or not at all. No call is in a transaction: a
//! transaction's read takes a lock, and concurrent requests would wait for each other until Firestore
//! ends them all.

use std::sync::Arc;

use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    Document, DocumentMask, Precondition, Write as Rpc, precondition::ConditionType,
    write::Operation,
};
use tonic::{Code, Status};

use super::{
    batch::{Batches, Outcome},
    codec::{self, Fields},
    connect::Client,
    error::{NAME, applied},
    find::{Dead, Found, find},
    plain,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
    store::{Applied, CommitError, Destroyed, Error, ErrorKind, mark::Mark},
};

/// How often one call looks again at a document that changes under it, before the caller is told that
/// others are at it.
pub(super) const LOOKS_MAX: usize = 4;

/// Makes the writes of one store.
pub(super) struct Writer {
    client: Arc<Client>,
    batches: Batches,
}

impl Writer {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { batches: Batches::new(Arc::clone(&client)), client }
    }

    pub(super) async fn create(
        &self,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let key = &record.header.key;
        let fields = codec::whole(record).map_err(Error::from)?;
        let mut dead = Dead::default();
        let mut looks = 0;
        loop {
            let status = match self.commit(self.enter(key, fields.clone(), &dead)).await {
                Ok(version) => return Ok(version),
                Err(status) => self.condition_or_failure(status)?,
            };
            self.look_again(&mut looks, &status)?;
            dead = match find(&self.client, key, now).await? {
                Found::Live(_) | Found::Marked(_) => return Err(CommitError::Conflict(None)),
                Found::Free(dead) => self.in_the_place_of(dead, &status)?,
            };
        }
    }

    pub(super) async fn replace(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let key = &record.header.key;
        if base.record.is_dead(now) {
            return Err(self.refusal(base, now, None).await);
        }
        let (fields, mask) = codec::changed(&base.record, record).map_err(Error::from)?;
        let name = self.client.names.document(key);
        let write = update(name, fields, Some(mask), Some(unchanged(base.version)));
        match self.batched(key, write, record).await? {
            Ok(version) => Ok(version),
            Err(status) => {
                let status = self.condition_or_failure(status)?;
                Err(self.refusal(base, now, Some(&status)).await)
            }
        }
    }

    pub(super) async fn renew(
        &self,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let (from, to) = (&base.record.header.key, &record.header.key);
        if base.record.is_dead(now) {
            return Err(self.refusal(base, now, None).await);
        }
        let fields = codec::whole(record).map_err(Error::from)?;
        let mark = Mark::moved(*to, now);
        let mut dead = Dead::default();
        let mut looks = 0;
        loop {
            let mut writes = self.leave(from, base.version, &mark);
            writes.extend(self.enter(to, fields.clone(), &dead));
            let status = match self.commit(writes).await {
                Ok(version) => return Ok(version),
                Err(status) => self.condition_or_failure(status)?,
            };
            self.look_again(&mut looks, &status)?;
            let old = find(&self.client, from, now).await?.live().ok_or(CommitError::Gone)?;
            if old.version != base.version {
                return Err(CommitError::Conflict(Some(old)));
            }
            dead = match find(&self.client, to, now).await? {
                Found::Live(_) | Found::Marked(_) => return Err(CommitError::Conflict(Some(old))),
                Found::Free(dead) => self.in_the_place_of(dead, &status)?,
            };
        }
    }

    pub(super) async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let mut looks = 0;
        loop {
            let found = find(&self.client, key, now).await?.live().ok_or(CommitError::Gone)?;
            let mut header = found.record.header.clone();
            let idle_deadline = idle_deadline.min(header.absolute_deadline);
            if idle_deadline <= header.idle_deadline {
                return Ok(());
            }
            header.idle_deadline = idle_deadline;
            let (fields, mask) = codec::touched(&header);
            let name = self.client.names.document(key);
            let write = update(name, fields, Some(mask), Some(unchanged(found.version)));
            let status = match self.commit(vec![write]).await {
                Ok(_) => return Ok(()),
                Err(status) => self.condition_or_failure(status)?,
            };
            self.look_again(&mut looks, &status)?;
        }
    }

    /// Ends a session. It is read first: the mark of one that has moved must stay.
    pub(super) async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        let mark = Mark::ended(now);
        let mut looks = 0;
        loop {
            let version = match find(&self.client, key, now).await {
                Ok(Found::Live(loaded)) => loaded.version,
                Ok(Found::Marked(mark)) => return Ok(mark.destroyed(now)),
                // For a process whose clock is behind it may be live yet.
                Ok(Found::Free(Dead { record: Some(version), .. })) => version,
                Ok(Found::Free(_)) => return Ok(Destroyed::Nothing),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.version_of_damaged(key).await?.ok_or(error)?
                }
                Err(error) => return Err(error),
            };
            let status = match self.commit(self.leave(key, version, &mark)).await {
                Ok(_) => return Ok(Destroyed::Ended),
                Err(status) if may_be_a_condition(&status) => status,
                Err(status) => return Err(self.client.server.commit_failed(&status)),
            };
            self.look_again(&mut looks, &status)?;
        }
    }

    /// The version of a document that is no readable record: it can be ended all the same.
    async fn version_of_damaged(&self, key: &Key) -> Result<Option<Version>, Error> {
        let name = self.client.names.document(key);
        let document = self.client.get(name, Some(DocumentMask::default())).await;
        let document = document.map_err(|status| self.client.server.read_failed(&status))?;
        Ok(document.and_then(|document| codec::version(document.update_time)))
    }

    /// Makes the write of a replace, with those of other sessions where that can do no harm.
    async fn batched(
        &self,
        key: &Key,
        write: Rpc,
        record: &Record,
    ) -> Result<Result<Version, Status>, Error> {
        let in_a_batch = !plain::may_be_locked(key) && codec::is_small(record);
        let write = match in_a_batch {
            false => Box::new(write),
            true => match self.batches.push(*key, write).await {
                Outcome::Decided(result) => return Ok(result),
                Outcome::Alone(write) => write,
                Outcome::Unknown => {
                    let error = Error::new(NAME, ErrorKind::Contended, Applied::Unknown);
                    return Err(error.with_source("another session's change kept it waiting"));
                }
            },
        };
        Ok(self.commit(vec![*write]).await)
    }

    /// What to say of a replace or a renew whose condition does not hold: the record is gone, or newer.
    async fn refusal(&self, base: &Loaded, now: Timestamp, status: Option<&Status>) -> CommitError {
        let found = match find(&self.client, &base.record.header.key, now).await {
            Ok(found) => found.live(),
            Err(error) => return unseen(error, status).into(),
        };
        match (found, status) {
            (None, _) => CommitError::Gone,
            (Some(same), Some(status)) if same.version == base.version => match status.code() {
                // It was not the condition that was wrong with the request.
                Code::InvalidArgument => self.client.server.commit_failed(status).into(),
                _ => self.client.server.contended(status).into(),
            },
            (Some(newer), _) => CommitError::Conflict(Some(newer)),
        }
    }

    /// What a second attempt to take a key replaces.
    fn in_the_place_of(&self, dead: Dead, refused: &Status) -> Result<Dead, CommitError> {
        let nothing = dead.record.is_none() && dead.mark.is_none();
        if nothing && refused.code() == Code::InvalidArgument {
            // It was not the condition that was wrong with the request.
            return Err(self.client.server.commit_failed(refused).into());
        }
        Ok(dead)
    }

    /// Counts the looks of one call, and ends it when there were enough.
    fn look_again(&self, looks: &mut usize, refused: &Status) -> Result<(), Error> {
        *looks += 1;
        if *looks < LOOKS_MAX { Ok(()) } else { Err(self.client.server.contended(refused)) }
    }

    /// Lets those answers pass that can mean that a condition did not hold; a look at the document
    /// follows.
    fn condition_or_failure(&self, status: Status) -> Result<Status, Error> {
        if may_be_a_condition(&status) {
            Ok(status)
        } else {
            Err(self.client.server.commit_failed(&status))
        }
    }

    /// Makes all the writes or none, and returns the version that the last one's document has then.
    async fn commit(&self, writes: Vec<Rpc>) -> Result<Version, Status> {
        self.client.commit(writes).await
    }

    /// Writes a record under a key where nothing is, or nothing but this. The record comes last.
    fn enter(&self, key: &Key, fields: Fields, dead: &Dead) -> Vec<Rpc> {
        let names = &self.client.names;
        let condition = |version: Option<Version>| match version {
            Some(version) => unchanged(version),
            None => ConditionType::Exists(false),
        };
        let record = |version| update(names.document(key), fields, None, Some(condition(version)));
        match names.mark(key) {
            None => vec![record(dead.record.or(dead.mark))],
            // No change but the condition that there is no mark.
            Some(mark) => vec![delete(mark, Some(condition(dead.mark))), record(dead.record)],
        }
    }

    /// Leaves a mark in the place of a record that has this version.
    fn leave(&self, key: &Key, version: Version, mark: &Mark) -> Vec<Rpc> {
        let (names, fields) = (&self.client.names, codec::mark_fields(mark, key));
        let condition = Some(unchanged(version));
        match names.mark(key) {
            None => vec![update(names.document(key), fields, None, condition)],
            Some(mark) => {
                vec![delete(names.document(key), condition), update(mark, fields, None, None)]
            }
        }
    }
}

/// Whether an answer can mean that a condition did not hold. A version that is newer than the
/// document's is called an invalid argument.
fn may_be_a_condition(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::FailedPrecondition | Code::AlreadyExists | Code::InvalidArgument | Code::NotFound
    )
}

/// The look at a document failed that a refused commit asked for. Not every refusal is proof.
fn unseen(error: Error, refused: Option<&Status>) -> Error {
    match refused.map(applied) {
        Some(applied @ Applied::Unknown) => {
            Error::new(NAME, error.kind(), applied).with_source(error)
        }
        _ => error,
    }
}

fn update(
    name: String,
    fields: Fields,
    update_mask: Option<DocumentMask>,
    condition: Option<ConditionType>,
) -> Rpc {
    let document = Document { name, fields, create_time: None, update_time: None };
    Rpc { update_mask, operation: Some(Operation::Update(document)), ..conditional(condition) }
}

/// Deletes the document with this name.
pub(super) fn delete(name: String, condition: Option<ConditionType>) -> Rpc {
    Rpc { operation: Some(Operation::Delete(name)), ..conditional(condition) }
}

fn conditional(condition: Option<ConditionType>) -> Rpc {
    let current_document =
        condition.map(|condition| Precondition { condition_type: Some(condition) });
    Rpc { current_document, ..Rpc::default() }
}

/// The condition that a document was not changed since it had this version.
pub(super) fn unchanged(version: Version) -> ConditionType {
    ConditionType::UpdateTime(codec::moment(version))
}
