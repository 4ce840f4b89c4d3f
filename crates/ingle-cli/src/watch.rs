//! `ingle sessions watch`: what changes, as it changes. The store is asked again and again, because not
//! every store tells.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use ingle::{
    DamagedSession, Handle, SessionEnd, Sessions, StoredSession, clock::Timestamp, data::Data,
};
use ingle_operator::{HIDDEN, Path, changed, inert, instant, redacted, typed};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    exit::{Failed, say},
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
    let left = options.count.unwrap_or(usize::MAX);
    let mut watch = Watch { out, sessions: &sessions, left, is_out: false };
    let end = options.time.map(|time| Instant::now() + time);
    let every = options.every.max(EVERY_MIN);
    let mut seen = match &options.handle {
        Some(handle) => {
            let session = place::find(&sessions, handle).await?;
            Seen::of([session])
        }
        None => Seen::all(&sessions).await?,
    };
    for handle in &seen.damaged {
        say(&format!("ingle: the session {handle} cannot be read, and is not watched"));
    }
    let mut next = Instant::now() + every;
    let mut is_over = false;
    while !is_over && watch.left > 0 && !(options.handle.is_some() && seen.sessions.is_empty()) {
        // The last look is at the end of the time.
        let at = end.map_or(next, |end| end.min(next));
        is_over = end == Some(at);
        tokio::select! {
            () = sleep_until(at) => {}
            () = stop.asked() => break,
        }
        next = Instant::now() + every;
        let looked = async {
            match &options.handle {
                Some(_) => watch.look_at(&seen).await,
                None => watch.look_at_all(&seen).await,
            }
        };
        let looked = tokio::select! {
            looked = looked => looked,
            () = stop.asked() => break,
        };
        if let Some(now) = watch.goes_on(looked)? {
            seen = now;
        }
        watch.out.flush()?;
    }
    if out.format != Format::Text {
        out.end_of_items()?;
    }
    stop.check("the watch was interrupted")
}

/// What a look has seen.
struct Seen {
    sessions: HashMap<Handle, StoredSession>,
    /// Those that cannot be read.
    damaged: HashSet<Handle>,
}

impl Seen {
    fn of(sessions: impl IntoIterator<Item = StoredSession>) -> Self {
        let sessions = sessions.into_iter().map(|session| (session.info().handle, session));
        Self { sessions: sessions.collect(), damaged: HashSet::new() }
    }

    async fn all(sessions: &Sessions) -> Result<Self, Failed> {
        let selection = Selection::default();
        let mut pages = Pages::new(sessions, &selection, false);
        let mut all = Self::of([]);
        while let Some(page) = pages.next_page().await? {
            all.damaged.extend(page.damaged.iter().map(DamagedSession::handle));
            all.sessions.extend(Self::of(page.sessions).sessions);
        }
        Ok(all)
    }
}

struct Watch<'a> {
    out: &'a mut Out,
    sessions: &'a Sessions,
    /// How many changes are still to be printed.
    left: usize,
    /// Whether the store did not answer the last look.
    is_out: bool,
}

impl Watch<'_> {
    /// What was seen, if the store has answered. Where it has not, the watch goes on: the next look finds
    /// what has changed meanwhile.
    fn goes_on(&mut self, looked: Result<Seen, Failed>) -> Result<Option<Seen>, Failed> {
        let was_out = self.is_out;
        self.is_out = looked.as_ref().is_err_and(Failed::is_unavailable);
        match looked {
            Err(failed) if self.is_out => {
                if !was_out {
                    say(&format!("ingle: {}; the watch goes on when it is back", failed.line()));
                }
                Ok(None)
            }
            Err(failed) => Err(failed),
            Ok(now) => {
                if was_out {
                    say("ingle: the store answers again");
                }
                Ok(Some(now))
            }
        }
    }

    /// Looks at the sessions again that were seen, and follows them where they are renewed.
    async fn look_at(&mut self, seen: &Seen) -> Result<Seen, Failed> {
        let mut now = Seen::of([]);
        for before in seen.sessions.values() {
            if let Some(after) = self.follow(before).await? {
                self.compare(before, &after)?;
                now.sessions.insert(after.info().handle, after);
            }
        }
        Ok(now)
    }

    /// Looks at all sessions that there are.
    async fn look_at_all(&mut self, seen: &Seen) -> Result<Seen, Failed> {
        let mut now = Seen::all(self.sessions).await?;
        let mut renewed = HashSet::new();
        for (handle, before) in &seen.sessions {
            if let Some(after) = now.sessions.get(handle) {
                self.compare(before, after)?;
            } else if now.damaged.contains(handle) {
                if !seen.damaged.contains(handle) {
                    self.event(*handle, "damaged", json!({}))?;
                }
                // Should somebody mend it.
                now.sessions.insert(*handle, before.clone());
            } else if let Some(after) = self.follow(before).await? {
                self.compare(before, &after)?;
                renewed.insert(after.info().handle);
                now.sessions.insert(after.info().handle, after);
            }
        }
        let is_new = |handle: &Handle| !seen.sessions.contains_key(handle);
        for (handle, after) in &now.sessions {
            if is_new(handle) && !renewed.contains(handle) {
                let user = after.info().user.as_ref().map(|user| &user.name);
                self.event(*handle, "began", json!({ "user": user }))?;
            }
        }
        Ok(now)
    }

    /// What has become of a session: where it has been renewed or ended, this is told.
    async fn follow(&mut self, before: &StoredSession) -> Result<Option<StoredSession>, Failed> {
        let info = before.info();
        let end = match before.reload().await? {
            Ok(after) => {
                let new = after.info().handle;
                if new != info.handle {
                    self.event(info.handle, "renewed", json!({ "to": new.to_string() }))?;
                }
                return Ok(Some(after));
            }
            // Its mark may be gone as well.
            Err(SessionEnd::Expired)
                if self.sessions.now() >= info.idle_deadline.min(info.ends) =>
            {
                "expired"
            }
            Err(_) => "ended",
        };
        self.event(info.handle, end, json!({}))?;
        Ok(None)
    }

    fn compare(&mut self, before: &StoredSession, after: &StoredSession) -> Result<(), Failed> {
        if before.info().commits == after.info().commits {
            return Ok(());
        }
        let handle = after.info().handle;
        let changed = changes(before.snapshot(), after.snapshot());
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
        self.out.item(&event)
    }
}

