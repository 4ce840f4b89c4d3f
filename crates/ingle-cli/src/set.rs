//! `ingle sessions set`, `unset` and `edit`: changes of values, each made only where the value is still as
//! it was shown.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::Command,
};

use ingle::{StoredSession, data::Data};
use ingle_operator::{
    Conflict, Edit, Path, apply, differences, for_edits, has_too_large_integer, inert, remove_all,
    typed,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    exit::{Failed, say},
    json,
    options::{EditOptions, PlaceOptions, SetOptions, UnsetOptions},
    out::{Format, Out},
    place, show,
};

/// What stands before each line of the header in an editor.
const COMMENT: &str = "//";

/// What is true where only the output is lost.
const STORED: &str = "the session was changed, each value as you said";

pub(crate) async fn set(
    place: &PlaceOptions,
    out: &mut Out,
    options: SetOptions,
) -> Result<(), Failed> {
    let limits = options.limits.limits()?;
    // Before the session is looked at: who types it takes their time, and others change it meanwhile.
    let values = options.values.into_iter();
    let values = values.map(|(path, value)| Ok::<_, Failed>((path, value.read()?)));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let sessions = place.sessions_within(limits).await?;
    let session = place::find(&sessions, &options.handle).await?;
    let mut wanted = session.snapshot().clone();
    for (path, value) in values {
        path.set(&mut wanted, value).map_err(|error| Failed::refused(error.to_string()))?;
    }
    change(out, &session, &wanted, options.dry_run).await
}

pub(crate) async fn unset(
    place: &PlaceOptions,
    out: &mut Out,
    options: UnsetOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions_within(options.limits.limits()?).await?;
    let session = place::find(&sessions, &options.handle).await?;
    let mut wanted = session.snapshot().clone();
    remove_all(&mut wanted, options.paths).map_err(|missing| {
        Failed::not_found(format!("there is no {missing} in the session; nothing was changed"))
    })?;
    change(out, &session, &wanted, options.dry_run).await
}

/// Makes the session what is wanted, where it is still as it was found.
async fn change(
    out: &mut Out,
    session: &StoredSession,
    wanted: &Data,
    dry_run: bool,
) -> Result<(), Failed> {
    let shown = session.snapshot();
    let edits = differences(shown, shown, wanted).map_err(|no| Failed::refused(no.to_string()))?;
    if !edits.is_empty() {
        let wanted = edits.clone();
        let change = move |data: &mut Data| apply(data, &wanted);
        let done = match dry_run {
            true => session.dry_run(change).await?,
            false => for_edits(session, &edits).try_update(change).await?,
        };
        done.map_err(|conflicts| {
            tell(&conflicts);
            Failed::conflict("the session has changed meanwhile; nothing was changed")
        })?;
    }
    let printed = print(out, session, &edits);
    printed.map_err(|failed| match dry_run || edits.is_empty() {
        true => failed,
        false => failed.after(STORED),
    })?;
    if dry_run {
        say("ingle: this was a dry run; nothing was changed");
    } else if edits.is_empty() {
        say("ingle: the session is like that already; nothing was changed");
    }
    Ok(())
}

/// A value as it may be shown at a place.
fn value_at(path: &Path, value: &Option<Value>) -> Option<Value> {
    let yours = value.clone();
    let conflict = Conflict { path: path.clone(), before: None, theirs: None, yours };
    conflict.redacted().yours
}

fn print(out: &mut Out, session: &StoredSession, edits: &[Edit]) -> Result<(), Failed> {
    let shown =
        |edit: &Edit| (value_at(&edit.path, &edit.before), value_at(&edit.path, &edit.yours));
    match out.format {
        Format::Text => {
            for edit in edits {
                let (before, after) = shown(edit);
                let line = format!("{}: {} → {}", edit.path, text(&before), text(&after));
                out.line(&inert(&line))?;
            }
        }
        _ => {
            let changed: Vec<_> = edits
                .iter()
                .map(|edit| {
                    let (before, after) = shown(edit);
                    let path = edit.path.to_string();
                    json!({ "path": path, "before": before, "after": after })
                })
                .collect();
            let handle = session.info().handle.to_string();
            out.document(&json!({ "handle": handle, "changed": changed }))?;
        }
    }
    out.flush()
}

fn text(value: &Option<Value>) -> String {
    value.as_ref().map_or("nothing".to_owned(), typed)
}

/// Shows each conflict: what was shown, what is there, and what was to be there.
fn tell(conflicts: &[Conflict]) {
    for conflict in conflicts {
        let Conflict { path, before, theirs, yours } = conflict.redacted();
        let (before, theirs, yours) = (text(&before), text(&theirs), text(&yours));
        let line = format!("{path}: it was {before}, it is {theirs} now, and yours is {yours}");
        say(&format!("ingle: {}", inert(&line)));
    }
}

