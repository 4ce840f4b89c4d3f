//! Where operators sign in by a provider of OpenID Connect, and sign out again.
//!
//! What a sign-in has to know when somebody comes back is in a cookie, by the `state`. So each tab has its
//! own, each is good once, and that of another browser is worth nothing. A session begins when it is known
//! who somebody is.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{Extension, State},
    http::{HeaderMap, StatusCode, header},
    middleware::from_fn,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use ingle::{Named, Session, SessionLayer, clock::Clock};
use ingle_operator::{inert, shortened};

use super::{Refused, begun::Begun, oidc::Oidc};
use crate::{
    Console,
    access::PublicUrl,
    context::{Base, Top},
    form::{Form, Query, address},
    operators::{self, Operators, Within},
    problem::Problem,
    sign_in::sign_out,
    view::page,
};

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

    fn stale(&self, base: Base) -> Response {
        self.page(base, &Within::read(""), StatusCode::BAD_REQUEST, Said::Stale)
    }

    /// Signs in whoever the provider says it is.
    async fn come_back(
        &self,
        base: Base,
        session: &Session,
        query: &Form,
        begun: &Begun,
    ) -> Result<Response, Problem> {
        let (then, now) = (&begun.then, self.clock.now());
        let Some(code) = query.field("code").filter(|_| query.field("error").is_none()) else {
            let error = shortened(query.text("error"), 80);
            tracing::warn!(%error, "the provider did not sign somebody in");
            return Ok(self.page(base, then, StatusCode::FORBIDDEN, Said::Denied));
        };
        let answer = (code, query.field("iss"));
        let grant = match self.oidc.redeem(&self.url, now, begun, answer).await {
            Ok(grant) => grant,
            Err(refused) => return Ok(self.refuse(base, then, refused)),
        };
        if !self.oidc.begins.use_up(begun, now) {
            return Ok(self.stale(base));
        }
        operators::sign_in(session, &grant).await?;
        let (operator, role) = (inert(&grant.name), grant.role.name());
        tracing::info!(%operator, role, "an operator signed in to the console");
        Ok(then.redirect(&base).into_response())
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

/// Sends somebody to the provider. It is a link and no form: the policy of the pages lets forms lead
/// nowhere else.
async fn begin(
    State(desk): State<Arc<Desk>>,
    Extension(base): Extension<Base>,
    headers: HeaderMap,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (oidc, now) = (&desk.oidc, desk.clock.now());
    let then = Within::read(query.text("then"));
    let (begun, cookie) = oidc.begins.begin(&desk.url, &headers, then, now)?;
    match oidc.begin(&desk.url, now, &begun).await {
        Ok(to) => Ok(([(header::SET_COOKIE, cookie)], Redirect::to(to.as_str())).into_response()),
        Err(refused) => Ok(desk.refuse(base, &begun.then, refused)),
    }
}

/// Somebody comes back from the provider.
async fn callback(
    State(desk): State<Arc<Desk>>,
    Extension(base): Extension<Base>,
    session: Named<Operators>,
    headers: HeaderMap,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (begins, now) = (&desk.oidc.begins, desk.clock.now());
    let Some((begun, cookie)) = begins.take(&desk.url, &headers, query.text("state"), now) else {
        return Ok(desk.stale(base));
    };
    let answer = desk.come_back(base, &session, &query, &begun).await?;
    Ok(([(header::SET_COOKIE, cookie)], answer).into_response())
}
