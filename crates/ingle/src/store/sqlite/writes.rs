//! Each write of the contract as statements, within a transaction that the writer began.
//!
//! A write that fails or whose condition does not hold leaves the transaction as it was, so that
//! the other writes of the transaction never notice.

use rusqlite::{
    Connection, OptionalExtension as _, Transaction, params, params_from_iter, types::ToSqlOutput,
};

use super::rows::{Row, millis};
use crate::{
    clock::Timestamp,
    id::Key,
    planted::Bug,
    record::{Loaded, Record, Version},
    store::{CommitError, Error, Write},
};

/// A [`Write`] that can wait in a queue: it owns what it writes, already encoded.
#[derive(Debug)]
pub(super) enum OwnedWrite {
    Create { row: Row },
    Replace { base: Base, row: Row, indexes_stay: bool },
    Renew { base: Base, row: Row },
    Touch { key: Key, idle_deadline: Timestamp },
    Destroy { key: Key },
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
}

/// The statement of a replace. It sets what has an index only where that changes: SQLite writes the
/// index of every column that is set, be it to what it was, and each is a page more.
macro_rules! replace_sql {
    ($indexed:literal) => {
        concat!(
            "UPDATE sessions SET format = ?2, created = ?3, idle_deadline = ?4, \
             absolute_deadline = ?5, idle_timeout = ?6, ",
            $indexed,
            " epoch = ?9, counter = ?10, ops = ?11, data = ?12, sum = ?13 \
             WHERE key = ?1 AND counter = ?14 AND epoch = ?15 AND dead_at > ?16"
        )
    };
}

impl OwnedWrite {
    pub(super) fn of(write: Write<'_>) -> Result<Self, Error> {
        Ok(match write {
            Write::Create { record } => Self::Create { row: Row::of(record)? },
            Write::Replace { base, record } => Self::Replace {
                base: Base::of(base),
                row: Row::of(record)?,
                indexes_stay: base.record.header.user == record.header.user
                    && dead_at(&base.record) <= dead_at(record),
            },
            Write::Renew { base, record } => {
                Self::Renew { base: Base::of(base), row: Row::of(record)? }
            }
            Write::Touch { key, idle_deadline } => Self::Touch { key: *key, idle_deadline },
            Write::Destroy { key } => Self::Destroy { key: *key },
        })
    }

    /// Does this write if its condition holds at `now`.
    pub(super) fn run(&self, transaction: &mut Transaction<'_>, now: Timestamp) -> Done {
        match self {
            Self::Create { row } => create(transaction, row, now),
            Self::Replace { base, row, indexes_stay: true } => {
                let sql = replace_sql!("");
                replace(transaction, sql, base, row, now)
            }
            Self::Replace { base, row, indexes_stay: false } => {
                let sql =
                    replace_sql!("user = ?7, generation = ?8, sweep_at = min(sweep_at, ?4, ?5),");
                replace(transaction, sql, base, row, now)
            }
            Self::Renew { base, row } => renew(transaction, base, row, now),
            Self::Touch { key, idle_deadline } => touch(transaction, key, *idle_deadline, now),
            Self::Destroy { key } => destroy(transaction, key),
        }
    }
}

fn dead_at(record: &Record) -> Timestamp {
    record.header.idle_deadline.min(record.header.absolute_deadline)
}

/// What a write came to; a failure of SQLite stands outside, so that `?` passes it on.
pub(super) type Done = rusqlite::Result<Result<Version, CommitError>>;

fn create(connection: &Connection, row: &Row, now: Timestamp) -> Done {
    let created = insert(connection, row)?
        // The key is taken; what is dead there makes way.
        || (delete_dead(connection, row.key(), now)? && insert(connection, row)?);
    Ok(if created { Ok(row.version()) } else { Err(CommitError::Conflict(None)) })
}

