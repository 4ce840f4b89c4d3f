//! `ingle sessions watch`: what changes, as it changes. The store is asked again and again, because not
//! every store tells.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use ingle::{
    Error, Handle, SessionEnd, Sessions, StoredSession, clock::Timestamp, data::Data,
    operator::DamagedSession,
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

/// Longer than anybody watches. An instant has no room for every time.
const TIME_MAX: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: WatchOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    let left = options.count.unwrap_or(usize::MAX);
    let mut watch = Watch { out, left, is_out: false };
    let end = options.time.map(after);
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
    let mut next = after(every);
    let mut is_over = false;
    while !is_over && watch.left > 0 && !(options.handle.is_some() && seen.sessions.is_empty()) {
        // The last look is at the end of the time.
        let at = end.map_or(next, |end| end.min(next));
        is_over = end == Some(at);
        tokio::select! {
            biased;
            () = stop.asked() => break,
            () = sleep_until(at) => {}
        }
        next = after(every);
        let look =
            Look { sessions: &sessions, before: &seen, now: Seen::of([]), events: Vec::new() };
        let looked = async {
            match &options.handle {
                Some(_) => look.at_those_seen().await,
                None => look.at_all().await,
            }
        };
        let looked = tokio::select! {
            biased;
            () = stop.asked() => break,
            looked = looked => looked,
        };
        if let Some((now, events)) = watch.goes_on(looked)? {
            seen = now;
            watch.print(events)?;
        }
    }
    if out.format != Format::Text {
        out.end_of_items()?;
    }
    stop.check("the watch was interrupted")
}

/// The instant after a time.
fn after(time: Duration) -> Instant {
    Instant::now() + time.min(TIME_MAX)
}

/// What a look has seen.
struct Seen {
    sessions: HashMap<Handle, StoredSession>,
    /// Those that cannot be read. One that could be before is among the sessions, too, as it was then.
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

/// What happened to a session.
struct Event {
    at: Timestamp,
    handle: Handle,
    what: &'static str,
    more: Value,
}

impl Event {
    fn json(self) -> Value {
        let Self { at, handle, what, more } = self;
        let mut event = json!({ "at": instant(at), "handle": handle.to_string(), "event": what });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        event
    }
}

struct Watch<'a> {
    out: &'a mut Out,
    /// How many changes are still to be printed.
    left: usize,
    /// Whether the store did not answer the last look.
    is_out: bool,
}

impl Watch<'_> {
    /// What was seen, if the store has answered. Where it has not, the watch goes on: the next look finds
    /// what has changed meanwhile. Where it refuses, no later look finds more.
    fn goes_on<T>(&mut self, looked: Result<T, Failed>) -> Result<Option<T>, Failed> {
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

    /// Prints what happened, as far as it was asked for.
    fn print(&mut self, mut events: Vec<Event>) -> Result<(), Failed> {
        events.truncate(self.left);
        self.left -= events.len();
        for event in events {
            if self.out.format == Format::Text {
                self.out.line(&inert(&in_words(&event)))?;
            } else {
                self.out.item(&event.json())?;
            }
        }
        self.out.flush()
    }
}

/// A look at the sessions. What it finds is printed when it is whole: after one that fails, the next one finds
/// the same again.
struct Look<'a> {
    sessions: &'a Sessions,
    before: &'a Seen,
    now: Seen,
    events: Vec<Event>,
}

impl Look<'_> {
    /// Looks at the sessions again that were seen, and follows them where they are renewed.
    async fn at_those_seen(mut self) -> Result<(Seen, Vec<Event>), Failed> {
        let before = self.before;
        for session in before.sessions.values() {
            self.follow(session).await?;
        }
        Ok((self.now, self.events))
    }

    /// Looks at all sessions that there are.
    async fn at_all(mut self) -> Result<(Seen, Vec<Event>), Failed> {
        let (before, mut all) = (self.before, Seen::all(self.sessions).await?);
        for (handle, session) in &before.sessions {
            if let Some(after) = all.sessions.remove(handle) {
                self.compare(session, &after);
                self.now.sessions.insert(*handle, after);
            } else if all.damaged.contains(handle) {
                self.damaged(session);
            } else {
                self.follow(session).await?;
            }
        }
        for (handle, session) in all.sessions {
            // Otherwise it is one that was followed to where it is now.
            if !self.now.sessions.contains_key(&handle) {
                let user = session.info().user.as_ref().map(|user| &user.name);
                self.event(handle, "began", json!({ "user": user }));
                self.now.sessions.insert(handle, session);
            }
        }
        self.now.damaged.extend(all.damaged);
        Ok((self.now, self.events))
    }

    /// What has become of a session, wherever it is now.
    async fn follow(&mut self, before: &StoredSession) -> Result<(), Failed> {
        let info = before.info();
        let end = match before.reload().await {
            Ok(Ok(after)) => {
                let new = after.info().handle;
                if new != info.handle {
                    self.event(info.handle, "renewed", json!({ "to": new.to_string() }));
                }
                self.compare(before, &after);
                self.now.sessions.insert(new, after);
                return Ok(());
            }
            // Its mark may be gone as well.
            Ok(Err(SessionEnd::Expired))
                if self.sessions.now() >= info.idle_deadline.min(info.ends) =>
            {
                "expired"
            }
            Ok(Err(_)) => "ended",
            Err(Error::Damaged(_)) => {
                self.damaged(before);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.event(info.handle, end, json!({}));
        Ok(())
    }

    fn compare(&mut self, before: &StoredSession, after: &StoredSession) {
        if before.info().commits == after.info().commits {
            return;
        }
        let changed = changes(before.snapshot(), after.snapshot());
        let more = json!({ "commit": after.info().commits, "changed": changed });
        self.event(after.info().handle, "changed", more);
    }

    /// Tells once of a session that cannot be read any more, and keeps it: somebody may mend it.
    fn damaged(&mut self, before: &StoredSession) {
        let handle = before.info().handle;
        if !self.before.damaged.contains(&handle) {
            self.event(handle, "damaged", json!({}));
        }
        self.now.damaged.insert(handle);
        self.now.sessions.insert(handle, before.clone());
    }

    fn event(&mut self, handle: Handle, what: &'static str, more: Value) {
        self.events.push(Event { at: self.sessions.now(), handle, what, more });
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

fn in_words(event: &Event) -> String {
    let Event { at, handle, what, more } = event;
    let mut line = format!("{} {handle} {what}", instant(*at));
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
