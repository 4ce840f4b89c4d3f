//! Where operators sign in by a provider of OpenID Connect, and sign out again.
//!
//! What a sign-in has to know when somebody comes back is a ticket of their session, and its text is the
//! `state`. So each tab has its own, each is good once, and that of another browser is worth nothing.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Router,
    extract::{Extension, State},
    http::StatusCode,
    middleware::from_fn,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use ingle::{Error, Named, SessionLayer, clock::Clock};
use ingle_operator::inert;
use serde::{Deserialize, Serialize};

use super::{
    Refused,
    oidc::{Begun, Oidc},
};
use crate::{
    Console,
    access::PublicUrl,
    context::{Base, Top},
    form::{Query, address},
    operators::{self, Operators, Within},
    problem::Problem,
    sign_in::sign_out,
    view::page,
};

/// How long somebody may take at the provider.
const TIME: Duration = Duration::from_secs(10 * 60);

/// What the tickets are for.
const TICKET: &str = "sign-in";

/// Where people sign in.
struct Desk {
    oidc: Oidc,
    url: PublicUrl,
    clock: Arc<dyn Clock>,
}

/// The routes for those who have signed in, and where they do so.
pub(crate) fn around(
    routes: Router<Console>,
    oidc: Oidc,
    url: PublicUrl,
    operators: SessionLayer,
    console: &Console,
) -> Router<Console> {
    let clock = operators::clock_of(&console.0.sessions);
    let desk = Arc::new(Desk { oidc, url, clock: Arc::clone(&clock) });
    let signed_in = routes.layer(from_fn(operators::must_be_signed_in));
    signed_in.merge(pages(desk)).layer(operators.clock(clock))
}

fn pages(desk: Arc<Desk>) -> Router<Console> {
    Router::new()
        .route("/sign-in", get(sign_in))
        .route("/sign-in/begin", get(begin))
        .route("/sign-in/callback", get(callback))
        .route("/sign-out", post(sign_out))
        .with_state(desk)
}

#[derive(Template)]
#[template(path = "sign-in-provider.html")]
struct SignInPage {
    top: Top,
    host: String,
    begin: String,
    end: Option<String>,
    said: &'static str,
    is_wrong: bool,
}

impl Desk {
    fn page(&self, base: Base, then: &Within, status: StatusCode, said: Said) -> Response {
        let begin = address(&base.to("/sign-in/begin"), &[("then", then.unless_home())]);
        // Whoever has signed out here may be signed in there still.
        let end = self.oidc.end(&self.url).filter(|_| said == Said::Out);
        let shown = SignInPage {
            top: Top::new(base, None, "sign-in"),
            host: inert(self.oidc.host()),
            begin,
            end: end.map(String::from),
            said: said.text(),
            is_wrong: !matches!(said, Said::Nothing | Said::Out),
        };
        page(status, &shown)
    }

    /// What whoever comes to sign in is told when it did not work.
    fn refuse(&self, base: Base, then: &Within, refused: Refused) -> Response {
        let is_down = matches!(refused, Refused::Unreachable(_));
        let is_unproven = matches!(refused, Refused::Unproven(_));
        let problem = refused.problem();
        match (is_down, is_unproven) {
            (true, _) => self.page(base, then, problem.status, Said::Down),
            (_, true) => self.page(base, then, problem.status, Said::Unproven),
            _ => problem.into_response(),
        }
    }
}

/// What the page says above the way to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Out,
    Down,
    Stale,
    Denied,
    Unproven,
}

impl Said {
    fn text(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Out => "You are signed out.",
            Self::Down => {
                "The provider does not answer as it should, so nobody can sign in now. Try again in a \
                 moment. Whoever is signed in stays so."
            }
            Self::Stale => {
                "This sign-in was begun in another browser, took longer than 10 minutes, or was used. \
                 Begin again."
            }
            Self::Denied => {
                "The provider did not sign you in. Begin again, or ask whoever runs it."
            }
            Self::Unproven => {
                "What the provider said could not be believed, so you are not signed in. The log of the \
                 console says why. Begin again."
            }
        }
    }
}

/// What a sign-in has to know when somebody comes back.
#[derive(Deserialize, Serialize)]
struct Kept {
    begun: Begun,
    then: String,
}

async fn sign_in(
    State(desk): State<Arc<Desk>>,
    Extension(base): Extension<Base>,
    session: Named<Operators>,
    Query(query): Query,
) -> Result<Response, Problem> {
    let then = Within::read(query.text("then"));
    if operators::signed_in(&session).await?.is_some() {
        return Ok(then.redirect(&base).into_response());
    }
    let said = if query.text("said") == "out" { Said::Out } else { Said::Nothing };
    Ok(desk.page(base, &then, StatusCode::OK, said))
}

/// Why a sign-in cannot begin.
enum NotBegun {
    Refused(Refused),
    Failed(Error),
}

impl From<Refused> for NotBegun {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Sends somebody to the provider. It is a link and no form: the policy of the pages lets forms lead
/// nowhere else.
async fn begin(
    State(desk): State<Arc<Desk>>,
    Extension(base): Extension<Base>,
    session: Named<Operators>,
    Query(query): Query,
) -> Result<Response, Problem> {
    let then = Within::read(query.text("then"));
    let keep = |begun| {
        let kept = Kept { begun, then: then.unless_home().to_owned() };
        session.issue(TICKET, &kept, TIME).map_err(NotBegun::Failed)
    };
    match desk.oidc.begin(&desk.url, desk.clock.now(), keep).await {
        Ok(url) => Ok(Redirect::to(url.as_str()).into_response()),
        Err(NotBegun::Refused(refused)) => Ok(desk.refuse(base, &then, refused)),
        Err(NotBegun::Failed(error)) => Err(error.into()),
    }
}

/// Somebody comes back from the provider.
async fn callback(
    State(desk): State<Arc<Desk>>,
    Extension(base): Extension<Base>,
    session: Named<Operators>,
    Query(query): Query,
) -> Result<Response, Problem> {
    let kept: Option<Kept> = session.redeem(TICKET, query.text("state")).await?;
    let Some(Kept { begun, then }) = kept else {
        let home = Within::read("");
        return Ok(desk.page(base, &home, StatusCode::BAD_REQUEST, Said::Stale));
    };
    let then = Within::read(&then);
    let Some(code) = query.field("code").filter(|_| query.field("error").is_none()) else {
        tracing::warn!(error = %inert(query.text("error")), "the provider did not sign somebody in");
        return Ok(desk.page(base, &then, StatusCode::FORBIDDEN, Said::Denied));
    };
    match desk.oidc.redeem(&desk.url, desk.clock.now(), begun, (code, query.field("iss"))).await {
        Ok(grant) => {
            operators::sign_in(&session, &grant).await?;
            let (operator, role) = (inert(&grant.name), grant.role.name());
            tracing::info!(%operator, role, "an operator signed in to the console");
            Ok(then.redirect(&base).into_response())
        }
        Err(refused) => Ok(desk.refuse(base, &then, refused)),
    }
}
