//! Commits, touches and destroys: their conditions, and what a condition that does not hold means.

use std::sync::Arc;

use tokio_postgres::{Row, error::SqlState};

use super::{
    batch::{BatchQueue, Decision},
    codec::{self, Param},
    error::{Failure, NAME, contended},
    pool::Pool,
    statements::Kind,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
    store::{CommitError, Destroyed, Error, Lookup, Replace, mark::Mark},
};

/// How often a create, a renew or a destroy is tried: each time the key was in its way, and then was
/// not.
pub(super) const ATTEMPTS_MAX: usize = 8;

/// Writes to one table.
#[derive(Clone)]
pub(super) struct Writer {
    pool: Arc<Pool>,
    batches: Arc<BatchQueue>,
}

impl Writer {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        let batches = BatchQueue::new(Arc::clone(&pool));
        Self { pool, batches }
    }

    pub(super) async fn create(
        &self,
        record: &Record,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        for _ in 0..ATTEMPTS_MAX {
            let rows = self.ask(Kind::Create, codec::params(record)?).await;
            if !rows.map_err(|failure| self.failed(&failure))?.is_empty() {
                return Ok(version(record));
            }
            if self.is_taken(&record.header.key, now).await? {
                return Err(CommitError::Conflict(None));
            }
        }
        Err(contended().into())
    }

    /// A replace, in a batch if it can be.
    pub(super) async fn replace(
        &self,
        Replace { base, record }: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        if base.record.header.only_moves(&record.header) {
            match self.batches.commit(base, record, now).await? {
                Decision::Applied => return Ok(version(record)),
                Decision::Unmet => return Err(self.why_not(base, now).await),
                Decision::Undecided => {}
            }
        }
        let params = in_place(Replace { base, record }, now)?;
        let rows = self.ask(Kind::Replace, params).await;
        match rows.map_err(|failure| self.failed(&failure))?.first() {
            Some(_) => Ok(version(record)),
            None => Err(self.why_not(base, now).await),
        }
    }

    /// A replace with the line of its act, in one statement.
    pub(super) async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let mut params = in_place(act, now)?;
        params.extend(in_place(line, now)?);
        let rows = self.ask(Kind::ReplaceWith, params).await;
        if !rows.map_err(|failure| self.failed(&failure))?.is_empty() {
            return Ok(version(act.record));
        }
        Err(match self.why_not(act.base, now).await {
            CommitError::Conflict(Some(found)) if is_base(&found, act.base) => {
                Error::of_line(NAME).into()
            }
            why => why,
        })
    }

    pub(super) async fn renew(
        &self,
        base: &Loaded,
        record: &Arc<Record>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let mark = Mark::moved(record.header.key, now);
        for _ in 0..ATTEMPTS_MAX {
            let mut params = on_base(codec::params(record)?, base, now);
            params.push(Param::Time(mark.until));
            match self.ask(Kind::Renew, params).await {
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

    pub(super) async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let params = vec![Param::key(key), Param::Time(idle_deadline), Param::Time(now)];
        let rows = self.ask(Kind::Touch, params).await;
        let rows = rows.map_err(|failure| self.failed(&failure))?;
        rows.first().map(drop).ok_or(CommitError::Gone)
    }

    /// A destroy, with the line of its act if it has one.
    pub(super) async fn destroy(
        &self,
        key: &Key,
        line: Option<Replace<'_>>,
        now: Timestamp,
    ) -> Result<Destroyed, Error> {
        let until = Mark::ended(now).until;
        let params = || {
            let mut params = vec![Param::key(key), Param::Time(now), Param::Time(until)];
            params.extend(line.map(|line| in_place(line, now)).transpose()?.into_iter().flatten());
            Ok::<_, Error>(params)
        };
        let (told, untold) = match line {
            None => (Kind::Destroy, Kind::DestroyUntold),
            Some(_) => (Kind::DestroyWith, Kind::DestroyUntoldWith),
        };
        for _ in 0..ATTEMPTS_MAX {
            let ended = match self.ask(told, params()?).await {
                // The session ends, even if those who wait for that learn of it later.
                Err(failure) if may_not_tell(&failure) => self.ask(untold, params()?).await,
                ended => ended,
            };
            if !ended.map_err(|failure| self.failed(&failure))?.is_empty() {
                return Ok(Destroyed::Ended);
            }
            // Asked in a statement of its own, as in `why_not`.
            match self.load(key, now).await? {
                Lookup::Moved { to } => return Ok(Destroyed::Moved { to }),
                Lookup::Ended | Lookup::Missing => return Ok(Destroyed::Nothing),
                Lookup::Live(_) if line.is_some() => return Err(Error::of_line(NAME)),
                Lookup::Live(_) => {}
            }
        }
        Err(contended())
    }

    pub(super) async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        let params = vec![Param::key(key), Param::Time(now)];
        let rows = self.ask(Kind::Load, params).await;
        let rows = rows.map_err(|failure| failure.of_read(self.pool.names()))?;
        Ok(codec::lookup(rows.first())?)
    }

    /// Whether a record or a mark has the key. What is dead makes way.
    async fn is_taken(&self, key: &Key, now: Timestamp) -> Result<bool, Error> {
        let params = vec![Param::key(key), Param::Time(now)];
        let gone = self.ask(Kind::MakeWay, params).await;
        let gone = gone.map_err(|failure| failure.of_read(self.pool.names()))?;
        Ok(gone.is_empty() && !matches!(self.load(key, now).await?, Lookup::Missing))
    }

    /// Why no row met the condition of a write.
    ///
    /// Asked in a statement of its own: the write may have waited for another one to end, and then
    /// all of it but the write itself would still see what was there before.
    async fn why_not(&self, base: &Loaded, now: Timestamp) -> CommitError {
        match self.load(&base.record.header.key, now).await {
            Ok(Lookup::Live(newer)) => CommitError::Conflict(Some(newer)),
            Ok(Lookup::Moved { .. } | Lookup::Ended | Lookup::Missing) => CommitError::Gone,
            Err(error) => error.into(),
        }
    }

    async fn ask(&self, kind: Kind, params: Vec<Param>) -> Result<Vec<Row>, Failure> {
        self.pool.ask(kind, params).await
    }

    fn failed(&self, failure: &Failure) -> Error {
        failure.of_write(self.pool.names())
    }
}

/// Whether nothing was done because this user may not notify, or because the server has no room left for
/// what it is to tell.
fn may_not_tell(failure: &Failure) -> bool {
    let refusals = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::PROGRAM_LIMIT_EXCEEDED];
    failure.code().is_some_and(|code| refusals.contains(code))
}

/// The parameters of a replace.
fn in_place(Replace { base, record }: Replace<'_>, now: Timestamp) -> Result<Vec<Param>, Error> {
    Ok(on_base(codec::params_in_place(&base.record, record)?, base, now))
}

/// These, and those of the condition of a replace and of a renew.
fn on_base(mut params: Vec<Param>, base: &Loaded, now: Timestamp) -> Vec<Param> {
    params.push(Param::Time(now));
    params.extend(codec::condition(base));
    params
}

/// Whether the condition of a write on `base` still holds.
fn is_base(found: &Loaded, base: &Loaded) -> bool {
    let (now, then) = (&found.record.header, &base.record.header);
    found.version == base.version && now.epoch == then.epoch && now.ops == then.ops
}

fn version(record: &Record) -> Version {
    Version(record.header.counter)
}
