//! Each change of a record as statements, within a transaction that the writer began.
//!
//! A change that fails or whose condition does not hold leaves the transaction as it was, so that
//! the other changes of the transaction never notice.

use rusqlite::{
    Connection, OptionalExtension as _, Savepoint, Transaction, params, params_from_iter,
    types::ToSqlOutput,
};

use super::{
    codec::{self, Entry, MarkRow, Row, millis, select},
    error::NAME,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
    store::{CommitError, Destroyed, Error, Replace, Write, mark::Mark},
};

/// A [`Write`] that can wait in a queue: it owns what it writes, already encoded.
#[derive(Debug)]
pub(super) enum OwnedWrite {
    Create { row: Row },
    Replace(OwnedReplace),
    Renew { base: Base, row: Row },
}

/// A [`Replace`] that can wait as well.
#[derive(Debug)]
pub(super) struct OwnedReplace {
    base: Base,
    row: Row,
    keeps_idle_deadline: bool,
    indexes_stay: bool,
}

/// What must still be there. The epoch tells a record from an older one with the same key and
/// counter.
#[derive(Debug)]
pub(super) struct Base {
    key: Key,
    counter: i64,
    epoch: i64,
}

impl Base {
    fn of(base: &Loaded) -> Self {
        let header = &base.record.header;
        Self {
            key: header.key,
            counter: base.version.0.cast_signed(),
            epoch: header.epoch.to_bits().cast_signed(),
        }
    }

    /// The parameters of a condition on counter, epoch and deadline, in this order.
    fn condition(&self, now: Timestamp) -> [ToSqlOutput<'static>; 3] {
        [self.counter, self.epoch, millis(now)].map(ToSqlOutput::from)
    }
}

/// The statement of a replace. It sets what has an index only where that changes: SQLite writes the
/// index of every column that is set, be it to what it was, and each is a page more.
macro_rules! replace_sql {
    ($deadline:expr, $indexed:expr) => {
        concat!(
            "UPDATE sessions SET format = ?2, created = ?3, ",
            $deadline,
            " absolute_deadline = ?5, idle_timeout = ?6, ",
            $indexed,
            " epoch = ?9, counter = ?10, ops = ?11, data = ?12 \
             WHERE key = ?1 AND counter = ?14 AND epoch = ?15 AND dead_at > ?16 AND mark IS NULL"
        )
    };
}

/// The idle deadline of a record, and its sum.
macro_rules! deadline {
    () => {
        "idle_deadline = ?4, sum = ?13,"
    };
}

/// Leaves the idle deadline that stands there, which a touch may have moved. The sum moves with it.
macro_rules! same_deadline {
    () => {
        "sum = ?13 - ?4 + idle_deadline,"
    };
}

/// What has an index.
macro_rules! indexed {
    () => {
        "user = ?7, login = ?8, sweep_at = min(sweep_at, ?4, ?5),"
    };
}

/// The statement that makes a record's row a mark, of which nothing of the session is left. A row that
/// is a mark already is none of these.
macro_rules! mark_sql {
    ($condition:literal) => {
        concat!(
            "UPDATE sessions SET inner_key = ?1, format = ?2, mark = ?3, moved_to = ?4, \
             idle_deadline = ?5, absolute_deadline = ?5, sweep_at = ?5, sum = ?6, created = 0, \
             idle_timeout = NULL, user = NULL, login = NULL, epoch = 0, counter = 0, \
             ops = x'', data = '{}' \
             WHERE key = ?1 AND mark IS NULL ",
            $condition
        )
    };
}

impl OwnedWrite {
    pub(super) fn of(write: Write<'_>) -> Result<Self, Error> {
        Ok(match write {
            Write::Create { record } => Self::Create { row: Row::of(record)? },
            Write::Replace { base, record } => {
                Self::Replace(OwnedReplace::of(Replace { base, record })?)
            }
            Write::Renew { base, record } => {
                Self::Renew { base: Base::of(base), row: Row::of(record)? }
            }
        })
    }

    /// Does this write if its condition holds at `now`.
    pub(super) fn run(
        &self,
        transaction: &mut Transaction<'_>,
        now: Timestamp,
    ) -> Done<Version, CommitError> {
        match self {
            Self::Create { row } => create(transaction, row, now),
            Self::Replace(replace) => replace.run(transaction, now),
            Self::Renew { base, row } => renew(transaction, base, row, now),
        }
    }
}

impl OwnedReplace {
    pub(super) fn of(Replace { base, record }: Replace<'_>) -> Result<Self, Error> {
        Ok(Self {
            base: Base::of(base),
            row: Row::of(record)?,
            keeps_idle_deadline: record.keeps_idle_deadline(&base.record),
            indexes_stay: base.record.header.user == record.header.user
                && dead_at(&base.record) <= dead_at(record),
        })
    }

    fn run(&self, connection: &Connection, now: Timestamp) -> Done<Version, CommitError> {
        let sql = match (self.keeps_idle_deadline, self.indexes_stay) {
            (false, true) => replace_sql!(deadline!(), ""),
            (false, false) => replace_sql!(deadline!(), indexed!()),
            (true, true) => replace_sql!(same_deadline!(), ""),
            (true, false) => replace_sql!(same_deadline!(), indexed!()),
        };
        let parameters = self.row.parameters().into_iter().chain(self.base.condition(now));
        match connection.prepare_cached(sql)?.execute(params_from_iter(parameters))? {
            1 => Ok(Ok(self.row.version())),
            _ => why_not(connection, &self.base.key, now),
        }
    }
}

fn dead_at(record: &Record) -> Timestamp {
    record.header.idle_deadline.min(record.header.absolute_deadline)
}

