//! Commits of several sessions at the same time: one statement, and each of them for itself.

use std::{process::Command, time::Duration};

use ingle::{
    clock::{Clock as _, SystemClock},
    record::{Loaded, Version},
    store::{Applied, CommitError, ErrorKind, Postgres, Replace, Store as _},
};
use serde_json::json;
use tokio::{join, time::sleep};

use super::{Scene, next, shell};
use crate::batching::{self, add, give_up, one_of_two_is_made, views};

/// A store and the records that are in it, each with its number as views.
async fn filled(scene: &Scene, count: u64) -> (Postgres, Vec<Loaded>) {
    let store = scene.store().await;
    let bases = batching::filled(&store, count).await;
    (store, bases)
}

/// Who has written the rows: so many transactions.
async fn writers(scene: &Scene) -> String {
    scene.text("SELECT count(DISTINCT xmin::text) FROM TABLE").await
}

async fn sum(scene: &Scene) -> String {
    scene.text("SELECT sum((data->>'views')::int) FROM TABLE").await
}

#[tokio::test]
async fn commits_at_the_same_time_are_one_transaction() {
    let scene = Scene::new().await;
    let (store, bases) = filled(&scene, 50).await;
    assert_eq!(writers(&scene).await, "50");
    for commit in add(&store, &bases, 1000) {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
    assert_eq!(writers(&scene).await, "1");
    assert_eq!(sum(&scene).await, (0..50).map(|number| number + 1000).sum::<u64>().to_string());
}

#[tokio::test]
async fn each_of_a_batch_stands_or_falls_alone() {
    let scene = Scene::new().await;
    let (store, bases) = filled(&scene, 20).await;
    scene.sql("UPDATE TABLE SET data = '{\"views\": 500}' WHERE data->>'views' = '3'").await;
    scene.sql("DELETE FROM TABLE WHERE data->>'views' = '5'").await;
    scene
        .sql("UPDATE TABLE SET idle_deadline = now() - '1 s'::interval WHERE data->>'views' = '7'")
        .await;
    for (number, commit) in add(&store, &bases, 1000).into_iter().enumerate() {
        match (number, commit.await.unwrap()) {
            (3, Err(CommitError::Conflict(Some(newer)))) => {
                assert_eq!(views(&newer), 500);
            }
            (5 | 7, Err(CommitError::Gone)) => {}
            (3 | 5 | 7, other) => panic!("{number}: {other:?}"),
            (_, done) => assert_eq!(done.unwrap(), Version(2), "{number}"),
        }
    }
    let others = (0..20).filter(|number| ![3, 5, 7].contains(number)).map(|number| number + 1000);
    assert_eq!(sum(&scene).await, (500 + 7 + others.sum::<u64>()).to_string());
}

#[tokio::test]
async fn what_the_table_refuses_of_one_is_refused_to_no_other() {
    let scene = Scene::new().await;
    let (store, bases) = filled(&scene, 10).await;
    scene.sql("alter table TABLE ADD CHECK (data->>'views' <> '1004')").await;
    for (number, commit) in add(&store, &bases, 1000).into_iter().enumerate() {
        match (number, commit.await.unwrap()) {
            (4, Err(CommitError::Failed(error))) => {
                assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
            }
            (4, other) => panic!("{other:?}"),
            (_, done) => assert_eq!(done.unwrap(), Version(2), "{number}"),
        }
    }
    assert_eq!(sum(&scene).await, (0..10).sum::<u64>().wrapping_add(9 * 1000).to_string());
}

/// Someone has a transaction open, as a person with a shell has, over lunch.
#[tokio::test]
async fn nobody_waits_for_the_lock_of_another_session() {
    let scene = Scene::new().await;
    let (store, bases) = filled(&scene, 20).await;
    let other = shell(scene.server).await;
    let lock = "BEGIN; SELECT FROM TABLE WHERE data->>'views' = '9' FOR UPDATE";
    other.batch_execute(&lock.replace("TABLE", &scene.table)).await.unwrap();
    let mut commits = add(&store, &bases, 1000);
    let locked = commits.remove(9);
    for commit in commits {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
    assert_eq!(scene.text("SELECT counter FROM TABLE WHERE data->>'views' = '9'").await, "1");
    other.batch_execute("ROLLBACK").await.unwrap();
    match locked.await.unwrap() {
        Ok(version) => assert_eq!(version, Version(2)),
        // It was not let in for longer than a lock is waited for.
        Err(CommitError::Failed(error)) => {
            assert_eq!((error.kind(), error.applied()), (ErrorKind::Contended, Applied::No));
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Whoever had the lock before it either changed nothing that counts, or made it a conflict.
#[tokio::test]
async fn an_act_with_a_line_that_waited_for_a_lock_decides_on_what_is_there_then() {
    for (change, is_made) in [
        ("format = format", true),
        ("idle_deadline = idle_deadline + '1 s'::interval", true),
        ("counter = counter + 1", false),
    ] {
        let scene = Scene::new().await;
        let bases = batching::filled(&scene.store().await, 2).await;
        let other = shell(scene.server).await;
        // Of the act, and then of its line.
        for locked in 0..2 {
            let store = scene.store_that_waits().await;
            let now = SystemClock.now();
            let found = [&bases[0], &bases[1]].map(|base| base.record.header.key);
            let act = store.load(&found[0], now).await.unwrap().live().unwrap();
            let line = store.load(&found[1], now).await.unwrap().live().unwrap();
            let lock =
                format!("BEGIN; UPDATE TABLE SET {change} WHERE data->>'views' = '{locked}'");
            other.batch_execute(&lock.replace("TABLE", &scene.table)).await.unwrap();
            let records = [(&act, 0), (&line, 1)]
                .map(|(base, n)| next(base, json!({ "views": n, "is_next": true })));
            let act = Replace { base: &act, record: &records[0] };
            let line = Replace { base: &line, record: &records[1] };
            let transactions = store.as_transactions().unwrap();
            let unlock = async {
                let waiting = scene.commit_waits().await;
                other.batch_execute("COMMIT").await.unwrap();
                drop(waiting);
            };
            let (done, ()) = join!(transactions.replace_with(act, line, now), unlock);
            match (is_made, locked, done) {
                (true, _, Ok(_)) | (false, 0, Err(CommitError::Conflict(Some(_)))) => {}
                (false, 1, Err(CommitError::Failed(error))) => {
                    assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
                }
                (.., done) => panic!("{change}, {locked}: {done:?}"),
            }
            let written = "SELECT count(*) FROM TABLE WHERE data ? 'is_next'";
            assert_eq!(scene.text(written).await, if is_made { "2" } else { "0" }, "{change}");
        }
    }
}

#[tokio::test]
async fn of_two_commits_of_one_record_one_is_made() {
    one_of_two_is_made(&Scene::new().await.store().await).await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_not_sent() {
    let scene = Scene::new().await;
    let (store, bases) = filled(&scene, 2).await;
    give_up(&store, &bases[0]).await;
    let [wanted] = add(&store, &bases[1..], 1000).try_into().unwrap();
    assert_eq!(wanted.await.unwrap().unwrap(), Version(2));
    assert_eq!(sum(&scene).await, "1001");
}

#[tokio::test]
async fn a_crowd_is_several_batches() {
    let scene = Scene::new().await;
    let (store, bases) = filled(&scene, 200).await;
    for commit in add(&store, &bases, 1000) {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
    assert_eq!(writers(&scene).await, "4", "64 at most in each");
}

/// As it is where a connection was dropped without a word.
#[tokio::test]
async fn a_server_process_that_says_nothing_holds_up_its_own_commits_alone() {
    let scene = Scene::new().await;
    let name = format!("application_name={}", scene.table);
    let store = Postgres::open(scene.config(&format!("&{name}"))).await.unwrap();
    let bases = batching::filled(&store, 3).await;
    // Two at once have two connections, which are free again afterwards.
    let (now, key) = (SystemClock.now(), bases[0].record.header.key);
    let (first, second) = join!(store.load(&key, now), store.load(&key, now));
    assert!(first.unwrap().live().is_some() && second.unwrap().live().is_some());
    let ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'TABLE'";
    let pids = scene.sql(ours).await.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>();
    assert_eq!(pids.len(), 2);
    signal("-STOP", &pids);
    let mut commits = Vec::new();
    for base in &bases {
        commits.extend(add(&store, std::slice::from_ref(base), 1000));
        // Each goes by itself, while there is a place.
        sleep(Duration::from_millis(20)).await;
    }
    let third = commits.pop().unwrap();
    assert_eq!(third.await.unwrap().unwrap(), Version(2));
    assert!(commits.iter().all(|commit| !commit.is_finished()));
    signal("-CONT", &pids);
    for commit in commits {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
}

fn signal(signal: &str, pids: &[i32]) {
    let pids = pids.iter().map(ToString::to_string);
    assert!(Command::new("kill").arg(signal).args(pids).status().unwrap().success());
}
