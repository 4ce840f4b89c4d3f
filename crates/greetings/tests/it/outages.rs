//! A server that says nothing, or is gone: 503 and no cookie, and afterwards all is as it was.
//!
//! Each test, beside the others of its store, has a server of its own, since it stops it. That says nothing of losses of power: what a
//! process has written is there after it was killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use testbed::http::{Answer, Browser};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    place::{ALONE, Place},
    process::{Instances, PATIENCE, PAUSE},
};

/// The app's requests wait a second for the store, as they do by default.
const IN_A_HURRY: [&str; 2] = ["--store-timeout", "1s"];

/// How often each client must be refused while the outage lasts.
const REFUSALS_EACH: usize = 3;

const CLIENTS: usize = 10;
const ANSWERS_EACH: usize = 10;

/// Before a client that was refused asks again.
const BREATH: Duration = Duration::from_millis(20);

/// The times of an outage; it begins with zero, before it.
const DURING: u8 = 1;
const AFTER: u8 = 2;

/// Clients that look at the page until they are told to stop.
struct Visits {
    tasks: JoinSet<Visited>,
    outage: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
    /// How many answers each client had, in the current one of the times above: 503 during the
    /// outage, 200 at other times.
    answered: Arc<Vec<AtomicUsize>>,
}

/// What one client saw.
struct Visited {
    client: usize,
    browser: Browser,
    answered: Vec<u64>,
    /// How many requests may or may not have been counted.
    unknown: u64,
    refused_during: u64,
}

impl Visits {
    fn start(browsers: Vec<Browser>, see: fn(&Answer)) -> Self {
        let mut visits = Self {
            tasks: JoinSet::new(),
            outage: Arc::default(),
            stop: Arc::default(),
            answered: Arc::new(browsers.iter().map(|_| AtomicUsize::new(0)).collect()),
        };
        for (client, browser) in browsers.into_iter().enumerate() {
            let (outage, stop) = (Arc::clone(&visits.outage), Arc::clone(&visits.stop));
            let all = Arc::clone(&visits.answered);
            visits.tasks.spawn(async move {
                let mut seen =
                    Visited { client, browser, answered: vec![], unknown: 0, refused_during: 0 };
                while !stop.load(Ordering::SeqCst) {
                    let before = outage.load(Ordering::SeqCst);
                    // Each is answered while the outage lasts: it goes on until all were.
                    let answer = seen.browser.get("/").await;
                    let after = outage.load(Ordering::SeqCst);
                    see(&answer);
                    let during = (before, after) == (DURING, DURING);
                    seen.count(&answer, during);
                    let wanted = if before == DURING { 503 } else { 200 };
                    if answer.status == wanted && before == after {
                        all[client].fetch_add(1, Ordering::SeqCst);
                    }
                    if answer.status != 200 {
                        sleep(BREATH).await;
                    }
                }
                seen
            });
        }
        visits
    }

    /// Returns when each client was answered so often, at this time.
    async fn until_each_is_answered(&self, often: usize) {
        let all = self.answered.iter();
        let enough = || all.clone().all(|n| n.load(Ordering::SeqCst) >= often);
        let enough = async {
            while !enough() {
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, enough).await.expect("each client is answered");
    }

    fn now_it_is(&self, time: u8) {
        self.outage.store(time, Ordering::SeqCst);
        self.answered.iter().for_each(|n| n.store(0, Ordering::SeqCst));
    }

    async fn stopped(self) -> Vec<Visited> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = self.tasks.join_all().await;
        all.sort_unstable_by_key(|seen| seen.client);
        all
    }
}

impl Visited {
    fn count(&mut self, answer: &Answer, during: bool) {
        if answer.status == 503 {
            assert_eq!(answer.set_cookie(), None, "{answer:?}");
            self.refused_during += u64::from(during);
            if answer.body.contains("not available") {
                assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
            } else {
                assert!(answer.body.contains("not known"), "{answer:?}");
                self.unknown += 1;
            }
        } else if answer.status == 200 {
            self.answered.push(answer.views());
        }
        assert!(!during || answer.status == 503, "{answer:?}");
    }
}

