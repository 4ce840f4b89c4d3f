//! What runs on each request, without a network: a layer around a handler, on the store in memory.
//!
//! Whole requests, by the public API alone. What one step takes is the difference of two of them: a
//! request with a cookie that nobody looks at, less one without a cookie, is to read the cookie and to
//! make the key. Heap allocations are counted on the thread that runs the request, which is the only one.

use std::{cell::RefCell, convert::Infallible, sync::Arc};

use divan::{AllocProfiler, Bencher};
use http::{
    HeaderValue, Request, Response,
    header::{COOKIE, SET_COOKIE},
};
use ingle::{ResponseBody, Session, SessionLayer, store::Memory};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tower::{
    Service, ServiceBuilder, ServiceExt as _,
    util::{BoxCloneService, service_fn},
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

type Answer = Response<&'static str>;
type App<B = ResponseBody<&'static str>> = BoxCloneService<Request<()>, Response<B>, Infallible>;

const KIB: usize = 1024;

/// Requests of one session that are under way at once.
const TOGETHER: usize = 32;

fn main() {
    divan::main();
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Visit {
    greeting: String,
    views: u64,
}

/// What a handler does with its session.
#[derive(Clone, Copy)]
enum Work {
    Nothing,
    Read,
    Update,
    Insert,
}

/// An app with one session.
struct Bench {
    runtime: Runtime,
    store: Arc<Memory>,
    cookie: HeaderValue,
}

impl Bench {
    /// The session has so many bytes of data besides the visit.
    fn new(bytes: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let store = Arc::new(Memory::new());
        let begin = service_fn(move |request: Request<()>| async move {
            let session = session(&request);
            if bytes > 0 {
                session.insert("data", "x".repeat(bytes)).expect("it fits");
            }
            visit(&session).await;
            Ok::<_, Infallible>(Response::new(""))
        });
        let begin = layer(&store).service(begin);
        let answer = runtime.block_on(begin.oneshot(Request::new(()))).expect("an answer");
        let cookie = answer.headers().get(SET_COOKIE).expect("a cookie").to_str().expect("a text");
        let pair = cookie.split(';').next().expect("a pair");
        let cookie = HeaderValue::from_str(pair).expect("a header");
        Self { runtime, store, cookie }
    }

    /// An app that knows no session yet.
    fn app(&self, work: Work) -> App {
        let handler = service_fn(move |request: Request<()>| handle(request, work));
        BoxCloneService::new(layer(&self.store).service(handler))
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        request.headers_mut().insert(COOKIE, self.cookie.clone());
        request
    }

    /// Measures requests with the session's cookie, after one that is not measured.
    fn warm(&self, bencher: Bencher<'_, '_>, work: Work) {
        let app = RefCell::new(self.app(work));
        self.runtime.block_on(call(&mut app.borrow_mut(), self.request()));
        bencher.with_inputs(|| self.request()).bench_local_values(|request| {
            self.runtime.block_on(call(&mut app.borrow_mut(), request));
        });
    }
}

fn layer(
    store: &Arc<Memory>,
) -> ServiceBuilder<tower::layer::util::Stack<SessionLayer, tower::layer::util::Identity>> {
    let store = Arc::clone(store);
    ServiceBuilder::new().layer(SessionLayer::new(store).sweep_every(None))
}

async fn call<B>(app: &mut App<B>, request: Request<()>) -> Response<B> {
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

async fn handle(request: Request<()>, work: Work) -> Result<Answer, Infallible> {
    let session = || session(&request);
    match work {
        Work::Nothing => {}
        Work::Read => _ = session().get::<u64>("views").await.expect("it is read"),
        Work::Update => _ = visit(&session()).await,
        Work::Insert => session().insert("seen", fastrand::u32(..)).expect("it fits"),
    }
    Ok(Response::new(""))
}

/// The handler alone: the floor.
#[divan::bench]
fn no_layer(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(0);
    let handler = service_fn(|request: Request<()>| handle(request, Work::Nothing));
    let app = RefCell::new(BoxCloneService::new(handler));
    bencher.with_inputs(|| bench.request()).bench_local_values(|request| {
        bench.runtime.block_on(call(&mut app.borrow_mut(), request));
    });
}

#[divan::bench]
fn no_cookie(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(0);
    let app = RefCell::new(bench.app(Work::Nothing));
    bencher.with_inputs(|| Request::new(())).bench_local_values(|request| {
        bench.runtime.block_on(call(&mut app.borrow_mut(), request));
    });
}

#[divan::bench]
fn untouched(bencher: Bencher<'_, '_>) {
    Bench::new(0).warm(bencher, Work::Nothing);
}

#[divan::bench]
fn read(bencher: Bencher<'_, '_>) {
    Bench::new(0).warm(bencher, Work::Read);
}

#[divan::bench]
fn update(bencher: Bencher<'_, '_>) {
    Bench::new(0).warm(bencher, Work::Update);
}

/// The process has no hint: a load comes before the commit.
#[divan::bench]
fn update_cold(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(0);
    let inputs = || (bench.app(Work::Update), bench.request());
    bencher.with_inputs(inputs).bench_local_values(|(mut app, request)| {
        bench.runtime.block_on(call(&mut app, request));
        app
    });
}

#[divan::bench]
fn insert(bencher: Bencher<'_, '_>) {
    Bench::new(0).warm(bencher, Work::Insert);
}

#[divan::bench]
fn read_4_kib(bencher: Bencher<'_, '_>) {
    Bench::new(4 * KIB).warm(bencher, Work::Read);
}

#[divan::bench]
fn update_4_kib(bencher: Bencher<'_, '_>) {
    Bench::new(4 * KIB).warm(bencher, Work::Update);
}

#[divan::bench]
fn read_60_kib(bencher: Bencher<'_, '_>) {
    Bench::new(60 * KIB).warm(bencher, Work::Read);
}

#[divan::bench]
fn update_60_kib(bencher: Bencher<'_, '_>) {
    Bench::new(60 * KIB).warm(bencher, Work::Update);
}

/// Updates of one session that meet: those that wait while a commit is under way are one commit.
#[divan::bench]
fn update_together(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(0);
    let app = bench.app(Work::Update);
    let inputs = || (0..TOGETHER).map(|_| (app.clone(), bench.request())).collect::<Vec<_>>();
    bencher.with_inputs(inputs).bench_local_values(|requests| {
        let mut together = tokio::task::JoinSet::new();
        let local = tokio::task::LocalSet::new();
        bench.runtime.block_on(local.run_until(async {
            for (mut app, request) in requests {
                together.spawn_local(async move { call(&mut app, request).await });
            }
            together.join_all().await
        }))
    });
}
