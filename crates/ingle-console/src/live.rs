//! A session as it changes, for a page that is open: server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::stream::{self, Stream};
use ingle::StoredSession;
use ingle_operator::{redacted, size};
use serde_json::json;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use crate::{Console, context::Context, problem::Problem, view::rows};

/// How many pages are kept up to date at once. Others are as they were when they were opened.
pub(crate) const WATCHERS_MAX: usize = 64;

/// How often the session is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many looks one answer has. Then the browser asks again, and has to show anew who asks.
const LOOKS_MAX: usize = 60;

struct Watch {
    session: StoredSession,
    looks: usize,
    last: String,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

/// An event each time that the session has changed. To look is no use of the session.
pub(crate) async fn get(
    context: Context,
    State(console): State<Console>,
    Path(handle): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = Arc::clone(&console.0.watchers).try_acquire_owned().map_err(|_| {
        let text = "Too many pages are open. This one is as it was when you opened it.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not live", text)
    })?;
    let session = context.session(&handle).await?;
    let watch = Watch { session, looks: 0, last: String::new(), is_over: false, _place: place };
    let events = stream::unfold((watch, context), |(mut watch, context)| async move {
        let event = watch.next(&context).await?;
        Some((Ok(event), (watch, context)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Watch {
    /// The next change, or `None` when this answer is over.
    async fn next(&mut self, context: &Context) -> Option<Event> {
        while !self.is_over && self.looks < LOOKS_MAX {
            if self.looks > 0 {
                sleep(INTERVAL).await;
            }
            self.looks += 1;
            let (name, text) = match self.session.reload().await {
                Ok(Ok(session)) => {
                    self.session = session;
                    ("session", shown(context, &self.session))
                }
                Ok(Err(_)) => {
                    self.is_over = true;
                    ("ended", "{}".to_owned())
                }
                Err(_) => ("outage", "{}".to_owned()),
            };
            if text != self.last || name != "session" {
                self.last = text;
                return Some(Event::default().event(name).data(&self.last));
            }
        }
        None
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
        "commits": info.commits,
        "size": size(info.data_bytes),
        "times": times,
    })
    .to_string()
}
