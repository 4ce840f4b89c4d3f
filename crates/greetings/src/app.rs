//! The tutorial's app: one page that greets a visitor and counts the views.
//!
//! [`Visit`], [`visit`] and [`home`] are all that it does with a session. Everything about versions, races
//! and cookies is the library's; everything about connections is in `server.rs`, and what
//! one request may take in `limit.rs`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use ingle::{Session, SessionLayer, store::Store};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    access::NoteSession,
    accounts::{self, Accounts, Streams},
    lab,
    limit::Limit,
};

const GREETINGS: [&str; 5] =
    ["Hello World", "Hallo Welt", "Ciao Mondo", "Salut le Monde", "Hola Mundo"];

/// A store that has not answered by then is not ready, if nothing else was said.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(1);

/// What a session of this app holds.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Visit {
    pub(crate) greeting: String,
    pub(crate) views: u64,
}

async fn home(session: Session) -> Result<Html<String>, ingle::Error> {
    Ok(Html(page(&session).await?))
}

/// Greets, and counts the view.
pub(crate) async fn visit(session: &Session) -> Result<Visit, ingle::Error> {
    session
        .update(|visit: &mut Visit| {
            if visit.greeting.is_empty() {
                visit.greeting = any_greeting();
            }
            visit.views = visit.views.saturating_add(1);
            visit.clone()
        })
        .await
}

pub(crate) async fn page(session: &Session) -> Result<String, ingle::Error> {
    let visit = visit(session).await?;
    let greeting = escaped(&visit.greeting);
    Ok(format!("<body>{} views for \"{greeting}\"</body>", visit.views))
}

/// Answers with a text and not with the page: the page would begin the next session.
pub(crate) async fn logout(session: Session) -> Result<&'static str, ingle::Error> {
    session.logout().await?;
    Ok("You are logged out.\n")
}

fn any_greeting() -> String {
    fastrand::choice(GREETINGS).unwrap_or_default().to_owned()
}

/// A text as HTML. Operators may edit a greeting in the store, so it is not ours to trust.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// Where it says whether the process lives. Google's front end answers paths that end in `z` itself, so
/// from outside only the first is of use there.
pub(crate) const HEALTH: [&str; 2] = ["/health", "/healthz"];

/// Where it says whether the store answers.
pub(crate) const READY: [&str; 2] = ["/ready", "/readyz"];

/// Whether platforms ask for this path, again and again.
pub(crate) fn is_probe(path: &str) -> bool {
    HEALTH.contains(&path) || READY.contains(&path)
}

/// The pages, each with a session; `/ready`, which asks the store itself; and `/health`. With
/// accounts the pages are theirs.
///
/// `/health` is outside of the limits: it says whether the process lives, and a full one does. A
/// platform that restarted it for being busy would make the load of the others worse.
pub(crate) fn router(
    store: Arc<dyn Store>,
    store_time: Option<Duration>,
    sessions: SessionLayer,
    limit: Limit,
    with_lab: bool,
    accounts: Option<(Accounts, Streams)>,
    note: NoteSession,
) -> Router {
    let mut pages = match accounts {
        Some((accounts, streams)) => accounts::routes(accounts, streams),
        None => Router::new().route("/", get(home)).route("/logout", post(logout)),
    };
    let mut free = Router::new();
    for path in HEALTH {
        free = free.route(path, get(async || "ok"));
    }
    if with_lab {
        let lab = lab::routes();
        pages = pages.nest("/lab", lab.limited);
        free = free.nest("/lab", lab.free);
    }
    // A panic costs one answer and not the connection.
    let limits = (CatchPanicLayer::new(), limit);
    let ready = get(ready).with_state((store, store_time.unwrap_or(READY_WITHIN)));
    let mut health = Router::new();
    for path in READY {
        health = health.route(path, ready.clone());
    }
    let health = health.layer(limits.clone());
    // Sessions are around the limits: what is cut off there is an answer all the same, with the cookie
    // of a session that was renewed before.
    let app = pages.layer((sessions, note, limits)).merge(health).merge(free);
    // The layers are put around the handlers here, once, and not anew for each request.
    app.with_state(())
}

async fn ready(
    State((store, within)): State<(Arc<dyn Store>, Duration)>,
) -> (StatusCode, &'static str) {
    match readiness(&*store, within).await {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

/// Whether the store answers.
pub(crate) async fn readiness(
    store: &dyn Store,
    within: Duration,
) -> Result<&'static str, &'static str> {
    match timeout(within, store.ping()).await {
        Ok(Ok(())) => Ok("ready\n"),
        Ok(Err(_)) | Err(_) => Err("the session store does not answer\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_that_an_operator_edited_stays_text() {
        let greeting = "<script>alert('1 & \"2\"')</script>";
        let html = "&lt;script&gt;alert(&#39;1 &amp; &quot;2&quot;&#39;)&lt;/script&gt;";
        assert_eq!(escaped(greeting), html);
        assert_eq!(escaped("Salut le Monde, 世界"), "Salut le Monde, 世界");
    }
}
