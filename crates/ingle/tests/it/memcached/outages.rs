//! Servers that are paused, killed, restarted and short of memory, as visitors see it.

use std::{collections::HashMap, time::Instant};

use http::StatusCode;
use ingle::{Session, SessionLayer, store::conformance};
use tokio::task::JoinSet;

use super::*;
use crate::common::{App, Visitor, app};

/// One process of the app: `/add` counts, and `/fill` makes the session large besides.
async fn process(scene: &Scene) -> App {
    let layer = SessionLayer::new(Arc::new(scene.store().await)).sweep_every(None);
    let add = async |session: &Session| {
        let n = session.field("n").update(|n: &mut u64| {
            *n += 1;
            *n
        });
        n.await.map(|n| n.to_string())
    };
    app(&layer)
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
    /// The longest that one had to wait.
    longest: Duration,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        for (status, n) in &other.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        self.began += other.began;
        self.longest = self.longest.max(other.longest);
    }

    fn n(&self, status: StatusCode) -> u32 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// One visitor counts until the end, and checks that within the life of an id no count goes back,
/// stands still, or is made twice.
async fn count(app: App, path: &'static str, until: Instant) -> Seen {
    let (mut visitor, mut seen) = (Visitor::default(), Seen::default());
    // The last count that was acknowledged, and how many that may have been made came since.
    let (mut last, mut perhaps) = (0u64, 0u64);
    while Instant::now() < until {
        let (id, begin) = (visitor.cookie.clone(), Instant::now());
        let answer = visitor.get(&app, path).await;
        seen.longest = seen.longest.max(begin.elapsed());
        *seen.statuses.entry(answer.status).or_default() += 1;
        if answer.status == StatusCode::OK {
            let n: u64 = answer.body.parse().unwrap();
            if visitor.cookie == id {
                let made = last + 1..=last + 1 + perhaps;
                assert!(made.contains(&n), "{n} after {last}, and {perhaps} that may be made");
            } else {
                assert_eq!(n, 1, "a new session begins at the beginning");
                seen.began += 1;
            }
            (last, perhaps) = (n, 0);
        } else {
            perhaps += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::task::yield_now().await;
    }
    seen
}

async fn crowd(app: &App, path: &'static str, visitors: usize, time: Duration) -> Seen {
    let until = Instant::now() + time;
    let mut all: JoinSet<Seen> = (0..visitors).map(|_| count(app.clone(), path, until)).collect();
    let mut seen = Seen::default();
    while let Some(one) = all.join_next().await {
        seen.add(&one.unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pause_of_five_seconds_loses_nothing() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let app = process(&scene).await;
    let running = {
        let app = app.clone();
        tokio::spawn(async move { crowd(&app, "/add", 8, Duration::from_secs(9)).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.pause();
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.resume();
    let seen = running.await.unwrap();
    assert_eq!(seen.began, 8, "nobody was logged out: {seen:?}");
    assert!(
        seen.n(StatusCode::OK) > 100 && seen.n(StatusCode::SERVICE_UNAVAILABLE) > 8,
        "{seen:?}"
    );
    assert_eq!(seen.statuses.len(), 2, "only 200 and 503: {seen:?}");
    assert!(seen.longest < Duration::from_secs(3), "nobody waits for long: {seen:?}");
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "2", "and all works again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_under_load_ends_sessions_and_corrupts_none() {
    let mut server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let app = process(&scene).await;
    let running = {
        let app = app.clone();
        tokio::spawn(async move { crowd(&app, "/add", 8, Duration::from_secs(6)).await })
    };
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            std::thread::sleep(Duration::from_millis(300));
            server.restart();
            server
        })
        .await
        .unwrap();
    }
    let seen = running.await.unwrap();
    assert!(seen.began > 16, "all begin anew after each restart: {seen:?}");
    assert!(seen.n(StatusCode::OK) > 100, "{seen:?}");
    let expected = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT];
    assert!(seen.statuses.keys().all(|status| expected.contains(status)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_eviction_under_load_takes_sessions_whole() {
    let server = testbed::memcached::start(&["-m", "2"]);
    let scene = Scene::on([server.address()]);
    let app = process(&scene).await;
    let mut shell = Shell::new(server.address());
    let (mut seen, mut visitors, mut evictions) = (Seen::default(), 0, 0);
    // A machine that has little time for this needs more of it.
    for _ in 0..10 {
        seen.add(&crowd(&app, "/fill", 200, Duration::from_secs(4)).await);
        (visitors, evictions) = (visitors + 200, shell.stat("evictions"));
        if evictions > 100 && seen.began > visitors + 50 && seen.n(StatusCode::OK) > 500 {
            break;
        }
    }
    assert!(evictions > 100, "{evictions} evictions, {seen:?}");
    assert!(seen.began > visitors + 50, "sessions were ended and began anew: {seen:?}");
    assert_eq!(seen.n(StatusCode::INTERNAL_SERVER_ERROR), 0, "{seen:?}");
    assert!(seen.n(StatusCode::OK) > 500, "{seen:?}");
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
    let app = process(&scene).await;
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
