//! The table: who makes it, what commits cost it, and who sweeps it.

use std::{collections::HashSet, time::Duration};

use ingle::{
    clock::{Clock as _, SystemClock},
    record::User,
    store::{List as _, OpenError, OpenErrorKind, Postgres, PostgresConfig, Store as _, Write},
};
use serde_json::json;
use testbed::postgres::Postgres as Server;

use super::{Scene, create, key, record, replace, views};
use crate::common::given_up;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn many_can_make_the_table_at_once() {
    let scene = Scene::new().await;
    for round in 0..5 {
        let config = PostgresConfig::parse(&format!("{}_{round}", scene.url(""))).unwrap();
        let all: Vec<_> = (0..8).map(|_| tokio::spawn(Postgres::migrate(config.clone()))).collect();
        for one in all {
            one.await.unwrap().unwrap();
        }
        Postgres::open(config).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_can_be_in_any_schema_under_any_name() {
    let scene = Scene::new().await;
    let schema = format!("s{}", scene.table);
    scene.sql(&format!("CREATE SCHEMA {schema}")).await;
    for name in ["user", "select", "my_ingle_sessions", "ingle_sessions", &"x".repeat(54)] {
        let url = format!("postgres://postgres@{}/postgres?table={schema}.{name}", scene.server);
        let config = PostgresConfig::parse(&url).unwrap();
        Postgres::migrate(config.clone()).await.unwrap();
        let store = Postgres::open(config).await.unwrap();
        let base = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
        scene.sql(&format!("UPDATE {schema}.\"{name}\" SET data = '{{}}'")).await;
        let found = store.load(&key(1), SystemClock.now()).await.unwrap().live().unwrap();
        assert_eq!(found.version.0, base.version.0 + 1, "it has its trigger");
        assert_eq!(store.sweep(SystemClock.now().after(13 * HOUR), 10).await.unwrap().deleted, 1);
    }
}

#[tokio::test]
async fn the_script_is_for_psql_as_well() {
    let scene = Scene::new().await;
    let schema = format!("s{}", scene.table);
    let script = include_str!("../../../src/store/postgres/schema.sql");
    scene.sql(&format!("CREATE SCHEMA {schema}")).await;
    scene.sql(&format!("SET search_path = {schema}")).await;
    for _ in 0..2 {
        scene.shell.batch_execute(script).await.unwrap();
    }
    let url =
        format!("postgres://postgres@{}/postgres?table={schema}.ingle_sessions", scene.server);
    let store = Postgres::open(PostgresConfig::parse(&url).unwrap()).await.unwrap();
    create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    let newer = "COMMENT ON TABLE ingle_sessions IS 'sessions of ingle, schema 2'";
    scene.shell.batch_execute(newer).await.unwrap();
    scene.shell.batch_execute(script).await.unwrap_err();
}

#[tokio::test]
async fn what_is_not_ours_is_left_as_it_is() {
    let scene = Scene::new().await;
    let comment = |text: &str| {
        let sql = format!("COMMENT ON TABLE {} IS {text}", scene.table);
        async { scene.shell.batch_execute(&{ sql }).await.unwrap() }
    };
    comment("'sessions of ingle, schema 2'").await;
    for attempt in [Postgres::migrate(scene.config("")).await, open(&scene).await] {
        let error = attempt.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Foreign);
        assert!(error.to_string().contains("has schema 2, this version of ingle knows up to 1"));
    }
    for text in ["NULL", "'mine'", "'sessions of ingle, schema 0'"] {
        comment(text).await;
        for attempt in [Postgres::migrate(scene.config("")).await, open(&scene).await] {
            let error = attempt.unwrap_err();
            assert_eq!(error.kind(), OpenErrorKind::Foreign);
            assert!(error.to_string().contains("is another program's"), "{error}");
        }
    }
}

async fn open(scene: &Scene) -> Result<(), OpenError> {
    Postgres::open(scene.config("")).await.map(drop)
}

/// A commit that touches an index costs more, and leaves more behind for the vacuum.
#[tokio::test]
async fn commits_and_touches_write_no_index() {
    // A server of its own: while another test has a transaction open, no page gets rid of old rows.
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let store = scene.store().await;
    let now = SystemClock.now();
    let mut bases = Vec::new();
    for number in 0..50 {
        let mut record = (*record(key(number), now, json!({ "greeting": "Hallo Welt" }))).clone();
        record.header.user =
            Some(User::new(format!("user {number}"), 0, ingle::clock::Timestamp::from_millis(7)));
        bases.push(create(&store, &record.into()).await);
    }
    for round in 0..40 {
        for base in &mut bases {
            let mut record = (*super::next(base, views(round))).clone();
            record.header.idle_deadline = now.after(HOUR + Duration::from_secs(round));
            let record = record.into();
            let version =
                store.commit(Write::Replace { base, record: &record }, now).await.unwrap();
            *base = ingle::record::Loaded { record, version };
            let key = &base.record.header.key;
            let idle_deadline = now.after(HOUR + Duration::from_secs(round + 10));
            store.touch(key, idle_deadline, now).await.unwrap();
        }
    }
    // A server's process counts for all when its connection ends, at the latest.
    drop(store);
    let counts = "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables \
                  WHERE relname = 'TABLE'";
    let (updates, hot) = loop {
        let counts = scene.text(counts).await;
        let (updates, hot) = counts.split_once(' ').unwrap();
        let (updates, hot): (u64, u64) = (updates.parse().unwrap(), hot.parse().unwrap());
        if updates >= 4000 {
            break (updates, hot);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("{hot} of {updates} updates wrote no index");
    assert_eq!(updates, 4000);
    assert!(hot * 100 >= updates * 95, "{hot} of {updates}");
}

#[tokio::test]
async fn lists_and_sweeps_have_an_index() {
    let scene = Scene::new().await;
    scene.sql("SET enable_seqscan = off").await;
    scene.sql("SET enable_sort = off").await;
    scene.sql("SET enable_bitmapscan = off").await;
    let cases = [
        ("WHERE key > '' ORDER BY key", "_pkey"),
        ("WHERE user_name = 'ada' AND key > '' ORDER BY key", "_by_user"),
        ("WHERE sweep_at <= now() ORDER BY sweep_at", "_to_sweep"),
    ];
    for (query, index) in cases {
        let plan = scene.sql(&format!("EXPLAIN SELECT data FROM TABLE {query} LIMIT 5")).await;
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let index = format!("Index Scan using {}{index}", scene.table);
        assert!(plan.iter().any(|line| line.contains(&index)), "{plan:?}");
    }
}

/// As only a hand writes them.
#[tokio::test]
async fn rows_without_a_key_cut_no_list_short() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    let mut expected = Vec::new();
    for number in [1, u64::MAX] {
        let mut record = (*record(key(number), now, views(1))).clone();
        record.header.user = Some(User::new("ada", 0, now));
        expected.push(create(&store, &record.into()).await);
    }
    // In between, and more than a page of them.
    scene.sql("SELECT * INTO TEMPORARY one FROM TABLE LIMIT 1").await;
    for number in 2..7 {
        scene.sql(&format!("UPDATE one SET key = '\\x0{number}'")).await;
        scene.sql("INSERT INTO TABLE SELECT * FROM one").await;
    }
    for user in [None, Some("ada")] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = match user {
                None => store.list(after.as_ref(), 1, now).await.unwrap(),
                Some(user) => store.list_by_user(user, after.as_ref(), 1, now).await.unwrap(),
            };
            assert!(page.damaged.is_empty(), "{:?}", page.damaged);
            found.extend(page.records);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{user:?}");
    }
}

#[tokio::test]
async fn many_instances_sweep_each_row_once() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    for number in 0..120 {
        create(&store, &record(key(number), now, views(1))).await;
    }
    // One that goes on living has its deadline moved, and not when a sweep looks at it.
    let kept = key(7);
    let until = now.after(3 * HOUR);
    store.touch(&kept, until, now).await.unwrap();
    let later = now.after(2 * HOUR);
    let mut sweeps = Vec::new();
    for _ in 0..4 {
        let store = scene.store().await;
        sweeps.push(tokio::spawn(async move {
            let mut deleted = 0;
            for _ in 0..20 {
                deleted += store.sweep(later, 10).await.unwrap().deleted;
            }
            deleted
        }));
    }
    let mut deleted = 0;
    for sweep in sweeps {
        deleted += sweep.await.unwrap();
    }
    deleted += store.sweep(later, 500).await.unwrap().deleted;
    assert_eq!(deleted, 119, "each is deleted by exactly one");
    assert_eq!(scene.text("SELECT sweep_at = idle_deadline FROM TABLE").await, "t");
    let swept = store.sweep(until, 500).await.unwrap();
    assert_eq!((swept.deleted, swept.more), (1, false));
}

