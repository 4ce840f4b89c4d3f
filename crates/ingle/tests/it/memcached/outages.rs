//! Servers that are paused, killed, restarted and short of memory, as visitors see it.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use http::StatusCode;
use ingle::{Session, SessionLayer, store::conformance};
use tokio::task::JoinSet;

use super::*;
use crate::common::{App, Visitor, app, layer, layer_as_it_comes};

/// One process of an app with the deadline that a layer has by itself, so that an outage is soon told:
/// `/add` counts, and `/fill` makes the session large besides.
async fn process(scene: &Scene) -> App {
    serve(&layer_as_it_comes(scene.store().await))
}

fn serve(layer: &SessionLayer) -> App {
    let add = async |session: &Session| {
        let n = session.field("n").update(|n: &mut u64| {
            *n += 1;
            *n
        });
        n.await.map(|n| n.to_string())
    };
    app(layer)
        .on("/add", async move |session: Session| add(&session).await)
        .on("/fill", async |session: Session| {
            session.insert("fill", "x".repeat(20_000))?;
            let n = session.field("n").update(|n: &mut u64| {
                *n += 1;
                *n
            });
            n.await.map(|n| n.to_string())
        })
        .on("/read", async |session: Session| {
            session.get::<u64>("n").await.map(|n| n.unwrap_or(0).to_string())
        })
}

/// What visitors have seen.
#[derive(Debug, Default)]
struct Seen {
    statuses: HashMap<StatusCode, u32>,
    /// How many times a visitor began anew, under a new id.
    began: u32,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        for (status, n) in &other.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        self.began += other.began;
    }
}

/// How many requests of one visitor succeeded and failed so far.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicU32,
    failed: AtomicU32,
    began: AtomicU32,
}

/// Visitors who come back without a pause, until they are told to stop.
struct Crowd {
    visitors: JoinSet<Seen>,
    tallies: Arc<[Tally]>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    fn begin(app: &App, path: &'static str, n: usize) -> Self {
        let tallies: Arc<[Tally]> = (0..n).map(|_| Tally::default()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let visitors = (0..n).map(|visitor| {
            let (app, tallies, stop) = (app.clone(), Arc::clone(&tallies), Arc::clone(&stop));
            async move { count(&app, path, &tallies[visitor], &stop).await }
        });
        Self { visitors: visitors.collect(), tallies, stop }
    }

    /// Waits until each visitor has had so many more requests that succeeded, or that failed.
    async fn each_has_more(&mut self, n: u32, counter: fn(&Tally) -> &AtomicU32) {
        let before: Vec<u32> =
            self.tallies.iter().map(|tally| counter(tally).load(Relaxed)).collect();
        self.until(|tallies| {
            tallies
                .iter()
                .zip(&before)
                .all(|(tally, before)| counter(tally).load(Relaxed) >= before + n)
        })
        .await;
    }

    /// Waits for as long as the machine needs. A visitor who panics ends the wait.
    async fn until(&mut self, mut is_so: impl FnMut(&[Tally]) -> bool) {
        while !is_so(&self.tallies) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if let Some(ended) = self.visitors.try_join_next() {
                panic!("a visitor left too early: {ended:?}");
            }
        }
    }

    async fn end(mut self) -> Seen {
        self.stop.store(true, Relaxed);
        let mut seen = Seen::default();
        while let Some(one) = self.visitors.join_next().await {
            seen.add(&one.unwrap());
        }
        seen
    }
}

