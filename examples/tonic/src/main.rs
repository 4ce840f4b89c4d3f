//! Sessions with tonic: a service that counts a visitor's views, keeps a greeting, and logs the
//! visitor out.

use std::{error::Error, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Bytes};
use futures_util::{Stream, stream};
use ingle::{
    Cookie, CookieConfig, CookieError, Session, SessionLayer,
    store::{Memory, Store},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::interval};
use tonic::{Code, Request, Response, Status, service::Routes};

use proto::{
    Greeting, Nothing, Page,
    visits_server::{Visits, VisitsServer},
};

mod proto {
    tonic::include_proto!("visits");
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

/// The session that the layer put into the request.
fn session<T>(request: &Request<T>) -> Result<Session, Status> {
    let session = request.extensions().get().cloned();
    session.ok_or_else(|| Status::internal("no session layer is around this service"))
}

/// The gRPC status for an error of a session.
fn failed(error: &ingle::Error) -> Status {
    let code = match error {
        ingle::Error::Interrupted | ingle::Error::LostUpdate { .. } => Code::Aborted,
        ingle::Error::Unavailable(_) | ingle::Error::NoRandomness(_) => Code::Unavailable,
        ingle::Error::OutcomeUnknown => Code::Unknown,
        ingle::Error::TooLarge(_) => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

async fn view(session: &Session) -> Result<Page, Status> {
    let view = |visit: &mut Visit| {
        visit.views += 1;
        Page { greeting: visit.greeting.clone(), views: visit.views }
    };
    session.update(view).await.map_err(|error| failed(&error))
}

#[derive(Debug)]
struct App;

#[tonic::async_trait]
impl Visits for App {
    async fn view(&self, request: Request<Nothing>) -> Result<Response<Page>, Status> {
        Ok(Response::new(view(&session(&request)?).await?))
    }

    /// An edit needs no await. The layer commits it before the response leaves.
    async fn greet(&self, request: Request<Greeting>) -> Result<Response<Nothing>, Status> {
        let session = session(&request)?;
        session.insert("greeting", request.into_inner().text).map_err(|error| failed(&error))?;
        Ok(Response::new(Nothing {}))
    }

    async fn logout(&self, request: Request<Nothing>) -> Result<Response<Nothing>, Status> {
        session(&request)?.logout().await.map_err(|error| failed(&error))?;
        Ok(Response::new(Nothing {}))
    }

    type LiveStream = Pin<Box<dyn Stream<Item = Result<Page, Status>> + Send>>;

    /// Counts a view each second while somebody looks: the stream keeps its session.
    async fn live(&self, request: Request<Nothing>) -> Result<Response<Self::LiveStream>, Status> {
        let state = (session(&request)?, interval(Duration::from_secs(1)));
        let pages = stream::try_unfold(state, |(session, mut second)| async move {
            second.tick().await;
            let page = view(&session).await?;
            Ok(Some((page, (session, second))))
        });
        Ok(Response::new(Box::pin(pages)))
    }
}

fn app(store: Arc<dyn Store>) -> Result<Router, CookieError> {
    // This cookie works over plain HTTP, for development. The default cookie needs TLS.
    // Cookies do not tell ports apart: with one name, two apps on a host would end each other's sessions.
    let name = "example-tonic";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let cookie = Cookie::new(cookie)?;
    // A gRPC client needs a status, and not the layer's texts.
    let sessions = SessionLayer::new(store)
        .cookie(cookie)
        .namespace(name)
        .on_error(|error| failed(error).into_http::<Bytes>());
    let service = Routes::new(VisitsServer::new(App)).into_axum_router();
    Ok(service.layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app(Arc::new(Memory::new()))?).await?)
}

#[cfg(test)]
mod tests;
