//! The folder and the file, for this user alone, and how a connection to the file is made.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::failure::EmbeddedError;

/// The one file in the folder; SQLite puts its log and its shared memory beside it.
const FILE: &str = "sessions.sqlite";

/// How long a write waits for one of another process.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// More than all statements of this store, so that each is prepared once.
const STATEMENTS_MAX: usize = 32;

/// Makes the folder and an empty file where they are not there. Returns the path of both.
pub(super) fn prepare(folder: &Path) -> Result<(PathBuf, PathBuf), EmbeddedError> {
    let path = || folder.to_owned();
    if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
        return Err(EmbeddedError::NotAFolder { path: path() });
    }
    create_folder(folder).map_err(|source| EmbeddedError::Create { path: path(), source })?;
    // An absolute path stays right when the process changes its folder, and is never taken for a
    // URI, as one that begins with `file:` would be.
    let folder = fs::canonicalize(folder)
        .map_err(|source| EmbeddedError::Create { path: path(), source })?;
    let file = folder.join(FILE);
    match create_file(&file) {
        Ok(()) => Ok((folder, file)),
        Err(source) => Err(EmbeddedError::Create { path: file, source }),
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
