//! Logging in and out.

use std::time::{Duration, Instant};

use axum::{
    Form,
    extract::{FromRequestParts, Query, State},
    http::{HeaderMap, Method, StatusCode, header::USER_AGENT, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use ingle::{Error, Label, Lifetime, Login, Session, User};
use serde::Deserialize;

use super::{
    Accounts,
    file::is_name,
    pages::{AlreadyIn, LoginForm, Page, Problem, Said, respond, respond_with, too_many},
};

/// "Remember me": so long without a visit, and so long at all (NIST SP 800-63B-4, the lowest of its
/// levels).
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long ago a user may have proved who they are where more than a session is asked for.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// The query of a page that leads on to another one.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    pub(crate) next: String,
    #[serde(default)]
    said: String,
}

/// What a browser sends from the form.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Typed {
    name: String,
    password: String,
    remember: Option<String>,
    next: String,
}

/// The form.
pub(crate) async fn page(
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let (said, next) = (Said::of(&asked.said), Page::of(&asked.next));
    match session.user().await {
        Ok(Some(User { name, .. })) => Ok(respond(AlreadyIn { user: Some(name), said })),
        // The browser may still have the cookie of a session that was ended elsewhere.
        Ok(None) | Err(Error::Interrupted) => {
            Ok(respond(LoginForm { said, next, ..LoginForm::default() }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Checks the password, and logs the user in.
pub(crate) async fn log_in(
    State(accounts): State<Accounts>,
    session: Session,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    let Typed { name, password, remember, next } = typed;
    let (name, next) = (name.trim(), Page::of(&next));
    // What no account is called is nobody's, and costs as much.
    let known = Some(name).filter(|name| is_name(name));
    let form = LoginForm {
        name: known.unwrap_or_default().to_owned(),
        remember: remember.is_some(),
        next,
        ..LoginForm::default()
    };
    // Before the password is looked up. If it is changed from here on, and all sessions of the user are
    // ended, then the ticket is worth nothing, and neither is the old password.
    let ticket = match known {
        Some(name) => Some(session.login_ticket(name).await?),
        None => None,
    };
    let tried = known.unwrap_or_default();
    if let Err(wait) = accounts.logins.take(tried, Instant::now()) {
        return Ok(too_many(wait, |wrong| LoginForm { wrong, ..form }));
    }
    let checked = accounts.passwords.check(name.to_owned(), password).await;
    let is_right = checked.inspect_err(|_| accounts.logins.give_back(tried, Instant::now()))?;
    let Some(ticket) = ticket.filter(|_| is_right) else {
        let wrong = "This name and this password do not belong together.".to_owned();
        return Ok(respond_with(StatusCode::UNPROCESSABLE_ENTITY, LoginForm { wrong, ..form }));
    };
    accounts.logins.forget(name);
    let login = Login::new(name).ticket(ticket).label(label(&headers));
    let login = match form.remember {
        true => login.remember(REMEMBERED).lifetime(Lifetime::AAL1),
        false => login,
    };
    session.login(login).await?;
    Ok(next.redirect())
}

/// Ends the session, also one that nobody is logged in with.
pub(crate) async fn log_out(session: Session) -> Result<Redirect, Problem> {
    session.logout().await?;
    Ok(Said::LoggedOut.redirect(Page::Home))
}

/// What a user is to know the session by: the kind of browser and of system.
fn label(headers: &HeaderMap) -> Label {
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    Label::coarse(user_agent.unwrap_or_default())
}

/// The session of a user who is logged in. Others are sent to the login.
pub(crate) struct Member {
    pub(crate) session: Session,
    pub(crate) user: User,
}

/// The same, of one who has given the password a moment ago. Others are asked for it.
pub(crate) struct Fresh(pub(crate) Member);

impl<S: Sync> FromRequestParts<S> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let session = session(parts, state).await?;
        match session.user().await {
            Ok(Some(user)) => Ok(Self { session, user }),
            Ok(None) => Err(to_login(parts)),
            Err(error) => Err(error.into_response()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Fresh {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let session = session(parts, state).await?;
        match session.require_fresh(FRESH).await {
            Ok(user) => Ok(Self(Member { session, user })),
            Err(Error::NotLoggedIn) => Err(to_login(parts)),
            Err(Error::NotFresh) => {
                let next = Page::at(parts.uri.path()).name();
                Err(Redirect::to(&format!("/confirm?next={next}")).into_response())
            }
            Err(error) => Err(error.into_response()),
        }
    }
}

async fn session<S: Sync>(parts: &mut Parts, state: &S) -> Result<Session, Response> {
    <Session as FromRequestParts<S>>::from_request_parts(parts, state)
        .await
        .map_err(|error| error.into_response())
}

fn to_login(parts: &Parts) -> Response {
    let said = if parts.method == Method::GET { Said::LogIn } else { Said::Expired };
    said.redirect(Page::at(parts.uri.path())).into_response()
}
