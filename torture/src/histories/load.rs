//! Workers that do to sessions what visitors do, write down what came of it, and know which
//! sessions live.
//!
//! A session has a place among several, and the workers meet there. When it has been given enough
//! tokens another one takes its place, so that lists stay short. Half way, some are renewed; at the
//! end, some are logged out. Their dead ids are tried again and again. `users.rs` has what those workers
//! do that log in.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use testbed::{http::Browser, load::Pace};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{
    ask::{self, Asked},
    history::{Act, History, Id, Op, Outcome, Session, User},
};

mod users;

use users::UserTurns;

/// How many there are: visitors, and then users.
const VISITORS: u64 = 16;
const WORKERS: u64 = VISITORS + 6;

/// How many sessions are at work at once.
const PLACES: usize = 8;

/// How many tokens a session is given.
const TOKENS: u64 = 150;

/// How long a worker rests that was not served, give or take all of it, as a visitor does.
const REST: Duration = Duration::from_millis(50);

/// How long each of the last reads may take until it is answered.
const LAST_READ_MAX: Duration = Duration::from_secs(120);

/// A session as its visitor holds it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    session: Session,
    id: Id,
    /// None before it has begun.
    cookie: Option<String>,
    /// Who is to log in to it, if anybody.
    user: Option<User>,
}

/// Where a session is at work.
#[derive(Debug, Default)]
struct Place {
    held: Option<Held>,
    tokens: u64,
    /// Somebody renews this session, or puts another one here.
    is_changing: bool,
    /// Whether it is to be renewed yet.
    to_renew: bool,
}

/// What all workers share.
#[derive(Debug)]
struct Shared {
    apps: Vec<SocketAddr>,
    history: History,
    places: Vec<Mutex<Place>>,
    /// Sessions that are done with. What they hold must be there to the end.
    kept: Mutex<Vec<Held>>,
    /// Ids that were renewed or logged out.
    dead: Mutex<Vec<Held>>,
    numbers: AtomicU64,
    /// Processes as Elle knows them: one that does not know what it did is never heard of again.
    processes: AtomicU64,
    pace: Pace,
    /// How many may have a request under way at once.
    at_once: Semaphore,
    answered: AtomicU64,
    unanswered: AtomicU64,
    stops: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many operations were answered and how many were not, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) unanswered: u64,
}

impl Tally {
    /// What came after another one.
    pub(crate) fn since(self, before: Self) -> Self {
        let answered = self.answered - before.answered;
        Self { answered, unanswered: self.unanswered - before.unanswered }
    }
}

#[derive(Debug)]
pub(crate) struct Load {
    /// How many of the workers are at work at once.
    pub(crate) at_once: usize,
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

impl Load {
    /// Lets the workers work, at this many operations per second if they can.
    pub(crate) fn start(apps: Vec<SocketAddr>, per_second: u64, rng: &mut Rng) -> Self {
        let shared = Arc::new(Shared {
            apps,
            history: History::begin(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
            kept: Mutex::default(),
            dead: Mutex::default(),
            numbers: AtomicU64::new(1),
            processes: AtomicU64::new(WORKERS),
            pace: Pace::new(per_second as f64),
            at_once: Semaphore::new(WORKERS as usize),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            stops: AtomicBool::new(false),
        });
        let mut workers = JoinSet::new();
        for number in 0..WORKERS {
            let browsers = browsers(&shared.apps);
            let shared = Arc::clone(&shared);
            let rng = rng.fork();
            let worker = Worker { number, process: number, tokens: 0, browsers, rng, shared };
            let user = (number >= VISITORS).then(|| UserTurns::new(&worker));
            workers.spawn(worker.work(user));
        }
        Self { at_once: WORKERS as usize, shared, workers }
    }

    pub(crate) fn is_halved(&self) -> bool {
        self.at_once < WORKERS as usize
    }

    /// From now on half as many are at work at once. False if it was one.
    pub(crate) async fn halve(&mut self) -> bool {
        let fewer = self.at_once / 2;
        if fewer == 0 {
            return false;
        }
        for _ in fewer..self.at_once {
            // Nothing closes it.
            if let Ok(turn) = self.shared.at_once.acquire().await {
                turn.forget();
            }
        }
        self.at_once = fewer;
        true
    }

    pub(crate) fn tally(&self) -> Tally {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally { answered: of(&self.shared.answered), unanswered: of(&self.shared.unanswered) }
    }

    /// Stops the workers, and reads all sessions and tries all dead ids a last time, at each process.
    /// Returns the whole history, and what could not be read.
    pub(crate) async fn end(self) -> (Vec<Op>, Option<String>) {
        self.shared.stops.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
        let shared = self.shared;
        let mut held: Vec<Held> = lock(&shared.kept).clone();
        held.extend(shared.places.iter().filter_map(|place| lock(place).held.clone()));
        held.extend(lock(&shared.dead).iter().cloned());
        let rng = Rng::with_seed(0);
        let browsers = browsers(&shared.apps);
        let process = shared.processes.fetch_add(1, Ordering::Relaxed);
        let mut last = Worker { number: 0, process, tokens: 0, browsers, rng, shared };
        let unread = last.read_all(&held).await;
        (last.shared.history.ops(), unread)
    }
}

fn browsers(apps: &[SocketAddr]) -> Vec<Browser> {
    apps.iter().map(|app| Browser::new(*app)).collect()
}

struct Worker {
    number: u64,
    process: u64,
    tokens: u64,
    /// One for each process of the app.
    browsers: Vec<Browser>,
    rng: Rng,
    shared: Arc<Shared>,
}

impl Worker {
    /// Works until the load ends, as a visitor or as this user.
    async fn work(mut self, mut user: Option<UserTurns>) {
        let shared = Arc::clone(&self.shared);
        while !shared.stops.load(Ordering::Relaxed) {
            shared.pace.next().await;
            let turn = shared.at_once.acquire().await;
            let was_served = match &mut user {
                None => self.step().await,
                Some(user) => user.step(&mut self).await,
            };
            drop(turn);
            if !was_served {
                let percent = self.rng.u32(0..200);
                sleep(REST * percent / 100).await;
            }
        }
        lock(&shared.kept).extend(user.and_then(UserTurns::into_held));
    }

