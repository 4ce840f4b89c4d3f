//! What a handler knows of its request: who asks, where the console is mounted, what time it is, and the
//! sessions, on which all that they do is written down.

use axum::{
    extract::{FromRequestParts, Path},
    http::{StatusCode, request::Parts},
};
use ingle::{Handle, Sessions, StoredSession, clock::Timestamp};
use ingle_operator::{ago, inert, instant, shortened};
use serde::Serialize;

use crate::{
    Console,
    access::{Grant, Role},
    cursor::Cursors,
    problem::Problem,
};

/// The path that the console is mounted at, without a slash at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    pub(crate) fn new(path: &str) -> Self {
        Self(path.trim_end_matches('/').to_owned())
    }

    pub(crate) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    pub(crate) fn home(&self) -> String {
        if self.0.is_empty() { "/".to_owned() } else { self.0.clone() }
    }
}

/// Whether the console can sign the operator out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedIn;

/// A request of somebody who may use the console.
pub(crate) struct Context {
    pub(crate) console: Console,
    pub(crate) base: Base,
    pub(crate) grant: Grant,
    /// The sessions, operated by whoever asks.
    pub(crate) sessions: Sessions,
    can_sign_out: bool,
}

impl Context {
    /// Whether whoever asks has this role, or one that may do more.
    pub(crate) fn is(&self, role: Role) -> bool {
        self.grant.role >= role
    }

    /// Refuses whoever may not do this.
    pub(crate) fn must_be(&self, role: Role) -> Result<(), Problem> {
        if self.is(role) {
            return Ok(());
        }
        let (operator, has, takes) = (inert(&self.grant.name), self.grant.role.name(), role.name());
        tracing::warn!(%operator, role = has, "an operator was refused what takes the role {takes}");
        let text =
            format!("Your role is {has}, and this takes the role {takes}. Nothing was changed.");
        Err(Problem::new(StatusCode::FORBIDDEN, "You may not do this", text))
    }

    pub(crate) fn cursors(&self) -> &Cursors {
        &self.console.0.cursors
    }

    /// The frame of a page.
    pub(crate) fn top(&self, at: &'static str) -> Top {
        let top = Top::new(self.base.clone(), Some(self.grant.clone()), at);
        Top { can_sign_out: self.can_sign_out, ..top }
    }

    pub(crate) fn when(&self, at: Timestamp) -> When {
        When::of(at, self.sessions.now())
    }

    /// The live session of a handle.
    pub(crate) async fn session(&self, handle: &str) -> Result<StoredSession, Problem> {
        let handle = handle_of(handle)?;
        self.sessions.find(&handle).await?.ok_or_else(Problem::no_session)
    }

    /// Where the page of a session is.
    pub(crate) fn href(&self, session: &StoredSession) -> String {
        self.base.to(&format!("/sessions/{}", session.info().handle))
    }
}

pub(crate) fn handle_of(text: &str) -> Result<Handle, Problem> {
    text.parse().map_err(|_| Problem::bad_request("A handle is 16 hexadecimal digits."))
}

/// An instant as people say it, and exactly.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct When {
    pub(crate) ago: String,
    pub(crate) exact: String,
}

impl When {
    pub(crate) fn of(at: Timestamp, now: Timestamp) -> Self {
        Self { ago: ago(at, now), exact: instant(at) }
    }
}

impl FromRequestParts<Console> for Context {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let Some(grant) = parts.extensions.get::<Grant>().cloned() else {
            let text = "The app has not said who you are, or you may not use its console. Log in \
                        there, and ask for access.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "No access", text));
        };
        let base = parts.extensions.get::<Base>().cloned().unwrap_or_default();
        let sessions = console.0.sessions.operated_by(grant.operator());
        let can_sign_out = parts.extensions.get::<SignedIn>().is_some();
        Ok(Self { console: console.clone(), base, grant, sessions, can_sign_out })
    }
}

/// A request about a live session, of somebody who may edit it.
pub(crate) struct Editing(pub(crate) Context, pub(crate) StoredSession);

/// The same of somebody who may end it.
pub(crate) struct Ending(pub(crate) Context, pub(crate) StoredSession);

impl FromRequestParts<Console> for Editing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        on_session(parts, console, Role::Editor)
            .await
            .map(|(context, session)| Self(context, session))
    }
}

impl FromRequestParts<Console> for Ending {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        on_session(parts, console, Role::Operator)
            .await
            .map(|(context, session)| Self(context, session))
    }
}

/// The session of the address, for whoever has this role.
async fn on_session(
    parts: &mut Parts,
    console: &Console,
    role: Role,
) -> Result<(Context, StoredSession), Problem> {
    let context = Context::from_request_parts(parts, console).await?;
    context.must_be(role)?;
    let handle = Path::<String>::from_request_parts(parts, console).await;
    let Path(handle) = handle.map_err(|_| Problem::bad_request("The address names no session."))?;
    let session = context.session(&handle).await?;
    Ok((context, session))
}

/// What the frame of each page shows.
#[derive(Clone, Debug)]
pub(crate) struct Top {
    pub(crate) base: Base,
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) at: &'static str,
    pub(crate) can_sign_out: bool,
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) search: String,
    pub(crate) icon: String,
}

impl Top {
    pub(crate) fn new(base: Base, grant: Option<Grant>, at: &'static str) -> Self {
        let [style, script, search, icon] = crate::assets::paths().map(|path| base.to(&path));
        let role = grant.as_ref().map_or("", |grant| grant.role.name());
        let name = grant.map(|grant| shortened(&grant.name, 40));
        let name = name.unwrap_or_default();
        Self { base, name, role, at, can_sign_out: false, style, script, search, icon }
    }

    pub(crate) fn to(&self, path: &str) -> String {
        self.base.to(path)
    }
}
