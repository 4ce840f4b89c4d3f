//! Requests that meet in one session, in one process and over two: T1 to T6.
//!
//! No test counts on time. A slow request says that it has read, waits, and goes on when it is told.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;
use testbed::{
    http::{Answer, Browser},
    load::{self, Length, One, Plan},
};
use tokio::task::JoinSet;

use crate::{
    place::Place,
    process::{Instances, PATIENCE, Process},
};

/// Makes a test of each race, on each store, for one process and one for two that share the store.
macro_rules! on_one_process_and_on_two {
    ($($race:ident)*) => {
        mod one_process {
            use super::{Instances, Place};
            on_each_store! { $($race)* }
            $(async fn $race(place: Place) { super::$race(&Instances::start(place, 1)).await })*
        }
        mod two_processes {
            use super::{Instances, Place};
            on_each_store! { $($race)* }
            $(async fn $race(place: Place) { super::$race(&Instances::start(place, 2)).await })*
        }
    };
}

on_one_process_and_on_two! {
    a_thousand_views_at_once_are_each_counted_once
    twenty_inserts_at_once_are_all_kept
    a_slow_write_does_not_undo_a_logout
    a_slow_write_of_what_another_changed_is_refused
    slow_writes_of_different_fields_are_all_kept
    an_id_that_was_never_issued_is_not_adopted
    a_slow_read_does_not_undo_a_write
    a_slow_read_does_not_undo_a_logout
    of_renewals_at_once_the_data_is_reached_by_one_id
}

/// A browser whose session has been begun.
async fn visitor(instances: &Instances) -> Browser {
    let mut browser = instances.first().browser();
    assert_eq!(browser.get("/").await.views(), 1);
    browser
}

/// Sends a slow request, and returns when it has read the session and waits.
async fn slow(process: &Process, mut browser: Browser, target: &str) -> JoinSet<Answer> {
    let target = target.to_owned();
    let mut task = JoinSet::new();
    task.spawn(async move { browser.get(&target).await });
    process.until_waiting(1).await;
    task
}

/// Lets the slow request of a process go on, and returns its answer.
async fn released(process: &Process, task: JoinSet<Answer>) -> Answer {
    process.browser().get("/lab/release").await;
    task.join_all().await.remove(0)
}

/// Asks every process whether a cookie is nobody's.
async fn assert_dead(instances: &Instances, browser: &Browser) {
    for process in &instances.processes {
        for path in ["/lab/data", "/"] {
            let answer = browser.window(process.address).get(path).await;
            assert_eq!((answer.status, answer.set_cookie()), (409, None), "{path}: {answer:?}");
        }
    }
}

/// The counts that so many views of one session were shown, by so many clients of all processes at
/// once, in order.
pub(crate) async fn views_at_once(
    instances: &Instances,
    browser: &Browser,
    clients: usize,
    views: usize,
) -> Vec<u64> {
    let cookie: Arc<str> = browser.cookie.as_deref().expect("a cookie").into();
    let length = Length::Requests { count: views as u64, time_max: PATIENCE };
    let plan = Plan::new(&instances.addresses(), "/", length);
    let plan = Plan { patience: PATIENCE, ..plan };
    let one = || One { cookie: Arc::clone(&cookie), shown: Vec::new() };
    let (turns, tally) = load::closed(&plan, (0..clients).map(|_| one()).collect()).await;
    assert_eq!((tally.sent, tally.failed()), (views as u64, 0), "{} refused", tally.refused());
    let mut counts: Vec<u64> = turns.into_iter().flat_map(|one| one.shown).collect();
    counts.sort_unstable();
    counts
}

/// T1.
async fn a_thousand_views_at_once_are_each_counted_once(instances: &Instances) {
    const VIEWS: usize = 1000;
    let mut browser = visitor(instances).await;
    let counts = views_at_once(instances, &browser, 32, VIEWS).await;
    assert_eq!(counts, (2..=1001).collect::<Vec<_>>());
    assert_eq!(browser.get("/").await.views(), 1002);
}

/// T2.
async fn twenty_inserts_at_once_are_all_kept(instances: &Instances) {
    let mut browser = visitor(instances).await;
    let mut clients = JoinSet::new();
    for client in 0..20 {
        let mut window = browser.window(instances.deal(client));
        clients.spawn(async move {
            window.post(&format!("/lab/insert/field{client}?value={client}")).await.status
        });
    }
    assert_eq!(clients.join_all().await, [204; 20]);
    let data = browser.data().await;
    for client in 0..20 {
        assert_eq!(data[format!("field{client}")], json!(client.to_string()));
    }
}

