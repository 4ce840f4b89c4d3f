//! Worlds of logins: browsers that log one user in, renew and end sessions, and end all of them, on a store
//! that fails.
//!
//! `logins/watched.rs` is the store, which is looked at after each write, and `logins/check.rs` what must be true of
//! a world.

use std::{
    fmt::Write as _,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use ingle::{
    Error, Login, OnUserLimit, SessionLayer,
    adapter::{HandlerOutcome, HeaderChange},
    clock::{Clock, Timestamp},
    store::{Faulty, Memory, Store},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    visit::Outcome,
    world::{QUIET, locked, on_its_own, plan},
};
use watched::Watched;

mod check;
mod watched;
#[cfg(test)]
mod tests;

pub(super) use check::broken;

/// The only user.
const USER: &str = "ada";

/// What a browser asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Login,
    Renew,
    Reauthenticate,
    Logout,
    /// Ends all others of the user.
    EndOthers,
    /// As an operator does, without a session.
    EndAll,
    /// Asks who is logged in.
    Who,
}

impl Kind {
    const ALL: [(Self, u8); 7] = [
        (Self::Login, 30),
        (Self::Renew, 14),
        (Self::Reauthenticate, 8),
        (Self::Logout, 6),
        (Self::EndOthers, 7),
        (Self::EndAll, 7),
        (Self::Who, 28),
    ];

    fn is_end_of_several(self) -> bool {
        matches!(self, Self::EndOthers | Self::EndAll)
    }
}

/// How many sessions the user may have, and what happens beyond that.
type Limit = Option<(NonZeroUsize, OnUserLimit)>;

/// One visit, when it is over.
#[derive(Clone, Debug)]
struct Visit {
    client: usize,
    process: usize,
    kind: Kind,
    /// The number of the cookie that it brought.
    cookie: Option<usize>,
    /// The number of the one that it got.
    got: Option<usize>,
    /// Its place among all beginnings and ends, and the time.
    began: (u64, Duration),
    ended: (u64, Duration),
    outcome: Outcome,
    /// Whether it found the user logged in.
    is_user: Option<bool>,
}

/// A cookie, and the login from which it comes.
#[derive(Clone, Debug)]
struct Cookie {
    value: String,
    /// When that login had its ticket: it is of the generation of then, or of an earlier one.
    login_began: u64,
    /// Whether it leads to the user's session in the end.
    is_alive: bool,
}

/// What happened in a world.
#[derive(Debug)]
pub(super) struct History {
    limit: Limit,
    visits: Vec<Visit>,
    cookies: Vec<Cookie>,
    /// How many sessions the user had at most, at any instant.
    most: usize,
    pub(super) calls: Vec<String>,
}

impl History {
    pub(super) fn visits(&self) -> u64 {
        self.visits.len() as u64
    }

    /// A cookie, and those that the browser had before it, the latest first.
    fn line_of(&self, cookie: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(cookie), |cookie| {
            self.visits.iter().find(|visit| visit.got == Some(*cookie))?.cookie
        })
    }

    /// The name of each thing that happened, to be counted.
    pub(super) fn events(&self) -> impl Iterator<Item = String> {
        self.visits.iter().map(|visit| format!("{:?}: {:?}", visit.kind, visit.outcome))
    }

    /// All of it as text, without a byte that is not of the seed's making.
    pub(super) fn log(&self) -> String {
        let mut log = format!("limit {:?}, {} at most\n", self.limit, self.most);
        for visit in &self.visits {
            // Writing to a `String` cannot fail.
            let Visit { client, process, kind, cookie, got, outcome, is_user, .. } = visit;
            let ((began, from), (ended, to)) = (visit.began, visit.ended);
            let _ = writeln!(
                log,
                "{began} to {ended}, {from:?} to {to:?}: client {client} process {process} cookie \
                 {cookie:?} {kind:?} -> {outcome:?}, got {got:?}, user {is_user:?}"
            );
        }
        self.calls.iter().for_each(|call| _ = writeln!(log, "{call}"));
        for cookie in &self.cookies {
            let Cookie { login_began, is_alive, .. } = cookie;
            let _ = writeln!(log, "cookie of the login of {login_began}: {is_alive}");
        }
        log
    }
}