fn replace(connection: &Connection, sql: &str, base: &Base, row: &Row, now: Timestamp) -> Done {
    let condition = [base.counter, base.epoch, millis(now)].map(ToSqlOutput::from);
    let parameters = row.parameters().into_iter().chain(condition);
    match connection.prepare_cached(sql)?.execute(params_from_iter(parameters))? {
        1 => Ok(Ok(row.version())),
        _ if Bug::Upsert.is_planted() && insert(connection, row)? => Ok(Ok(row.version())),
        _ => why_not(connection, &base.key, now),
    }
}

fn renew(transaction: &mut Transaction<'_>, base: &Base, row: &Row, now: Timestamp) -> Done {
    // Both rows change or none does: dropped before its commit, the savepoint takes everything
    // back.
    let savepoint = transaction.savepoint()?;
    let sql = "DELETE FROM sessions \
               WHERE key = ?1 AND counter = ?2 AND epoch = ?3 AND dead_at > ?4";
    let parameters = params![base.key.as_bytes(), base.counter, base.epoch, millis(now)];
    if savepoint.prepare_cached(sql)?.execute(parameters)? == 0 {
        return why_not(&savepoint, &base.key, now);
    }
    let created = create(&savepoint, row, now)?;
    if created.is_ok() {
        savepoint.commit()?;
    }
    Ok(created)
}

fn touch(connection: &Connection, key: &Key, idle_deadline: Timestamp, now: Timestamp) -> Done {
    let sql = "UPDATE sessions SET idle_deadline = max(idle_deadline, min(?2, absolute_deadline)), \
               sum = sum - idle_deadline + max(idle_deadline, min(?2, absolute_deadline)) \
               WHERE key = ?1 AND dead_at > ?3 RETURNING counter";
    let parameters = params![key.as_bytes(), millis(idle_deadline), millis(now)];
    let mut statement = connection.prepare_cached(sql)?;
    let counter = statement.query_row(parameters, |row| row.get::<_, i64>(0)).optional()?;
    Ok(counter.map(|counter| Version(counter.cast_unsigned())).ok_or(CommitError::Gone))
}

fn destroy(connection: &Connection, key: &Key) -> Done {
    let sql = "DELETE FROM sessions WHERE key = ?1";
    connection.prepare_cached(sql)?.execute([key.as_bytes()])?;
    Ok(Ok(Version::NONE))
}

/// Writes a row where none is, dead or live.
fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO sessions (key, inner_key, format, created, idle_deadline, \
               absolute_deadline, idle_timeout, user, generation, epoch, counter, ops, data, sum, \
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
fn why_not(connection: &Connection, key: &Key, now: Timestamp) -> Done {
    let sql = "SELECT 1 FROM sessions WHERE key = ?1 AND dead_at > ?2";
    let live = connection.prepare_cached(sql)?.exists(params![key.as_bytes(), millis(now)])?;
    Ok(Err(if live { CommitError::Conflict(None) } else { CommitError::Gone }))
}

/// Looks at no more than `limit` rows, at those whose time it is: deletes the dead, and looks at the
/// others again when they die.
pub(super) fn sweep(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Chunk> {
    let run = |sql, limit| {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        connection.prepare_cached(sql)?.execute([millis(now), limit])
    };
    // The row itself is asked as well: its place in the index may be damaged.
    let delete = "DELETE FROM sessions WHERE dead_at <= ?1 AND rowid IN \
                  (SELECT rowid FROM sessions INDEXED BY to_sweep WHERE sweep_at <= ?1 \
                   ORDER BY sweep_at LIMIT ?2)";
    let deleted = run(delete, limit)?;
    let postpone = "UPDATE sessions SET sweep_at = dead_at WHERE dead_at > ?1 AND rowid IN \
                    (SELECT rowid FROM sessions INDEXED BY to_sweep WHERE sweep_at <= ?1 \
                     ORDER BY sweep_at LIMIT ?2)";
    let postponed = run(postpone, limit - deleted)?;
    Ok(Chunk { deleted, more: deleted + postponed == limit })
}

/// What a sweep found among some rows.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) deleted: usize,
    /// Whether there may be more rows whose time it is.
    pub(super) more: bool,
}
