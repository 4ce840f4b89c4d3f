//! A page that shows the session as it changes, and closes when the session ends: an event stream that
//! does not outlive its session.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use ingle::{Error, Session, SessionEnd};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    login::Member,
    pages::{Live, Problem, respond},
};
use crate::app::Visit;

/// How many streams are open at once. Each holds a connection, of which there are four times as many.
const STREAMS_MAX: usize = 1024;

/// How often a stream looks at its session.
const EVERY: Duration = Duration::from_secs(1);

/// After so many looks without news, a stream says something all the same, so that nothing on the way
/// takes it for dead.
const SILENT_LOOKS_MAX: u32 = 15;

/// What the open streams share. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    permits: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        let permits = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { permits, stopping: watch::Sender::new(false) }
    }

    /// Ends all streams, those that begin later too. Their browsers ask again, and find another process.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// The page. It counts no view.
pub(crate) async fn page(Member { session, user }: Member) -> Result<Response, Problem> {
    let visit: Visit = session.data().await?;
    Ok(respond(Live { user: Some(user.name), greeting: visit.greeting, views: visit.views }))
}

/// The stream of the page: the number of views whenever it changes, and at last that the session ended.
pub(crate) async fn events(session: Session, State(streams): State<Streams>) -> Response {
    // A page that is left open does not keep its session alive.
    session.skip_touch();
    match session.user().await {
        Ok(Some(_)) => {}
        // Not to the login, which is no stream.
        Ok(None) | Err(Error::Interrupted) => return StatusCode::UNAUTHORIZED.into_response(),
        Err(error) => return error.into_response(),
    }
    let Ok(permit) = Arc::clone(&streams.permits).try_acquire_owned() else {
        let busy = (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")]);
        return busy.into_response();
    };
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Stream {
        ended: Box::pin(session.ended()),
        stopping: streams.stopping.subscribe(),
        session,
        looks,
        told: None,
        silent_looks: 0,
        _permit: permit,
    };
    let events = stream::unfold(Some(stream), async |stream| {
        let (event, stream) = stream?.next().await?;
        Some((Ok::<Event, Infallible>(event), stream))
    });
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        // For nginx, which would keep events until it has some kilobytes of them.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Sse::new(events)).into_response()
}

/// One open stream.
struct Stream {
    ended: Pin<Box<dyn Future<Output = SessionEnd> + Send>>,
    stopping: watch::Receiver<bool>,
    session: Session,
    looks: Interval,
    told: Option<Told>,
    silent_looks: u32,
    _permit: OwnedSemaphorePermit,
}

/// What the page shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Views(u64),
    /// The store does not answer.
    Trouble,
}

impl Stream {
    /// The next event, and the stream if it goes on after it.
    async fn next(mut self) -> Option<(Event, Option<Self>)> {
        loop {
            select! {
                biased;
                end = &mut self.ended => {
                    return match end {
                        // The browser has the new id, and asks with it.
                        SessionEnd::Renewed => None,
                        _ => Some((Event::default().event("ended").data(reason(end)), None)),
                    };
                }
                // The sender goes with the process.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                _ = self.looks.tick() => {}
            }
            let now = match self.session.data::<Visit>().await {
                Ok(visit) => Told::Views(visit.views),
                // How it ended comes in a moment.
                Err(Error::Interrupted) => continue,
                Err(error) => {
                    tracing::debug!(%error, "a stream could not look at its session");
                    Told::Trouble
                }
            };
            if self.told.replace(now) == Some(now) {
                self.silent_looks += 1;
                if self.silent_looks < SILENT_LOOKS_MAX {
                    continue;
                }
            }
            self.silent_looks = 0;
            let event = match now {
                Told::Views(views) => Event::default().event("views").data(views.to_string()),
                Told::Trouble => {
                    Event::default().event("trouble").data("the store does not answer")
                }
            };
            return Some((event, Some(self)));
        }
    }
}

fn reason(end: SessionEnd) -> &'static str {
    match end {
        SessionEnd::Expired => "Your session has expired.",
        _ => "Your session has ended.",
    }
}
