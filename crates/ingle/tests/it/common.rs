//! An app, its visitors, and what they see: whole requests through the layer, without a socket.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Router, body::Body, handler::Handler, routing::get};
use http::{HeaderMap, Request, StatusCode, header};
use ingle::{
    Session, SessionLayer,
    clock::Timestamp,
    record::{Key, Version},
    store::{
        self, CommitError, Destroyed, Faulty, Info, List, Listener, Lookup, Memory, Store, Swept,
        Write,
    },
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

type OnCommit = dyn Fn(&Write<'_>) -> Option<CommitError> + Send + Sync;

/// A store that does what the one inside does, except for what a test puts in between.
#[derive(Clone)]
pub(crate) struct Intercept<S> {
    pub(crate) inner: S,
    pub(crate) info: Info,
    /// Answers a commit in the store's place.
    pub(crate) commit: Arc<OnCommit>,
    /// Answers a destroy in the store's place.
    pub(crate) destroy: Arc<dyn Fn() -> Option<store::Error> + Send + Sync>,
    /// The key that is loaded in the place of the one that was asked for.
    pub(crate) load: Arc<dyn Fn(&Key) -> Key + Send + Sync>,
}

impl<S: Store> Intercept<S> {
    pub(crate) fn new(inner: S) -> Self {
        let info = inner.info();
        let (commit, destroy) = (Arc::new(|_: &Write<'_>| None), Arc::new(|| None));
        Self { inner, info, commit, destroy, load: Arc::new(|key| *key) }
    }
}

impl<S: Store> fmt::Debug for Intercept<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intercept").field(&self.inner).finish()
    }
}

#[async_trait]
impl<S: Store> Store for Intercept<S> {
    fn info(&self) -> Info {
        self.info.clone()
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        self.inner.can_renew(from, to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, store::Error> {
        self.inner.load(&(self.load)(key), now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match (self.commit)(&write) {
            Some(error) => Err(error),
            None => self.inner.commit(write, now).await,
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.inner.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, store::Error> {
        match (self.destroy)() {
            Some(error) => Err(error),
            None => self.inner.destroy(key, now).await,
        }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, store::Error> {
        self.inner.sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), store::Error> {
        self.inner.ping().await
    }

    fn as_list(&self) -> Option<&dyn List> {
        self.inner.as_list()
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, store::Error> {
        self.inner.listen().await
    }
}

/// Longer than any request takes, however busy the machine is.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A layer that gives up no request because the machine is slow. It never sweeps: that would be in the log.
pub(crate) fn layer(store: impl Store) -> SessionLayer {
    layer_as_it_comes(store).deadline(LONG)
}

/// The same with the deadline that a layer has by itself: for paused time, and for outages.
pub(crate) fn layer_as_it_comes(store: impl Store) -> SessionLayer {
    SessionLayer::new(store).sweep_every(None)
}

/// Numbers that look random and replay.
pub(crate) fn generator(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// An app with one handler per path. `layer` stands for one process.
pub(crate) fn app(layer: &SessionLayer) -> App {
    App { router: Router::new(), layer: Some(layer.clone()) }
}

#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    /// Around the routes, unless they have their layers already.
    layer: Option<SessionLayer>,
}

impl App {
    /// An app that has its layers.
    pub(crate) fn with(router: Router) -> Self {
        Self { router, layer: None }
    }

    pub(crate) fn on<T: 'static>(self, path: &str, handler: impl Handler<T, ()>) -> Self {
        Self { router: self.router.route(path, get(handler)), ..self }
    }

    pub(crate) async fn serve(&self, request: Request<Body>) -> Answer {
        let app = match self.layer.clone() {
            Some(layer) => self.router.clone().layer(layer),
            None => self.router.clone(),
        };
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
        self.take(&answer);
        answer
    }

    /// Keeps the cookie of an answer, if it has one.
    pub(crate) fn take(&mut self, answer: &Answer) {
        if let Some((pair, attributes)) = answer.set_cookie().split_once(';') {
            let gone = attributes.contains("Max-Age=0");
            self.cookie = if gone { String::new() } else { pair.to_owned() };
        }
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

/// Asks and gives up, after so many turns of others. None if there was no answer by then.
pub(crate) async fn given_up<T>(call: impl Future<Output = T>, turns: u64) -> Option<T> {
    let wait = async {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = call => Some(answer),
        () = wait => None,
    }
}
