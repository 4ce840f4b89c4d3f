//! Sessions with salvo: an app that counts a visitor's views, keeps a greeting, and logs the
//! visitor out.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::{TryStreamExt as _, stream};
use ingle::{
    Cookie, CookieConfig, CookieError, Session, SessionLayer,
    store::{Memory, Store},
};
use salvo::{
    http::{ReqBody, ResBody},
    prelude::*,
    sse::{self, SseEvent},
};
use serde::{Deserialize, Serialize};
use tokio::time::interval;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

/// Lets salvo answer with an error of a session.
struct Failed(ingle::Error);

impl From<ingle::Error> for Failed {
    fn from(error: ingle::Error) -> Self {
        Self(error)
    }
}

impl Scribe for Failed {
    fn render(self, response: &mut Response) {
        response.merge_hyper(self.0.response().into_http::<ResBody>());
    }
}

/// The session that the layer put into the request.
fn session(request: &Request) -> Session {
    request.extensions().get().cloned().expect("the session layer is around every route")
}

async fn view(session: &Session) -> Result<String, ingle::Error> {
    let view = |visit: &mut Visit| {
        visit.views += 1;
        visit.clone()
    };
    let Visit { greeting, views } = session.update(view).await?;
    Ok(format!("{views} views for \"{greeting}\""))
}

#[handler]
async fn home(request: &Request) -> Result<String, Failed> {
    Ok(view(&session(request)).await?)
}

/// An edit needs no await. The layer commits it before the response leaves.
#[handler]
async fn greet(request: &Request) -> Result<&'static str, Failed> {
    session(request).insert("greeting", request.param::<String>("greeting"))?;
    Ok("saved")
}

#[handler]
async fn logout(request: &Request) -> Result<&'static str, Failed> {
    session(request).logout().await?;
    Ok("goodbye")
}

/// Counts a view each second while the page is open: the stream keeps its session.
#[handler]
async fn live(request: &Request, response: &mut Response) {
    let state = (session(request), interval(Duration::from_secs(1)));
    let views = stream::try_unfold(state, |(session, mut second)| async move {
        second.tick().await;
        let page = view(&session).await?;
        Ok::<_, ingle::Error>(Some((page, (session, second))))
    });
    sse::stream(response, views.map_ok(|page| SseEvent::default().text(page)));
}

/// Must be called inside a Tokio runtime: salvo runs a tower layer in a task of its own.
fn app(store: Arc<dyn Store>) -> Result<Router, CookieError> {
    // This cookie works over plain HTTP, for development. The default cookie needs TLS.
    // Cookies do not tell ports apart: with one name, two apps on a host would end each other's sessions.
    let name = "example-salvo";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let cookie = Cookie::new(cookie)?;
    let sessions = SessionLayer::new(store).cookie(cookie).namespace(name);
    Ok(Router::new()
        .hoop(TowerLayerCompat::compat::<ReqBody>(sessions))
        .get(home)
        .push(Router::with_path("greeting/{greeting}").post(greet))
        .push(Router::with_path("logout").post(logout))
        .push(Router::with_path("live").get(live)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(Arc::new(Memory::new()))?;
    let listener = TcpListener::new("127.0.0.1:8080").try_bind().await?;
    Ok(Server::new(listener).try_serve(app).await?)
}

#[cfg(test)]
mod tests;
