//! Logins, renews and ends of all sessions in every order of their calls of the store.
//!
//! Each run takes one order. The runs go through all orders of two operations, and through some
//! thousands of three, each with one answer lost or none.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ingle::{
    Error, OnUserLimit, SessionLayer,
    adapter::{Finished, HandlerOutcome, HeaderChange},
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Key, Loaded, Version},
    store::{
        self, Applied, CommitError, Cursor, Destroyed, ErrorKind, Info, List, Lookup, Memory, Page,
        Store, Swept, Write,
    },
};
use tokio::{sync::oneshot, task::JoinSet};

use crate::common::{generator, layer};

/// What becomes of a call that is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Let {
    Through,
    /// It is done, and its answer is lost.
    LoseAnswer,
}

/// A store in memory whose calls wait until they are let through, one at a time.
#[derive(Clone)]
struct Gate {
    memory: Memory,
    waiting: Arc<Mutex<VecDeque<oneshot::Sender<Let>>>>,
    /// The keys, in the order in which they were written: lists have it, so that they go the same way in
    /// each run.
    keys: Arc<Mutex<Vec<Key>>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    fn new() -> Self {
        Self { memory: Memory::new(), waiting: Arc::default(), keys: Arc::default() }
    }

    async fn pass(&self) -> Let {
        let (open, opened) = oneshot::channel();
        self.waiting.lock().unwrap().push_back(open);
        opened.await.unwrap_or(Let::Through)
    }

    /// How many calls wait. One whose caller is gone does not.
    fn waiting(&self) -> usize {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|open| !open.is_closed());
        waiting.len()
    }

    fn open(&self, number: usize, way: Let) {
        let open = self.waiting.lock().unwrap().remove(number).unwrap();
        // Whoever asked may have gone.
        let _ = open.send(way);
    }
}

fn lost() -> store::Error {
    store::Error::new("gate", ErrorKind::Unavailable, Applied::Unknown)
}