    /// Does one thing to one session. False if it was not answered.
    async fn step(&mut self) -> bool {
        let at = match self.rng.u8(0..4) {
            // A place that few share, one where many meet, and any.
            0 | 1 => self.number as usize / 2 % PLACES,
            2 => 0,
            _ => self.rng.usize(0..PLACES),
        };
        let shared = Arc::clone(&self.shared);
        let Some(place) = shared.places.get(at) else { return false };
        // The lock is not held while anything is asked.
        let choice = self.choose(&mut lock(place));
        match choice {
            Choice::Replace(old) => self.replace(place, old).await,
            Choice::Renew(held) => self.renew(place, held).await,
            Choice::Use(held) => self.use_once(place, &held).await,
            Choice::Rest => false,
        }
    }

    fn choose(&mut self, place: &mut Place) -> Choice {
        let free = !place.is_changing;
        match &place.held {
            None if free => {
                place.is_changing = true;
                Choice::Replace(None)
            }
            None => Choice::Rest,
            Some(held) if free && place.tokens >= TOKENS => {
                place.is_changing = true;
                Choice::Replace(Some(held.clone()))
            }
            Some(held) if free && place.to_renew && place.tokens >= TOKENS / 2 => {
                place.is_changing = true;
                place.to_renew = false;
                Choice::Renew(held.clone())
            }
            Some(held) => Choice::Use(held.clone()),
        }
    }

    async fn use_once(&mut self, place: &Mutex<Place>, held: &Held) -> bool {
        let kind = self.rng.u8(0..100);
        let dead = if kind < 4 { self.any_dead() } else { None };
        let act = match self.rng.u8(0..100) {
            0..50 => self.append(),
            50..75 => Act::Read,
            _ => Act::View,
        };
        let appends = matches!(act, Act::Append(_)) && dead.is_none();
        let asked = self.ask(dead.as_ref().unwrap_or(held), act, false).await;
        if appends && asked.outcome != Outcome::Refused {
            lock(place).tokens += 1;
        }
        asked.was_served()
    }

    fn append(&mut self) -> Act {
        self.tokens += 1;
        Act::Append(format!("{}-{}", self.number, self.tokens))
    }

    fn any_dead(&mut self) -> Option<Held> {
        let dead = lock(&self.shared.dead);
        self.rng.choice(dead.iter()).cloned()
    }

    /// Begins a session at a place, and logs the one out that was there, or keeps it.
    async fn replace(&mut self, place: &Mutex<Place>, old: Option<Held>) -> bool {
        let (session, id) = (self.number_next(), self.number_next());
        let new = Held { session, id, cookie: None, user: None };
        let asked = self.ask(&new, Act::View, false).await;
        let begun = asked.begun.clone().map(|cookie| Held { cookie: Some(cookie), ..new });
        {
            let mut place = lock(place);
            place.is_changing = false;
            let Some(begun) = begun else { return false };
            *place = Place { held: Some(begun), to_renew: self.rng.bool(), ..Place::default() };
        }
        let Some(old) = old else { return true };
        if self.rng.u8(0..3) > 0 {
            lock(&self.shared.kept).push(old);
            return true;
        }
        let asked = self.ask(&old, Act::Logout, false).await;
        let list =
            if asked.outcome == Outcome::Done { &self.shared.dead } else { &self.shared.kept };
        lock(list).push(old);
        asked.was_served()
    }

