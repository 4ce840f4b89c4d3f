//! `kill -9` in the middle of load: what was answered is there afterwards, and of what was not, at
//! most the one request that each connection had sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    client::Browser,
    place::Place,
    process::{Instances, Process},
};

on_each_store! {
    a_killed_process_loses_no_view_that_it_answered
    a_killed_process_loses_no_view_of_a_session_that_all_share
    one_process_goes_on_when_another_on_its_store_is_killed
}

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 3;

/// How many views are answered before the end comes.
const ANSWERS_MIN: usize = 300;

/// Views that go on until the server is gone; each task returns its browser and how many of its
/// views were answered.
pub(crate) struct Load {
    tasks: JoinSet<(Browser, u64)>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    pub(crate) fn start(browsers: impl IntoIterator<Item = Browser>) -> Self {
        let mut load = Self { tasks: JoinSet::new(), answered: Arc::default() };
        for mut browser in browsers {
            let answered = Arc::clone(&load.answered);
            load.tasks.spawn(async move {
                let mut own = 0;
                while let Ok(answer) = browser.try_send("GET", "/").await {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    own += 1;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                (browser, own)
            });
        }
        load
    }

    pub(crate) async fn until_answered(&self, n: usize) {
        while self.answered.load(Ordering::SeqCst) < n {
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn ended(self) -> Vec<(Browser, u64)> {
        self.tasks.join_all().await
    }
}

/// A browser of each connection, each with a session of its own.
pub(crate) async fn visitors(process: &Process) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut browser = process.browser();
        browser.get("/").await;
        browsers.push(browser);
    }
    browsers
}

/// The views of a browser's session, without adding one.
pub(crate) async fn views(browser: &mut Browser) -> u64 {
    browser.data().await["views"].as_u64().expect("a count")
}

async fn a_killed_process_loses_no_view_that_it_answered(place: Place) {
    let mut process = Process::start(&place, &[]);
    let mut browsers = visitors(&process).await;
    for round in 0..ROUNDS {
        let mut before = Vec::new();
        for browser in &mut browsers {
            before.push(views(browser).await);
        }
        let cookies: Vec<_> = browsers.iter().map(|browser| browser.cookie.clone()).collect();
        let load = Load::start(browsers);
        load.until_answered(ANSWERS_MIN).await;
        process.kill();
        let ended = load.ended().await;

        process = Process::start(&place, &[]);
        browsers = Vec::new();
        for (browser, answered) in ended {
            let mut browser = browser.window(process.address);
            let at = cookies.iter().position(|cookie| *cookie == browser.cookie).expect("known");
            let counted = views(&mut browser).await - before[at];
            let allowed = answered..=answered + 1;
            assert!(allowed.contains(&counted), "round {round}: {counted} of {answered}");
            browsers.push(browser);
        }
    }
}

async fn a_killed_process_loses_no_view_of_a_session_that_all_share(place: Place) {
    let mut process = Process::start(&place, &[]);
    let mut browser = process.browser();
    let mut before = browser.get("/").await.views();
    for round in 0..ROUNDS {
        let load = Load::start((0..CONNECTIONS).map(|_| browser.window(process.address)));
        load.until_answered(ANSWERS_MIN).await;
        process.kill();
        let answered: u64 = load.ended().await.iter().map(|(_, answered)| answered).sum();

        process = Process::start(&place, &[]);
        browser = browser.window(process.address);
        let after = views(&mut browser).await;
        let allowed = answered..=answered + CONNECTIONS as u64;
        assert!(
            allowed.contains(&(after - before)),
            "round {round}: {before}, {answered}, {after}"
        );
        before = after;
    }
}

async fn one_process_goes_on_when_another_on_its_store_is_killed(place: Place) {
    let mut instances = Instances::start(place, 2);
    let killed = instances.processes.pop().expect("two");
    let stays = instances.first();
    let mut browser = stays.browser();
    browser.get("/").await;
    let windows = (0..CONNECTIONS / 2).map(|_| browser.window(killed.address));
    let load = Load::start(windows);
    load.until_answered(ANSWERS_MIN / 2).await;
    killed.kill();
    let answered: u64 = load.ended().await.iter().map(|(_, answered)| answered).sum();

    let counted = browser.get("/").await.views() - 2;
    let allowed = answered..=answered + (CONNECTIONS / 2) as u64;
    assert!(allowed.contains(&counted), "{counted} of {answered}");
}
