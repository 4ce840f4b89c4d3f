//! The one thread that writes: it gathers the changes that wait and syncs them together.
//!
//! A file takes one transaction at a time. So the thread takes all that was queued while it synced the
//! transaction before, and the queue has a bound, because a sync takes as long as the disk wants.

use std::{
    sync::{Arc, OnceLock},
    thread,
};

use rusqlite::{Connection, Transaction, TransactionBehavior, config::DbConfig};
use tokio::sync::{mpsc, oneshot};

use super::{
    connect::close,
    error::{Poisoned, after_commit, failed, no_thread},
    list::{self, Chunk},
    queue::queue,
    wakes,
};
use crate::{
    clock::Timestamp,
    store::{Applied, Error, OpenError},
};

/// How many changes one transaction takes: enough that the sync is a small part of its cost.
pub(super) const GROUP_MAX: usize = 512;

/// What the writer is asked to do. Nobody need wait for the reply: what is queued is done.
pub(super) enum Job {
    Change(Box<dyn Change>),
    Sweep { now: Timestamp, limit: usize, reply: oneshot::Sender<Result<Chunk, Error>> },
}

/// A change that waits for its transaction, and for the sync after it.
pub(super) trait Change: Send {
    /// Runs the statements and keeps what came of them. It fails where SQLite took back the whole
    /// transaction.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()>;

    /// Tells who waits what came of it, or why nothing of the transaction counts.
    fn reply(self: Box<Self>, transaction: Result<(), Error>);
}

/// A change made of its statements.
pub(super) fn change<T, E>(
    statements: impl Fn(&mut Transaction<'_>) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    reply: oneshot::Sender<Result<T, E>>,
) -> Box<dyn Change>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    Box::new(Waiting { statements, outcome: None, reply })
}

struct Waiting<T, E, F> {
    statements: F,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Change for Waiting<T, E, F>
where
    T: Send,
    E: From<Error> + Send,
    F: Fn(&mut Transaction<'_>) -> rusqlite::Result<Result<T, E>> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let outcome = match (self.statements)(transaction) {
            Ok(outcome) => outcome,
            // A full disk and an I/O error make SQLite take back the whole transaction by itself.
            // To go on would do each further write on its own, with a sync each.
            Err(error) if transaction.is_autocommit() => return Err(error),
            Err(error) => Err(failed(error, Applied::No).into()),
        };
        self.outcome = Some(outcome);
        Ok(())
    }

    fn reply(self: Box<Self>, transaction: Result<(), Error>) {
        let Self { outcome, reply, .. } = *self;
        let outcome = match transaction {
            Ok(()) => outcome,
            Err(error) => Some(Err(error.into())),
        };
        // Who asked may have gone.
        let _ = outcome.map(|outcome| reply.send(outcome));
    }
}

/// The `COMMIT` that may have been lost between here and the disk. Never taken back.
pub(super) type Poison = Arc<OnceLock<Arc<rusqlite::Error>>>;

/// Starts the thread. It ends when the queue is empty and all its senders are gone.
pub(super) fn start(connection: Connection) -> Result<(mpsc::Sender<Job>, Poison), OpenError> {
    let (sender, queue) = queue();
    let writer = Writer::new(connection);
    let poison = Arc::clone(&writer.poison);
    thread::Builder::new()
        .name("ingle-writer".to_owned())
        .spawn(move || writer.serve(queue))
        .map_err(|cause| no_thread(&cause))?;
    Ok((sender, poison))
}

/// Whether the writer still takes changes.
pub(super) fn check(poison: &Poison) -> Result<(), Poisoned> {
    poison.get().map_or(Ok(()), |cause| Err(Poisoned(Arc::clone(cause))))
}

pub(super) struct Writer {
    connection: Connection,
    poison: Poison,
}

/// Why a transaction was not done, which answers all that was in it.
enum GroupFailure {
    Failed { cause: Arc<rusqlite::Error>, applied: Applied },
    Poisoned { cause: Arc<rusqlite::Error> },
}

/// Nothing of the transaction was done: it did not get as far as its `COMMIT`.
impl From<rusqlite::Error> for GroupFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed { cause: Arc::new(error), applied: Applied::No }
    }
}

impl From<Poisoned> for GroupFailure {
    fn from(Poisoned(cause): Poisoned) -> Self {
        Self::Poisoned { cause }
    }
}

impl GroupFailure {
    fn error(&self) -> Error {
        match self {
            Self::Failed { cause, applied } => failed(Arc::clone(cause), *applied),
            Self::Poisoned { cause } => Poisoned(Arc::clone(cause)).into(),
        }
    }
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, poison: Poison::default() }
    }

    pub(super) fn serve(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(GROUP_MAX);
        let mut group = Vec::with_capacity(GROUP_MAX);
        // What came while the last group was synced is the next one.
        while queue.blocking_recv_many(&mut jobs, GROUP_MAX) > 0 {
            for job in jobs.drain(..) {
                match job {
                    Job::Change(change) => group.push(change),
                    Job::Sweep { now, limit, reply } => {
                        // Who asked may have gone.
                        let _ = reply.send(self.sweep(now, limit));
                    }
                }
            }
            self.commit(&mut group);
        }
        close(self.connection);
    }

    /// Runs a group, and answers it when what it did is on the disk.
    pub(super) fn commit(&mut self, group: &mut Vec<Box<dyn Change>>) {
        if group.is_empty() {
            return;
        }
        let done = self.transaction(|transaction| {
            Ok(group.iter_mut().try_for_each(|change| change.run(transaction))?)
        });
        wakes::together(|| {
            for change in group.drain(..) {
                change.reply(done.as_ref().copied().map_err(GroupFailure::error));
            }
        });
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) -> Result<Chunk, Error> {
        self.transaction(|transaction| Ok(list::sweep(transaction, now, limit)?))
            .map_err(|failure| failure.error())
    }

    /// Begins with the file's lock, so that no condition is decided on a state that moves on.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, GroupFailure>,
    ) -> Result<T, GroupFailure> {
        check(&self.poison)?;
        let mut transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&mut transaction)?;
        match transaction.commit() {
            Ok(()) => Ok(done),
            Err(error) => {
                let applied = after_commit(&error);
                let cause = Arc::new(error);
                if applied == Applied::Unknown {
                    self.poison(&cause);
                }
                Err(GroupFailure::Failed { cause, applied })
            }
        }
    }

    /// Ends all writing, by the lesson of "fsyncgate" (PostgreSQL 2018): after a sync that failed
    /// the pages may be gone from memory and not on the disk, and the next sync reports success.
    fn poison(&mut self, cause: &Arc<rusqlite::Error>) {
        tracing::error!(
            error = %cause,
            "the disk failed in a commit: no more commits until this process is restarted"
        );
        // Closing would otherwise copy the log into the file, which begins with a sync.
        let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if let Err(error) = self.connection.set_db_config(no_checkpoint, true) {
            tracing::error!(%error, "could not keep the log from being copied on closing");
        }
        // No transaction follows the first one that failed so.
        let _ = self.poison.set(Arc::clone(cause));
    }
}
