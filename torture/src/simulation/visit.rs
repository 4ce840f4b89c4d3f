//! One visit: what a client asks, what the handler does with the session, and what is told of it.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use ingle::{Error, Session};
use serde::{Deserialize, Serialize};

/// What is in a session here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Doc {
    /// The name of the session's life: its first visit's token.
    pub(crate) life: String,
    /// Each change adds a token of its own.
    pub(crate) tokens: Vec<u32>,
    /// Counted by increments.
    pub(crate) views: u64,
    /// Counted by a read and an insert.
    pub(crate) counted: u64,
    /// Only what is refused is here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) ballast: String,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Adds its token in a transaction.
    Update,
    /// Adds its token and counts a view by edits, after a look at the session.
    Edit,
    /// Adds its token without a look.
    Blind,
    /// Counts by reading and inserting.
    Count,
    /// Adds its token together with more than a session may hold.
    TooMuch,
    Read,
    Renew,
    Destroy,
}

impl Kind {
    pub(crate) const ALL: [(Self, u8); 8] = [
        (Self::Update, 30),
        (Self::Edit, 15),
        (Self::Blind, 10),
        (Self::Count, 10),
        (Self::TooMuch, 3),
        (Self::Read, 20),
        (Self::Renew, 8),
        (Self::Destroy, 4),
    ];

    /// Whether it is committed when the response leaves, and so told by the response.
    fn is_edits(self) -> bool {
        matches!(self, Self::Edit | Self::Blind | Self::Count)
    }

    /// Whether its token is in the data if it was done.
    pub(crate) fn adds(self) -> bool {
        matches!(self, Self::Update | Self::Edit | Self::Blind | Self::TooMuch)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Refused,
    Unknown,
}

/// What a handler has told of its work so far, which outlives a client that hangs up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) life: Option<String>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) seen: Option<Doc>,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) kind: Kind,
    pub(crate) token: u32,
    told: Arc<Mutex<Told>>,
}

impl Task {
    pub(crate) fn new(kind: Kind, token: u32) -> Self {
        Self { kind, token, told: Arc::default() }
    }

    pub(crate) fn told(&self) -> Told {
        self.tell(|told| told.clone())
    }

    fn tell<R>(&self, tell: impl FnOnce(&mut Told) -> R) -> R {
        tell(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A visit that is over.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) client: usize,
    pub(crate) process: usize,
    pub(crate) kind: Kind,
    pub(crate) token: u32,
    /// The number of the cookie that it brought.
    pub(crate) cookie: Option<usize>,
    /// The number of the one that it got.
    pub(crate) got: Option<usize>,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// Whether the client hung up.
    pub(crate) hung_up: bool,
    /// The life of the session that it saw or began.
    pub(crate) life: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) seen: Option<Doc>,
}

/// The app: does what the body says with the session of the request.
pub(crate) async fn handle(request: Request<Task>) -> Result<Response<String>, Infallible> {
    let session = request.extensions().get::<Session>().cloned();
    let task = request.into_body();
    let Some(session) = session else { return Ok(Response::new("no session".to_owned())) };
    let done = work(&task, &session).await;
    let outcome = outcome_of(&done);
    // What is committed with the response, the response tells.
    if !task.kind.is_edits() || outcome != Outcome::Done {
        task.tell(|told| told.outcome = Some(outcome));
    }
    Ok(match done {
        Ok(()) => Response::new(String::new()),
        Err(error) => error.response().into_http(),
    })
}

fn outcome_of(done: &Result<(), Error>) -> Outcome {
    match done {
        Ok(()) => Outcome::Done,
        Err(Error::OutcomeUnknown) => Outcome::Unknown,
        Err(_) => Outcome::Refused,
    }
}

async fn work(task: &Task, session: &Session) -> Result<(), Error> {
    let Task { kind, token, .. } = *task;
    let live = |life: String| task.tell(|told| told.life = Some(life));
    match kind {
        Kind::Update | Kind::TooMuch => {
            let ballast = if kind == Kind::TooMuch { 70_000 } else { 0 };
            let change = move |doc: &mut Doc| {
                doc.tokens.push(token);
                doc.ballast = "x".repeat(ballast);
                if doc.life.is_empty() {
                    doc.life = token.to_string();
                }
                doc.life.clone()
            };
            live(session.update(change).await?);
        }
        Kind::Edit => {
            live(life(session, token).await?);
            session.push("tokens", token)?;
            session.increment("views", 1)?;
        }
        Kind::Blind => session.push("tokens", token)?,
        Kind::Count => {
            live(life(session, token).await?);
            let counted: u64 = session.get("counted").await?.unwrap_or_default();
            session.insert("counted", counted + 1)?;
        }
        Kind::Read => {
            let doc: Doc = session.data().await?;
            live(doc.life.clone());
            task.tell(|told| told.seen = Some(doc));
        }
        Kind::Renew | Kind::Destroy => {
            if let Some(life) = session.get::<String>("life").await? {
                live(life);
            }
            if kind == Kind::Renew { session.renew().await? } else { session.destroy().await? }
        }
    }
    Ok(())
}

/// The life of the session, which begins with this visit if there is none.
async fn life(session: &Session, token: u32) -> Result<String, Error> {
    Ok(match session.get::<String>("life").await? {
        Some(life) => life,
        None => {
            session.insert("life", token.to_string())?;
            token.to_string()
        }
    })
}

/// What a response tells of edits.
pub(crate) fn told_by(response: &Response<String>) -> Outcome {
    if response.status().is_success() {
        Outcome::Done
    } else if response.body().starts_with("It is not known") {
        Outcome::Unknown
    } else {
        Outcome::Refused
    }
}
