//! What runs on each request, without a network: a layer around a handler, on the store in memory.
//!
//! Whole requests, by the public API alone, on one thread. What one step takes is the difference of two
//! of them: a request with a cookie that nobody looks at, less one without a cookie, is to read the
//! cookie and to make the key. `benches/times.rs` tells how long they take and `main.rs` is run by a
//! profiler, which counts instructions (feature `still`); neither counts what a [`Subject`] makes ready for a request.

use std::{convert::Infallible, fmt, sync::Arc};

use http::{
    HeaderValue, Request, Response,
    header::{COOKIE, SET_COOKIE},
};
use ingle::{Session, SessionLayer, service::ResponseBody, store::Memory};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, LocalSet},
};
use tower::{
    Service, ServiceBuilder, ServiceExt as _,
    layer::util::{Identity, Stack},
    util::{BoxCloneService, service_fn},
};

type Answer<B> = Response<B>;
type App<B> = BoxCloneService<Request<()>, Answer<B>, Infallible>;
type Text = &'static str;
type Layered = App<ResponseBody<Text>>;

const KIB: usize = 1024;

/// Requests of one session that are under way at once.
const TOGETHER: usize = 32;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The handler alone: the floor.
    NoLayer,
    NoCookie,
    Untouched,
    Read,
    Update,
    /// The process has no cached record: a load comes before the commit.
    UpdateCold,
    Insert,
    Read4Kib,
    Update4Kib,
    Read60Kib,
    Update60Kib,
    /// Updates of one session that meet: those that wait while a commit is under way are one commit.
    UpdateTogether,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::NoLayer,
        Self::NoCookie,
        Self::Untouched,
        Self::Read,
        Self::Update,
        Self::UpdateCold,
        Self::Insert,
        Self::Read4Kib,
        Self::Update4Kib,
        Self::Read60Kib,
        Self::Update60Kib,
        Self::UpdateTogether,
    ];

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How many requests are sent at once.
    #[must_use]
    pub const fn n_at_once(self) -> usize {
        match self {
            Self::UpdateTogether => TOGETHER,
            _ => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::NoLayer => "no_layer",
            Self::NoCookie => "no_cookie",
            Self::Untouched => "untouched",
            Self::Read => "read",
            Self::Update => "update",
            Self::UpdateCold => "update_cold",
            Self::Insert => "insert",
            Self::Read4Kib => "read_4_kib",
            Self::Update4Kib => "update_4_kib",
            Self::Read60Kib => "read_60_kib",
            Self::Update60Kib => "update_60_kib",
            Self::UpdateTogether => "update_together",
        }
    }

    /// What its session has besides the visit.
    fn data_bytes(self) -> usize {
        match self {
            Self::Read4Kib | Self::Update4Kib => 4 * KIB,
            Self::Read60Kib | Self::Update60Kib => 60 * KIB,
            _ => 0,
        }
    }

    fn work(self) -> Work {
        match self {
            Self::NoLayer | Self::NoCookie | Self::Untouched => Work::Nothing,
            Self::Read | Self::Read4Kib | Self::Read60Kib => Work::Read,
            Self::Insert => Work::Insert,
            Self::Update
            | Self::UpdateCold
            | Self::Update4Kib
            | Self::Update60Kib
            | Self::UpdateTogether => Work::Update,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a handler does with its session.
#[derive(Clone, Copy, Debug)]
enum Work {
    Nothing,
    Read,
    Update,
    Insert,
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Visit {
    greeting: String,
    views: u64,
}

/// An app with one session, which is asked for one kind of request.
#[derive(Debug)]
pub struct Subject {
    kind: Kind,
    runtime: Runtime,
    store: Arc<Memory>,
    cookie: HeaderValue,
    bare: App<Text>,
    layered: Layered,
}

/// What is to be sent, made ready.
#[derive(Debug)]
pub struct Ready(Sending);

#[derive(Debug)]
enum Sending {
    Bare(Request<()>),
    Warm(Request<()>),
    Cold(Layered, Request<()>),
    Together(Vec<(Layered, Request<()>)>),
}

/// What is left of a request, to be dropped by whoever measures.
#[derive(Debug)]
pub struct Left {
    _app: Option<Layered>,
}

impl Subject {
    /// # Panics
    ///
    /// Where the machine gives no runtime, or the library does not do what it promises.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let runtime = runtime();
        let store = Arc::new(Memory::new());
        let cookie = runtime.block_on(begun(&store, kind.data_bytes()));
        let bare = service_fn(|request: Request<()>| handle(request, Work::Nothing));
        let bare = BoxCloneService::new(bare);
        let layered = layered(&store, kind.work());
        let mut subject = Self { kind, runtime, store, cookie, bare, layered };
        // The first one is not like the others.
        let first = subject.ready();
        subject.send(first);
        subject
    }

    /// Makes one request ready.
    #[must_use]
    pub fn ready(&self) -> Ready {
        let request = || {
            let mut request = Request::new(());
            request.headers_mut().insert(COOKIE, self.cookie.clone());
            request
        };
        Ready(match self.kind {
            Kind::NoLayer => Sending::Bare(request()),
            Kind::NoCookie => Sending::Warm(Request::new(())),
            Kind::UpdateCold => Sending::Cold(layered(&self.store, Work::Update), request()),
            Kind::UpdateTogether => {
                let both = || (self.layered.clone(), request());
                Sending::Together((0..self.kind.n_at_once()).map(|_| both()).collect())
            }
            _ => Sending::Warm(request()),
        })
    }

    /// Sends it, and waits for the answer.
    pub fn send(&mut self, ready: Ready) -> Left {
        let mut left = Left { _app: None };
        match ready.0 {
            Sending::Bare(request) => drop(self.runtime.block_on(call(&mut self.bare, request))),
            Sending::Warm(request) => drop(self.runtime.block_on(call(&mut self.layered, request))),
            Sending::Cold(mut app, request) => {
                drop(self.runtime.block_on(call(&mut app, request)));
                left._app = Some(app);
            }
            Sending::Together(requests) => {
                let mut together = JoinSet::new();
                let local = LocalSet::new();
                let all = local.run_until(async {
                    for (mut app, request) in requests {
                        together.spawn_local(async move { call(&mut app, request).await });
                    }
                    together.join_all().await
                });
                drop(self.runtime.block_on(all));
            }
        }
        left
    }
}

fn runtime() -> Runtime {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all();
    #[cfg(feature = "still")]
    runtime.start_paused(true);
    runtime.build().expect("a runtime")
}

/// Begins a session with so many bytes of data besides the visit, and returns its cookie.
async fn begun(store: &Arc<Memory>, data_bytes: usize) -> HeaderValue {
    let begin = service_fn(move |request: Request<()>| async move {
        let session = session(&request);
        if data_bytes > 0 {
            session.insert("data", "x".repeat(data_bytes)).expect("it fits");
        }
        visit(&session).await;
        Ok::<_, Infallible>(Response::new(""))
    });
    let begin = layer(store).service(begin);
    let answer = begin.oneshot(Request::new(())).await.expect("an answer");
    let cookie = answer.headers().get(SET_COOKIE).expect("a cookie").to_str().expect("a text");
    let pair = cookie.split(';').next().expect("a pair");
    HeaderValue::from_str(pair).expect("a header")
}

/// An app that knows no session yet.
fn layered(store: &Arc<Memory>, work: Work) -> Layered {
    let handler = service_fn(move |request: Request<()>| handle(request, work));
    BoxCloneService::new(layer(store).service(handler))
}

fn layer(store: &Arc<Memory>) -> ServiceBuilder<Stack<SessionLayer, Identity>> {
    let store = Arc::clone(store);
    ServiceBuilder::new().layer(SessionLayer::new(store).sweep_every(None))
}

async fn call<B>(app: &mut App<B>, request: Request<()>) -> Answer<B> {
    app.ready().await.expect("it is always ready").call(request).await.expect("it always answers")
}

fn session(request: &Request<()>) -> Session {
    request.extensions().get::<Session>().expect("the layer puts it there").clone()
}

async fn visit(session: &Session) -> u64 {
    let views = session.update(|visit: &mut Visit| {
        if visit.greeting.is_empty() {
            "Hola Mundo".clone_into(&mut visit.greeting);
        }
        visit.views += 1;
        visit.views
    });
    views.await.expect("it is stored")
}

async fn handle(request: Request<()>, work: Work) -> Result<Answer<Text>, Infallible> {
    let session = || session(&request);
    match work {
        Work::Nothing => {}
        Work::Read => _ = session().get::<u64>("views").await.expect("it is read"),
        Work::Update => _ = visit(&session()).await,
        Work::Insert => session().insert("seen", fastrand::u32(..)).expect("it fits"),
    }
    Ok(Response::new(""))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_kind_is_found_by_its_name_and_answers() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(&kind.to_string()), Some(kind));
            let mut subject = Subject::new(kind);
            let ready = subject.ready();
            subject.send(ready);
        }
        assert_eq!(Kind::named("nothing"), None);
    }

    #[test]
    fn an_update_is_stored_and_a_read_is_not_one() {
        let views = |kind| {
            let mut subject = Subject::new(kind);
            let ready = subject.ready();
            subject.send(ready);
            let Sending::Warm(request) = subject.ready().0 else { panic!("{kind} is not warm") };
            let (told, views) = mpsc::channel();
            let count = service_fn(move |request: Request<()>| {
                let told = told.clone();
                async move {
                    told.send(visit(&session(&request)).await).expect("somebody listens");
                    Ok::<_, Infallible>(Response::new(""))
                }
            });
            let count = layer(&subject.store).service(count);
            drop(subject.runtime.block_on(count.oneshot(request)));
            views.recv().expect("a count")
        };
        // One began the session, two are sent, and one asks.
        assert_eq!([Kind::Update, Kind::Read].map(views), [4, 2]);
    }
}
