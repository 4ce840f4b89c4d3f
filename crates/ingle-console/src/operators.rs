//! The console's own sessions: ingle's, in the memory of this process. Each is of an operator who has
//! signed in. Nobody else has one, so that nobody can use up what operators need.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use ingle::{
    Cookie, CookieConfig, Error, Lifetime, Named, SameSite, Session, SessionLayer, SessionName,
    Sessions,
    clock::{Clock, Timestamp},
    store::Memory,
};

#[cfg(feature = "oidc")]
use crate::access::PublicUrl;
use crate::{
    access::{Grant, InvalidAccess, Role},
    api,
    context::{Base, SignedIn},
    form::address,
    problem::Problem,
};

/// An operator who leaves is signed out after this time, and in any case after [`LONGEST`].
const IDLE: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(8 * 60 * 60);

/// The fields of such a session.
const ROLE: &str = "role";
const FROM: &str = "from";

/// The name of the operators' sessions.
pub(crate) struct Operators;

impl SessionName for Operators {}

/// The cookie of a console on this machine. Browsers do not tell the ports of a host apart, so that of each
/// console has a name of its own.
pub(crate) fn loopback_cookie(port: u16) -> CookieConfig {
    CookieConfig {
        name: format!("ingle-console-{port}"),
        same_site: SameSite::Strict,
        ..CookieConfig::development()
    }
}

/// The cookie of a console that others reach. It is sent when a provider sends somebody back, so it cannot
/// be `Strict`.
#[cfg(feature = "oidc")]
pub(crate) fn public_cookie(url: &PublicUrl) -> CookieConfig {
    let rest = match url.is_https() {
        true => CookieConfig::default(),
        false => CookieConfig::development(),
    };
    CookieConfig { name: cookie_name(url, "console"), ..rest }
}

/// What a cookie there is called: by HTTPS no other host of the domain can set it.
#[cfg(feature = "oidc")]
pub(crate) fn cookie_name(url: &PublicUrl, name: &str) -> String {
    let host = if url.is_https() { "__Host-" } else { "" };
    let port = url.port().map(|port| format!("-{port}")).unwrap_or_default();
    format!("{host}{name}{port}")
}

/// The layer of the operators' sessions.
pub(crate) fn layer(cookie: CookieConfig) -> Result<SessionLayer, InvalidAccess> {
    let cookie = Cookie::new(cookie).map_err(|error| InvalidAccess::new(error.to_string()))?;
    let lifetime =
        Lifetime::new(IDLE, LONGEST).map_err(|error| InvalidAccess::new(error.to_string()))?;
    let layer = SessionLayer::new(Memory::new()).named::<Operators>().namespace("ingle-console");
    Ok(layer.cookie(cookie).lifetime(lifetime))
}

/// The clock of the app's sessions.
#[derive(Debug)]
struct ClockOf(Sessions);

impl Clock for ClockOf {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

pub(crate) fn clock_of(sessions: &Sessions) -> Arc<dyn Clock> {
    Arc::new(ClockOf(sessions.clone()))
}

/// Signs somebody in. The session has a new id then, and what another one left in it is gone.
pub(crate) async fn sign_in(session: &Session, grant: &Grant) -> Result<(), Error> {
    session.login(grant.name.as_str()).await?;
    session.insert(ROLE, grant.role.name())?;
    session.insert(FROM, grant.from.as_deref())
}

/// Who has signed in: nobody, if the session has just ended.
pub(crate) async fn signed_in(session: &Session) -> Result<Option<Grant>, Error> {
    match grant_in(session).await {
        Err(Error::Interrupted) => Ok(None),
        found => found,
    }
}

async fn grant_in(session: &Session) -> Result<Option<Grant>, Error> {
    let Some(user) = session.user().await? else { return Ok(None) };
    let role: Option<String> = session.get(ROLE).await?;
    let Some(role) = role.as_deref().and_then(Role::of_name) else { return Ok(None) };
    Ok(Some(Grant { name: user.name, from: session.get(FROM).await?.flatten(), role }))
}

/// Lets those through who have signed in.
pub(crate) async fn must_be_signed_in(
    session: Named<Operators>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path.starts_with("/assets/") {
        return next.run(request).await;
    }
    // A page that is open by itself is no use of the session.
    if path.ends_with("/live") {
        session.skip_touch();
    }
    match signed_in(&session).await {
        Ok(Some(grant)) => {
            request.extensions_mut().insert(grant.clone());
            request.extensions_mut().insert(SignedIn);
            let mut response = next.run(request).await;
            response.extensions_mut().insert(grant);
            response
        }
        Ok(None) if request.method() == Method::GET && wants_page(&request) => {
            let base = request.extensions().get::<Base>().cloned().unwrap_or_default();
            let then = Within::of(request.uri());
            let href = address(&base.to("/sign-in"), &[("then", then.unless_home())]);
            Redirect::to(&href).into_response()
        }
        Ok(None) => {
            let text = "You are not signed in, or not any more. Nothing was changed.";
            Problem::new(StatusCode::UNAUTHORIZED, "Sign in first", text).into_response()
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

fn wants_page(request: &Request) -> bool {
    // What ends in a slash there is the page about it.
    let path = request.uri().path();
    if path.starts_with(api::PREFIX) && !path.ends_with('/') {
        return false;
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_none_or(|accept| !accept.contains("text/event-stream"))
}

/// A page of this console, as the path that leads to it from the console's root. Whatever a request says,
/// it leads nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Within(String);

impl Within {
    const HOME: &str = "/";

    /// A longer one leads home.
    const BYTES_MAX: usize = 1024;

    /// Reads what a request says. What is no path of this console leads home.
    pub(crate) fn read(text: &str) -> Self {
        // Browsers take `//host` and `/\host` for another host.
        let is_path = text.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\']));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        // Browsers go up by `..`, however it is written, and so out of the console.
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let goes_up =
            path.to_ascii_lowercase().replace("%2e", ".").split('/').any(|part| part == "..");
        let fits = is_path && is_plain && !goes_up && text.len() <= Self::BYTES_MAX;
        Self(if fits { text } else { Self::HOME }.to_owned())
    }

    fn of(uri: &Uri) -> Self {
        Self::read(uri.path_and_query().map_or(Self::HOME, |path| path.as_str()))
    }

    /// The path, or nothing for the first page.
    pub(crate) fn unless_home(&self) -> &str {
        if self.0 == Self::HOME { "" } else { &self.0 }
    }

    pub(crate) fn redirect(&self, base: &Base) -> Redirect {
        match self.unless_home() {
            "" => Redirect::to(&base.home()),
            path => Redirect::to(&base.to(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_leads_home() {
        for text in [
            "/sessions",
            "/sessions?q=a+b&after=x",
            "/user?name=//evil",
            "/a//b",
            "/a..b/...?q=/../",
        ] {
            assert_eq!(Within::read(text).unless_home(), text);
        }
        let long = format!("/{}", "a".repeat(Within::BYTES_MAX));
        for text in [
            "",
            "/",
            "//evil.example",
            "/../logout",
            "/sessions/.%2E/../%2e%2e/logout?a=b",
            "/..#top",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "evil.example",
            "sessions",
            " /sessions",
            "/sessions\r\nSet-Cookie: a=b",
            "/\t/evil.example",
            "/a\\..\\evil",
            "/é",
            &long,
        ] {
            assert_eq!(Within::read(text).unless_home(), "", "{text:?}");
        }
    }
}
