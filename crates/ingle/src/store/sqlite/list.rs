//! Lists and the sweep: the statements that look at many rows.

use rusqlite::{Connection, params};

use super::{
    codec::{self, Entry, millis, select},
    error::failed,
};
use crate::{
    clock::Timestamp,
    id::Key,
    store::{Applied, Cursor, Error, Page},
};

/// A page of the live records of one user or of all, in the order of their keys.
pub(super) struct List {
    pub(super) user: Option<String>,
    pub(super) after: Option<Key>,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

pub(super) fn page(connection: &Connection, list: &List) -> Result<Page, Error> {
    let List { user, after, limit, now } = list;
    let after = after.as_ref().map_or(&[][..], |key| key.as_bytes());
    // One more than asked for tells whether this is the last page.
    let limit_sql = i64::try_from(*limit).unwrap_or(i64::MAX).saturating_add(1);
    let found = match user {
        None => {
            let sql =
                select!("WHERE key > ?1 AND dead_at > ?2 AND mark IS NULL ORDER BY key LIMIT ?3");
            entries(connection, sql, params![after, millis(*now), limit_sql])?
        }
        Some(user) => {
            // No mark has a user.
            let sql = select!(
                "INDEXED BY by_user \
                 WHERE user = ?4 AND key > ?1 AND dead_at > ?2 ORDER BY key LIMIT ?3"
            );
            entries(connection, sql, params![after, millis(*now), limit_sql, user])?
        }
    };
    let mut records: Vec<_> = found.into_iter().filter_map(Entry::record).collect();
    let more = records.len() > *limit;
    records.truncate(*limit);
    let last = records.last().filter(|_| more);
    let next = last.map(|last| Cursor(last.record.header.key.to_string()));
    Ok(Page { records, next })
}

/// What a query finds. A row that is unreadable fails it: it may be anyone's session, and a list
/// without it would be wrong.
pub(super) fn entries(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Entry>, Error> {
    let found = || -> rusqlite::Result<Vec<_>> {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_map(parameters, |row| Ok(codec::read(row)))?.collect()
    };
    let found = found().map_err(|error| failed(error, Applied::No))?;
    found.into_iter().map(|read| read.map_err(Error::from)).collect()
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

/// Reads its index alone.
pub(super) const MARKS: &str = "SELECT sweep_at, key FROM sessions \
                              WHERE mark IS NOT NULL AND sweep_at >= ?1 ORDER BY sweep_at";

/// The keys of marks, each with the instant of the mark's end in milliseconds, the newest last.
pub(super) type Marks = Vec<(i64, Key)>;

/// Reads the marks that end at this instant or later. Each ends as long after it was made as any other.
pub(super) fn marks(connection: &Connection, since: i64) -> Result<Marks, Error> {
    let read = || -> rusqlite::Result<Marks> {
        let mut statement = connection.prepare_cached(MARKS)?;
        let marks = statement.query_map([since], |row| Ok((row.get(0)?, row.get(1)?)))?;
        marks.map(|mark| mark.map(|(until, key)| (until, Key::from_bytes(key)))).collect()
    };
    read().map_err(|error| failed(error, Applied::No))
}
