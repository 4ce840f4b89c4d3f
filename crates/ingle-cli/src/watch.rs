//! `ingle sessions watch`: what changes, as it changes. The store is asked again and again, because not
//! every store tells.

use std::{collections::HashMap, time::Duration};

use ingle::{Handle, SessionEnd, Sessions, StoredSession, clock::Timestamp, data::Data};
use ingle_operator::{differences, inert, instant, redacted, typed};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    exit::Failed,
    options::{PlaceOptions, Selection, WatchOptions},
    out::{Format, Out},
    place,
    select::Pages,
    stop::Stop,
};

/// The shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_millis(50);

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: WatchOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    let mut watch = Watch { out, sessions: &sessions, left: options.count.unwrap_or(usize::MAX) };
    let end = options.time.map(|time| Instant::now() + time);
    let every = options.every.max(EVERY_MIN);
    let mut seen = match &options.handle {
        Some(handle) => {
            let session = place::find(&sessions, handle).await?;
            HashMap::from([(session.info().handle, session)])
        }
        None => all(&sessions).await?,
    };
    let mut next = Instant::now() + every;
    while watch.left > 0
        && end.is_none_or(|end| next <= end)
        && !(options.handle.is_some() && seen.is_empty())
    {
        tokio::select! {
            () = sleep_until(next) => {}
            () = stop.asked() => return Ok(()),
        }
        next = Instant::now() + every;
        seen = match &options.handle {
            Some(_) => watch.look_at(seen).await?,
            None => watch.look_at_all(&seen).await?,
        };
        watch.out.flush()?;
    }
    Ok(())
}

type Seen = HashMap<Handle, StoredSession>;

async fn all(sessions: &Sessions) -> Result<Seen, Failed> {
    let selection = Selection::default();
    let mut pages = Pages::new(sessions, &selection, false);
    let mut all = HashMap::new();
    while let Some(page) = pages.next().await? {
        all.extend(page.into_iter().map(|session| (session.info().handle, session)));
    }
    Ok(all)
}

struct Watch<'a> {
    out: &'a mut Out,
    sessions: &'a Sessions,
    /// How many changes are still to be printed.
    left: usize,
}

impl Watch<'_> {
    /// Looks at the sessions again that were seen, and follows them where they are renewed.
    async fn look_at(&mut self, seen: Seen) -> Result<Seen, Failed> {
        let mut now = HashMap::new();
        for (handle, before) in seen {
            match before.reload().await? {
                Ok(after) => {
                    let new = after.info().handle;
                    if new != handle {
                        self.event(handle, "renewed", json!({ "to": new.to_string() }))?;
                    }
                    self.compare(&before, &after)?;
                    now.insert(new, after);
                }
                Err(SessionEnd::Expired) => self.event(handle, "expired", json!({}))?,
                Err(_) => self.event(handle, "ended", json!({}))?,
            }
        }
        Ok(now)
    }

    /// Looks at all sessions that there are.
    async fn look_at_all(&mut self, seen: &Seen) -> Result<Seen, Failed> {
        let now = all(self.sessions).await?;
        for (handle, after) in &now {
            match seen.get(handle) {
                Some(before) => self.compare(before, after)?,
                None => {
                    let user = after.info().user.as_ref().map(|user| &user.name);
                    self.event(*handle, "began", json!({ "user": user }))?;
                }
            }
        }
        for handle in seen.keys().filter(|handle| !now.contains_key(*handle)) {
            self.event(*handle, "ended", json!({}))?;
        }
        Ok(now)
    }

    fn compare(&mut self, before: &StoredSession, after: &StoredSession) -> Result<(), Failed> {
        if before.info().commits == after.info().commits {
            return Ok(());
        }
        let handle = after.info().handle;
        let (old, new) = (redacted(before.snapshot()).data, redacted(after.snapshot()).data);
        let hidden = redacted(after.snapshot()).fields.into_iter().filter(|name| {
            old.get(name) == new.get(name)
                && before.snapshot().get(name) != after.snapshot().get(name)
        });
        let hidden: Vec<String> = hidden.collect();
        let mut changed = changes(&old, &new);
        let is_hidden =
            |name| json!({ "path": name, "before": null, "after": null, "hidden": true });
        changed.extend(hidden.into_iter().map(is_hidden));
        self.event(handle, "changed", json!({ "commit": after.info().commits, "changed": changed }))
    }

    /// Prints what happened to a session.
    fn event(&mut self, handle: Handle, what: &str, more: Value) -> Result<(), Failed> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let now = self.sessions.now();
        if self.out.format == Format::Text {
            let line = in_words(now, handle, what, &more);
            return self.out.line(&inert(&line));
        }
        let mut event = json!({ "at": instant(now), "handle": handle.to_string(), "event": what });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        self.out.line(&event.to_string())
    }
}

/// What differs, place by place. Only what may be shown is compared.
fn changes(before: &Data, after: &Data) -> Vec<Value> {
    // Nothing is to be stored, so marks of hidden values are no matter.
    let edits = differences(before, before, after).unwrap_or_default();
    let change = |edit: ingle_operator::Edit| json!({ "path": edit.path.to_string(), "before": edit.before, "after": edit.yours });
    edits.into_iter().map(change).collect()
}

fn in_words(now: Timestamp, handle: Handle, what: &str, more: &Value) -> String {
    let mut line = format!("{} {handle} {what}", instant(now));
    for name in ["to", "user"] {
        if let Some(text) = more[name].as_str() {
            line.push_str(&format!(" {name} {text}"));
        }
    }
    if let Some(commit) = more["commit"].as_u64() {
        line.push_str(&format!(" by commit {commit}"));
    }
    for change in more["changed"].as_array().into_iter().flatten() {
        let path = change["path"].as_str().unwrap_or_default();
        let text =
            |value: &Value| if value.is_null() { "nothing".to_owned() } else { typed(value) };
        match change["hidden"].as_bool() {
            Some(true) => line.push_str(&format!("; {path}: a hidden value")),
            _ => {
                let (before, after) = (text(&change["before"]), text(&change["after"]));
                line.push_str(&format!("; {path}: {before} → {after}"));
            }
        }
    }
    line
}
