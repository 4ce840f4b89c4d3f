//! A world that a seed decides: a store, two processes, the clients, and what goes wrong.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use ingle::{
    SessionLayer,
    clock::{Clock as _, ManualClock, Timestamp},
    service::SessionService,
    store::{Fault, Faulty, List as _, Memory, Step, seed_waits},
};
use tokio::{
    task::{JoinSet, LocalSet},
    time::{Instant, sleep, timeout},
};
use tower::{Layer as _, ServiceExt as _, util::ServiceFn};

use super::visit::{Doc, Kind, Outcome, Task, Told, Visit, handle, told_by};

type Handler = fn(Request<Task>) -> HandlerFuture;
type HandlerFuture = std::pin::Pin<
    Box<dyn Future<Output = Result<Response<String>, std::convert::Infallible>> + Send>,
>;
type Process = SessionService<ServiceFn<Handler>>;

/// How many calls of each kind may have a fault planned for them.
const CALLS: u64 = 400;

/// Long after the last thing that is late.
pub(super) const QUIET: Duration = Duration::from_secs(60);

/// What there is in the end under a cookie, and in the store.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) counter: u64,
    pub(crate) doc: Doc,
}

/// What happened in a world.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) visits: Vec<Visit>,
    /// What the store was asked, and what became of it.
    pub(crate) calls: Vec<String>,
    /// What is in the store in the end.
    pub(crate) left: Vec<Left>,
    /// What each cookie that was ever given leads to in the end.
    pub(crate) cookies: Vec<Option<Doc>>,
    /// How many records live on when every deadline has passed.
    pub(crate) undead: usize,
}

impl History {
    /// A cookie, and those from which renews have led to it, the latest first.
    pub(crate) fn line_of(&self, cookie: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(cookie), |cookie| {
            let mut renews = self.visits.iter().filter(|visit| visit.kind == Kind::Renew);
            renews.find(|renew| renew.got == Some(*cookie))?.cookie
        })
    }

    /// All of it as text, without a byte that is not of the seed's making.
    pub(crate) fn log(&self) -> String {
        let mut log = String::new();
        for visit in &self.visits {
            let Visit { client, process, kind, token, cookie, got, .. } = visit;
            let Visit { hung_up, life, outcome, .. } = visit;
            let (began, ended) = (visit.began.as_micros(), visit.ended.as_micros());
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                log,
                "{began:>8} to {ended:>8} client {client} process {process} cookie {cookie:?} \
                 {kind:?} {token} -> {outcome:?}, got {got:?}, life {life:?}, hung up {hung_up}"
            );
            if let Some(seen) = &visit.seen {
                let _ = writeln!(log, "    saw {seen:?}");
            }
        }
        self.calls.iter().for_each(|call| _ = writeln!(log, "{call}"));
        self.left.iter().for_each(|left| _ = writeln!(log, "left: {left:?}"));
        self.cookies.iter().for_each(|cookie| _ = writeln!(log, "cookie: {cookie:?}"));
        log
    }

    /// The name of each thing that happened, to be counted.
    pub(crate) fn events(&self) -> impl Iterator<Item = String> {
        let visits =
            self.visits.iter().map(|visit| format!("{:?}: {:?}", visit.kind, visit.outcome));
        let calls = self.calls.iter().map(|call| {
            // The first verb is enough; what became of it is what is of interest.
            match call.split_once(" -> ") {
                Some((_, end)) => format!("store: {end}"),
                None if call.starts_with("late") => "store: late, and done".to_owned(),
                None => "store: done".to_owned(),
            }
        });
        visits.chain(calls)
    }
}

/// Lets a world go by.
pub(crate) fn simulate(seed: u64) -> Result<History> {
    on_its_own(seed, async { World::new(seed).go_by().await })
}

/// Runs a world on one thread, whose clock stands still until everybody waits.
pub(super) fn on_its_own<T>(seed: u64, world: impl Future<Output = Result<T>>) -> Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.context("could not start a runtime")?;
    seed_waits(Some(seed));
    let all = LocalSet::new();
    // It is made inside, where time stands still already.
    let history = all.block_on(&runtime, world);
    seed_waits(None);
    history
}

