//! The folder and the file, for this user alone, and how a connection to the file is made.
//!
//! It knows no table; `schema.rs` does.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::error::{cannot_create, not_a_folder};
use crate::store::OpenError;

/// The one file in the folder; SQLite puts its log and its shared memory beside it.
pub(super) const FILE: &str = "sessions.sqlite";

/// How long a write waits for one of another process.
pub(super) const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// More than all statements of this store, so that each is prepared once.
const STATEMENTS_MAX: usize = 32;

/// Makes the folder and an empty file where they are not there. Returns the path of both.
pub(super) fn prepare(folder: &Path) -> Result<(PathBuf, PathBuf), OpenError> {
    if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
        return Err(not_a_folder(folder));
    }
    create_folder(folder).map_err(|cause| cannot_create(folder, &cause))?;
    // An absolute path stays right when the process changes its folder, and is never taken for a
    // URI, as one that begins with `file:` would be.
    let folder = fs::canonicalize(folder).map_err(|cause| cannot_create(folder, &cause))?;
    let file = folder.join(FILE);
    match create_file(&file) {
        Ok(()) => Ok((folder, file)),
        Err(cause) => Err(cannot_create(&file, &cause)),
    }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn create_file(file: &Path) -> io::Result<()> {
    /// POSIX drops all locks of a process on a file when any of its descriptors is closed. So no
    /// other thread may have this one open in SQLite before the descriptor below is closed.
    static CREATING: Mutex<()> = Mutex::new(());
    let _alone = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.write(true).create_new(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// The file that was opened, to see later whether its path still leads to it.
#[derive(Clone, Debug)]
pub(super) struct OpenedFile {
    path: PathBuf,
    identity: Identity,
}

impl OpenedFile {
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let identity = identity(&fs::metadata(path)?);
        Ok(Self { path: path.to_owned(), identity })
    }

    /// Opens and closes nothing: see `CREATING` above.
    pub(super) fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }
}

/// What tells a file from another one of the same name.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(file: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

#[cfg(not(unix))]
type Identity = ();

/// A system that keeps an open file from being moved needs no more than its path.
#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Identity {}

/// A connection that waits for locks. SQLite gives its other files the mode that the first one has.
pub(super) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags)?;
    let mut since = Instant::now();
    connection.busy_handler(Some(move |attempt| {
        if attempt == 0 {
            since = Instant::now();
        }
        wait(since, attempt)
    }))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// The same for a thread that only reads. The file must be writable even so, since readers mark in the
/// log's shared memory where they are.
pub(super) fn connect_to_read(file: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Closes a connection, after any other of this process that is closing.
///
/// The last one to close copies the log to the file and removes the log. Of two that close at the same
/// moment, each would take the other for the last one, and the log would stay.
pub(super) fn close(connection: Connection) {
    static CLOSING: Mutex<()> = Mutex::new(());
    let _alone = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(connection);
}

/// Does what SQLite may report as busy without having asked the handler.
pub(super) fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let since = Instant::now();
    let mut attempt = 0;
    loop {
        match work() {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && wait(since, attempt) =>
            {
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// Sleeps until it is time for another attempt; says no when it has been long enough.
///
/// The sleeps stay short, because the lock is free for moments only while another process is busy.
fn wait(since: Instant, attempt: i32) -> bool {
    let patient = since.elapsed() < LOCK_WAIT_MAX;
    if patient {
        thread::sleep(Duration::from_micros(100) * (attempt.unsigned_abs() + 1).min(10));
    }
    patient
}
