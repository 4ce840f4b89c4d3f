//! What counts as use of a session: it moves the idle deadline. After the response as well, where a
//! socket or a stream goes on reading.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock, Timestamp},
    store::{Fault, Faulty, List as _, Memory},
};
use tokio::sync::mpsc;

use crate::common::{App, Held, Visitor, app, faulty, layer, layer_as_it_comes};

const MINUTE: Duration = Duration::from_secs(60);

/// A store, a clock that shows when it is used, and a visitor who has a session.
struct Scene {
    memory: Memory,
    store: Faulty,
    clock: ManualClock,
    layer: SessionLayer,
    visitor: Visitor,
}

impl Scene {
    async fn new() -> Self {
        Self::with(layer).await
    }

    async fn with(make: fn(Faulty) -> SessionLayer) -> Self {
        let (memory, store) = faulty();
        let clock = ManualClock::new(SystemClock.now());
        let layer = make(store.clone()).clock(Arc::new(clock.clone()));
        let mut visitor = Visitor::default();
        let begin = async |session: Session| session.insert("n", 1);
        visitor.get(&app(&layer).on("/", begin), "/").await.ok();
        Self { memory, store, clock, layer, visitor }
    }

    /// The session as a socket holds it: its response has left.
    async fn socket(&self) -> Session {
        let (give, mut given) = mpsc::unbounded_channel();
        let app = app(&self.layer).on("/", move |session: Session| {
            drop(give.send(session));
            async {}
        });
        app.get("/", &self.visitor.cookie).await.ok();
        given.recv().await.unwrap()
    }

    async fn idle_deadline(&self) -> Option<Timestamp> {
        let page = self.memory.list(None, 1, self.clock.now()).await.unwrap();
        page.records.first().map(|loaded| loaded.record.header.idle_deadline)
    }

    fn asked(&self, since: usize) -> Vec<String> {
        self.store.log()[since..].to_vec()
    }
}

#[tokio::test]
async fn a_socket_that_only_reads_uses_its_session() {
    let scene = Scene::new().await;
    let socket = scene.socket().await;
    // Idle for 20 minutes each time, of the 30 that it may be; and 12 hours in all.
    for n in 1..36 {
        scene.clock.advance(20 * MINUTE);
        let used = scene.clock.now().after(30 * MINUTE);
        match n % 3 {
            0 => drop(socket.get::<u64>("n").await.unwrap()),
            1 => drop(socket.data::<serde_json::Map<_, _>>().await.unwrap()),
            _ => drop(socket.field("n").get::<u64>().await.unwrap()),
        }
        let moved = scene.idle_deadline().await.unwrap();
        let absolute = scene.clock.now().after((720 - n * 20) * MINUTE);
        assert_eq!(moved, used.min(absolute), "read {n}");
    }
    scene.clock.advance(20 * MINUTE);
    assert!(matches!(socket.get::<u64>("n").await, Err(Error::Interrupted)), "12 hours are over");
}

#[tokio::test]
async fn a_change_after_the_response_that_changes_nothing_is_use_as_well() {
    let scene = Scene::new().await;
    let socket = scene.socket().await;
    for n in 1..30_u32 {
        scene.clock.advance(20 * MINUTE);
        match n % 3 {
            0 => socket.field("n").update(|n: &mut u64| *n = 1).await.unwrap(),
            1 => drop(socket.take_flashes::<String>().await.unwrap()),
            _ => {
                socket.insert("n", 1).unwrap();
                socket.commit().await.unwrap();
            }
        }
    }
    assert!(scene.idle_deadline().await.is_some());
}

#[tokio::test]
async fn reads_after_the_response_write_no_more_often_than_those_before() {
    let scene = Scene::new().await;
    let socket = scene.socket().await;
    let since = scene.store.log().len();
    for _ in 0..60 {
        scene.clock.advance(MINUTE / 10);
        socket.get::<u64>("n").await.unwrap();
    }
    let touches = scene.asked(since).iter().filter(|asked| *asked == "touch").count();
    assert_eq!(touches, 2, "a tenth of the idle time has passed twice");
    scene.clock.advance(3 * MINUTE);
    scene.store.fail_all(None);
    let since = scene.store.log().len();
    socket.field("n").update(|n: &mut u64| *n += 1).await.unwrap();
    socket.get::<u64>("n").await.unwrap();
    assert_eq!(scene.asked(since), ["replace", "load"], "a commit is use already");
}

