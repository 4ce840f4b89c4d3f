//! `ingle sessions show`: what a session is, in words, and its data as typed JSON.

use ingle::{SessionInfo, StoredSession, clock::Timestamp};
use ingle_operator::{ago, inert, inert_json, instant, redacted, size};
use serde_json::Value;

use crate::{
    exit::{Failed, say},
    json,
    options::{PlaceOptions, ShowOptions},
    out::{Format, Out},
    place,
};

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: ShowOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let session = place::find(&sessions, &options.handle).await?;
    if options.reveal {
        note_reveal(&session).await?;
    }
    let data = json::shown(session.snapshot(), options.reveal);
    let n_hidden = redacted(session.snapshot()).fields.len();
    if out.format == Format::Text {
        for line in header(session.info(), sessions.now(), place.knows_use()) {
            out.line(&inert(&line))?;
        }
        out.line("")?;
        for line in typed_json(&data.into()).lines() {
            out.line(&inert(line))?;
        }
    } else {
        out.document(&json::whole(session.info(), place.knows_use(), data))?;
    }
    out.flush()?;
    if n_hidden > 0 && !options.reveal {
        say("ingle: values that look secret are hidden; --reveal shows them");
    }
    Ok(())
}

/// Writes down that the operator looks at what is hidden otherwise.
pub(crate) async fn note_reveal(session: &StoredSession) -> Result<(), Failed> {
    let hidden = redacted(session.snapshot()).fields;
    let names: Vec<&str> = hidden.iter().map(String::as_str).collect();
    Ok(session.note_reveal(&names).await?)
}

/// What a session is, in words.
pub(crate) fn header(info: &SessionInfo, now: Timestamp, knows_use: bool) -> Vec<String> {
    let at = |time| format!("{} ({})", ago(time, now), instant(time));
    let mut lines = vec![format!("session    {}", info.handle)];
    lines.push(match &info.user {
        Some(user) => {
            let by = user.actor.as_ref().map(|actor| format!(", by {actor} in their name"));
            let label = user.label.as_ref().map(|label| format!(", {label}"));
            let kept = if user.is_remembered { ", remembered" } else { "" };
            let (by, label) = (by.unwrap_or_default(), label.unwrap_or_default());
            format!("user       {}, since {}{label}{by}{kept}", user.name, at(user.at))
        }
        None => "user       nobody is logged in".to_owned(),
    });
    lines.push(format!("began      {}", at(info.began)));
    if knows_use {
        lines.push(format!("last seen  {}", at(info.last_seen)));
    }
    lines.push(format!("ends       {}, if it is not used", at(info.idle_deadline)));
    lines.push(format!("           {}, used or not", at(info.ends)));
    lines.push(match info.commits {
        0 => "commits    none by ingle: another program wrote it".to_owned(),
        n => format!("commits    {n}"),
    });
    lines.push(format!("size       {}", size(info.data_bytes)));
    lines
}

/// JSON for people and editors.
pub(crate) fn typed_json(value: &Value) -> String {
    inert_json(&format!("{value:#}"))
}