    async fn renew(&mut self, place: &Mutex<Place>, held: Held) -> bool {
        let asked = self.ask(&held, Act::Renew, false).await;
        let renewed = match (&asked.outcome, &asked.begun) {
            (Outcome::Done, Some(cookie)) => {
                Some(Held { id: self.number_next(), cookie: Some(cookie.clone()), ..held })
            }
            _ => None,
        };
        let mut place = lock(place);
        place.is_changing = false;
        match renewed {
            Some(renewed) => {
                place.held = Some(renewed);
                lock(&self.shared.dead).push(held);
            }
            // It may have an id that nobody holds, so it is left as it may be.
            None if !asked.is_known() => {
                place.held = None;
                lock(&self.shared.kept).push(held);
            }
            None => place.to_renew = true,
        }
        asked.was_served()
    }

    fn number_next(&self) -> u64 {
        self.shared.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks any process, and writes down what came of it.
    async fn ask(&mut self, held: &Held, act: Act, is_last: bool) -> Asked {
        let app = self.rng.usize(0..self.shared.apps.len().max(1));
        self.ask_at(app, held, act, is_last).await
    }

    async fn ask_at(&mut self, app: usize, held: &Held, act: Act, is_last: bool) -> Asked {
        let history = &self.shared.history;
        let began = history.now();
        let asked = match self.browsers.get_mut(app) {
            Some(browser) => ask::ask(browser, held.cookie.as_deref(), &act).await,
            None => Asked { outcome: Outcome::Refused, begun: None },
        };
        let ended = history.now();
        let Held { session, id, .. } = *held;
        let process = self.process;
        let outcome = asked.outcome.clone();
        history.add(Op { process, session, id, act: act.clone(), outcome, began, ended, is_last });
        if !asked.is_known() {
            self.process = self.shared.processes.fetch_add(1, Ordering::Relaxed);
        }
        let count =
            if asked.was_served() { &self.shared.answered } else { &self.shared.unanswered };
        count.fetch_add(1, Ordering::Relaxed);
        if asked.outcome == Outcome::Anonymous {
            self.note_begun(&asked, act);
        }
        asked
    }

    /// What was written under an id that is nobody's has begun a session, and must be in that.
    fn note_begun(&self, asked: &Asked, act: Act) {
        let outcome = match act {
            Act::Append(_) => Outcome::Done,
            Act::View => Outcome::Viewed(1),
            _ => return,
        };
        let Some(cookie) = &asked.begun else { return };
        let (session, id) = (self.number_next(), self.number_next());
        let (began, ended) = (self.shared.history.now(), self.shared.history.now());
        let process = self.process;
        let op = Op { process, session, id, act, outcome, began, ended, is_last: false };
        self.shared.history.add(op);
        let begun = Held { session, id, cookie: Some(cookie.clone()), user: None };
        lock(&self.shared.kept).push(begun);
    }

    /// Reads each session at each process until it is answered, or looks whose it is. Returns what is not
    /// answered, after which nothing more is asked.
    async fn read_all(&mut self, all: &[Held]) -> Option<String> {
        for app in 0..self.shared.apps.len() {
            for held in all {
                let act = held.user.map_or(Act::Read, Act::Look);
                let until = Instant::now() + LAST_READ_MAX;
                while !self.ask_at(app, held, act.clone(), true).await.was_served() {
                    if Instant::now() > until {
                        let session = held.session;
                        return Some(format!(
                            "I11: session {session}: process {app} does not read it"
                        ));
                    }
                    sleep(REST).await;
                }
            }
        }
        None
    }
}

/// What a worker does at a place.
enum Choice {
    Use(Held),
    Renew(Held),
    /// Puts another session where this one is, or where none is.
    Replace(Option<Held>),
    /// Somebody else is about to begin a session there.
    Rest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fewer_and_fewer_are_at_work_at_once_until_there_is_one() {
        // Without an app, everything is refused at once.
        let mut load = Load::start(Vec::new(), 1000, &mut Rng::with_seed(1));
        assert!(!load.is_halved());
        let mut halves = vec![load.at_once];
        while load.halve().await {
            halves.push(load.at_once);
        }
        assert_eq!(halves, [22, 11, 5, 2, 1]);
        assert!(load.is_halved());
        let before = load.tally();
        while load.tally() == before {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(load.shared.at_once.available_permits() <= 1);
    }
}
