//! Servers that fall silent, end, forget and fill up, while the app goes on.

use std::{
    collections::BTreeSet,
    future::ready,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use ingle::store::{Applied, ErrorKind, conformance};
use testbed::{
    Server,
    redis::{SYNCED, ask, start},
};
use tokio::{select, task::JoinSet, time::sleep};

use super::*;
use crate::common::Visitor;

/// After this long, what a test waits for will never come.
const STUCK: Duration = minutes(5);

/// What visitors of some sessions were told, while the server had its troubles.
#[derive(Default)]
pub(super) struct Told {
    /// Views that were acknowledged, by session. Each is acknowledged once.
    acknowledged: Vec<Mutex<BTreeSet<u64>>>,
    unknown: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

/// Visitors in two processes that add to a few sessions, until they are told to end.
pub(super) struct Crowd {
    pub(super) told: Arc<Told>,
    cookies: Vec<String>,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Of apps with the deadline that a layer has by itself: some requests end before their store answers.
    pub(super) async fn gather(scene: &Scene, sessions: usize) -> Self {
        let app = || scene.app_with(Duration::from_secs(1));
        let apps = [app().await, app().await];
        Self::of(scene, sessions, apps).await
    }

    async fn of(scene: &Scene, sessions: usize, apps: [App; 2]) -> Self {
        let first = scene.app().await;
        let mut told = Told::default();
        let mut cookies = Vec::new();
        for _ in 0..sessions {
            let mut visitor = Visitor::default();
            visitor.get(&first, "/add").await.ok();
            cookies.push(visitor.cookie);
            told.acknowledged.push(Mutex::new([1].into()));
        }
        let told = Arc::new(told);
        let mut tasks = JoinSet::new();
        for (session, cookie) in cookies.iter().enumerate() {
            for app in apps.iter().cycle().take(4) {
                let (app, cookie, told) = (app.clone(), cookie.clone(), Arc::clone(&told));
                tasks.spawn(async move {
                    while !told.over.load(Ordering::SeqCst) {
                        told.add(session, &app, &cookie).await;
                    }
                });
            }
        }
        Self { told, cookies, tasks }
    }

    pub(super) fn acknowledged(&self) -> u64 {
        let sizes = self.told.acknowledged.iter().map(|views| views.lock().unwrap().len() as u64);
        sizes.sum()
    }

    /// Waits until some more views are acknowledged.
    pub(super) async fn goes_on(&self) {
        let (begin, before) = (Instant::now(), self.acknowledged());
        while self.acknowledged() < before + 200 {
            assert!(begin.elapsed() < STUCK, "the app does not recover");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it, and counts: each acknowledged view is there, and none is there twice.
    pub(super) async fn count(mut self, scene: &Scene) -> (u64, u64) {
        self.told.over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let app = scene.app().await;
        let (mut stored, mut acknowledged) = (0, 0);
        for (cookie, views) in self.cookies.iter().zip(&self.told.acknowledged) {
            let found = app.get("/read", cookie).await.ok().body;
            let found = found.trim_start_matches("Some(").trim_end_matches(')');
            let found: u64 = found.parse().unwrap();
            let views = views.lock().unwrap();
            assert!(*views.last().unwrap() <= found, "an acknowledged view is lost");
            stored += found;
            acknowledged += views.len() as u64;
        }
        let unknown = self.told.unknown.load(Ordering::SeqCst);
        assert!(acknowledged <= stored, "{acknowledged} acknowledged, {stored} stored");
        assert!(stored <= acknowledged + unknown, "{stored} stored of {acknowledged} + {unknown}");
        (acknowledged, unknown)
    }
}

impl Told {
    async fn add(&self, session: usize, app: &App, cookie: &str) {
        let answer = app.get("/add", cookie).await;
        assert_eq!(answer.set_cookie(), "", "an outage takes no cookie away");
        match answer.status {
            StatusCode::OK => {
                let view = answer.body.parse().unwrap();
                let new = self.acknowledged[session].lock().unwrap().insert(view);
                assert!(new, "two visitors were both told that theirs is view {view}");
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let unknown = answer.body.starts_with("It is not known");
                let counter = if unknown { &self.unknown } else { &self.refused };
                counter.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
            }
            status => panic!("{status}: {}", answer.body),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_no_acknowledged_view() {
    let mut server = start(&SYNCED);
    let scene = Scene::on(server.address());
    let crowd = Crowd::gather(&scene, 3).await;
    for _ in 0..5 {
        crowd.goes_on().await;
        server.kill();
        sleep(Duration::from_millis(300)).await;
        server.restart();
    }
    crowd.goes_on().await;
    let (acknowledged, unknown) = crowd.count(&scene).await;
    println!("{acknowledged} acknowledged, {unknown} unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_paused_loses_and_doubles_nothing() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let crowd = Crowd::gather(&scene, 3).await;
    for pause in [100, 700, 5000] {
        crowd.goes_on().await;
        server.pause();
        sleep(Duration::from_millis(pause)).await;
        server.resume();
    }
    crowd.goes_on().await;
    let (acknowledged, unknown) = crowd.count(&scene).await;
    println!("{acknowledged} acknowledged, {unknown} unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_its_connections_loses_and_doubles_nothing() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let crowd = Crowd::gather(&scene, 3).await;
    for _ in 0..20 {
        crowd.goes_on().await;
        ask(server.address(), "CLIENT KILL TYPE normal").unwrap();
    }
    crowd.goes_on().await;
    crowd.count(&scene).await;
}

/// The answer to a call that was dropped has come all the same.
#[tokio::test]
async fn calls_that_are_dropped_leave_a_connection_that_answers() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let store = scene.store().await;
    let key = random_key();
    let connections = || {
        let said = scene.ask("INFO stats");
        let made = said.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        made.unwrap().trim().parse::<u64>().unwrap()
    };
    let give_up_a_load = async || {
        select! {
            biased;
            found = store.load(&key, now()) => panic!("{found:?}"),
            () = ready(()) => {}
        }
    };
    let before = connections();
    give_up_a_load().await;
    // Longer than a silence may last.
    sleep(Duration::from_millis(400)).await;
    give_up_a_load().await;
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Missing);
    assert_eq!(connections() - before, 1, "that of who asks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_the_scripts_is_told_them_again() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let apps = [scene.app().await, scene.app().await];
    let crowd = Crowd::of(&scene, 3, apps).await;
    for _ in 0..20 {
        crowd.goes_on().await;
        ask(server.address(), "SCRIPT FLUSH").unwrap();
    }
    crowd.goes_on().await;
    let refused = crowd.told.refused.load(Ordering::SeqCst);
    let (_, unknown) = crowd.count(&scene).await;
    assert_eq!((refused, unknown), (0, 0), "nobody notices");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_everything_begins_anew() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let app = scene.app().await;
    for _ in 0..20 {
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        visitor.get(&app, "/add").await.ok();
        ask(server.address(), "FLUSHALL").unwrap();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");
        assert_eq!(visitor.get(&app, "/add").await.ok().body, "1");
        assert_eq!(visitor.get(&app, "/add").await.ok().body, "2");
    }
}

#[tokio::test]
async fn a_full_server_refuses_whole_writes_and_still_ends_sessions() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), Some("mary"))).await;
    let key = base.record.header.key;
    ask(server.address(), "CONFIG SET maxmemory 1").unwrap();
    let fresh = record(random_key(), None);
    let moved = next(&base, |record| record.header.key = key_beside(&store, &key));
    let changed = next(&base, |_| {});
    for write in [
        Write::Create { record: &fresh },
        Write::Replace { base: &base, record: &changed },
        Write::Renew { base: &base, record: &moved },
    ] {
        match store.commit(write, now()).await {
            Err(CommitError::Failed(error)) => {
                assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
            }
            ended => panic!("{ended:?}"),
        }
        assert_eq!(live(&store, &key).await, Some(base.clone()), "whole");
        assert_eq!(live(&store, &moved.header.key).await, None);
    }
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "a server that refuses commits is not ready");
    store.touch(&key, now().after(minutes(90)), now()).await.unwrap();
    destroy(&store, &key).await;
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_shift_no_answer() {
    let scene = Scene::new();
    let store = scene.store().await;
    let mut records = Vec::new();
    for n in 0..50 {
        let mut record = Record::clone(&record(random_key(), None));
        record.data.insert("n".to_owned(), json!(n));
        records.push(create(&store, &Arc::new(record)).await);
    }
    let records = Arc::new(records);
    let mut tasks = JoinSet::new();
    for task in 0..16_u64 {
        let (store, records) = (store.clone(), Arc::clone(&records));
        tasks.spawn(async move {
            for n in 0..400_u64 {
                let expected = &records[((task * 31 + n * 7) % 50) as usize];
                let key = expected.record.header.key;
                let micros = random() % 400;
                let load = store.load(&key, now());
                let touch = store.touch(&key, now(), now());
                let dropped = Duration::from_micros(micros);
                if n % 3 == 0 {
                    let _ = tokio::time::timeout(dropped, touch).await;
                } else if let Ok(found) = tokio::time::timeout(dropped, load).await {
                    assert_eq!(found.unwrap().live().as_ref(), Some(expected));
                }
                let found = live(&store, &key).await;
                assert_eq!(found.as_ref(), Some(expected), "an answer meant for another call");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_down_says_so_and_is_found_again() {
    let mut server = start(&SYNCED);
    let scene = Scene::on(server.address());
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    server.kill();
    // The first call may find out that the connection is gone; after that nothing is sent at all.
    let _ = store.load(&random_key(), now()).await;
    conformance::a_store_that_is_down_says_so(&store, now()).await;
    let Err(CommitError::Failed(error)) = replace(&store, &base, |_| {}).await else {
        panic!("a server that is down took a commit")
    };
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    server.restart();
    finds_its_server(&store).await;
    assert_eq!(live(&store, &base.record.header.key).await, Some(base.clone()));
    replace(&store, &base, |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_paused_server_makes_callers_wait_no_longer_than_they_may() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let app = scene.app_with(Duration::from_secs(1)).await;
    let mut visitor = Visitor::default();
    visitor.get(&scene.app().await, "/add").await.ok();
    server.pause();
    for _ in 0..5 {
        let answer = app.get("/read", &visitor.cookie).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    // More than may wait to be written on a connection.
    let requests = (0..600).map(|_| {
        let (app, cookie) = (app.clone(), visitor.cookie.clone());
        tokio::spawn(async move { app.get("/read", &cookie).await.status })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    server.resume();
    recovered(&server, &app, &visitor.cookie).await;
}

/// As where each thread that serves has a runtime.
#[tokio::test]
async fn each_runtime_has_a_connection_of_its_own_for_as_long_as_it_is_there() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    // The one that asks is there, too.
    let connections = || {
        let clients = ask(server.address(), "CLIENT LIST").unwrap();
        clients.lines().filter(|line| line.starts_with("id=")).count() - 1
    };
    assert_eq!(connections(), 1);
    let meet = Arc::new(Barrier::new(4));
    let threads = (0..3).map(|_| {
        let (store, meet) = (store.clone(), Arc::clone(&meet));
        let base = base.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            let won = runtime.block_on(async {
                let found = live(&store, &key).await;
                assert_eq!(found.as_ref(), Some(&base));
                meet.wait();
                let won = replace(&store, &base, |_| {}).await.is_ok();
                assert_ne!(live(&store, &key).await, Some(base));
                won
            });
            meet.wait();
            drop(runtime);
            won
        })
    });
    let threads: Vec<_> = threads.collect();
    let both = async || {
        let meet = Arc::clone(&meet);
        tokio::task::spawn_blocking(move || meet.wait()).await.unwrap();
    };
    both().await;
    assert_eq!(connections(), 4);
    both().await;
    let won = threads.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count();
    assert_eq!(won, 1, "of the same write");
    let begin = Instant::now();
    while connections() > 1 {
        assert!(begin.elapsed() < STUCK, "a connection ends with its runtime");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(live(&store, &key).await.is_some());
    assert_eq!(connections(), 1);
}

async fn recovered(server: &Server, app: &App, cookie: &str) {
    let begin = Instant::now();
    while app.get("/read", cookie).await.status != StatusCode::OK {
        assert!(begin.elapsed() < STUCK, "{} answers again", server.name());
        sleep(Duration::from_millis(20)).await;
    }
}