/// One visitor counts until the end, and checks that within the life of an id no count goes back,
/// stands still, or is made twice.
async fn count(app: &App, path: &'static str, tally: &Tally, stop: &AtomicBool) -> Seen {
    let (mut visitor, mut seen) = (Visitor::default(), Seen::default());
    // The last count that was acknowledged, and how many that may have been made came since.
    let (mut last, mut perhaps) = (0u64, 0u64);
    while !stop.load(Relaxed) {
        let id = visitor.cookie.clone();
        let answer = visitor.get(app, path).await;
        *seen.statuses.entry(answer.status).or_default() += 1;
        if answer.status == StatusCode::OK {
            let n: u64 = answer.body.parse().unwrap();
            if visitor.cookie == id {
                let made = last + 1..=last + 1 + perhaps;
                assert!(made.contains(&n), "{n} after {last}, and {perhaps} that may be made");
            } else {
                assert_eq!(n, 1, "a new session begins at the beginning");
                seen.began += 1;
                tally.began.fetch_add(1, Relaxed);
            }
            (last, perhaps) = (n, 0);
            tally.done.fetch_add(1, Relaxed);
        } else {
            perhaps += 1;
            tally.failed.fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::task::yield_now().await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pause_loses_nothing() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let app = process(&scene).await;
    let mut crowd = Crowd::begin(&app, "/add", 8);
    crowd.each_has_more(5, |tally| &tally.done).await;
    server.pause();
    crowd.each_has_more(2, |tally| &tally.failed).await;
    server.resume();
    crowd.each_has_more(5, |tally| &tally.done).await;
    let seen = crowd.end().await;
    assert_eq!(seen.began, 8, "nobody was logged out: {seen:?}");
    let expected = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
    assert!(seen.statuses.keys().all(|status| expected.contains(status)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_under_load_ends_sessions_and_corrupts_none() {
    let mut server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let app = process(&scene).await;
    let mut crowd = Crowd::begin(&app, "/add", 8);
    for _ in 0..3 {
        crowd.each_has_more(3, |tally| &tally.done).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            server
        })
        .await
        .unwrap();
        crowd.each_has_more(1, |tally| &tally.failed).await;
        server = tokio::task::spawn_blocking(move || {
            server.restart();
            server
        })
        .await
        .unwrap();
    }
    crowd.each_has_more(3, |tally| &tally.done).await;
    let seen = crowd.end().await;
    assert!(seen.began >= 8 * 4, "all begin anew after each restart: {seen:?}");
    let expected = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT];
    assert!(seen.statuses.keys().all(|status| expected.contains(status)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_eviction_under_load_takes_sessions_whole() {
    const VISITORS: u32 = 200;
    let server = testbed::memcached::start(&["-m", "2"]);
    let scene = Scene::on([server.address()]);
    let app = process(&scene).await;
    let mut shell = Shell::new(server.address());
    let mut crowd = Crowd::begin(&app, "/fill", VISITORS as usize);
    crowd
        .until(|tallies| {
            let began: u32 = tallies.iter().map(|tally| tally.began.load(Relaxed)).sum();
            began > VISITORS + 50 && shell.stat("evictions") > 100
        })
        .await;
    let seen = crowd.end().await;
    assert!(!seen.statuses.contains_key(&StatusCode::INTERNAL_SERVER_ERROR), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_is_down_takes_its_share_with_it_and_no_other_answers_for_it() {
    let mut servers = [(); 3].map(|()| testbed::memcached::start(&[]));
    let scene = Scene::on(servers.each_ref().map(testbed::Server::address));
    let store = scene.store().await;
    let mut all = Vec::new();
    for n in 0..60 {
        all.push(scene.create(&store, scene.record(n)).await);
    }
    let mut shell = Shell::new(servers[1].address());
    let (its, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|base| shell.get(&scene.name(&base.record.header.key)).is_some());
    assert!(its.len() > 5 && others.len() > 20, "{} and {}", its.len(), others.len());
    servers[1].kill();
    for base in &its {
        let key = base.record.header.key;
        let found = store.load(&key, scene.now).await.unwrap_err();
        assert_eq!(said(&found), (ErrorKind::Unavailable, Applied::No));
        let record = next(base, 100);
        let error =
            failure(store.commit(Write::Replace { base, record: &record }, scene.now).await);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let error = store.destroy(&key, scene.now).await.unwrap_err();
        assert_eq!(said(&error), (ErrorKind::Unavailable, Applied::No), "nothing was sent");
    }
    for base in &others {
        let found = scene.found(&store, &base.record.header.key).await;
        assert_eq!(found.as_ref(), Some(base));
    }
    assert!(store.sweep(scene.now, 1).await.is_err());
    assert_eq!(said(&store.ping().await.unwrap_err()), (ErrorKind::Unavailable, Applied::No));
    servers[1].restart();
    for base in &its {
        let key = base.record.header.key;
        assert_eq!(store.load(&key, scene.now).await.unwrap(), Lookup::Missing);
        let late = store.commit(Write::Replace { base, record: &next(base, 100) }, scene.now).await;
        assert!(matches!(late, Err(CommitError::Gone)), "{late:?}");
    }
    store.sweep(scene.now, 1).await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_down_says_so() {
    let mut server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let store = scene.store().await;
    server.kill();
    conformance::a_store_that_is_down_says_so(&store, scene.now).await;
    server.restart();
    server.pause();
    // It takes five seconds to give up each of these, where nobody else does earlier.
    conformance::a_store_that_is_down_says_so(&store, scene.now).await;
    server.resume();
    assert_eq!(store.load(&random_key(), scene.now).await.unwrap(), Lookup::Missing);
}

#[tokio::test]
async fn flush_all_is_a_restart() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let app = serve(&layer(scene.store().await));
    let mut visitor = Visitor::default();
    for n in 1..4 {
        assert_eq!(visitor.get(&app, "/add").await.ok().body, n.to_string());
    }
    assert_eq!(Shell::new(server.address()).line("flush_all\r\n"), "OK");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "0");
    let id = visitor.cookie.clone();
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "1");
    assert_ne!(visitor.cookie, id, "a new session has a new id");
}