struct World {
    rng: Rng,
    memory: Memory,
    faulty: Faulty,
    clock: ManualClock,
    processes: [Process; 2],
    began: Instant,
    jars: Vec<Arc<Jar>>,
    cookies: Arc<Mutex<Vec<String>>>,
    visits: Arc<Mutex<Vec<Visit>>>,
}

/// The cookie of one browser, which several clients share: its tabs.
#[derive(Debug, Default)]
struct Jar(Mutex<Option<usize>>);

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let memory = Memory::new();
        let faulty = Faulty::new(Arc::new(memory.clone()));
        plan(&faulty, &mut rng);
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000_000_000));
        let processes = [(); 2].map(|()| process(Arc::new(faulty.clone()), &clock));
        let jars = (0..rng.usize(1..=2)).map(|_| Arc::default()).collect();
        Self {
            rng,
            memory,
            faulty,
            clock,
            processes,
            began: Instant::now(),
            jars,
            cookies: Arc::default(),
            visits: Arc::default(),
        }
    }

    async fn go_by(mut self) -> Result<History> {
        let mut clients = JoinSet::new();
        let mut token = 0;
        for client in 0..self.rng.usize(2..=4) {
            #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length")]
            let jar = Arc::clone(&self.jars[client % self.jars.len()]);
            let n_visits = self.rng.u32(3..=10);
            clients.spawn_local(
                Client {
                    number: client,
                    rng: self.rng.fork(),
                    jar,
                    processes: self.processes.clone(),
                    clock: self.clock.clone(),
                    began: self.began,
                    cookies: Arc::clone(&self.cookies),
                    visits: Arc::clone(&self.visits),
                }
                .visits(token + 1..=token + n_visits),
            );
            token += n_visits;
        }
        while let Some(client) = clients.join_next().await {
            client.context("a client panicked")?;
        }
        sleep(QUIET).await;
        self.look_back().await
    }

    /// What is left, as a process sees it that was not there before.
    async fn look_back(self) -> Result<History> {
        let fresh = process(Arc::new(self.memory.clone()), &self.clock);
        let values = locked(&self.cookies).clone();
        let mut cookies = Vec::new();
        for value in &values {
            let task = Task::new(Kind::Read, 0);
            ask(&fresh, &task, Some(value)).await;
            cookies.push(task.told().seen.filter(|doc| *doc != Doc::default()));
        }
        let now = self.clock.now();
        let page = self.memory.list(None, usize::MAX, now).await?;
        let mut left = Vec::new();
        for loaded in page.records {
            let doc = serde_json::from_value(loaded.record.data.clone().into())?;
            left.push(Left { counter: loaded.record.header.counter, doc });
        }
        // Keys are random, and with them the order.
        left.sort_by_key(|left| format!("{left:?}"));
        self.clock.advance(Duration::from_secs(13 * 60 * 60));
        let undead = self.memory.list(None, usize::MAX, self.clock.now()).await?.records.len();
        let visits = std::mem::take(&mut *locked(&self.visits));
        Ok(History { visits, calls: self.faulty.log(), left, cookies, undead })
    }
}

/// Plans what goes wrong: in some worlds hardly anything, in others most of all calls.
pub(super) fn plan(faulty: &Faulty, rng: &mut Rng) {
    #[expect(clippy::indexing_slicing, reason = "one of the four is drawn")]
    let badness = [0.02, 0.1, 0.3, 0.6][rng.usize(..4)];
    for call in 1..=CALLS {
        for step in [Step::Load(call), Step::Commit(call)] {
            if rng.f64() < badness {
                faulty.on(step, fault(rng));
            } else if rng.f64() < 0.8 {
                faulty.on(step, Fault::Delay(Duration::from_micros(rng.u64(100..20_000))));
            }
        }
    }
}

