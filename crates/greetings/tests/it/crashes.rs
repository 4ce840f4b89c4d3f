//! `kill -9` in the middle of load: what was answered is there afterwards, and of what was not, at
//! most the one request that each connection had sent.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use testbed::{
    http::Browser,
    load::{self, Length, Plan, Tally, Turns},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    place::Place,
    process::{Instances, PATIENCE, PAUSE, Process},
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

/// Views that go on until the server is gone, each browser's on a connection of its own.
pub(crate) struct Load {
    task: JoinSet<(Vec<UntilGone>, Tally)>,
    answered: Arc<AtomicUsize>,
}

/// A browser that views the page until nobody answers.
struct UntilGone {
    browser: Browser,
    own: u64,
    all: Arc<AtomicUsize>,
}

impl Turns for UntilGone {
    fn next(&mut self) -> Option<&str> {
        Some(self.browser.cookie.as_deref().unwrap_or_default())
    }

    fn answered(&mut self, _: &load::Answer) -> bool {
        self.own += 1;
        self.all.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn unanswered(&mut self) -> bool {
        false
    }
}

impl Load {
    pub(crate) fn start(browsers: impl IntoIterator<Item = Browser>) -> Self {
        let answered = Arc::<AtomicUsize>::default();
        let browsers = browsers.into_iter();
        let turn = |browser| UntilGone { browser, own: 0, all: Arc::clone(&answered) };
        let turns: Vec<_> = browsers.map(turn).collect();
        let addresses: Vec<_> = turns.iter().map(|turn| turn.browser.address()).collect();
        let length = Length::Requests { count: u64::MAX, time_max: PATIENCE };
        let plan = Plan { patience: PATIENCE, ..Plan::new(&addresses, "/", length) };
        let mut task = JoinSet::new();
        task.spawn(async move { load::closed(&plan, turns).await });
        Self { task, answered }
    }

    pub(crate) async fn until_answered(&self, n: usize) {
        let enough = async {
            while self.answered.load(Ordering::SeqCst) < n {
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, enough).await.expect("views are answered");
    }

    /// The browsers, and how many of its views each was answered. All other answers are failures.
    pub(crate) async fn ended(self) -> Vec<(Browser, u64)> {
        let (turns, tally) = self.task.join_all().await.remove(0);
        assert_eq!(tally.refused(), 0, "answers that are not the page");
        assert_eq!(tally.broken, turns.len() as u64, "each went on until the server was gone");
        turns.into_iter().map(|turn| (turn.browser, turn.own)).collect()
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
