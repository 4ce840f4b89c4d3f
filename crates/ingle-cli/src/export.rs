//! `ingle export`: all sessions with their data, one JSON document a line, or all in one.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingle::StoredSession;
use ingle_operator::{Anonymiser, counted};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    exit::{Failed, say},
    json,
    options::{ExportOptions, PlaceOptions},
    out::Out,
    select::Pages,
    stop::Stop,
};

pub(crate) async fn run(
    place: &PlaceOptions,
    out: Out,
    options: ExportOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    if options.reveal {
        sessions.note_reveal(options.selection.user.as_deref()).await?;
    }
    let shape = Shape::of(&options)?;
    let file = options.output.map(NewFile::begin).transpose()?;
    let out = match &file {
        Some(file) => out.into_file(file.writer()?),
        None => out,
    };
    let mut pages = Pages::new(&sessions, &options.selection, false);
    let written = write(out, &mut pages, &shape, &stop, place.knows_use()).await;
    let written = match file {
        Some(file) => file.end(written),
        None => written,
    };
    let told = written.map(|n| say(&format!("ingle: {} written", counted(n, "session"))));
    pages.end(told, "the export is not whole")
}

/// Writes the sessions, and returns how many there were.
async fn write(
    mut out: Out,
    pages: &mut Pages<'_>,
    shape: &Shape,
    stop: &Stop,
    knows_use: bool,
) -> Result<usize, Failed> {
    let (progress, mut n) = (progress(), 0);
    while let Some(page) = pages.next().await? {
        stop.check(&format!("{n} sessions were written; the export is not whole"))?;
        // Both may be on one terminal: while lines are written there, the progress is not.
        progress.suspend(|| {
            page.iter().try_for_each(|session| out.item(&shape.line(session, knows_use)))?;
            out.flush()
        })?;
        n += page.len();
        progress.set_position(n as u64);
    }
    progress.finish_and_clear();
    out.end_of_items()?;
    Ok(n)
}

/// How much is told of a session.
enum Shape {
    Redacted,
    Revealed,
    Anonymous(Box<Anonymiser>),
}

impl Shape {
    fn of(options: &ExportOptions) -> Result<Self, Failed> {
        if !options.anonymise {
            return Ok(if options.reveal { Self::Revealed } else { Self::Redacted });
        }
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)
            .map_err(|error| Failed::other(format!("there are no random bytes: {error}")))?;
        Ok(Self::Anonymous(Box::new(Anonymiser::new(salt))))
    }

    fn line(&self, session: &StoredSession, knows_use: bool) -> Value {
        let (info, data) = (session.info(), session.snapshot());
        match self {
            Self::Redacted => json::whole(info, knows_use, json::shown(data, false)),
            Self::Revealed => json::whole(info, knows_use, data.clone()),
            Self::Anonymous(anonymiser) => {
                let mut line =
                    json::whole(info, knows_use, anonymiser.data(&json::shown(data, false)));
                for place in ["/handle", "/user/name", "/user/actor", "/user/label"] {
                    if let Some(Value::String(text)) = line.pointer_mut(place) {
                        *text = anonymiser.text(text);
                    }
                }
                line
            }
        }
    }
}

/// A new file for this user alone. It has its name when it is whole.
struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    fn begin(path: PathBuf) -> Result<Self, Failed> {
        let failed = |error: io::Error| output(&path, &error);
        if path.try_exists().map_err(failed)? {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let made = tempfile::Builder::new()
            .prefix(".ingle-export-")
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        let file = made.map_err(failed)?;
        Ok(Self { path, file })
    }

    fn writer(&self) -> Result<File, Failed> {
        self.file.reopen().map_err(|error| output(&self.path, &error))
    }

    /// Gives the file its name, if it is whole. Otherwise nothing is left of it.
    fn end<T>(self, written: Result<T, Failed>) -> Result<T, Failed> {
        let Self { path, file } = self;
        let n = written.map_err(|failed| failed.after(&format!("no file {path:?} was made")))?;
        let synced = file.as_file().sync_all();
        let named = synced.and_then(|()| Ok(file.persist_noclobber(&path)?));
        named.map(|_| n).map_err(|error| output(&path, &error))
    }
}

fn output(path: &Path, error: &io::Error) -> Failed {
    let why = match error.kind() {
        io::ErrorKind::AlreadyExists => "it is there already, and stays as it is".to_owned(),
        _ => error.to_string(),
    };
    Failed::other(format!("--output {path:?}: {why}; no file was made"))
}

/// How far it is, on a terminal. How many there are is not known before.
fn progress() -> ProgressBar {
    let is_terminal = io::stderr().is_terminal();
    let target =
        if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let progress = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{spinner} {pos} sessions, {per_sec}");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        for written in [Err(Failed::interrupted("stop")), Ok(3)] {
            let is_whole = written.is_ok();
            let file = NewFile::begin(path.clone()).unwrap();
            file.writer().unwrap().write_all(b"new").unwrap();
            assert!(!path.exists(), "it has its name before it is whole");
            assert_eq!(file.end(written).is_ok(), is_whole);
            assert_eq!((path.exists(), names()), (is_whole, usize::from(is_whole)));
        }
        assert!(NewFile::begin(path.clone()).is_err(), "there is one already");
        // One that was made meanwhile stays.
        let other = folder.path().join("other");
        let file = NewFile::begin(other.clone()).unwrap();
        fs::write(&other, "theirs").unwrap();
        assert!(file.end(Ok(())).is_err());
        assert_eq!((fs::read_to_string(&other).unwrap().as_str(), names()), ("theirs", 2));
    }
}
