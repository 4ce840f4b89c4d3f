//! The threads that read. Each load is a read transaction of its own, so it sees every commit that
//! was acknowledged before it began.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    codec::{Entry, select},
    connect::{OpenedFile, close, connect_to_read},
    error::{Unserved, cannot_create, failed, no_thread, opening},
    list::{self, List, Marks, rows},
    queue::queue,
};
use crate::{
    clock::Timestamp,
    id::Key,
    store::{Applied, Error, Lookup, OpenError, Page},
};

/// How many threads read: with one more for a long list, loads need not wait for it.
pub(super) const READERS: usize = 2;

/// What a reader is asked.
pub(super) enum Job {
    Load { key: Key, now: Timestamp, reply: oneshot::Sender<Result<Lookup, Error>> },
    List { list: List, reply: oneshot::Sender<Result<Page, Error>> },
    Marks { since: i64, reply: oneshot::Sender<Result<Marks, Error>> },
    Ping { reply: oneshot::Sender<Result<(), Error>> },
}

/// The queue that the readers share: whichever is free takes the next job.
type Queue = Arc<Mutex<mpsc::Receiver<Job>>>;

/// Starts the threads. They end when the queue is empty and all its senders are gone.
pub(super) fn start(path: &Path) -> Result<mpsc::Sender<Job>, OpenError> {
    let (sender, queue) = queue();
    let queue = Arc::new(Mutex::new(queue));
    let file = OpenedFile::at(path).map_err(|cause| cannot_create(path, &cause))?;
    for number in 1..=READERS {
        let connection = connect_to_read(path).map_err(opening(path))?;
        let (queue, file) = (Arc::clone(&queue), file.clone());
        thread::Builder::new()
            .name(format!("ingle-reader-{number}"))
            .spawn(move || {
                serve(&connection, &file, &queue);
                close(connection);
            })
            .map_err(|cause| no_thread(&cause))?;
    }
    Ok(sender)
}

fn serve(connection: &Connection, file: &OpenedFile, queue: &Queue) {
    while let Some(job) = next(queue) {
        // Who asked may have gone.
        match job {
            Job::Load { key, now, reply } => drop(reply.send(load(connection, &key, now))),
            Job::List { list, reply } => drop(reply.send(list::page(connection, &list))),
            Job::Marks { since, reply } => drop(reply.send(list::marks(connection, since))),
            Job::Ping { reply } => drop(reply.send(ping(connection, file))),
        }
    }
}

fn next(queue: &Queue) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

fn load(connection: &Connection, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
    // A row must be found whole before its deadlines are believed: a damaged one is no ended session.
    let found = rows(connection, select!("WHERE key = ?1"), [key.as_bytes()])?.pop();
    Ok(match found.map(|(_, read)| read).transpose()? {
        Some(Entry::Record(loaded)) if !loaded.record.is_dead(now) => Lookup::Live(loaded),
        Some(Entry::Mark(mark)) => mark.lookup(now),
        Some(Entry::Record(_)) | None => Lookup::Missing,
    })
}

/// Whether the file is where it was opened, and can be read.
fn ping(connection: &Connection, file: &OpenedFile) -> Result<(), Error> {
    if !file.is_in_place() {
        return Err(Unserved::FileGone.error(Applied::No));
    }
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    version.map(drop).map_err(|error| failed(error, Applied::No))
}
