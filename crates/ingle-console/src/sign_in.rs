//! The one-time code that an operator signs in with where the console serves itself.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use askama::Template;
use axum::{
    Router,
    extract::{Extension, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use ingle::{Named, clock::Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{
    Console,
    access::Grant,
    context::{Base, Top},
    cursor::random_text,
    form::{Form, Query},
    operators::{self, Operators, Within},
    problem::Problem,
    view::page,
};

const CODE_TIME: Duration = Duration::from_secs(10 * 60);

/// A code that was announced. Hashes are compared, so the time that it takes tells nothing of the code.
struct Code {
    hash: [u8; 32],
    ends: Timestamp,
}

/// Where operators sign in.
pub(crate) struct Desk {
    console: Console,
    address: SocketAddr,
    grant: Grant,
    announce: Box<dyn Fn(&str) + Send + Sync>,
    code: Mutex<Option<Code>>,
}

impl Desk {
    pub(crate) fn new(
        console: Console,
        address: SocketAddr,
        grant: Grant,
        announce: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self { console, address, grant, announce, code: Mutex::default() }
    }

    fn now(&self) -> Timestamp {
        self.console.0.sessions.now()
    }

    /// Announces a code, unless one is still good: nobody can make the terminal scroll.
    pub(crate) fn announce(&self) -> Result<(), getrandom::Error> {
        let mut known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|code| self.now() < code.ends) {
            return Ok(());
        }
        let code = random_text()?;
        *known =
            Some(Code { hash: Sha256::digest(&code).into(), ends: self.now().after(CODE_TIME) });
        drop(known);
        (self.announce)(&format!("http://{}/sign-in#code={code}", self.address));
        Ok(())
    }

    /// Takes the code away, if it is this one and still good.
    fn redeem(&self, text: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(text.trim()).into();
        let mut known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        known.take_if(|code| code.hash == hash && self.now() < code.ends).is_some()
    }
}

pub(crate) fn routes(desk: Arc<Desk>) -> Router<Console> {
    Router::new()
        .route("/sign-in", get(form).post(sign_in))
        .route("/sign-in/code", post(another_code))
        .route("/sign-out", post(sign_out))
        .with_state(desk)
}

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage {
    top: Top,
    then: String,
    said: &'static str,
    is_wrong: bool,
}

fn sign_in_page(status: StatusCode, then: &Within, said: &'static str, is_wrong: bool) -> Response {
    let top = Top::new(Base::default(), None, "sign-in");
    page(status, &SignInPage { top, then: then.unless_home().to_owned(), said, is_wrong })
}

async fn form(session: Named<Operators>, Query(query): Query) -> Result<Response, Problem> {
    let then = Within::read(query.text("then"));
    if operators::signed_in(&session).await?.is_some() {
        return Ok(then.redirect(&Base::default()).into_response());
    }
    let said = match query.text("said") {
        "out" => "You are signed out.",
        "code" => "The terminal shows an address that signs you in.",
        _ => "",
    };
    Ok(sign_in_page(StatusCode::OK, &then, said, false))
}

async fn sign_in(
    State(desk): State<Arc<Desk>>,
    session: Named<Operators>,
    form: Form,
) -> Result<Response, Problem> {
    let then = Within::read(form.text("then"));
    if !desk.redeem(form.text("code")) {
        tracing::warn!("a sign-in to the console was refused: its code is not good");
        let said = "This code is not good, or not any more: each is good once, for 10 minutes.";
        return Ok(sign_in_page(StatusCode::FORBIDDEN, &then, said, true));
    }
    operators::sign_in(&session, &desk.grant).await?;
    tracing::info!("an operator signed in to the console");
    Ok(then.redirect(&Base::default()).into_response())
}

async fn another_code(State(desk): State<Arc<Desk>>) -> Result<Redirect, Problem> {
    desk.announce()?;
    Ok(Redirect::to("/sign-in?said=code"))
}

/// Ends the operator's session, wherever it was begun.
pub(crate) async fn sign_out(
    Extension(base): Extension<Base>,
    session: Named<Operators>,
) -> Result<Redirect, Problem> {
    session.logout().await?;
    Ok(Redirect::to(&base.to("/sign-in?said=out")))
}
