//! Servers that fall silent, end, forget and fill up, while the app goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::extract::Path;
use http::StatusCode;
use ingle::store::{Applied, ErrorKind, conformance};
use testbed::{
    Server,
    redis::{SYNCED, ask, start},
};
use tokio::{task::JoinSet, time::sleep};

use super::*;
use crate::common::{Visitor, given_up};

/// After this long, what a test waits for will never come.
const STUCK: Duration = minutes(5);

/// How many visitors share a session.
const VISITORS: usize = 4;

/// What visitors of some sessions were told, while the server had its troubles.
#[derive(Default)]
pub(super) struct Told {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

/// Visitors in two processes that send numbers to a few sessions, until they are told to end.
pub(super) struct Crowd {
    pub(super) told: Arc<Told>,
    cookies: Vec<String>,
    /// Each ends with its session.
    tasks: JoinSet<(usize, Sender)>,
}

/// One of the visitors of a session. Each request has a number of its own, which the session notes.
#[derive(Debug)]
struct Sender {
    place: usize,
    /// That of the last request.
    number: u64,
    /// That of the last one that was acknowledged.
    acknowledged: u64,
    /// Those of which it was said that nothing happened.
    refused: BTreeSet<u64>,
}

/// Notes the number of a request, and answers with all that were noted of that visitor from another one on.
async fn note(
    Path((place, since, number)): Path<(usize, u64, u64)>,
    session: Session,
) -> Result<String, Error> {
    let noted = session.field(place.to_string()).update(move |noted: &mut Vec<u64>| {
        noted.retain(|earlier| *earlier >= since);
        noted.push(number);
        noted.clone()
    });
    Ok(json!(noted.await?).to_string())
}

/// Answers with what is noted of all visitors of a session.
async fn noted(session: Session) -> Result<String, Error> {
    let noted: BTreeMap<String, Vec<u64>> = session.data().await?;
    Ok(json!(noted).to_string())
}

impl Crowd {
    /// Of apps with the deadline that a layer has by itself: some requests end before their store answers.
    pub(super) async fn gather(scene: &Scene, sessions: usize) -> Self {
        let app = || scene.app_with(Duration::from_secs(1));
        let apps = [app().await, app().await];
        Self::of(scene, sessions, apps).await
    }

    async fn of(scene: &Scene, sessions: usize, apps: [App; 2]) -> Self {
        let apps = apps.map(|app| app.on("/note/{place}/{since}/{number}", note));
        let first = scene.app().await.on("/note/{place}/{since}/{number}", note);
        let mut cookies = Vec::new();
        for _ in 0..sessions {
            let mut visitor = Visitor::default();
            for place in 0..VISITORS {
                visitor.get(&first, &format!("/note/{place}/0/0")).await.ok();
            }
            cookies.push(visitor.cookie);
        }
        let told = Arc::new(Told::default());
        let mut tasks = JoinSet::new();
        for (session, cookie) in cookies.iter().enumerate() {
            for (place, app) in apps.iter().cycle().take(VISITORS).enumerate() {
                let (app, cookie, told) = (app.clone(), cookie.clone(), Arc::clone(&told));
                tasks.spawn(async move {
                    let mut sender =
                        Sender { place, number: 0, acknowledged: 0, refused: BTreeSet::new() };
                    while !told.over.load(Ordering::SeqCst) {
                        sender.send(&app, &cookie, &told).await;
                    }
                    (session, sender)
                });
            }
        }
        Self { told, cookies, tasks }
    }

    /// Waits until some more requests are acknowledged.
    pub(super) async fn goes_on(&self) {
        until_more(&self.told.acknowledged, 200, "the app does not recover").await;
    }

    /// Waits until some more are refused, as they are when the server is away for as long as they may take.
    async fn is_refused(&self) {
        until_more(&self.told.refused, 1, "nobody notices").await;
    }

    /// Waits until of some more nobody knows what became of them: a write was sent and not answered.
    async fn is_in_doubt(&self) {
        until_more(&self.told.unknown, 1, "nobody is in doubt").await;
    }

