//! An app, its visitors, and what they see: whole requests through the layer, without a socket.

use std::sync::Arc;

use axum::{Router, body::Body, handler::Handler, routing::get};
use http::{HeaderMap, Request, StatusCode, header};
use ingle::{
    Session, SessionLayer,
    store::{Faulty, Memory, Store},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tower::ServiceExt as _;

/// A store in memory that can be told to fail, and keeps a log of what it was asked.
pub(crate) fn faulty() -> (Memory, Faulty) {
    let memory = Memory::new();
    let faulty = Faulty::new(Arc::new(memory.clone()));
    (memory, faulty)
}

/// A layer as it comes, but for the sweeps, which would be in the log.
pub(crate) fn layer(store: impl Store) -> SessionLayer {
    SessionLayer::new(Arc::new(store)).sweep_every(None)
}

/// An app with one handler per path. `layer` stands for one process.
pub(crate) fn app(layer: &SessionLayer) -> App {
    App { router: Router::new(), layer: layer.clone() }
}

#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    layer: SessionLayer,
}

impl App {
    pub(crate) fn on<T: 'static>(self, path: &str, handler: impl Handler<T, ()>) -> Self {
        Self { router: self.router.route(path, get(handler)), ..self }
    }

    pub(crate) async fn serve(&self, request: Request<Body>) -> Answer {
        let app = self.router.clone().layer(self.layer.clone());
        let response = app.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        let mut request = Request::builder().uri(path);
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        self.serve(request.body(Body::empty()).unwrap()).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn set_cookie(&self) -> &str {
        self.header("set-cookie")
    }

    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self
    }
}

/// A browser: it keeps the cookie that it is given.
#[derive(Clone, Default)]
pub(crate) struct Visitor {
    pub(crate) cookie: String,
}

impl Visitor {
    pub(crate) async fn get(&mut self, app: &App, path: &str) -> Answer {
        let answer = app.get(path, &self.cookie).await;
        let set = answer.set_cookie();
        if let Some((pair, attributes)) = set.split_once(';') {
            let gone = attributes.contains("Max-Age=0");
            self.cookie = if gone { String::new() } else { pair.to_owned() };
        }
        answer
    }
}

/// A request whose handler is the test: it has the session, and says when to respond.
pub(crate) struct Held {
    pub(crate) session: Session,
    respond: oneshot::Sender<StatusCode>,
    answer: JoinHandle<Answer>,
}

impl Held {
    pub(crate) async fn begin(layer: &SessionLayer, cookie: &str) -> Self {
        let (give, mut given) = mpsc::unbounded_channel();
        let app = app(layer).on("/", move |session: Session| {
            let give = give.clone();
            async move {
                let (respond, response) = oneshot::channel();
                drop(give.send((session, respond)));
                response.await.unwrap()
            }
        });
        let cookie = cookie.to_owned();
        let answer = tokio::spawn(async move { app.get("/", &cookie).await });
        let (session, respond) = given.recv().await.unwrap();
        Self { session, respond, answer }
    }

    pub(crate) async fn respond(self, status: StatusCode) -> Answer {
        self.respond.send(status).unwrap();
        self.answer.await.unwrap()
    }
}
