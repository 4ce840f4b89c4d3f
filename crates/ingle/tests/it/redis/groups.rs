//! Commits of several sessions that meet: one call of a script, and each of them for itself.

use ingle::store::{Applied, ErrorKind};
use testbed::redis::{ask, start};

use super::*;
use crate::batching::{add, begin, filled, give_up, one_of_two_is_made, stored, views};

/// How many calls of scripts there were.
fn calls(scene: &Scene) -> u64 {
    let said = scene.ask("INFO commandstats");
    let calls = |name| {
        let (_, rest) = said.split_once(&format!("cmdstat_{name}:calls="))?;
        rest.split(',').next()?.parse::<u64>().ok()
    };
    calls("evalsha").unwrap_or(0) + calls("eval").unwrap_or(0)
}

#[tokio::test]
async fn commits_that_meet_are_one_call() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let store = scene.store().await;
    let bases = filled(&store, 80).await;
    // The server learns the script.
    add(&store, &bases[..1], 0).pop().unwrap().await.unwrap().unwrap();
    let before = calls(&scene);
    let bases = &bases[1..];
    for commit in add(&store, bases, 1000) {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
    assert_eq!(calls(&scene) - before, 5, "16 at most in each");
    for (number, base) in (1..).zip(bases) {
        assert_eq!(views(&stored(&store, base).await), 1000 + number);
    }
}

#[tokio::test]
async fn each_of_a_group_stands_or_falls_alone() {
    let scene = Scene::new();
    let store = scene.store().await;
    let bases = filled(&store, 20).await;
    let name = |number: usize| scene.name(&bases[number].record.header.key);
    begin(&store, &bases[3], &json!({ "views": 500 })).await.unwrap().unwrap();
    scene.ask(&format!("DEL {}", name(5)));
    scene.set_head(&bases[7].record.header, Timestamp::from_millis(1));
    scene.ask(&format!("DEL {}", name(9)));
    scene.ask(&format!("SET {} hunter2", name(9)));
    // It lives longer than the base knows.
    scene.set_head(&bases[11].record.header, now().after(minutes(90)));
    for (number, commit) in add(&store, &bases, 1000).into_iter().enumerate() {
        match (number, commit.await.unwrap()) {
            (3, Err(CommitError::Conflict(Some(newer)))) => assert_eq!(views(&newer), 500),
            (5 | 7, Err(CommitError::Gone)) => {}
            (9, Err(CommitError::Failed(error))) => {
                assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
            }
            (3 | 5 | 7 | 9, other) => panic!("{number}: {other:?}"),
            (_, done) => assert_eq!(done.unwrap(), Version(2), "{number}"),
        }
    }
    for (number, base) in bases.iter().enumerate().filter(|(n, _)| ![5, 7, 9].contains(n)) {
        let expected = if number == 3 { 500 } else { 1000 + number as u64 };
        assert_eq!(views(&stored(&store, base).await), expected);
    }
    for (number, what) in [(5, "none"), (7, "hash"), (9, "string")] {
        assert!(scene.ask(&format!("TYPE {}", name(number))).contains(what), "{number}");
    }
    assert!(scene.ask(&format!("HGET {} head", name(7))).contains("\r\n1 1 "));
}

/// As when a request commits while another one logs out or renews.
#[tokio::test]
async fn a_commit_that_meets_a_mark_in_a_group_finds_its_session_gone() {
    let scene = Scene::new();
    let store = scene.store().await;
    let bases = filled(&store, 4).await;
    destroy(&store, &bases[1].record.header.key).await;
    let moved = renew(&store, &bases[2]).await;
    for (number, commit) in add(&store, &bases, 1000).into_iter().enumerate() {
        match (number, commit.await.unwrap()) {
            (1 | 2, Err(CommitError::Gone)) => {}
            (1 | 2, other) => panic!("{number}: {other:?}"),
            (_, done) => assert_eq!(done.unwrap(), Version(2), "{number}"),
        }
    }
    let found = store.load(&bases[1].record.header.key, now()).await.unwrap();
    assert_eq!(found, Lookup::Ended);
    let found = store.load(&bases[2].record.header.key, now()).await.unwrap();
    assert_eq!(found, Lookup::Moved { to: moved.record.header.key });
    assert_eq!(stored(&store, &moved).await, moved);
}

#[tokio::test]
async fn of_two_commits_of_one_record_one_is_made() {
    one_of_two_is_made(&Scene::new().store().await).await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_not_sent() {
    let store = Scene::new().store().await;
    let bases = filled(&store, 2).await;
    give_up(&store, &bases[0]).await;
    let [wanted] = add(&store, &bases[1..], 1000).try_into().unwrap();
    assert_eq!(wanted.await.unwrap().unwrap(), Version(2));
    assert_eq!(views(&stored(&store, &bases[0]).await), 0);
    assert_eq!(views(&stored(&store, &bases[1]).await), 1001);
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_told_it_for_a_group() {
    let server = start(&[]);
    let store = Scene::on(server.address()).store().await;
    let bases = filled(&store, 10).await;
    ask(server.address(), "SCRIPT FLUSH").unwrap();
    for commit in add(&store, &bases, 1000) {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
}

/// Large ones end a group, and each commit is whole.
#[tokio::test]
async fn large_commits_that_meet_are_all_made() {
    let store = Scene::new().store().await;
    let bases = filled(&store, 10).await;
    let text = |number: usize| "x".repeat(if number.is_multiple_of(3) { 100_000 } else { 10 });
    let begin = |(number, base)| begin(&store, base, &json!({ "text": text(number) }));
    let commits: Vec<_> = bases.iter().enumerate().map(begin).collect();
    for commit in commits {
        assert_eq!(commit.await.unwrap().unwrap(), Version(2));
    }
    for (number, base) in bases.iter().enumerate() {
        assert_eq!(stored(&store, base).await.record.data["text"], text(number));
    }
}
