//! Sessions with warp: an app that counts a visitor's views, keeps a greeting, and logs the
//! visitor out.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::{TryStreamExt as _, stream};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use ingle::{
    Cookie, CookieConfig, Session, SessionLayer,
    store::{Memory, Store},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::interval};
use tower_layer::Layer as _;
use warp::{Filter, Rejection, Reply, reply::Response, sse};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

/// Lets warp answer with an error of a session.
struct Failed(ingle::Error);

impl From<ingle::Error> for Failed {
    fn from(error: ingle::Error) -> Self {
        Self(error)
    }
}

impl Reply for Failed {
    fn into_response(self) -> Response {
        self.0.response().into_http()
    }
}

async fn view(session: &Session) -> Result<String, ingle::Error> {
    let view = |visit: &mut Visit| {
        visit.views += 1;
        visit.clone()
    };
    let Visit { greeting, views } = session.update(view).await?;
    Ok(format!("{views} views for \"{greeting}\""))
}

async fn home(session: Session) -> Result<String, Failed> {
    Ok(view(&session).await?)
}

/// An edit needs no await. The layer commits it before the response leaves.
fn greet(greeting: String, session: Session) -> Result<&'static str, Failed> {
    session.insert("greeting", greeting)?;
    Ok("saved")
}

async fn logout(session: Session) -> Result<&'static str, Failed> {
    session.logout().await?;
    Ok("goodbye")
}

/// Counts a view each second while the page is open: the stream keeps its session.
fn live(session: Session) -> impl Reply {
    let state = (session, interval(Duration::from_secs(1)));
    let views = stream::try_unfold(state, |(session, mut second)| async move {
        second.tick().await;
        let page = view(&session).await?;
        Ok::<_, ingle::Error>(Some((page, (session, second))))
    });
    sse::reply(views.map_ok(|page| sse::Event::default().data(page)))
}

fn routes() -> impl Filter<Extract = impl Reply, Error = Rejection> + Clone {
    let session = warp::ext::get::<Session>;
    let home = warp::path::end().and(warp::get()).and(session()).then(home);
    let greet = warp::path!("greeting" / String).and(warp::post()).and(session()).map(greet);
    let logout = warp::path!("logout").and(warp::post()).and(session()).then(logout);
    let live = warp::path!("live").and(warp::get()).and(session()).map(live);
    home.or(greet).or(logout).or(live)
}

/// Serves filters with sessions. `warp::serve` cannot take a layer, so hyper serves the service.
async fn serve<F>(
    listener: TcpListener,
    store: Arc<dyn Store>,
    filters: F,
) -> Result<(), Box<dyn Error>>
where
    F: Filter<Extract: Reply, Error = Rejection> + Clone + Send + Sync + 'static,
{
    // This cookie works over plain HTTP, for development. The default cookie needs TLS.
    // Cookies do not tell ports apart: with one name, two apps on a host would end each other's sessions.
    let name = "example-warp";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let cookie = Cookie::new(cookie)?;
    let sessions = SessionLayer::new(store).cookie(cookie).namespace(name);
    let service = TowerToHyperService::new(sessions.layer(warp::service(filters)));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            connection.serve_connection_with_upgrades(TokioIo::new(stream), service).await
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    serve(TcpListener::bind("127.0.0.1:8080").await?, Arc::new(Memory::new()), routes()).await
}

#[cfg(test)]
mod tests;
