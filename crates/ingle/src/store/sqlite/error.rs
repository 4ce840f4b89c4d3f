//! What a failure of the file means: why the store was not opened, and what is true after a call failed.
//!
//! It knows no statement and no thread.

use std::{io, path::Path, sync::Arc};

use rusqlite::ErrorCode;

use crate::store::{
    Applied, Error, ErrorKind, OpenError, OpenErrorKind, Warning,
    floor::{
        platform::Platform,
        text::{one_line, root_cause, shown},
    },
};

/// What messages and metrics call this store.
pub(super) const NAME: &str = "sqlite";

const WRITABLE: &str = "give this user the right to write to it and to its folder";

/// The URL has another form.
pub(super) fn bad_url(problem: &'static str) -> OpenError {
    OpenError::new(NAME, OpenErrorKind::Config, problem, "")
}

/// The folder's name has what nobody means to write.
pub(super) fn untidy(folder: &Path) -> OpenError {
    let problem =
        format!("the folder's name `{}` has a blank or a line end around it", shown(folder));
    let help = "trim it, or name another folder; control characters cannot be in it at all";
    OpenError::new(NAME, OpenErrorKind::Config, problem, help)
}

/// The folder, or the file in it, is not there and cannot be made.
pub(super) fn cannot_create(path: &Path, cause: &io::Error) -> OpenError {
    let kind = match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenErrorKind::Denied
        }
        _ => OpenErrorKind::Failed,
    };
    let problem = format!("`{}` could not be created: {}", shown(path), root_cause(cause));
    OpenError::new(NAME, kind, problem, "name a folder that this user can make and write to")
}

/// A file stands where the folder should be.
pub(super) fn not_a_folder(path: &Path) -> OpenError {
    let problem = format!("`{}` is a file", shown(path));
    let help = "name a folder, in which the store keeps its file `sessions.sqlite`";
    OpenError::new(NAME, OpenErrorKind::Config, problem, help)
}

/// The file may be read and not written.
pub(super) fn read_only(file: &Path) -> OpenError {
    let problem = format!("`{}` may only be read", shown(file));
    OpenError::new(NAME, OpenErrorKind::Denied, problem, WRITABLE)
}

/// The file is a database, and not one of this library.
pub(super) fn foreign(file: &Path) -> OpenError {
    let problem =
        format!("`{}` is a database of another program and was left as it is", shown(file));
    OpenError::new(NAME, OpenErrorKind::Foreign, problem, "name another folder")
}

/// A newer version of this library wrote the file.
pub(super) fn newer(file: &Path, format: i64, newest: i64) -> OpenError {
    let file = shown(file);
    let problem = format!(
        "`{file}` has format {format}, this version of ingle reads up to {newest}, and the file was \
         left as it is"
    );
    let help = "run the version that wrote it, or name another folder";
    OpenError::new(NAME, OpenErrorKind::Foreign, problem, help)
}

/// The file system cannot give what an acknowledged commit needs.
pub(super) fn unsynced(file: &Path, setting: &'static str, value: &str) -> OpenError {
    let (file, value) = (shown(file), one_line(value));
    let problem =
        format!("`{file}` cannot have a synced write-ahead log here (`{setting}` is `{value}`)");
    OpenError::new(NAME, OpenErrorKind::Unsupported, problem, "name a folder on a local disk")
}

/// The file ends with the instance that it is on.
pub(super) fn forgotten(platform: Platform) -> Warning {
    let problem = format!(
        "on {} an instance has no disk that lasts and that others see, so these sessions end with it",
        platform.name()
    );
    let help = "use a store on a server, such as `firestore://PROJECT/sessions`";
    Warning::new("shared", problem, help)
}

/// The operating system gave no thread to work in.
pub(super) fn no_thread(cause: &io::Error) -> OpenError {
    let problem = format!("no thread could be started: {}", root_cause(cause));
    let help = "raise this user's limit of threads and processes, or free memory";
    OpenError::new(NAME, OpenErrorKind::Failed, problem, help)
}

/// Names the file in what SQLite reports while it is opened.
pub(super) fn opening(file: &Path) -> impl Fn(rusqlite::Error) -> OpenError {
    let file = file.to_owned();
    move |cause| match cause.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(&file, &cause),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => read_only(&file),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => locked(&file),
        code => {
            let problem = format!("`{}` could not be opened: {}", shown(&file), root_cause(&cause));
            // So SQLite says of a folder in which it cannot make its other files, and of too many files.
            let help = match code {
                Some(ErrorCode::CannotOpen) => WRITABLE,
                _ => "",
            };
            OpenError::new(NAME, OpenErrorKind::Failed, problem, help)
        }
    }
}

fn damaged(file: &Path, cause: &rusqlite::Error) -> OpenError {
    let problem = format!(
        "`{}` is damaged or not a database, and was left as it is ({})",
        shown(file),
        root_cause(cause)
    );
    let help = "restore it from a backup, or move it away to begin with no sessions";
    OpenError::new(NAME, OpenErrorKind::Failed, problem, help)
}

fn locked(file: &Path) -> OpenError {
    let problem = format!("`{}` has been locked by another process for seconds", shown(file));
    let help = "end its open transaction (perhaps a sqlite3 shell) and try again";
    OpenError::new(NAME, OpenErrorKind::Unreachable, problem, help)
}

/// Why a call was not served.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unserved {
    #[error("too many calls wait already; this one was not queued")]
    QueueFull,
    #[error("the thread that serves this has ended; restart the process")]
    NoThread,
    #[error(
        "the file was moved, deleted or replaced while this process had it open; restart the process"
    )]
    FileGone,
}

impl Unserved {
    pub(super) fn error(self, applied: Applied) -> Error {
        Error::new(NAME, ErrorKind::Unavailable, applied).with_source(self)
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

/// A statement or a transaction that failed, as the store's error.
///
/// The cause is shared, because one failed transaction answers many commits.
pub(super) fn failed(cause: impl Into<Arc<rusqlite::Error>>, applied: Applied) -> Error {
    let cause = cause.into();
    let kind = match cause.sqlite_error_code() {
        Some(ErrorCode::TooBig) => ErrorKind::TooLarge,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ErrorKind::Corrupt,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::Refused,
        _ => ErrorKind::Unavailable,
    };
    Error::new(NAME, kind, applied).with_source(cause)
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