pub(crate) async fn edit(
    place: &PlaceOptions,
    out: &mut Out,
    options: EditOptions,
) -> Result<(), Failed> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty()));
    let editor = editor.ok_or_else(|| {
        Failed::usage("no editor is known; set VISUAL or EDITOR, or use `ingle sessions set`")
    })?;
    let sessions = place.sessions_within(options.limits.limits()?).await?;
    let session = place::find(&sessions, &options.handle).await?;
    if options.reveal {
        show::note_reveal(&session).await?;
    }
    let shown = json::shown(session.snapshot(), options.reveal);
    let header = show::header(session.info(), sessions.now(), place.knows_use());
    let before = file_text(&header, &shown, !options.reveal && shown != *session.snapshot());
    let draft = Draft::new(&before)?;
    let after = match draft.edited_by(&editor) {
        Ok(after) => after,
        Err(why) if !draft.has_more_than(&before) => return Err(why),
        Err(why) => return Err(draft.keep(why)),
    };
    if after == before {
        say("ingle: you changed nothing, and nothing was changed");
        return Ok(());
    }
    let wanted = match read(&after) {
        Ok(wanted) => wanted,
        Err(problem) => return Err(draft.keep(Failed::other(problem))),
    };
    // What looks secret stays as it is where it was not shown.
    let edits = differences(session.snapshot(), &shown, &wanted);
    let edits = match edits {
        Ok(edits) => edits,
        Err(no) => return Err(draft.keep(Failed::refused(no.to_string()))),
    };
    let wanted = edits.clone();
    let session = for_edits(&session, &edits);
    match session.try_update(move |data: &mut Data| apply(data, &wanted)).await {
        Ok(Ok(())) => print(out, &session, &edits).map_err(|failed| failed.after(STORED)),
        Ok(Err(conflicts)) => {
            tell(&conflicts);
            let line = "the session has changed meanwhile; nothing was changed";
            Err(draft.keep(Failed::conflict(line)))
        }
        Err(error) => Err(draft.keep(error.into())),
    }
}

/// The text that is edited: the header as a comment, and the data.
fn file_text(header: &[String], data: &Data, hides: bool) -> String {
    let mut text = String::new();
    for line in header {
        text.push_str(&format!("{COMMENT} {}\n", inert(line)));
    }
    if hides {
        let line = "what looks secret is hidden: leave it, or replace it as a whole";
        text.push_str(&format!("{COMMENT} {line}\n"));
    }
    text.push_str(&show::typed_json(&Value::Object(data.clone())));
    text.push('\n');
    text
}

/// Reads the data back. What is wrong is told with its line, as the editor counts it.
fn read(text: &str) -> Result<Data, String> {
    let is_comment = |line: &str| line.trim_start().starts_with(COMMENT);
    let lines = text.lines().map(|line| if is_comment(line) { "" } else { line });
    let json = lines.collect::<Vec<_>>().join("\n");
    match serde_json::from_str(&json) {
        Ok(_) if has_too_large_integer(&json) => {
            Err("a whole number has more than 64 bits: write it as a text, or as 1e20 to have it rounded"
                .to_owned())
        }
        Ok(Value::Object(data)) => Ok(data),
        Ok(_) => Err("the data of a session must be an object with named fields".to_owned()),
        Err(error) => Err(format!("your text is no JSON: {error}")),
    }
}

/// A file that an editor works on. It is removed with this, unless it is kept.
struct Draft(tempfile::NamedTempFile);

impl Draft {
    fn new(text: &str) -> Result<Self, Failed> {
        // For this user alone, by tempfile.
        let made = tempfile::Builder::new().prefix("ingle-").suffix(".json").tempfile();
        let written = made.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file));
        written.map(Self).map_err(|error| failed("write a file to edit", &error))
    }

    /// What the editor made of it.
    fn edited_by(&self, editor: &str) -> Result<String, Failed> {
        // As git does it: an editor may be a command with options. Its shell outlives Ctrl-C, and ends as
        // the editor does.
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("trap : INT; {editor} \"$@\""), editor]).arg(self.0.path());
        // Ctrl-C is the editor's. A handler is not inherited, so the editor has its own.
        let _heard = signal(SignalKind::interrupt());
        let status = shell.status().map_err(|error| failed("start the editor", &error))?;
        let failure = format!("the editor failed ({status}); nothing was changed");
        if status.signal().or(status.code().map(|code| code - 128))
            == Some(SignalKind::interrupt().as_raw_value())
        {
            return Err(Failed::interrupted(failure));
        }
        if !status.success() {
            return Err(Failed::other(failure));
        }
        fs::read_to_string(self.0.path())
            .map_err(|error| failed("read what you edited", &error).after("nothing was changed"))
    }

    /// Whether there is a text that was not written here.
    fn has_more_than(&self, text: &str) -> bool {
        match fs::read(self.0.path()) {
            Ok(now) => now != text.as_bytes(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Keeps the text, and says where.
    fn keep(self, why: Failed) -> Failed {
        match self.0.keep() {
            Ok((_, path)) => why.after(&format!("your text is kept in {}", path.display())),
            Err(error) => why.after(&format!("your text could not be kept: {}", error.error)),
        }
    }
}

fn failed(what: &str, error: &io::Error) -> Failed {
    Failed::other(format!("could not {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_for_an_editor_is_read_back() {
        let data = json!({
            "greeting": "Hi", "n": 1.0, "controls": "\u{1b}[2J\u{202e}", "lines": "a\n// b",
            "at": { "$timestamp": "2026-05-04T12:30:00Z" },
        });
        let Value::Object(data) = data else { panic!("it is an object") };
        let text = file_text(&["user  eve\n\u{1b}[2J".to_owned()], &data, true);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert_eq!(read(&text), Ok(data));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = read("// a\n// b\n{\n  \"a\": 1,\n}\n").unwrap_err();
        assert!(error.contains("line 5 column 1"), "{error}");
        assert!(read("[1]").unwrap_err().contains("an object"));
        let large = read("{\"a\": 18446744073709551616}").unwrap_err();
        assert!(large.contains("more than 64 bits"), "{large}");
        for text in ["", "{\"a\": NaN}", "\u{feff}{}", "{} x", "{'a': 1}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
