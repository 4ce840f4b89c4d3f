//! `ingle export`: all sessions with their data, one JSON document a line, or all in one.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingle::StoredSession;
use ingle_operator::Anonymiser;
use serde_json::Value;

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
    let mut out = match options.output.as_deref() {
        Some(path) => out.into_file(new_file(path)?),
        None => out,
    };
    let progress = progress();
    let mut pages = Pages::new(&sessions, &options.selection, false);
    let mut n = 0;
    while let Some(page) = pages.next().await? {
        stop.check(&format!("{n} sessions were written; the export is not whole"))?;
        for session in &page {
            out.item(&shape.line(session, place.knows_use()))?;
        }
        n += page.len();
        progress.set_position(n as u64);
    }
    out.end_of_items()?;
    progress.finish_and_clear();
    let what = if n == 1 { "session" } else { "sessions" };
    say(&format!("ingle: {n} {what} written"));
    Ok(())
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

/// A new file for this user alone.
fn new_file(path: &Path) -> Result<File, Failed> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| Failed::other(format!("--output {path:?}: {error}")))
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