/// What a change came to; a failure of SQLite stands outside, so that `?` passes it on.
pub(super) type Done<T, E> = rusqlite::Result<Result<T, E>>;

fn create(connection: &Connection, row: &Row, now: Timestamp) -> Done<Version, CommitError> {
    let created = insert(connection, row)?
        // The key is taken; what is dead there, a record or a mark, makes way.
        || (delete_dead(connection, row.key(), now)? && insert(connection, row)?);
    Ok(if created { Ok(row.version()) } else { Err(CommitError::Conflict(None)) })
}

fn renew(
    transaction: &mut Transaction<'_>,
    base: &Base,
    row: &Row,
    now: Timestamp,
) -> Done<Version, CommitError> {
    // Both rows change or none does: dropped before its commit, the savepoint takes everything
    // back.
    let savepoint = transaction.savepoint()?;
    let sql = mark_sql!("AND counter = ?7 AND epoch = ?8 AND dead_at > ?9");
    let mark = MarkRow::of(&base.key, Mark::moved(*row.key(), now));
    let parameters = mark.parameters().into_iter().chain(base.condition(now));
    if savepoint.prepare_cached(sql)?.execute(params_from_iter(parameters))? == 0 {
        return why_not(&savepoint, &base.key, now);
    }
    let created = create(&savepoint, row, now)?;
    if created.is_ok() {
        savepoint.commit()?;
    }
    Ok(created)
}

/// Moves the idle deadline of a live record.
pub(super) fn touch(
    connection: &Connection,
    key: &Key,
    idle_deadline: Timestamp,
    now: Timestamp,
) -> Done<(), CommitError> {
    let sql = "UPDATE sessions SET idle_deadline = max(idle_deadline, min(?2, absolute_deadline)), \
               sum = sum - idle_deadline + max(idle_deadline, min(?2, absolute_deadline)) \
               WHERE key = ?1 AND dead_at > ?3 AND mark IS NULL";
    let parameters = params![key.as_bytes(), millis(idle_deadline), millis(now)];
    let touched = connection.prepare_cached(sql)?.execute(parameters)?;
    Ok(if touched == 1 { Ok(()) } else { Err(CommitError::Gone) })
}

/// Makes a record's row a mark, whatever is in the row.
pub(super) fn destroy(
    connection: &Connection,
    key: &Key,
    now: Timestamp,
) -> Done<Destroyed, Error> {
    let mark = MarkRow::of(key, Mark::ended(now));
    let mut end = connection.prepare_cached(mark_sql!(""))?;
    if end.execute(params_from_iter(mark.parameters()))? == 1 {
        return Ok(Ok(Destroyed::Ended));
    }
    let mut statement = connection.prepare_cached(select!("WHERE key = ?1"))?;
    let found = statement.query_row([key.as_bytes()], |row| Ok(codec::read(row))).optional()?;
    Ok(match found {
        Some(Ok(Entry::Mark(mark))) => Ok(mark.destroyed(now)),
        Some(Err(unreadable)) => Err(unreadable.into()),
        Some(Ok(Entry::Record(_))) | None => Ok(Destroyed::Nothing),
    })
}

/// Replaces a record and the line of this act.
pub(super) fn replace_with(
    transaction: &mut Transaction<'_>,
    act: &OwnedReplace,
    line: &OwnedReplace,
    now: Timestamp,
) -> Done<Version, CommitError> {
    let savepoint = transaction.savepoint()?;
    let replaced = act.run(&savepoint, now)?;
    match replaced {
        Ok(version) => {
            Ok(write_line(savepoint, line, now)?.map(|()| version).map_err(CommitError::from))
        }
        refused => Ok(refused),
    }
}

/// Makes a record's row a mark, and replaces the line of this act.
pub(super) fn destroy_with(
    transaction: &mut Transaction<'_>,
    key: &Key,
    line: &OwnedReplace,
    now: Timestamp,
) -> Done<Destroyed, Error> {
    let savepoint = transaction.savepoint()?;
    match destroy(&savepoint, key, now)? {
        Ok(Destroyed::Ended) => Ok(write_line(savepoint, line, now)?.map(|()| Destroyed::Ended)),
        nothing => Ok(nothing),
    }
}

/// Writes the line of the act that the savepoint has. Dropped without its commit, the savepoint takes both
/// back.
fn write_line(savepoint: Savepoint<'_>, line: &OwnedReplace, now: Timestamp) -> Done<(), Error> {
    if line.run(&savepoint, now)?.is_err() {
        return Ok(Err(Error::of_line(NAME)));
    }
    savepoint.commit().map(Ok)
}

/// Writes a row where none is, dead or live.
fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO sessions (key, inner_key, format, created, idle_deadline, \
               absolute_deadline, idle_timeout, user, login, epoch, counter, ops, data, sum, \
               sweep_at) \
               VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, min(?4, ?5)) \
               ON CONFLICT DO NOTHING";
    Ok(connection.prepare_cached(sql)?.execute(params_from_iter(row.parameters()))? == 1)
}

fn delete_dead(connection: &Connection, key: &Key, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM sessions WHERE key = ?1 AND dead_at <= ?2";
    Ok(connection.prepare_cached(sql)?.execute(params![key.as_bytes(), millis(now)])? == 1)
}

/// Why no row met the condition of a replace or of a renew.
fn why_not(connection: &Connection, key: &Key, now: Timestamp) -> Done<Version, CommitError> {
    let sql = "SELECT 1 FROM sessions WHERE key = ?1 AND dead_at > ?2 AND mark IS NULL";
    let live = connection.prepare_cached(sql)?.exists(params![key.as_bytes(), millis(now)])?;
    Ok(Err(if live { CommitError::Conflict(None) } else { CommitError::Gone }))
}