/// What differs, place by place. Of a hidden value it is told that it is another one.
fn changes(before: &Data, after: &Data) -> Vec<Value> {
    let (old, new) = (redacted(before).data, redacted(after).data);
    let visible = changed(&old, &new);
    let change = |path: &Path| json!({ "path": path.to_string(), "before": path.get(&old), "after": path.get(&new) });
    let mut changes: Vec<_> = visible.iter().map(change).collect();
    let mut hidden: Vec<_> = changed(before, after)
        .iter()
        .map(|path| shown_place(path, &new))
        .filter(|path| path.get(&old) == path.get(&new))
        .map(|path| path.to_string())
        .collect();
    hidden.dedup();
    let is_hidden = |name| json!({ "path": name, "before": null, "after": null, "hidden": true });
    changes.extend(hidden.into_iter().map(is_hidden));
    changes
}

/// The place itself, or the hidden value that it is in.
fn shown_place(path: &Path, shown: &Data) -> Path {
    let outer = std::iter::successors(Some(path.clone()), Path::parent);
    let is_hidden =
        |place: &Path| place.get(shown).is_some_and(|value| value.get(HIDDEN).is_some());
    outer.filter(is_hidden).last().unwrap_or_else(|| path.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(before: Value, after: Value) -> Vec<Value> {
        let (Value::Object(before), Value::Object(after)) = (before, after) else {
            panic!("the data is an object")
        };
        super::changes(&before, &after)
    }

    #[test]
    fn what_changes_beside_a_hidden_value_is_seen() {
        let hidden =
            |path: &str| json!({ "path": path, "before": null, "after": null, "hidden": true });
        let seen = |path: &str, before: Value, after: Value| json!({ "path": path, "before": before, "after": after });
        let before = json!({ "a": 1, "cart": { "n": 1, "token": "x" }, "login": { "auth": { "k": 1, "l": 1 } } });
        let after = json!({ "a": 2, "cart": { "n": 2, "token": "y" }, "login": { "auth": { "k": 2, "l": 2 } } });
        let expected = [
            seen("a", json!(1), json!(2)),
            seen("cart.n", json!(1), json!(2)),
            hidden("cart.token"),
            hidden("login.auth"),
        ];
        assert_eq!(changes(before.clone(), after), expected);
        // One that is new, and one that goes, stand there as what they are.
        let expected = [
            seen("a", json!(1), Value::Null),
            seen("cart", json!({ "n": 1, "token": { "$hidden": "text" } }), Value::Null),
            seen("login", json!({ "auth": { "$hidden": "map" } }), Value::Null),
            seen("pin", Value::Null, json!({ "$hidden": "integer" })),
        ];
        assert_eq!(changes(before, json!({ "pin": 1 })), expected);
        // In a list, and in a text that holds JSON.
        let before =
            json!({ "list": [{ "pin": 1 }], "text": "{\"pin\":1}", "other": [1, { "pin": 1 }] });
        let after =
            json!({ "list": [{ "pin": 2 }], "text": "{\"pin\":2}", "other": [2, { "pin": 2 }] });
        let other = |n| json!([n, { "pin": { "$hidden": "integer" } }]);
        let expected = [seen("other", other(1), other(2)), hidden("list"), hidden("text")];
        assert_eq!(changes(before, after), expected);
    }
}
