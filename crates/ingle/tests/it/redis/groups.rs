//! Commits of several sessions that meet: one write, perhaps one call of a script, and each of them for itself.

use ingle::store::{Applied, ErrorKind};
use testbed::{
    proxy::Proxy,
    redis::{ask, start},
};

use super::*;
use crate::batching::{add, begin, filled, give_up, one_of_two_is_made, stored, views};

/// How often a command was called, and how often the server has read from its connections.
fn counts(scene: &Scene, command: &str) -> [u64; 2] {
    let said = scene.ask("INFO everything");
    let number = |begin: &str| {
        let (_, rest) = said.split_once(begin)?;
        rest.split(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()
    };
    let calls = number(&format!("cmdstat_{command}:calls="));
    [calls.unwrap_or(0), number("total_reads_processed:").unwrap()]
}

#[tokio::test]
async fn commits_that_meet_are_one_call() {
    let server = start(&[]);
    let scene = Scene::on(server.address());
    let store = scene.store().await;
    let bases = filled(&store, 80).await;
    // The server learns the script, if it needs one.
    add(&store, &bases[..1], 0).pop().unwrap().await.unwrap().unwrap();
    let (command, expected) = if is_native(&store) { ("set", 79) } else { ("evalsha", 6) };
    let before = counts(&scene, command);
    let bases = &bases[1..];
    for commit in add(&store, bases, 1000) {
        commit.await.unwrap().unwrap();
    }
    let after = counts(&scene, command);
    assert_eq!(after[0] - before[0], expected, "8, 8, and then 16 in each");
    // Those who ask for the counts are among them.
    assert!(after[1] - before[1] < 20, "{before:?} {after:?}");
    for (number, base) in (1..).zip(bases) {
        assert_eq!(views(&stored(&store, base).await), 1000 + number);
    }
}

#[tokio::test]
async fn a_commit_on_what_is_there_is_one_trip() {
    let wire = Proxy::start(testbed::redis::server()).await.unwrap();
    let store = Scene::on(wire.address).store().await;
    let base = create(&store, &record(random_key(), Some("mary"))).await;
    // The server learns the script, if it needs one.
    let base = replace(&store, &base, |_| {}).await.unwrap();
    let before = wire.trips();
    replace(&store, &base, |_| {}).await.unwrap();
    assert_eq!(wire.trips() - before, 1);
}

#[tokio::test]
async fn each_of_a_group_stands_or_falls_alone() {
    let scene = Scene::new();
    let store = scene.store().await;
    let bases = filled(&store, 20).await;
    each_stands_or_falls_alone(&scene, &store, &bases).await;
}

/// Those of a group that keep their time of expiry are written before the script looks.
#[tokio::test]
async fn each_of_a_group_on_own_writes_stands_or_falls_alone() {
    let scene = Scene::new();
    let store = scene.store().await;
    let mut bases = filled(&store, 20).await;
    for base in bases.iter_mut().skip(1).step_by(2) {
        *base = replace(&store, base, |_| {}).await.unwrap();
    }
    each_stands_or_falls_alone(&scene, &store, &bases).await;
}

async fn each_stands_or_falls_alone(scene: &Scene, store: &Redis, bases: &[Loaded]) {
    let name = |number: usize| scene.name(&bases[number].record.header.key);
    begin(store, &bases[3], &json!({ "views": 500 })).await.unwrap().unwrap();
    scene.ask(&format!("DEL {}", name(5)));
    scene.set_number(&name(7), "idle_deadline", 1);
    scene.ask(&format!("DEL {}", name(9)));
    scene.ask(&format!("HSET {} hunter2 1", name(9)));
    // It lives longer than the base knows.
    scene.set_number(&name(11), "idle_deadline", now().after(minutes(90)).as_millis());
    for (number, commit) in add(store, bases, 1000).into_iter().enumerate() {
        match (number, commit.await.unwrap()) {
            (3, Err(CommitError::Conflict(Some(newer)))) => assert_eq!(views(&newer), 500),
            (5 | 7, Err(CommitError::Gone)) => {}
            (9, Err(CommitError::Failed(error))) => {
                assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
            }
            (3 | 5 | 7 | 9, other) => panic!("{number}: {other:?}"),
            (_, done) => _ = done.unwrap(),
        }
    }
    for (number, base) in bases.iter().enumerate().filter(|(n, _)| ![5, 7, 9].contains(n)) {
        let expected = if number == 3 { 500 } else { 1000 + number as u64 };
        assert_eq!(views(&stored(store, base).await), expected);
    }
    for (number, what) in [(5, "none"), (7, "string"), (9, "hash")] {
        assert!(scene.ask(&format!("TYPE {}", name(number))).contains(what), "{number}");
    }
    assert!(scene.text(&name(7)).contains("\"idle_deadline\":1,"));
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
            (_, done) => _ = done.unwrap(),
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
    wanted.await.unwrap().unwrap();
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
        commit.await.unwrap().unwrap();
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
        commit.await.unwrap().unwrap();
    }
    for (number, base) in bases.iter().enumerate() {
        assert_eq!(stored(&store, base).await.record.data["text"], text(number));
    }
}
