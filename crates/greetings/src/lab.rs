//! Routes that are slow or racy on purpose, to see what the library promises. Only with `--lab`.
//!
//! Each does one thing to the session, and takes GET and POST alike so that a browser, `curl` and a
//! load generator can all drive it. Several of them at once make the races: a slow write and a
//! logout, a slow read and a write, twenty inserts. `waiting` and `release` let a test decide what
//! comes first, where a pause would only make it likely.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::any,
};
use ingle::{Login, LoginTicket, Session};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// The whole data of a session, whatever its fields.
pub(crate) type Data = Map<String, Value>;

/// What a route answers that has nothing to show.
type Done = Result<StatusCode, ingle::Error>;

const DONE: StatusCode = StatusCode::NO_CONTENT;

/// The field with the ticket for a login.
const TICKET: &str = "ticket";

/// The routes below `/lab`.
pub(crate) struct Routes {
    /// Those that are within the app's limits, and have a session.
    pub(crate) limited: Router,
    /// What must be answered where the limits are reached: who waits there waits for this.
    pub(crate) free: Router,
}

pub(crate) fn routes() -> Routes {
    let slowness = Arc::<Slowness>::default();
    let limited = Router::new()
        .route("/data", any(data))
        .route("/insert/{field}", any(insert))
        .route("/remove/{field}", any(remove))
        .route("/increment/{field}", any(increment))
        .route("/push/{field}", any(push))
        .route("/slow-write/{field}", any(slow_write))
        .route("/slow-read", any(slow_read))
        .route("/waiting", any(waiting))
        .route("/renew", any(renew))
        .route("/ticket/{user}", any(ticket))
        .route("/login/{user}", any(login))
        .route("/user", any(user))
        .route("/end-all", any(end_all))
        .route("/panic", any(panic))
        .with_state(Arc::clone(&slowness));
    let free = Router::new().route("/release", any(release)).with_state(slowness);
    Routes { limited, free }
}

#[derive(Deserialize)]
pub(crate) struct Written {
    #[serde(default)]
    pub(crate) value: String,
}

#[derive(Deserialize)]
pub(crate) struct Slow {
    /// How long a slow request waits if it is not released before; without it until it is.
    ms: Option<u16>,
}

impl Slow {
    async fn pass(&self) {
        match self.ms {
            Some(ms) => sleep(Duration::from_millis(ms.into())).await,
            None => pending().await,
        }
    }
}

/// The slow requests of this process.
#[derive(Debug, Default)]
pub(crate) struct Slowness {
    waiting: AtomicUsize,
    /// When those that wait at its last change go on.
    released: watch::Sender<Option<Instant>>,
}

impl Slowness {
    /// Reads a field, takes its time, and writes the field: a lost update, were it not refused.
    pub(crate) async fn write(
        &self,
        session: &Session,
        field: String,
        new: Written,
        slow: &Slow,
    ) -> Result<(), ingle::Error> {
        session.get::<Value>(&field).await?;
        self.wait(slow).await;
        session.insert(field, new.value)
    }

    /// Reads all of the session, takes its time, and returns what it had read.
    pub(crate) async fn read(&self, session: &Session, slow: &Slow) -> Result<Data, ingle::Error> {
        let data = session.data().await?;
        self.wait(slow).await;
        Ok(data)
    }

    /// How many slow requests have read and not yet gone on.
    pub(crate) fn waiting(&self) -> String {
        self.waiting.load(Ordering::SeqCst).to_string()
    }

    /// Lets all slow requests that wait now go on, at once or so much later.
    pub(crate) fn release(&self, later: &Slow) {
        let later = Duration::from_millis(later.ms.unwrap_or_default().into());
        self.released.send_replace(Some(Instant::now() + later));
    }

    async fn wait(&self, slow: &Slow) {
        // Made before it is counted, so that a caller who sees the count can release it.
        let mut released = self.released.subscribe();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Leaves(&self.waiting);
        select! {
            () = slow.pass() => {}
            () = until(&mut released) => {}
        }
    }
}

async fn until(released: &mut watch::Receiver<Option<Instant>>) {
    // The sender is the app's, so it is there.
    let _ = released.changed().await;
    let when = *released.borrow();
    if let Some(when) = when {
        sleep_until(when).await;
    }
}

/// Counts a request out, also one that is given up.
struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads all of the session and writes nothing.
async fn data(session: Session) -> Result<Json<Data>, ingle::Error> {
    Ok(Json(session.data().await?))
}

async fn insert(session: Session, Path(field): Path<String>, Query(new): Query<Written>) -> Done {
    session.insert(field, new.value)?;
    Ok(DONE)
}

async fn remove(session: Session, Path(field): Path<String>) -> Done {
    session.remove(field)?;
    Ok(DONE)
}

async fn increment(session: Session, Path(field): Path<String>) -> Done {
    session.increment(field, 1)?;
    Ok(DONE)
}

async fn push(session: Session, Path(field): Path<String>, Query(new): Query<Written>) -> Done {
    session.push(field, new.value)?;
    Ok(DONE)
}

async fn slow_write(
    State(slowness): State<Arc<Slowness>>,
    session: Session,
    Path(field): Path<String>,
    Query(new): Query<Written>,
    Query(slow): Query<Slow>,
) -> Done {
    slowness.write(&session, field, new, &slow).await?;
    Ok(DONE)
}

async fn slow_read(
    State(slowness): State<Arc<Slowness>>,
    session: Session,
    Query(slow): Query<Slow>,
) -> Result<Json<Data>, ingle::Error> {
    Ok(Json(slowness.read(&session, &slow).await?))
}

async fn waiting(State(slowness): State<Arc<Slowness>>) -> String {
    slowness.waiting()
}

async fn release(State(slowness): State<Arc<Slowness>>, Query(later): Query<Slow>) -> StatusCode {
    slowness.release(&later);
    DONE
}

/// Moves the session to a new id.
async fn renew(session: Session) -> Done {
    session.renew().await?;
    Ok(DONE)
}

/// Keeps a ticket for a login of this user in the session.
async fn ticket(session: Session, Path(user): Path<String>) -> Done {
    session.insert(TICKET, session.login_ticket(&user).await?)?;
    Ok(DONE)
}

/// Logs the user in whom the session has a ticket for, and whom nobody asks for a password.
async fn login(session: Session, Path(user): Path<String>) -> Done {
    let ticket: Option<LoginTicket> = session.get(TICKET).await?;
    let ticket = ticket.ok_or(ingle::Error::NotLoggedIn)?;
    session.login(Login::new(user).ticket(ticket)).await?;
    Ok(DONE)
}

/// The name of the user, or nothing.
async fn user(session: Session) -> Result<String, ingle::Error> {
    Ok(session.user().await?.map(|user| user.name).unwrap_or_default())
}

/// Ends all sessions of the user whom the session is logged in for.
async fn end_all(session: Session) -> Done {
    session.end_all().await?;
    Ok(DONE)
}

#[expect(clippy::panic, reason = "shows that a panic costs one answer and not the connection")]
async fn panic(session: Session) -> Done {
    session.insert("panicked", true)?;
    panic!("asked for by /lab/panic");
}