#[tokio::test(start_paused = true)]
async fn a_touch_that_fails_fails_no_read() {
    let scene = Scene::with(layer_as_it_comes).await;
    let socket = scene.socket().await;
    scene.clock.advance(10 * MINUTE);
    for call in 1..50 {
        scene.store.on(ingle::store::Step::Commit(call), Fault::Refuse);
    }
    assert_eq!(socket.get::<u64>("n").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_socket_whose_session_ended_is_told_and_brings_nothing_back() {
    let scene = Scene::new().await;
    let socket = scene.socket().await;
    scene.clock.advance(10 * MINUTE);
    let end = app(&scene.layer).on("/", async |session: Session| session.logout().await);
    end.get("/", &scene.visitor.cookie).await.ok();
    assert!(matches!(socket.get::<u64>("n").await, Err(Error::Interrupted)));
    assert!(scene.memory.is_empty());
}

fn polled(layer: &SessionLayer) -> App {
    app(layer)
        .on("/poll", async |session: Session| {
            session.skip_touch();
            Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or_default().to_string())
        })
        .on("/poll-late", async |session: Session| {
            let n = session.get::<u64>("n").await?.unwrap_or_default();
            session.skip_touch();
            Ok::<_, Error>(n.to_string())
        })
        .on("/change", async |session: Session| {
            session.skip_touch();
            session.increment("n", 1)
        })
}

#[tokio::test]
async fn a_request_can_look_without_touching() {
    let scene = Scene::new().await;
    let app = polled(&scene.layer);
    let cookie = &scene.visitor.cookie;
    let begun = scene.idle_deadline().await.unwrap();
    for n in 0..5 {
        scene.clock.advance(5 * MINUTE);
        for path in ["/poll", "/poll-late"] {
            let since = scene.store.log().len();
            let answer = app.get(path, cookie).await.ok();
            assert_eq!((&*answer.body, answer.header("vary")), ("1", "Cookie"), "{path} {n}");
            assert_eq!(scene.asked(since), ["load"], "{path} {n}");
        }
        assert_eq!(scene.idle_deadline().await, Some(begun));
    }
    // What is changed is used all the same.
    app.get("/change", cookie).await.ok();
    assert_eq!(scene.idle_deadline().await, Some(scene.clock.now().after(30 * MINUTE)));
    // However often it is asked for, it ends.
    for _ in 0..7 {
        scene.clock.advance(5 * MINUTE);
        app.get("/poll", cookie).await.ok();
    }
    assert_eq!(app.get("/poll", cookie).await.ok().body, "0");
}

#[tokio::test]
async fn a_socket_can_look_without_touching() {
    let scene = Scene::new().await;
    let socket = scene.socket().await;
    socket.skip_touch();
    scene.clock.advance(29 * MINUTE);
    assert_eq!(socket.get::<u64>("n").await.unwrap(), Some(1));
    scene.clock.advance(MINUTE);
    assert!(matches!(socket.get::<u64>("n").await, Err(Error::Interrupted)));
}

#[tokio::test]
async fn to_skip_the_touch_is_for_one_request() {
    let scene = Scene::new().await;
    let held = Held::begin(&scene.layer, &scene.visitor.cookie).await;
    held.session.skip_touch();
    held.session.clone().get::<u64>("n").await.unwrap();
    scene.clock.advance(10 * MINUTE);
    let other = Held::begin(&scene.layer, &scene.visitor.cookie).await;
    other.session.get::<u64>("n").await.unwrap();
    other.respond(StatusCode::OK).await.ok();
    held.respond(StatusCode::OK).await.ok();
    assert_eq!(scene.idle_deadline().await, Some(scene.clock.now().after(30 * MINUTE)));
}