/// Lets a world go by.
pub(super) fn simulate(seed: u64) -> Result<History> {
    on_its_own(seed, async move { World::new(seed).go_by().await })
}

/// The time of the world, as clocks show it.
#[derive(Clone, Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000).after(self.0.elapsed())
    }
}

struct World {
    rng: Rng,
    store: Watched,
    faulty: Faulty,
    processes: [SessionLayer; 2],
    shared: Arc<Shared>,
    limit: Limit,
    has_ends: bool,
}

/// What all browsers share.
#[derive(Debug)]
struct Shared {
    began: Instant,
    /// Counts beginnings and ends.
    order: AtomicU64,
    cookies: Mutex<Vec<Cookie>>,
    visits: Mutex<Vec<Visit>>,
}

impl Shared {
    fn moment(&self) -> (u64, Duration) {
        (self.order.fetch_add(1, Ordering::Relaxed), self.began.elapsed())
    }
}

fn process(store: Arc<dyn Store>, began: Instant, limit: Limit) -> SessionLayer {
    let layer = SessionLayer::new(store).sweep_every(None).clock(Arc::new(Paused(began)));
    match limit {
        Some((max, beyond)) => layer.sessions_per_user(max, beyond),
        None => layer,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let store = Watched::new(Memory::new(), USER, rng.fork());
        let faulty = Faulty::new(Arc::new(store.clone()));
        plan(&faulty, &mut rng);
        let beyond = if rng.bool() { OnUserLimit::EndOldest } else { OnUserLimit::Refuse };
        let limit = NonZeroUsize::new(rng.usize(0..4)).map(|max| (max, beyond));
        let began = Instant::now();
        let processes = [(); 2].map(|()| process(Arc::new(faulty.clone()), began, limit));
        let shared = Shared {
            began,
            order: AtomicU64::new(0),
            cookies: Mutex::default(),
            visits: Mutex::default(),
        };
        // Where nobody ends all, each login that was acknowledged must live.
        let has_ends = rng.u8(0..3) > 0;
        Self { rng, store, faulty, processes, shared: Arc::new(shared), limit, has_ends }
    }

    async fn go_by(mut self) -> Result<History> {
        let mut browsers = JoinSet::new();
        for number in 0..self.rng.usize(2..=5) {
            let browser = Browser {
                number,
                rng: self.rng.fork(),
                cookie: None,
                processes: self.processes.clone(),
                shared: Arc::clone(&self.shared),
                has_ends: self.has_ends,
            };
            browsers.spawn_local(browser.visits(self.rng.u32(3..=10)));
        }
        while let Some(browser) = browsers.join_next().await {
            browser.context("a browser panicked")?;
        }
        sleep(QUIET).await;
        // A process that was not there before sees what is left.
        let fresh = process(Arc::new(self.store.clone()), self.shared.began, self.limit);
        let mut cookies = std::mem::take(&mut *locked(&self.shared.cookies));
        for cookie in &mut cookies {
            let session = fresh.door().begin([cookie.value.as_bytes()]).session().clone();
            cookie.is_alive = matches!(session.user().await, Ok(Some(_)));
        }
        let visits = std::mem::take(&mut *locked(&self.shared.visits));
        let (most, calls) = (self.store.most(), self.faulty.log());
        Ok(History { limit: self.limit, visits, cookies, most, calls })
    }
}

/// One browser, which does one thing after the other.
struct Browser {
    number: usize,
    rng: Rng,
    cookie: Option<usize>,
    processes: [SessionLayer; 2],
    shared: Arc<Shared>,
    has_ends: bool,
}

/// What became of a visit: what the browser is told, whether it found the user, and its new cookie.
struct Answer {
    result: Result<(), Error>,
    /// When a login had its ticket.
    ticket: Option<u64>,
    is_user: Option<bool>,
    set: Option<String>,
}