/// One browser for each client, each on one of the processes.
async fn visitors(instances: &Instances, clients_each: usize) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for session in 0..CLIENTS / clients_each {
        let mut first = Browser::new(instances.deal(session));
        begin(&mut first).await;
        let clients = 0..clients_each;
        browsers.extend(clients.map(|client| first.window(instances.deal(session + client))));
    }
    browsers
}

/// Begins a session. A busy machine may be in less of a hurry than the app is: then once more.
async fn begin(browser: &mut Browser) {
    let begun = async {
        loop {
            let answer = browser.get("/").await;
            if answer.status != 503 {
                break answer.views();
            }
            sleep(BREATH).await;
        }
    };
    assert_eq!(timeout(PATIENCE, begun).await.expect("a session begins"), 1);
}

/// The views of a session, without adding one, and with the same patience.
async fn views(browser: &mut Browser) -> u64 {
    let views = async {
        loop {
            let answer = browser.get("/lab/data").await;
            if answer.status != 503 {
                break answer.json()["views"].as_u64().expect("a count");
            }
            sleep(BREATH).await;
        }
    };
    timeout(PATIENCE, views).await.expect("the session is read")
}

/// An outage of a server that keeps what it acknowledged.
pub(crate) async fn no_view_and_no_session_is_lost<S>(
    mut server: S,
    place: Place,
    begin: fn(&mut S),
    end: fn(&mut S),
) {
    let _alone = ALONE.write().await;
    let instances = Instances::start_with(place, 2, &IN_A_HURRY);
    // Each session is visited through both processes.
    let visits = Visits::start(visitors(&instances, 2).await, |answer| {
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        assert_eq!(answer.set_cookie(), None, "{answer:?}");
    });
    visits.until_each_is_answered(ANSWERS_EACH).await;
    begin(&mut server);
    visits.now_it_is(DURING);
    visits.until_each_is_answered(REFUSALS_EACH).await;
    visits.now_it_is(AFTER);
    end(&mut server);
    visits.until_each_is_answered(ANSWERS_EACH).await;

    let mut all = visits.stopped().await;
    assert!(all.iter().all(|seen| seen.refused_during > 0), "the outage was seen by all");
    for session in all.chunks_mut(2) {
        let unknown: u64 = session.iter().map(|seen| seen.unknown).sum();
        let mut counts: Vec<u64> =
            session.iter().flat_map(|seen| seen.answered.iter().copied()).collect();
        let answered = counts.len() as u64;
        counts.sort_unstable();
        counts.dedup();
        assert_eq!(counts.len() as u64, answered, "two answers have one number");
        let counted = views(&mut session[0].browser).await - 1;
        let allowed = answered..=answered + unknown;
        assert!(allowed.contains(&counted), "{counted} of {answered}, {unknown} are not known");
    }
}

/// An outage of a server that has nothing any more when it comes back.
#[cfg(any(feature = "firestore", feature = "memcached", feature = "redis"))]
pub(crate) async fn after_a_loss_of_all_data_visitors_begin_anew(
    mut server: testbed::Server,
    place: Place,
) {
    let _alone = ALONE.write().await;
    let instances = Instances::start_with(place, 2, &IN_A_HURRY);
    let visits = Visits::start(visitors(&instances, 1).await, |answer| {
        assert!(matches!(answer.status, 200 | 409 | 503), "{answer:?}");
    });
    visits.until_each_is_answered(ANSWERS_EACH).await;
    server.kill();
    visits.now_it_is(DURING);
    visits.until_each_is_answered(REFUSALS_EACH).await;
    visits.now_it_is(AFTER);
    server.restart();
    visits.until_each_is_answered(ANSWERS_EACH).await;

    for mut seen in visits.stopped().await {
        assert!(seen.refused_during > 0, "the outage was seen by all");
        assert_eq!(seen.answered.iter().filter(|views| **views == 1).count(), 1, "begun once");
        let last = *seen.answered.last().expect("it was answered");
        let counted = views(&mut seen.browser).await;
        assert!((last..=last + seen.unknown).contains(&counted), "{counted}, {last} was shown");
    }
}
