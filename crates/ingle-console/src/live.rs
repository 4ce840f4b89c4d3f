//! A session as it changes, or what this process does, for a page that is open: server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::sse::{Event, KeepAlive, KeepAliveStream, Sse},
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use ingle::StoredSession;
use ingle_operator::{grouped, redacted, size};
use serde_json::json;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use crate::{Console, context::Context, pages::charts::Activities, problem::Problem, view::rows};

/// How many pages are kept up to date at once. Others are as they were when they were opened.
pub(crate) const WATCHERS_MAX: usize = 64;

/// The event that says what is to be shown.
const SHOWN: &str = "shown";

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many looks one answer has. Then the browser asks again, and has to show anew who asks.
const LOOKS_MAX: usize = 60;

/// What is looked at.
enum Subject {
    Session(Box<StoredSession>),
    /// What this process does.
    Activity,
}

struct Watch {
    subject: Subject,
    looks: usize,
    last: String,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

type Live = Sse<KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

/// An event each time that the session has changed. To look is no use of the session.
pub(crate) async fn session(
    context: Context,
    State(console): State<Console>,
    Path(handle): Path<String>,
) -> Result<Live, Problem> {
    let place = place(&console)?;
    let session = context.session(&handle).await?;
    Ok(watch(context, place, Subject::Session(Box::new(session))))
}

/// An event each time that this process has done something. It asks no store.
pub(crate) async fn activity(
    context: Context,
    State(console): State<Console>,
) -> Result<Live, Problem> {
    if !console.0.is_in_app {
        let text = "This console is no part of an app, so it knows of no process of one.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "Not live", text));
    }
    Ok(watch(context, place(&console)?, Subject::Activity))
}

fn place(console: &Console) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&console.0.watchers).try_acquire_owned().map_err(|_| {
        let text = "Too many pages are open. This one is as it was when you opened it.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not live", text)
    })
}

fn watch(context: Context, place: OwnedSemaphorePermit, subject: Subject) -> Live {
    let watch = Watch { subject, looks: 0, last: String::new(), is_over: false, _place: place };
    let events = stream::unfold((watch, context), |(mut watch, context)| async move {
        let event = watch.next(&context).await?;
        Some((Ok(event), (watch, context)))
    });
    Sse::new(events.boxed()).keep_alive(KeepAlive::default())
}

impl Watch {
    /// The next change, or `None` when this answer is over.
    async fn next(&mut self, context: &Context) -> Option<Event> {
        while !self.is_over && self.looks < LOOKS_MAX {
            if self.looks > 0 {
                sleep(INTERVAL).await;
            }
            self.looks += 1;
            let (name, text) = self.look(context).await;
            if text != self.last || name != SHOWN {
                self.last = text;
                return Some(Event::default().event(name).data(&self.last));
            }
        }
        None
    }

    /// What there is to say of it now.
    async fn look(&mut self, context: &Context) -> (&'static str, String) {
        let Subject::Session(session) = &mut self.subject else {
            let activities = Activities::of(&context.sessions.activity());
            return (SHOWN, json!(activities).to_string());
        };
        match session.reload().await {
            Ok(Ok(now)) => {
                **session = now;
                (SHOWN, shown(context, session))
            }
            Ok(Err(_)) => {
                self.is_over = true;
                ("ended", "{}".to_owned())
            }
            Err(_) => ("outage", "{}".to_owned()),
        }
    }
}

/// What the page shows of it. What looks secret stays hidden, also where the page has revealed it.
fn shown(context: &Context, session: &StoredSession) -> String {
    let info = session.info();
    let (rows, _) = rows(&redacted(session.snapshot()).data);
    let user = info.user.as_ref();
    let times = [
        ("since", user.map_or(info.began, |user| user.at)),
        ("began", info.began),
        ("seen", info.last_seen),
        ("idle", info.idle_deadline),
        ("ends", info.ends),
    ];
    let times = times.map(|(name, at)| {
        let when = context.when(at);
        json!({ "name": name, "ago": when.ago, "exact": when.exact })
    });
    json!({
        "href": context.href(session),
        "rows": rows,
        "commits": grouped(info.commits),
        "size": size(info.data_bytes),
        "times": times,
    })
    .to_string()
}