#[tokio::test]
async fn a_session_that_gets_a_shorter_time_is_swept_in_that_time() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    let base = create(&store, &record(key(1), now, views(1))).await;
    let mut record = (*super::next(&base, views(2))).clone();
    record.header.idle_deadline = now.after(HOUR / 60);
    let record = record.into();
    store.commit(Write::Replace { base: &base, record: &record }, now).await.unwrap();
    assert_eq!(store.sweep(now.after(HOUR / 30), 10).await.unwrap().deleted, 1);
}

/// A reply that reached the next caller would hand over another visitor's session.
pub(super) async fn dropped_calls(store: &Postgres) {
    let now = SystemClock.now();
    for number in 0..20 {
        create(store, &record(key(number), now, views(number))).await;
    }
    let (mut asked, mut dropped) = (HashSet::new(), 0);
    for round in 0..2000_u64 {
        let number = round * 7 % 20;
        asked.insert(number);
        let wanted = key(number);
        if given_up(store.load(&wanted, now), round * 37 % 9).await.is_none() {
            dropped += 1;
        }
        if round % 3 == 0 {
            let number = round % 20;
            let found = store.load(&key(number), now).await.unwrap().live().unwrap();
            assert_eq!(found.record.data, *views(number).as_object().unwrap());
            assert_eq!(found.record.header.key, key(number));
        }
    }
    assert!(asked.len() == 20 && dropped > 200, "{dropped}");
    let base = store.load(&key(1), now).await.unwrap().live().unwrap();
    replace(store, &base, views(2)).await;
}

#[tokio::test]
async fn no_answer_reaches_another_call() {
    let scene = Scene::new().await;
    let store = Postgres::open(scene.config("&pool=3")).await.unwrap();
    dropped_calls(&store).await;
}

#[tokio::test]
async fn no_answer_reaches_another_call_behind_pgbouncer() {
    let mut scene = Scene::new().await;
    scene.server = testbed::postgres::shared_pooler();
    let config = scene.config("&pool=3&pooler=transaction");
    dropped_calls(&Postgres::open(config).await.unwrap()).await;
}
