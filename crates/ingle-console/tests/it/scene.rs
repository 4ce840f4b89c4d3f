//! An app with the console below `/console`, which lets everybody be whom they say.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use ingle::{
    Handle, Session, SessionLayer, Sessions,
    adapter::HandlerOutcome,
    clock::ManualClock,
    store::{Memory, Sqlite, Store},
};
use ingle_console::{Access, Grant, Role};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use crate::http::{Answer, form, raw};

/// A store is waited for as long as it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Scene {
    pub(crate) address: SocketAddr,
    pub(crate) layer: SessionLayer,
    store: Arc<dyn Store>,
    pub(crate) clock: ManualClock,
    _server: JoinSet<()>,
    _folder: Option<TempDir>,
}

impl Scene {
    pub(crate) async fn in_memory() -> Self {
        Self::on(Memory::new(), None).await
    }

    pub(crate) async fn in_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(folder.path()).await.unwrap();
        Self::on(store, Some(folder)).await
    }

    pub(crate) async fn on(store: impl Store, folder: Option<TempDir>) -> Self {
        Self::patient(store, folder, PATIENCE).await
    }

    /// One whose store is waited for no longer than this.
    pub(crate) async fn patient(
        store: impl Store,
        folder: Option<TempDir>,
        patience: Duration,
    ) -> Self {
        let clock = ManualClock::new(ingle::clock::Clock::now(&ingle::clock::SystemClock));
        let store: Arc<dyn Store> = Arc::new(store);
        let layer = layer(&store, &clock, patience);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access::ByApp { hosts: vec![address.to_string()] };
        let console = ingle_console::router(layer.sessions(), access).layer(from_fn(granted));
        let app = Router::new().nest("/console", console);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, layer, store, clock, _server: server, _folder: folder }
    }

    /// Another instance of the app, on the same store.
    pub(crate) fn other_instance(&self) -> SessionLayer {
        layer(&self.store, &self.clock, PATIENCE)
    }

    pub(crate) fn sessions(&self) -> Sessions {
        self.layer.sessions()
    }

    /// A session that a visitor's request has filled.
    pub(crate) async fn begin(
        &self,
        fill: impl AsyncFnOnce(&Session) -> Result<(), ingle::Error>,
    ) -> Handle {
        begin(&self.layer, fill).await
    }

    /// One with this data.
    pub(crate) async fn holding(&self, data: serde_json::Value) -> Handle {
        self.begin(async |session| {
            for (name, value) in data.as_object().unwrap() {
                session.insert(name, value)?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn data(&self, handle: &Handle) -> serde_json::Value {
        let session = self.sessions().find(handle).await.unwrap().expect("it lives");
        session.snapshot().clone().into()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as("editor", path).await
    }

    pub(crate) async fn get_as(&self, role: &str, path: &str) -> Answer {
        let head = format!("GET /console{path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        raw(self.address, &format!("{head}X-Role: {role}\r\nConnection: close\r\n\r\n")).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_as("editor", path, fields).await
    }

    pub(crate) async fn post_as(&self, role: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = format!("Sec-Fetch-Site: same-origin\r\nX-Role: {role}\r\n");
        self.post_with(&origin, path, &form(fields)).await
    }

    pub(crate) async fn post_with(&self, lines: &str, path: &str, body: &str) -> Answer {
        let (address, length) = (self.address, body.len());
        let head = format!("POST /console{path} HTTP/1.1\r\nHost: {address}\r\n{lines}");
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let rest = format!("{kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        raw(address, &(head + &rest)).await
    }
}

fn layer(store: &Arc<dyn Store>, clock: &ManualClock, patience: Duration) -> SessionLayer {
    SessionLayer::new(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .sweep_every(None)
        .deadline(patience)
}

pub(crate) async fn begin(
    layer: &SessionLayer,
    fill: impl AsyncFnOnce(&Session) -> Result<(), ingle::Error>,
) -> Handle {
    begin_in_browser(layer, fill).await.0
}

/// The same, and the cookie that the visitor's browser has then, as it sends it.
pub(crate) async fn begin_in_browser(
    layer: &SessionLayer,
    fill: impl AsyncFnOnce(&Session) -> Result<(), ingle::Error>,
) -> (Handle, String) {
    let in_flight = layer.door().begin([]);
    let session = in_flight.session().clone();
    fill(&session).await.unwrap();
    let finished = in_flight.finish(HandlerOutcome::Success).await;
    assert!(finished.error().is_none(), "{:?}", finished.error());
    let cookie = finished.headers().iter().find_map(|change| match change {
        ingle::adapter::HeaderChange::SetCookie { value, .. } => value.split(';').next(),
        _ => None,
    });
    (session.handle().expect("something was stored"), cookie.expect("a session began").to_owned())
}

/// The app's own login.
async fn granted(mut request: Request, next: Next) -> Response {
    // A browser has a cookie for it.
    let cookie = request.headers().get("cookie").and_then(|cookie| cookie.to_str().ok());
    let cookie = cookie.and_then(|cookie| cookie.strip_prefix("role="));
    let role = request.headers().get("x-role").and_then(|role| role.to_str().ok()).or(cookie);
    let role = match role {
        Some("viewer") => Some(Role::Viewer),
        Some("operator") => Some(Role::Operator),
        Some("editor") => Some(Role::Editor),
        _ => None,
    };
    if let Some(role) = role {
        request.extensions_mut().insert(Grant::new("grace", role).at("192.0.2.7"));
    }
    next.run(request).await
}

/// The console by itself.
pub(crate) struct Loopback {
    pub(crate) address: SocketAddr,
    pub(crate) layer: SessionLayer,
    pub(crate) clock: ManualClock,
    announced: std::sync::mpsc::Receiver<String>,
    _server: JoinSet<()>,
}

impl Loopback {
    pub(crate) async fn start() -> Self {
        let clock = ManualClock::new(ingle::clock::Clock::now(&ingle::clock::SystemClock));
        let layer = SessionLayer::new(Memory::new())
            .clock(Arc::new(clock.clone()))
            .sweep_every(None)
            .deadline(PATIENCE);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (announce, announced) = std::sync::mpsc::channel();
        let (sessions, grant) = (layer.sessions(), Grant::new("grace", Role::Editor));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let announce = move |address: &str| announce.send(address.to_owned()).unwrap();
            ingle_console::serve(listener, sessions, grant, announce).await.unwrap();
        });
        Self { address, layer, clock, announced, _server: server }
    }

    /// The address that was announced, if one was.
    pub(crate) fn announced(&self) -> Option<String> {
        self.announced.try_recv().ok()
    }

    /// The address that is announced at the start.
    pub(crate) fn first(&self) -> String {
        self.announced.recv().unwrap()
    }

    pub(crate) async fn holding(&self, data: serde_json::Value) -> Handle {
        begin(&self.layer, async |session| {
            for (name, value) in data.as_object().unwrap() {
                session.insert(name, value)?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n", self.address);
        raw(self.address, &(head + "Connection: close\r\n\r\n")).await
    }

    pub(crate) async fn post(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        let (address, body) = (self.address, form(fields));
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n");
        let kind = "Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded";
        let rest = format!("{kind}\r\nContent-Length: {}\r\n", body.len());
        raw(address, &(head + &rest + "Connection: close\r\n\r\n" + &body)).await
    }

    /// Signs in, and returns the cookie.
    pub(crate) async fn sign_in(&self, address: &str) -> Answer {
        let (_, code) = address.split_once("#code=").unwrap();
        self.post("/sign-in", "", &[("code", code)]).await
    }
}

/// `name=value` of the cookie that an answer sets.
pub(crate) fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    set.split(';').next().unwrap().to_owned()
}
