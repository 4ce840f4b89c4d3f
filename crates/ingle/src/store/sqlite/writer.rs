//! The one thread that writes: it gathers the commits that wait and syncs them together.

use std::{sync::Arc, thread};

use rusqlite::{Connection, TransactionBehavior, config::DbConfig};
use tokio::sync::{mpsc, oneshot};

use super::{
    QUEUE_MAX,
    failure::{EmbeddedError, Poisoned, after_commit, failed},
    writes::{self, Chunk, OwnedWrite},
};
use crate::{
    clock::Timestamp,
    record::Version,
    store::{Applied, CommitError, Error},
};

/// How many commits one transaction takes: enough that the sync is a small part of its cost.
const GROUP_MAX: usize = 512;

/// What the writer is asked to do. Nobody need wait for the answer: what is queued is done.
pub(super) enum Job {
    Commit(Commit),
    Sweep { now: Timestamp, limit: usize, reply: oneshot::Sender<Result<Chunk, Error>> },
}

pub(super) struct Commit {
    pub(super) write: OwnedWrite,
    pub(super) now: Timestamp,
    pub(super) reply: oneshot::Sender<Answer>,
}

type Answer = Result<Version, CommitError>;

/// Starts the thread. It ends when the queue is empty and all its senders are gone.
pub(super) fn start(connection: Connection) -> Result<mpsc::Sender<Job>, EmbeddedError> {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let writer = Writer::new(connection);
    thread::Builder::new()
        .name("ingle-writer".to_owned())
        .spawn(move || writer.serve(queue))
        .map_err(|source| EmbeddedError::Thread { source })?;
    Ok(sender)
}

pub(super) struct Writer {
    connection: Connection,
    /// Set when a `COMMIT` may have been lost between here and the disk; never taken back.
    poison: Option<Arc<rusqlite::Error>>,
}

/// Why a transaction was not done, which answers all that was in it.
enum GroupFailure {
    Failed { cause: Arc<rusqlite::Error>, happened: Applied },
    Poisoned { cause: Arc<rusqlite::Error> },
}

/// Nothing of the transaction was done: it did not get as far as its `COMMIT`.
impl From<rusqlite::Error> for GroupFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed { cause: Arc::new(error), happened: Applied::No }
    }
}

impl GroupFailure {
    fn error(&self) -> Error {
        match self {
            Self::Failed { cause, happened } => failed(Arc::clone(cause), *happened),
            Self::Poisoned { cause } => Poisoned(Arc::clone(cause)).into(),
        }
    }
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, poison: None }
    }

    pub(super) fn serve(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(GROUP_MAX);
        let mut group = Vec::with_capacity(GROUP_MAX);
        // Whatever came while the last group was synced is the next one.
        while queue.blocking_recv_many(&mut jobs, GROUP_MAX) > 0 {
            for job in jobs.drain(..) {
                match job {
                    Job::Commit(commit) => group.push(commit),
                    Job::Sweep { now, limit, reply } => {
                        // Who asked may have gone.
                        let _ = reply.send(self.sweep(now, limit));
                    }
                }
            }
            self.commit(&mut group);
        }
    }

    /// Runs a group, and answers it when what it did is on the disk.
    pub(super) fn commit(&mut self, group: &mut Vec<Commit>) {
        if group.is_empty() {
            return;
        }
        match self.transaction(|transaction| run_all(transaction, group)) {
            Ok(answers) => {
                for (commit, answer) in group.drain(..).zip(answers) {
                    let _ = commit.reply.send(answer);
                }
            }
            Err(failure) => {
                for commit in group.drain(..) {
                    let _ = commit.reply.send(Err(failure.error().into()));
                }
            }
        }
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) -> Result<Chunk, Error> {
        self.transaction(|transaction| Ok(writes::sweep(transaction, now, limit)?))
            .map_err(|failure| failure.error())
    }

    /// Begins with the file's lock, so that no condition is decided on a state that moves on.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut rusqlite::Transaction<'_>) -> Result<T, GroupFailure>,
    ) -> Result<T, GroupFailure> {
        if let Some(cause) = &self.poison {
            return Err(GroupFailure::Poisoned { cause: Arc::clone(cause) });
        }
        let mut transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&mut transaction)?;
        match transaction.commit() {
            Ok(()) => Ok(done),
            Err(error) => {
                let happened = after_commit(&error);
                let cause = Arc::new(error);
                if happened == Applied::Unknown {
                    self.poison(&cause);
                }
                Err(GroupFailure::Failed { cause, happened })
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
        self.poison = Some(Arc::clone(cause));
    }
}

fn run_all(
    transaction: &mut rusqlite::Transaction<'_>,
    group: &[Commit],
) -> Result<Vec<Answer>, GroupFailure> {
    let mut answers = Vec::with_capacity(group.len());
    for commit in group {
        answers.push(match commit.write.run(transaction, commit.now) {
            Ok(answer) => answer,
            // A full disk and an I/O error make SQLite take back the whole transaction by itself.
            // To go on would do each further write on its own, with a sync each.
            Err(error) if transaction.is_autocommit() => return Err(error.into()),
            Err(error) => Err(failed(error, Applied::No).into()),
        });
    }
    Ok(answers)
}