    /// Ends it, and looks at each session: what was acknowledged is there, what was refused is not, and nothing
    /// is there twice. Returns how many were acknowledged, and of how many nobody was told what became of them.
    pub(super) async fn count(self, scene: &Scene) -> (u64, u64) {
        self.told.over.store(true, Ordering::SeqCst);
        let senders = self.tasks.join_all().await;
        let app = scene.app().await.on("/noted", noted);
        for (session, cookie) in self.cookies.iter().enumerate() {
            let found = app.get("/noted", cookie).await.ok().body;
            let found: BTreeMap<usize, Vec<u64>> = serde_json::from_str(&found).unwrap();
            for (_, sender) in senders.iter().filter(|(of, _)| *of == session) {
                sender.check(&found[&sender.place]);
            }
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (count(&self.told.acknowledged), count(&self.told.unknown))
    }
}

async fn until_more(counter: &AtomicU64, more: u64, otherwise: &str) {
    let (begin, before) = (Instant::now(), counter.load(Ordering::SeqCst));
    while counter.load(Ordering::SeqCst) < before + more {
        assert!(begin.elapsed() < STUCK, "{otherwise}");
        sleep(Duration::from_millis(10)).await;
    }
}

impl Sender {
    async fn send(&mut self, app: &App, cookie: &str, told: &Told) {
        self.number += 1;
        let Self { place, number, acknowledged: since, .. } = *self;
        let answer = app.get(&format!("/note/{place}/{since}/{number}"), cookie).await;
        assert_eq!(answer.set_cookie(), "", "an outage takes no cookie away");
        let counter = match answer.status {
            StatusCode::OK => {
                let noted: Vec<u64> = serde_json::from_str(&answer.body).unwrap();
                self.check(&noted);
                assert_eq!(noted.last(), Some(&number));
                self.acknowledged = number;
                &told.acknowledged
            }
            StatusCode::SERVICE_UNAVAILABLE if answer.body.starts_with("It is not known") => {
                &told.unknown
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                self.refused.insert(number);
                &told.refused
            }
            status => panic!("{status}: {}", answer.body),
        };
        counter.fetch_add(1, Ordering::SeqCst);
        if answer.status != StatusCode::OK {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Compares what is noted of its requests, from an earlier one on, with what it was told.
    fn check(&self, noted: &[u64]) {
        let is_there = noted.contains(&self.acknowledged);
        assert!(is_there, "what was acknowledged is lost: {noted:?} of {self:?}");
        // It sends one after the other.
        let are_in_order = noted.is_sorted_by(|one, next| one < next);
        assert!(are_in_order, "something is there twice, or came late: {noted:?} of {self:?}");
        let is_refused = noted.iter().any(|number| self.refused.contains(number));
        assert!(!is_refused, "what was refused is there: {noted:?} of {self:?}");
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
        crowd.is_refused().await;
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
    for pause in [100, 700] {
        crowd.goes_on().await;
        server.pause();
        sleep(Duration::from_millis(pause)).await;
        server.resume();
    }
    crowd.goes_on().await;
    server.pause();
    crowd.is_in_doubt().await;
    // What it was sent it does now.
    server.resume();
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
        assert_ne!(ask(server.address(), "CLIENT KILL TYPE normal").unwrap(), ":0");
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
    // Time stands still for it: a call that waits for long may take its connection along.
    let give_up_a_load = async || {
        assert!(given_up(store.load(&key, now()), 0).await.is_none());
    };
    let before = connections();
    tokio::time::pause();
    give_up_a_load().await;
    tokio::time::resume();
    // Its answer comes behind that of the other.
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Missing);
    tokio::time::pause();
    // Longer than a silence may last.
    tokio::time::advance(Duration::from_secs(1)).await;
    give_up_a_load().await;
    tokio::time::resume();
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Missing);
    assert_eq!(connections() - before, 1, "that of who asks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_the_scripts_is_told_them_again() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let apps = [scene.app().await, scene.app().await];
    let app = apps[0].clone();
    let crowd = Crowd::of(&scene, 3, apps).await;
    for _ in 0..20 {
        crowd.goes_on().await;
        // A commit need not be a script; these are one on each server.
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        for path in ["/renew", "/logout"] {
            ask(server.address(), "SCRIPT FLUSH").unwrap();
            visitor.get(&app, path).await.ok();
        }
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
    for reads_first in [true, false].repeat(10) {
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        visitor.get(&app, "/add").await.ok();
        let forgotten = visitor.cookie.clone();
        ask(server.address(), "FLUSHALL").unwrap();
        // Else the app still has the record, and writes on it.
        if reads_first {
            assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");
        }
        assert_eq!(visitor.get(&app, "/add").await.ok().body, "1");
        assert_eq!(visitor.get(&app, "/add").await.ok().body, "2");
        assert_ne!(visitor.cookie, forgotten);
        assert_eq!(app.get("/read", &forgotten).await.ok().body, "None");
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
    let [fresh, joining] = [None, Some("ada")].map(|user| record(random_key(), user));
    let moved = next(&base, |record| record.header.key = key_beside(&store, &key));
    let changed = next(&base, |_| {});
    for write in [
        Write::Create { record: &fresh },
        Write::Create { record: &joining },
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
        for record in [&fresh, &joining, &moved] {
            assert_eq!(live(&store, &record.header.key).await, None);
        }
        assert_eq!(scene.ask("KEYS *:ada"), "*0", "nobody is in her list");
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
            let mut dropped = 0;
            for n in 0..400_u64 {
                let expected = &records[((task * 31 + n * 7) % 50) as usize];
                let key = expected.record.header.key;
                let turns = random() % 4;
                if n % 3 == 0 {
                    let touched = given_up(store.touch(&key, now(), now()), turns).await;
                    dropped += u64::from(touched.is_none());
                } else if let Some(found) = given_up(store.load(&key, now()), turns).await {
                    assert_eq!(found.unwrap().live().as_ref(), Some(expected));
                } else {
                    dropped += 1;
                }
                let found = live(&store, &key).await;
                assert_eq!(found.as_ref(), Some(expected), "an answer meant for another call");
            }
            dropped
        });
    }
    let dropped: u64 = tasks.join_all().await.into_iter().sum();
    // It takes more than a look to be answered, and one in four looks but once.
    assert!(dropped > 500, "{dropped}");
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
    const DEADLINE: Duration = Duration::from_secs(1);
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let app = scene.app_with(DEADLINE).await;
    let mut visitor = Visitor::default();
    visitor.get(&scene.app().await, "/add").await.ok();
    server.pause();
    // Nothing comes but what is due, so time goes from one timer to the next.
    tokio::time::pause();
    // At first more than a process may have under way.
    for n in [1200, 1, 1, 1, 1] {
        let began = tokio::time::Instant::now();
        let mut requests = JoinSet::new();
        for _ in 0..n {
            let (app, cookie) = (app.clone(), visitor.cookie.clone());
            requests.spawn(async move { app.get("/read", &cookie).await.status });
        }
        for status in requests.join_all().await {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
        let waited = began.elapsed();
        // As exact as timers are.
        assert!(waited < DEADLINE + Duration::from_millis(10), "{n} waited for {waited:?}");
    }
    tokio::time::resume();
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
