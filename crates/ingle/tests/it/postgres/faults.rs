//! A server that is killed, paused, or ends its connections, while an app is at work: what was
//! acknowledged is there, nothing counts twice, and all goes on by itself.

#![expect(clippy::print_stdout, reason = "`--nocapture` shows what visitors were told")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use ingle::{
    clock::{Clock as _, SystemClock},
    record::{Loaded, Record},
    store::{
        self, Applied, CommitError, ErrorKind, Lookup, OpenErrorKind, Postgres, PostgresConfig,
        Store as _, Write,
    },
};
use testbed::postgres::Postgres as Server;
use tokio::task::JoinHandle;

use super::{Scene, create, key, next, record, replace, views};
use crate::common::{App, Visitor};

/// After this long a store that does not go on never will. It is not how long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one visitor was told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: u64,
    /// May have been made or not.
    unknown: u64,
    refused: u64,
}

/// Visitors of one app who count as fast as they are answered.
struct Load {
    app: App,
    visitors: Vec<JoinHandle<(Visitor, Told)>>,
    until: tokio::sync::watch::Sender<bool>,
}

impl Load {
    async fn begin(scene: &Scene) -> Self {
        let (first, app) = (scene.app().await, scene.hasty_app().await);
        let (until, ended) = tokio::sync::watch::channel(false);
        let mut visitors = Vec::new();
        for _ in 0..8 {
            let (app, ended) = (app.clone(), ended.clone());
            let mut visitor = Visitor::default();
            visitor.get(&first, "/add").await.ok();
            visitors.push(tokio::spawn(async move {
                let mut told = Told { acknowledged: 1, ..Told::default() };
                while !*ended.borrow() {
                    let answer = visitor.get(&app, "/add").await;
                    match answer.status {
                        StatusCode::OK => told.acknowledged += 1,
                        StatusCode::SERVICE_UNAVAILABLE
                            if answer.header("retry-after").is_empty() =>
                        {
                            told.unknown += 1;
                        }
                        StatusCode::SERVICE_UNAVAILABLE => told.refused += 1,
                        other => panic!("{other}: {answer:?}"),
                    }
                    if answer.status != StatusCode::OK {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                (visitor, told)
            }));
        }
        Self { app, visitors, until }
    }

    /// Ends it, and compares what is there with what was said.
    async fn end(self) {
        self.until.send(true).unwrap();
        let (mut sum, mut ends) = (Told::default(), 0);
        for visitor in self.visitors {
            let (mut visitor, told) = visitor.await.unwrap();
            let found = loop {
                let answer = visitor.get(&self.app, "/read").await;
                if answer.status == StatusCode::OK {
                    break answer.body;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let found: u64 =
                found.trim_start_matches("Some(").trim_end_matches(')').parse().unwrap();
            let possible = told.acknowledged..=told.acknowledged + told.unknown;
            assert!(possible.contains(&found), "{found} of {told:?}");
            sum.acknowledged += told.acknowledged;
            sum.unknown += told.unknown;
            sum.refused += told.refused;
            ends += 1;
        }
        println!("{ends} visitors were told {sum:?}");
    }

    /// Waits until a new visitor is served.
    async fn recovers(&self) {
        let began = Instant::now();
        loop {
            let answer = Visitor::default().get(&self.app, "/add").await;
            if answer.status == StatusCode::OK {
                println!("served again after {:?}", began.elapsed());
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing() {
    let mut server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let load = Load::begin(&scene).await;
    for _ in 0..3 {
        pause(700).await;
        tokio::task::block_in_place(|| server.kill());
        pause(300).await;
        tokio::task::block_in_place(|| server.restart());
        load.recovers().await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_paused_loses_nothing() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let load = Load::begin(&scene).await;
    pause(500).await;
    server.pause();
    pause(5000).await;
    let answer = Visitor::default().get(&load.app, "/add").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "an answer all the same");
    server.resume();
    load.recovers().await;
    pause(500).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ends_lose_nothing() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let load = Load::begin(&scene).await;
    for _ in 0..30 {
        pause(50).await;
        scene
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'ingle'",
            )
            .await;
    }
    load.recovers().await;
    load.end().await;
}

/// Two processes on one record, one of which has its answers cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_hot_session_counts_each_acknowledged_change_once() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let apps = [scene.hasty_app().await, scene.hasty_app().await];
    let mut visitor = Visitor::default();
    visitor.get(&scene.app().await, "/add").await.ok();
    let counters: Vec<_> = (0..8)
        .map(|n| {
            let (app, cookie) = (apps[n % 2].clone(), visitor.cookie.clone());
            tokio::spawn(async move {
                let (mut acknowledged, mut unknown) = (0, 0);
                for _ in 0..150 {
                    let answer = app.get("/add", &cookie).await;
                    match answer.status {
                        StatusCode::OK => acknowledged += 1,
                        _ if answer.header("retry-after").is_empty() => unknown += 1,
                        _ => pause(5).await,
                    }
                }
                (acknowledged, unknown)
            })
        })
        .collect();
    for _ in 0..10 {
        pause(40).await;
        scene
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'ingle'",
            )
            .await;
    }
    let (mut acknowledged, mut unknown) = (1, 0);
    for counter in counters {
        let (more, doubts) = counter.await.unwrap();
        acknowledged += more;
        unknown += doubts;
    }
    let found: u64 = scene.text("SELECT data->>'views' FROM TABLE").await.parse().unwrap();
    println!("{found} found, {acknowledged} acknowledged, {unknown} unknown");
    assert!((acknowledged..=acknowledged + unknown).contains(&found));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_told_as_it_is_known() {
    let mut server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let store = scene.store_that_waits().await;
    let now = SystemClock.now();
    let base = create(&store, &record(key(1), now, views(1))).await;
    let late = next(&base, views(2));
    let commit = || async {
        let write = Write::Replace { base: &base, record: &late };
        match store.commit(write, now).await {
            Err(CommitError::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    // It waits for a lock when its connection ends.
    scene.sql("BEGIN").await;
    scene.sql("UPDATE TABLE SET idle_timeout_ms = 1").await;
    let end = async {
        let other = scene.commit_waits().await;
        let ours = "FROM pg_stat_activity WHERE application_name = $1";
        let end = format!("SELECT pg_terminate_backend(pid) {ours}");
        other.query(&end, &[&scene.table]).await.unwrap();
        let left = format!("SELECT {ours}");
        while !other.query(&left, &[&scene.table]).await.unwrap().is_empty() {
            pause(10).await;
        }
    };
    let (error, ()) = tokio::join!(commit(), end);
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::Unknown));
    // Until the other connections are seen to have ended.
    let began = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(began.elapsed() < PATIENCE, "{error:?}");
        pause(10).await;
    }
    // It is told to stop by a person.
    let end = async {
        let other = scene.commit_waits().await;
        let sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = $1 AND state = 'active'";
        other.query(sql, &[&scene.table]).await.unwrap();
    };
    let (error, ()) = tokio::join!(commit(), end);
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    scene.sql("ROLLBACK").await;
    // The table only reads.
    let name = &scene.table;
    scene
        .sql(
            "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS \
               'BEGIN RAISE EXCEPTION ''secret''; END'",
        )
        .await;
    scene.sql(&format!("CREATE TRIGGER no BEFORE UPDATE ON {name} EXECUTE FUNCTION no()")).await;
    let error = commit().await;
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
    assert!(!format!("{error:?}").contains("secret"));
    scene.sql(&format!("DROP TRIGGER no ON {name}")).await;
    // Nobody is there.
    tokio::task::block_in_place(|| server.kill());
    let why = |error: &store::Error| std::error::Error::source(error).unwrap().to_string();
    let nobody = "PostgreSQL does not answer at `127.0.0.1:";
    // Until the connections are seen to have ended.
    let began = Instant::now();
    while !why(&store.ping().await.unwrap_err()).starts_with(nobody) {
        assert!(began.elapsed() < PATIENCE, "the end of its connections is not seen");
        pause(10).await;
    }
    let error = commit().await;
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    assert!(why(&error).starts_with(nobody), "{error:?}");
    tokio::task::block_in_place(|| server.restart());
    replace(&store, &base, views(3)).await;
}

/// A trigger of the app's own refuses the first change, and would let a second one pass.
#[tokio::test]
async fn a_renew_or_an_end_that_is_refused_is_not_made_again() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    let base = create(&store, &record(key(1), now, views(1))).await;
    scene.sql("CREATE SEQUENCE TABLE_n").await;
    scene
        .sql(
            "CREATE FUNCTION TABLE_once() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN IF nextval(''TABLE_n'') = 1 THEN RAISE EXCEPTION ''no''; END IF; \
              RETURN NEW; END'",
        )
        .await;
    scene
        .sql(
            "CREATE TRIGGER once BEFORE UPDATE ON TABLE FOR EACH ROW EXECUTE FUNCTION TABLE_once()",
        )
        .await;
    let mut moved = Record::clone(&next(&base, views(2)));
    moved.header.key = key(2);
    let moved = Arc::new(moved);
    let renew = Write::Renew { base: &base, record: &moved };
    let Err(CommitError::Failed(error)) = store.commit(renew, now).await else {
        panic!("it was made again")
    };
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
    scene.sql("SELECT setval('TABLE_n', 1, false)").await;
    let error = store.destroy(&key(1), now).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
    assert_eq!(scene.only(&store).await, base, "as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_and_then_found_when_it_takes_over() {
    let mut primary = Server::start(&["synchronous_commit=on"]);
    let scene = Scene::on(primary.address()).await;
    let base = create(&scene.store().await, &record(key(1), SystemClock.now(), views(1))).await;
    let standby = tokio::task::block_in_place(|| primary.start_standby());
    let to = |hosts: String| {
        let url = format!("postgres://postgres@{hosts}/postgres?table={}", scene.table);
        Postgres::open(PostgresConfig::parse(&url).unwrap())
    };
    let (first, second) = (primary.address(), standby.address());
    let error = to(second.to_string()).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Unsupported);
    assert!(error.to_string().contains("only reads, as a standby does"), "{error}");
    let store = to(format!("{second},{first}")).await.unwrap();
    replace(&store, &base, views(2)).await;

    tokio::task::block_in_place(|| {
        primary.kill();
        standby.promote();
    });
    let began = Instant::now();
    let found = loop {
        match store.load(&key(1), SystemClock.now()).await {
            Ok(Lookup::Live(found)) => {
                let late = next(&found, views(9));
                let write = Write::Replace { base: &found, record: &late };
                if store.commit(write, SystemClock.now()).await.is_ok() {
                    break found;
                }
            }
            Ok(other) => panic!("it is lost: {other:?}"),
            Err(_) => {}
        }
        assert!(began.elapsed() < PATIENCE, "it does not go on");
        pause(50).await;
    };
    println!("served by the standby after {:?}", began.elapsed());
    // Whether the last commit had reached the standby is left to chance, as it is not synchronous.
    assert!(found.version.0 >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_turns_to_reading_only_is_left() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let store = scene.store().await;
    let now = SystemClock.now();
    let mut base = create(&store, &record(key(1), now, views(1))).await;
    let set = |value: &'static str| {
        let scene = &scene;
        async move {
            scene.sql(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}")).await;
            scene.sql("SELECT pg_reload_conf()").await;
        }
    };
    set("on").await;
    // Until its connection has read that.
    let began = Instant::now();
    let first = loop {
        let record = next(&base, views(2));
        match store.commit(Write::Replace { base: &base, record: &record }, now).await {
            Ok(version) => base = Loaded { record, version },
            Err(error) => break Err(error),
        }
        assert!(began.elapsed() < PATIENCE, "it still writes");
    };
    let late = next(&base, views(2));
    let again = || store.commit(Write::Replace { base: &base, record: &late }, now);
    let mut kinds = Vec::new();
    for refused in [first, again().await, again().await] {
        let Err(CommitError::Failed(error)) = refused else { panic!("it only reads") };
        assert_eq!(error.applied(), Applied::No);
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("only reads, as a standby does"), "{why}");
        kinds.push(error.kind());
    }
    assert_eq!(kinds[0], ErrorKind::Refused);
    let refused = store.ping().await.unwrap_err();
    assert_eq!(refused.applied(), Applied::No);
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("only reads, as a standby does"), "{why}");
    scene.sql("SET default_transaction_read_only = off").await;
    set("off").await;
    let began = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(began.elapsed() < PATIENCE, "{error:?}");
        pause(10).await;
    }
    replace(&store, &base, views(2)).await;
}