impl Browser {
    async fn visits(mut self, n: u32) {
        for _ in 0..n {
            sleep(Duration::from_micros(self.rng.u64(..30_000))).await;
            self.visit().await;
        }
    }

    async fn visit(&mut self) {
        let kind = self.kind();
        let process = self.rng.usize(..2);
        let hangs_up = (self.rng.u8(..10) == 0).then(|| self.rng.u64(1_000..1_500_000));
        let patience = Duration::from_micros(hangs_up.unwrap_or(60_000_000));
        let cookie = self.cookie;
        let value = cookie.and_then(|cookie| {
            locked(&self.shared.cookies).get(cookie).map(|cookie| cookie.value.clone())
        });
        let began = self.shared.moment();
        #[expect(clippy::indexing_slicing, reason = "one of the two was drawn")]
        let asked = ask(&self.processes[process], kind, value.unwrap_or_default(), &self.shared);
        let answer = timeout(patience, asked).await;
        let ended = self.shared.moment();
        let (outcome, is_user, got) = match answer {
            Ok(Answer { result, ticket, is_user, set }) => {
                let got = set.and_then(|set| self.keep(set, ticket));
                (outcome_of(&result), is_user, got)
            }
            Err(_) => (Outcome::Unknown, None, None),
        };
        let client = self.number;
        let visit = Visit { client, process, kind, cookie, got, began, ended, outcome, is_user };
        locked(&self.shared.visits).push(visit);
    }

    /// Takes a cookie, or forgets the one that there is. Returns its number.
    fn keep(&mut self, value: String, ticket: Option<u64>) -> Option<usize> {
        if value.is_empty() {
            self.cookie = None;
            return None;
        }
        let mut cookies = locked(&self.shared.cookies);
        let before = self.cookie.and_then(|cookie| cookies.get(cookie));
        let login_began = ticket.or(before.map(|before| before.login_began)).unwrap_or_default();
        cookies.push(Cookie { value, login_began, is_alive: false });
        self.cookie = cookies.len().checked_sub(1);
        self.cookie
    }

    fn kind(&mut self) -> Kind {
        let mut ticket = self.rng.u8(..100);
        for (kind, share) in Kind::ALL {
            match ticket.checked_sub(share) {
                Some(rest) => ticket = rest,
                None if kind.is_end_of_several() && !self.has_ends => return Kind::Login,
                None => return kind,
            }
        }
        Kind::Who
    }
}

async fn ask(layer: &SessionLayer, kind: Kind, cookie: String, shared: &Shared) -> Answer {
    let in_flight = layer.door().begin([cookie.as_bytes()]);
    let session = in_flight.session();
    let (mut is_user, mut ticket) = (None, None);
    let result = match kind {
        Kind::Login => match session.login_ticket(USER).await {
            Ok(taken) => {
                ticket = Some(shared.moment().0);
                session.login(Login::new(USER).ticket(taken)).await
            }
            Err(error) => Err(error),
        },
        Kind::Renew => session.renew().await,
        Kind::Reauthenticate => session.reauthenticate().await,
        Kind::Logout => session.logout().await,
        Kind::EndOthers => session.end_others().await.map(drop),
        Kind::EndAll => layer.sessions().end_all_of(USER).await.map(drop),
        Kind::Who => session.user().await.map(|user| is_user = Some(user.is_some())),
    };
    if matches!(result, Err(Error::Interrupted)) && kind == Kind::Who {
        is_user = Some(false);
    }
    let finished = in_flight.finish(HandlerOutcome::Success).await;
    let set = finished.headers().iter().find_map(|change| match change {
        // A cookie that the browser is to forget has no value.
        HeaderChange::SetCookie { value, .. } => {
            let (pair, _) = value.split_once(';')?;
            let is_empty = pair.ends_with('=');
            Some(if is_empty { String::new() } else { pair.to_owned() })
        }
        _ => None,
    });
    Answer { result, ticket, is_user, set }
}

fn outcome_of(result: &Result<(), Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(Error::OutcomeUnknown) => Outcome::Unknown,
        Err(_) => Outcome::Refused,
    }
}