/// T3.
async fn a_slow_write_does_not_undo_a_logout(instances: &Instances) {
    let browser = visitor(instances).await;
    let window = browser.window(instances.first().address);
    let write = slow(instances.first(), window, "/lab/slow-write/name?value=late").await;
    let mut other = browser.window(instances.last().address);
    assert_eq!(other.post("/logout").await.status, 200);
    let answer = released(instances.first(), write).await;
    assert_eq!((answer.status, answer.set_cookie()), (409, None), "{answer:?}");
    assert_dead(instances, &browser).await;
}

async fn a_slow_write_of_what_another_changed_is_refused(instances: &Instances) {
    let mut browser = visitor(instances).await;
    let window = browser.window(instances.first().address);
    let write = slow(instances.first(), window, "/lab/slow-write/name?value=late").await;
    let mut other = browser.window(instances.last().address);
    assert_eq!(other.post("/lab/insert/name?value=first").await.status, 204);
    assert_eq!(released(instances.first(), write).await.status, 409);
    assert_eq!(browser.data().await["name"], "first");
}

async fn slow_writes_of_different_fields_are_all_kept(instances: &Instances) {
    let mut browser = visitor(instances).await;
    let window = browser.window(instances.first().address);
    let write = slow(instances.first(), window, "/lab/slow-write/name?value=late").await;
    let mut other = browser.window(instances.last().address);
    assert_eq!(other.post("/lab/insert/theme?value=dark").await.status, 204);
    assert_eq!(other.get("/").await.views(), 2);
    assert_eq!(released(instances.first(), write).await.status, 204);
    let data = browser.data().await;
    assert_eq!((&data["name"], &data["theme"]), (&json!("late"), &json!("dark")));
    assert_eq!(data["views"], 2);
}

/// T4.
async fn an_id_that_was_never_issued_is_not_adopted(instances: &Instances) {
    let mut browser = visitor(instances).await;
    let mut attacker = browser.window(instances.last().address);
    let planted = format!("id={}", "A".repeat(43));
    attacker.cookie = Some(planted.clone());
    assert_eq!(attacker.get("/").await.views(), 1);
    assert_ne!(attacker.cookie, Some(planted.clone()));
    let mut victim = browser.window(instances.first().address);
    victim.cookie = Some(planted);
    assert_eq!(victim.data().await, json!({}));
    assert_eq!(browser.get("/").await.views(), 2);
}

/// T5.
async fn a_slow_read_does_not_undo_a_write(instances: &Instances) {
    let mut browser = visitor(instances).await;
    let window = browser.window(instances.first().address);
    let read = slow(instances.first(), window, "/lab/slow-read").await;
    let mut other = browser.window(instances.last().address);
    assert_eq!(other.get("/").await.views(), 2);
    assert_eq!(other.post("/lab/insert/theme?value=dark").await.status, 204);
    let answer = released(instances.first(), read).await;
    assert_eq!(answer.json()["views"], 1, "it answers what it had read");
    let data = browser.data().await;
    assert_eq!((&data["views"], &data["theme"]), (&json!(2), &json!("dark")));
}

/// T6.
async fn a_slow_read_does_not_undo_a_logout(instances: &Instances) {
    let browser = visitor(instances).await;
    let window = browser.window(instances.first().address);
    let read = slow(instances.first(), window, "/lab/slow-read").await;
    let mut other = browser.window(instances.last().address);
    assert_eq!(other.post("/logout").await.status, 200);
    let answer = released(instances.first(), read).await;
    assert_eq!((answer.status, answer.set_cookie()), (200, None), "{answer:?}");
    assert_dead(instances, &browser).await;
}

/// The second one meets a session that is gone, and is told so.
async fn of_renewals_at_once_the_data_is_reached_by_one_id(instances: &Instances) {
    let browser = visitor(instances).await;
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let mut window = browser.window(instances.deal(client));
        clients.spawn(async move {
            let answer = window.post("/lab/renew").await;
            (answer.status, window)
        });
    }
    let mut alive = BTreeSet::new();
    for (status, mut window) in clients.join_all().await {
        assert!(matches!(status, 204 | 409), "{status}");
        let answer = window.get("/lab/data").await;
        if answer.status == 200 {
            assert_eq!(answer.json()["views"], 1);
            alive.insert(window.cookie.take());
        }
    }
    assert_eq!(alive.len(), 1);
    assert_dead(instances, &browser).await;
}
