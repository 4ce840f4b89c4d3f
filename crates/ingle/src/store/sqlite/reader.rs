//! The threads that read. Each load is a read transaction of its own, so it sees every commit that
//! was acknowledged before it began.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    QUEUE_MAX,
    failure::{EmbeddedError, failed, opening},
    file::connect,
    rows::{self, millis, select},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::Loaded,
    store::{Applied, Cursor, Error, Page},
};

/// How many threads read: with one more for a long list, loads need not wait for it.
const READERS: usize = 2;

/// What a reader is asked.
pub(super) enum Job {
    Load { key: Key, now: Timestamp, reply: oneshot::Sender<Result<Option<Loaded>, Error>> },
    List { list: List, reply: oneshot::Sender<Result<Page, Error>> },
}

/// A page of the live records of one user or of all, in the order of their keys.
pub(super) struct List {
    pub(super) user: Option<String>,
    pub(super) after: Option<Key>,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

/// The queue that the readers share: whichever is free takes the next job.
type Queue = Arc<Mutex<mpsc::Receiver<Job>>>;

/// Starts the threads. They end when the queue is empty and all its senders are gone.
pub(super) fn start(file: &Path) -> Result<mpsc::Sender<Job>, EmbeddedError> {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let queue = Arc::new(Mutex::new(queue));
    for number in 1..=READERS {
        let connection = connect_to_read(file).map_err(opening(file))?;
        let queue = Arc::clone(&queue);
        thread::Builder::new()
            .name(format!("ingle-reader-{number}"))
            .spawn(move || serve(&connection, &queue))
            .map_err(|source| EmbeddedError::Thread { source })?;
    }
    Ok(sender)
}

/// The file must be writable even here, since readers mark in the log's shared memory where they
/// are.
fn connect_to_read(file: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn serve(connection: &Connection, queue: &Queue) {
    while let Some(job) = next(queue) {
        // Who asked may have gone.
        match job {
            Job::Load { key, now, reply } => drop(reply.send(load(connection, &key, now))),
            Job::List { list, reply } => drop(reply.send(page(connection, &list))),
        }
    }
}

fn next(queue: &Queue) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

fn load(connection: &Connection, key: &Key, now: Timestamp) -> Result<Option<Loaded>, Error> {
    // A row must be found whole before its deadlines are believed: a damaged one is no ended session.
    let found = query(connection, select!("WHERE key = ?1"), [key.as_bytes()])?.pop();
    Ok(found.filter(|loaded| !loaded.record.is_dead(now)))
}

fn page(connection: &Connection, list: &List) -> Result<Page, Error> {
    let List { user, after, limit, now } = list;
    let after = after.as_ref().map_or(&[][..], Key::as_bytes);
    // One more than asked for tells whether this is the last page.
    let limit_sql = i64::try_from(*limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut records = match user {
        None => {
            let sql = select!("WHERE key > ?1 AND dead_at > ?2 ORDER BY key LIMIT ?3");
            query(connection, sql, params![after, millis(*now), limit_sql])?
        }
        Some(user) => {
            let sql = select!(
                "INDEXED BY by_user \
                 WHERE user = ?4 AND key > ?1 AND dead_at > ?2 ORDER BY key LIMIT ?3"
            );
            query(connection, sql, params![after, millis(*now), limit_sql, user])?
        }
    };
    let more = records.len() > *limit;
    records.truncate(*limit);
    let last = records.last().filter(|_| more);
    let next = last.map(|last| Cursor(last.record.header.key.to_string()));
    Ok(Page { records, next })
}

/// The records that a query finds. One that is unreadable fails it: it may be anyone's session, and
/// a list without it would be wrong.
fn query(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Loaded>, Error> {
    let found = || -> rusqlite::Result<Vec<_>> {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_map(parameters, |row| Ok(rows::read(row)))?.collect()
    };
    let found = found().map_err(|error| failed(error, Applied::No))?;
    found.into_iter().map(|read| read.map_err(Error::from)).collect()
}