fn fault(rng: &mut Rng) -> Fault {
    match rng.u8(..8) {
        0 => Fault::Refuse,
        1 => Fault::LoseRequest,
        2 | 3 => Fault::LoseAnswer,
        4 => Fault::Delay(Duration::from_millis(rng.u64(100..2_000))),
        5 => Fault::Hang,
        6 => Fault::HangAfter,
        _ => Fault::Late(Duration::from_millis(rng.u64(1..4_000))),
    }
}

fn process(store: Arc<dyn ingle::store::Store>, clock: &ManualClock) -> Process {
    let layer = SessionLayer::new(store).sweep_every(None).clock(Arc::new(clock.clone()));
    let handler: Handler = |request| Box::pin(handle(request));
    layer.layer(tower::service_fn(handler))
}

/// Sends one request; the response, and the value of its cookie if it sets one.
async fn ask(
    process: &Process,
    task: &Task,
    cookie: Option<&str>,
) -> (Response<String>, Option<String>) {
    let mut request = Request::new(task.clone());
    if let Some(value) = cookie.and_then(|value| format!("__Host-id={value}").parse().ok()) {
        request.headers_mut().insert(header::COOKIE, value);
    }
    let response = match process.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let set = response.headers().get(header::SET_COOKIE).and_then(|set| set.to_str().ok());
    let value = set.and_then(|set| set.split(['=', ';']).nth(1)).map(str::to_owned);
    let (parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(never) => match never {},
    };
    (Response::from_parts(parts, body), value)
}

/// One tab of a browser.
struct Client {
    number: usize,
    rng: Rng,
    jar: Arc<Jar>,
    processes: [Process; 2],
    clock: ManualClock,
    began: Instant,
    cookies: Arc<Mutex<Vec<String>>>,
    visits: Arc<Mutex<Vec<Visit>>>,
}

impl Client {
    async fn visits(mut self, tokens: std::ops::RangeInclusive<u32>) {
        for token in tokens {
            sleep(Duration::from_micros(self.rng.u64(..30_000))).await;
            if self.rng.u8(..20) == 0 {
                // So that there is something to touch.
                self.clock.advance(Duration::from_secs(self.rng.u64(1..30)));
            }
            self.visit(token).await;
        }
    }

    async fn visit(&mut self, token: u32) {
        let kind = self.kind();
        let process = self.rng.usize(..2);
        let hangs_up = (self.rng.u8(..10) == 0).then(|| self.rng.u64(1_000..1_500_000));
        let patience = Duration::from_micros(hangs_up.unwrap_or(60_000_000));
        let cookie = *locked(&self.jar.0);
        let value = cookie.and_then(|cookie| locked(&self.cookies).get(cookie).cloned());
        let task = Task::new(kind, token);
        let began = self.began.elapsed();
        #[expect(clippy::indexing_slicing, reason = "one of the two was drawn")]
        let asked = ask(&self.processes[process], &task, value.as_deref());
        let answer = timeout(patience, asked);
        let (response, set) =
            answer.await.map_or((None, None), |(response, set)| (Some(response), set));
        let got = set.and_then(|set| self.keep(&set));
        let Told { life, outcome, seen } = task.told();
        let told = response.as_ref().map_or(Outcome::Unknown, told_by);
        let visit = Visit {
            client: self.number,
            process,
            kind,
            token,
            cookie,
            got,
            began,
            ended: self.began.elapsed(),
            hung_up: response.is_none(),
            life: life.filter(|life| !life.is_empty()),
            outcome: outcome.unwrap_or(told),
            seen,
        };
        locked(&self.visits).push(visit);
    }

    /// Puts a cookie in the jar, or takes out what there is. Returns its number.
    fn keep(&self, value: &str) -> Option<usize> {
        let mut cookies = locked(&self.cookies);
        let cookie = (!value.is_empty()).then(|| {
            cookies.push(value.to_owned());
            cookies.len() - 1
        });
        *locked(&self.jar.0) = cookie;
        cookie
    }

    fn kind(&mut self) -> Kind {
        let mut ticket = self.rng.u8(..100);
        for (kind, share) in Kind::ALL {
            match ticket.checked_sub(share) {
                Some(rest) => ticket = rest,
                None => return kind,
            }
        }
        Kind::Read
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
