//! What can go wrong with a file, and what is true afterwards.

use std::{io, path::PathBuf, sync::Arc};

use rusqlite::ErrorCode;

use super::NAME;
use crate::store::{Applied, Error, ErrorKind};

/// The embedded store could not be opened. Nothing that was in the folder was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The folder, or the file in it, is not there and cannot be made.
    #[error("could not create `{path}`: {source}", path = path.display())]
    Create {
        /// The folder or the file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file stands where the folder should be.
    #[error(
        "`{path}` is a file; name a folder, in which the store keeps its file `sessions.sqlite`",
        path = path.display()
    )]
    NotAFolder {
        /// What was given as the folder.
        path: PathBuf,
    },
    /// The file may be read and not written.
    #[error(
        "`{file}` may only be read; give this user the right to write to it and to its folder",
        file = file.display()
    )]
    ReadOnly {
        /// The file.
        file: PathBuf,
    },
    /// The file is a database, and not one of this library.
    #[error(
        "`{file}` is a database of another program and was left as it is; name another folder",
        file = file.display()
    )]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A newer version of this library wrote the file.
    #[error(
        "`{file}` has format {format}, this version of ingle reads up to {newest}, and it was left \
         as it is; run the version that wrote it, or name another folder",
        file = file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: i64,
        /// The newest format that this version reads.
        newest: i64,
    },
    /// The file is damaged, or it is no database at all.
    #[error(
        "`{file}` is damaged or not a database, and was left as it is ({source}); restore it from \
         a backup, or move it away to begin with no sessions",
        file = file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Another process has held the file's lock for too long.
    #[error(
        "`{file}` has been locked by another process for seconds; end its open transaction \
         (perhaps a sqlite3 shell) and try again",
        file = file.display()
    )]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// The file system cannot give what an acknowledged commit needs.
    #[error(
        "`{file}` cannot have a synced write-ahead log here (`{setting}` is `{value}`); name a \
         folder on a local disk",
        file = file.display()
    )]
    Unsynced {
        /// The file.
        file: PathBuf,
        /// The setting that SQLite did not take.
        setting: &'static str,
        /// What it has instead.
        value: String,
    },
    /// The file cannot be opened for another reason.
    #[error("could not open `{file}`: {source}", file = file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The operating system gave no thread to work in.
    #[error("could not start a thread: {source}")]
    Thread {
        /// What the operating system says.
        source: io::Error,
    },
}

/// Names the file in what SQLite reports while it is opened.
pub(super) fn opening(file: &std::path::Path) -> impl Fn(rusqlite::Error) -> EmbeddedError {
    let file = file.to_owned();
    move |source| {
        let file = file.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                EmbeddedError::Damaged { file, source }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                EmbeddedError::ReadOnly { file }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                EmbeddedError::Locked { file }
            }
            _ => EmbeddedError::Open { file, source },
        }
    }
}

/// A job that no thread has done.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unserved {
    #[error("too many wait already; this one was not queued")]
    QueueFull,
    #[error("the thread that serves this has ended; restart the process")]
    NoThread,
}

impl Unserved {
    pub(super) fn happened(self, happened: Applied) -> Error {
        Error::new(NAME, ErrorKind::Unavailable, happened).with_source(self)
    }
}

/// Why every further commit fails: the disk lost one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk failed in an earlier commit, and a sync is never tried again; restart the process"
)]
pub(super) struct Poisoned(#[source] pub(super) Arc<rusqlite::Error>);

impl From<Poisoned> for Error {
    fn from(poisoned: Poisoned) -> Self {
        Self::new(NAME, ErrorKind::Unavailable, Applied::No).with_source(poisoned)
    }
}

/// A statement or a transaction that failed, as the store's answer.
///
/// The cause is shared, because one failed transaction answers many commits.
pub(super) fn failed(cause: impl Into<Arc<rusqlite::Error>>, happened: Applied) -> Error {
    let cause = cause.into();
    let kind = match cause.sqlite_error_code() {
        Some(ErrorCode::TooBig) => ErrorKind::TooLarge,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ErrorKind::Corrupt,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::Refused,
        _ => ErrorKind::Unavailable,
    };
    Error::new(NAME, kind, happened).with_source(cause)
}

/// Whether a transaction whose `COMMIT` failed may be on the disk all the same.
///
/// A full disk and a lock are met before the last frame of the log is written. Everything else is
/// no proof: the frames may be there whole, with only their sync failed.
pub(super) fn after_commit(error: &rusqlite::Error) -> Applied {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Applied::No
        }
        _ => Applied::Unknown,
    }
}