#[async_trait]
impl Store for Gate {
    fn info(&self) -> Info {
        self.memory.info()
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, store::Error> {
        self.pass().await;
        self.memory.load(key, now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        let way = self.pass().await;
        self.keys.lock().unwrap().push(write.record().header.key);
        let done = self.memory.commit(write, now).await;
        if way == Let::LoseAnswer { Err(lost().into()) } else { done }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.pass().await;
        self.memory.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, store::Error> {
        let way = self.pass().await;
        let done = self.memory.destroy(key, now).await;
        if way == Let::LoseAnswer { Err(lost()) } else { done }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, store::Error> {
        self.memory.sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), store::Error> {
        self.memory.ping().await
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }
}

#[async_trait]
impl List for Gate {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, store::Error> {
        self.pass().await;
        self.memory.as_list().unwrap().list(after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        _: usize,
        now: Timestamp,
    ) -> Result<Page, store::Error> {
        self.pass().await;
        let page = self.memory.as_list().unwrap().list_by_user(user, None, 100, now).await?;
        let keys = self.keys.lock().unwrap();
        let place = |loaded: &Loaded| keys.iter().position(|key| *key == loaded.record.header.key);
        // Pages of one, the newest key first, so that a session which moves between two of them is missed.
        let after = after.map(|Cursor(after)| after.parse::<usize>().unwrap());
        let is_later = |loaded: &Loaded| after.is_none_or(|after| place(loaded) < Some(after));
        let later = page.records.into_iter().filter(is_later);
        let next = later.max_by_key(|loaded| place(loaded));
        let cursor = next.as_ref().and_then(place).map(|place| Cursor(place.to_string()));
        Ok(Page { records: next.into_iter().collect(), next: cursor, ..Page::default() })
    }
}

/// What a task does, each in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Login,
    /// The session that there is at the beginning gets a new id.
    Renew,
    Reauthenticate,
    EndAll,
    EndOthers,
}

/// How it came out, with the cookie that its browser has then.
#[derive(Debug)]
struct Outcome {
    does: Does,
    result: Result<(), Error>,
    cookie: Option<String>,
}

/// The choices of one run: which of the calls that wait goes next, and how.
trait Choices {
    fn next(&mut self, options: usize) -> usize;
}

/// Goes through all of them, one run after the other.
#[derive(Default)]
struct Every {
    /// What was chosen at each step, and among how many.
    path: Vec<(usize, usize)>,
    step: usize,
}

impl Choices for Every {
    fn next(&mut self, options: usize) -> usize {
        if self.path.len() == self.step {
            self.path.push((0, options));
        }
        let (choice, of) = self.path[self.step];
        assert_eq!(of, options, "a run with the same choices went another way");
        self.step += 1;
        choice
    }
}

impl Every {
    /// The next run. False if there is none.
    fn advance(&mut self) -> bool {
        self.step = 0;
        while let Some((choice, of)) = self.path.pop() {
            if choice + 1 < of {
                self.path.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

struct Random<F>(F);

impl<F: FnMut(u64) -> u64> Choices for Random<F> {
    fn next(&mut self, options: usize) -> usize {
        (self.0)(options as u64) as usize
    }
}

async fn act(layer: SessionLayer, does: Does, cookie: String) -> Outcome {
    let in_flight = layer.door().begin([cookie.as_bytes()]);
    let session = in_flight.session();
    let result = match does {
        Does::Login => session.login("ada").await,
        Does::Renew => session.renew().await,
        Does::Reauthenticate => session.reauthenticate().await,
        Does::EndAll => layer.sessions().end_all_of("ada").await.map(drop),
        Does::EndOthers => session.end_others().await.map(drop),
    };
    let set = cookie_of(&in_flight.finish(HandlerOutcome::Success).await);
    Outcome { does, result, cookie: set }
}

/// The cookie that a response sets.
fn cookie_of(finished: &Finished) -> Option<String> {
    finished.headers().iter().find_map(|change| match change {
        HeaderChange::SetCookie { value, .. } => {
            value.split_once(';').map(|(pair, _)| pair.to_owned())
        }
        _ => None,
    })
}

async fn settle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}

async fn live(memory: &Memory) -> Vec<Loaded> {
    let list = memory.as_list().unwrap();
    let page = list.list_by_user("ada", None, 100, SystemClock.now()).await.unwrap();
    page.records
}

/// What is kept of the user: zero if nothing is.
async fn newest_generation(memory: &Memory) -> u64 {
    let list = memory.as_list().unwrap();
    let page = list.list(None, 100, SystemClock.now()).await.unwrap();
    let kept = page.records.iter().find(|loaded| loaded.record.header.key.is_of_user());
    kept.map_or(0, |loaded| loaded.record.data["generation"].as_u64().unwrap())
}

/// One run. `at_most` is how many sessions the user may have.
async fn run(all: &[Does], at_most: Option<usize>, loses: bool, choices: &mut dyn Choices) {
    store::seed_waits(Some(1));
    let gate = Gate::new();
    let process = |store: Arc<dyn Store>| {
        let layer = layer(store).deadline(Duration::from_secs(3600));
        match at_most.and_then(std::num::NonZeroUsize::new) {
            Some(max) => layer.sessions_per_user(max, OnUserLimit::EndOldest),
            None => layer,
        }
    };
    let first = act(process(Arc::new(gate.memory.clone())), Does::Login, String::new()).await;
    let first = first.cookie.unwrap();
    let keys = live(&gate.memory).await.into_iter().map(|loaded| loaded.record.header.key);
    gate.keys.lock().unwrap().extend(keys);
    let mut tasks = JoinSet::new();
    for does in all {
        let cookie = if *does == Does::Login { String::new() } else { first.clone() };
        tasks.spawn(act(process(Arc::new(gate.clone())), *does, cookie));
    }
    let began = tokio::time::Instant::now();
    let (mut outcomes, mut may_lose, mut ends) = (Vec::new(), loses, 0);
    while !tasks.is_empty() {
        settle().await;
        while let Some(outcome) = tasks.try_join_next() {
            let outcome = outcome.unwrap();
            let is_end = matches!(outcome.does, Does::EndAll | Does::EndOthers);
            ends += usize::from(is_end && outcome.result.is_ok());
            outcomes.push(outcome);
        }
        let waiting = gate.waiting();
        if waiting == 0 {
            // Somebody waits for time to pass, and nobody for long.
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(began.elapsed() < Duration::from_secs(60), "{outcomes:?}");
            continue;
        }
        let choice = choices.next(if may_lose { 2 * waiting } else { waiting });
        let way = if choice < waiting { Let::Through } else { Let::LoseAnswer };
        may_lose &= way == Let::Through;
        gate.open(choice % waiting, way);
        settle().await;
        if let Some(at_most) = at_most {
            let live = live(&gate.memory).await.len();
            assert!(live <= at_most, "{live} sessions at once");
        }
    }
    // All is over, and a new process sees what there is.
    let layer = process(Arc::new(gate.memory.clone()));
    let generation = |loaded: &Loaded| loaded.record.header.user.as_ref().unwrap().generation;
    let alive = live(&gate.memory).await;
    let newest = newest_generation(&gate.memory).await;
    assert!(
        alive.iter().all(|loaded| generation(loaded) >= newest),
        "one is of before {newest}: {alive:?} {outcomes:?}"
    );
    let all_ended = outcomes.iter().any(|done| done.does == Does::EndAll && done.result.is_ok());
    let mut cookies = 0;
    for outcome in &outcomes {
        assert!(
            matches!(outcome.result, Ok(()) | Err(Error::Interrupted | Error::OutcomeUnknown)),
            "{outcome:?}"
        );
        let Some(cookie) = outcome.cookie.as_deref().filter(|_| outcome.result.is_ok()) else {
            continue;
        };
        let session = layer.door().begin([cookie.as_bytes()]).session().clone();
        let is_alive = matches!(session.user().await, Ok(Some(user)) if user.name == "ada");
        cookies += usize::from(is_alive);
        let is_of_before = outcome.does != Does::Login;
        assert!(!(all_ended && is_of_before && is_alive), "it survived the end: {outcomes:?}");
        let may_have_ended = all.iter().any(|does| matches!(does, Does::EndAll | Does::EndOthers));
        if !may_have_ended && at_most.is_none() {
            assert!(is_alive, "{outcome:?}");
        }
    }
    let may_be_unknown = loses && !may_lose;
    let old = layer.door().begin([first.as_bytes()]).session().clone();
    let old = matches!(old.user().await, Ok(Some(_)));
    assert!(!(old && ends > 0), "the first session lives on");
    if !may_be_unknown {
        let known = cookies + usize::from(old);
        assert_eq!(alive.len(), known, "a session lives that no browser has the cookie of");
    }
}

/// All orders, or as many as these.
async fn every_order(all: &[Does], at_most: Option<usize>, loses: bool) -> usize {
    let mut every = Every::default();
    let mut runs = 0;
    loop {
        run(all, at_most, loses, &mut every).await;
        runs += 1;
        if !every.advance() {
            return runs;
        }
    }
}

async fn some_orders(all: &[Does], at_most: Option<usize>, seeds: u64) {
    for seed in 0..seeds {
        run(all, at_most, true, &mut Random(generator(seed + 1))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_and_an_end_of_all_meet_in_every_order() {
    let runs = every_order(&[Does::Login, Does::EndAll], None, true).await;
    assert!(runs > 100, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn a_renew_and_an_end_of_all_meet_in_every_order() {
    let runs = every_order(&[Does::Renew, Does::EndAll], None, true).await;
    assert!(runs > 100, "{runs}");
}

/// The list of an end of all is one step here but where another session is on an earlier page.
#[tokio::test(start_paused = true)]
async fn a_renew_that_the_list_of_an_end_misses_ends_all_the_same() {
    some_orders(&[Does::Login, Does::Renew, Does::EndAll], None, 1500).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_and_an_end_of_the_others_meet_in_every_order() {
    let runs = every_order(&[Does::Login, Does::EndOthers], None, false).await;
    assert!(runs > 100, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn no_session_rescues_itself_from_an_end_of_all_by_ending_the_others() {
    let runs = every_order(&[Does::EndAll, Does::EndOthers], None, false).await;
    assert!(runs > 100, "{runs}");
    some_orders(&[Does::EndAll, Does::EndOthers], Some(2), 300).await;
}

#[tokio::test(start_paused = true)]
async fn two_logins_take_one_place_in_many_orders() {
    some_orders(&[Does::Login, Does::Login], Some(1), 300).await;
}

#[tokio::test(start_paused = true)]
async fn logins_renews_and_ends_meet_in_many_orders() {
    use Does::{EndAll, EndOthers, Login, Renew};
    some_orders(&[Login, Login, EndAll, Renew], None, 300).await;
    some_orders(&[Login, Login, Renew], None, 100).await;
    some_orders(&[Login, EndAll, EndAll], None, 300).await;
    some_orders(&[Login, Renew, EndOthers], None, 300).await;
    some_orders(&[Login, Login, Login], Some(2), 300).await;
    some_orders(&[Login, Login, Renew], Some(1), 300).await;
    some_orders(&[Login, Login, EndAll], Some(2), 300).await;
}

/// The visitor of a session with a cart sends the same request twice, to two processes.
async fn twice(does: Does, is_logged_in: bool, at_most: usize, beyond: OnUserLimit, seed: u64) {
    store::seed_waits(Some(1));
    let gate = Gate::new();
    let process = |store: Arc<dyn Store>| {
        let max = std::num::NonZeroUsize::new(at_most).unwrap();
        layer(store).deadline(Duration::from_secs(3600)).sessions_per_user(max, beyond)
    };
    let alone = process(Arc::new(gate.memory.clone()));
    let in_flight = alone.door().begin([]);
    in_flight.session().insert("cart", "book").unwrap();
    if is_logged_in {
        in_flight.session().login("ada").await.unwrap();
    }
    let first = cookie_of(&in_flight.finish(HandlerOutcome::Success).await).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        tasks.spawn(act(process(Arc::new(gate.clone())), does, first.clone()));
    }
    let (mut choices, mut outcomes) = (Random(generator(seed + 1)), Vec::new());
    while !tasks.is_empty() {
        settle().await;
        while let Some(outcome) = tasks.try_join_next() {
            outcomes.push(outcome.unwrap());
        }
        match gate.waiting() {
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            waiting => gate.open(choices.next(waiting), Let::Through),
        }
    }
    let done: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_ok()).collect();
    let [Outcome { cookie: Some(cookie), .. }] = &done[..] else { panic!("{outcomes:?}") };
    let session = alone.door().begin([cookie.as_bytes()]).session().clone();
    let cart: Option<String> = session.get("cart").await.unwrap();
    assert_eq!(cart.as_deref(), Some("book"), "{outcomes:?}");
    assert_eq!(live(&gate.memory).await.len(), 1, "{outcomes:?}");
}

/// Without a lost answer, one of two moves of a session is made, and its session lives.
#[tokio::test(start_paused = true)]
async fn where_there_is_a_limit_a_request_that_comes_twice_loses_no_session() {
    for seed in 0..100 {
        for beyond in [OnUserLimit::EndOldest, OnUserLimit::Refuse] {
            twice(Does::Login, false, 1, beyond, seed).await;
            twice(Does::Login, true, 1, beyond, seed).await;
            twice(Does::Reauthenticate, true, 3, beyond, seed).await;
            twice(Does::Renew, true, 3, beyond, seed).await;
        }
    }
}
