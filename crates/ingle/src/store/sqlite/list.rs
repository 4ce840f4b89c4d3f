//! Lists and the sweep: the statements that look at many rows. One that is unreadable stops none of them.

use rusqlite::{Connection, params};

use super::{
    codec::{self, Entry, Unreadable, millis, select},
    connect::FILE,
    error::failed,
};
use crate::{
    clock::Timestamp,
    id::Key,
    store::{Applied, Cursor, Damaged, Error, Page, floor::text::shell_word},
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
    // What has no key is nobody's session, and must not fill a page.
    let rows = match user {
        None => {
            let sql = select!(
                "WHERE key > ?1 AND length(key) = 32 AND dead_at > ?2 AND mark IS NULL \
                 ORDER BY key LIMIT ?3"
            );
            rows(connection, sql, params![after, millis(*now), limit_sql])?
        }
        Some(user) => {
            // No mark has a user.
            let sql = select!(
                "INDEXED BY by_user \
                 WHERE user = ?4 AND key > ?1 AND length(key) = 32 AND dead_at > ?2 \
                 ORDER BY key LIMIT ?3"
            );
            rows(connection, sql, params![after, millis(*now), limit_sql, user])?
        }
    };
    let more = rows.len() > *limit;
    let (mut page, mut last) = (Page::default(), None);
    for (key, read) in rows.into_iter().take(*limit) {
        last = Some(key);
        match read {
            Ok(Entry::Record(loaded)) => page.records.push(loaded),
            Ok(Entry::Mark(_)) => {}
            Err(error) => page.damaged.push(damaged(connection, key, &error)),
        }
    }
    page.next = last.filter(|_| more).map(|key| Cursor(key.to_string()));
    Ok(page)
}

fn damaged(connection: &Connection, key: Key, error: &Unreadable) -> Damaged {
    // The whole path: in another folder the command would find nothing.
    let file = shell_word(connection.path().unwrap_or(FILE));
    let look = format!(
        "sqlite3 {file} \"SELECT * FROM sessions WHERE hex(key) LIKE '{}%'\"",
        key.handle().to_string().to_uppercase()
    );
    Damaged { key, cause: error.to_string(), look }
}

/// A row by its key: what stands there, or why it cannot be read.
type Row = (Key, Result<Entry, Unreadable>);

/// The rows that a query finds. What has no key is nobody's session.
pub(super) fn rows(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Row>, Error> {
    let found = || -> rusqlite::Result<Vec<_>> {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(parameters, |row| {
            Ok(row.get(0).ok().map(|key| (Key::from_bytes(key), codec::read(row))))
        })?;
        rows.filter_map(Result::transpose).collect()
    };
    found().map_err(|error| failed(error, Applied::No))
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
