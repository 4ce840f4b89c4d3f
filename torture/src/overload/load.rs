//! Load: clients who wait for their answer, and such as come whether or not others were answered.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::lab::{Answer, Browser};

/// Clients come in groups at this interval.
const TICK: Duration = Duration::from_millis(5);

/// How long a connection is kept that nobody uses. The app closes it after its time for a header, and
/// a request that meets that is nobody's fault.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// How many requests may be under way; a client that would be one more is counted, and not sent.
const UNDER_WAY_MAX: usize = 3000;

/// No answer takes so long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of some requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// How long accepted requests took, and refused ones, in the order of their ends.
    pub(super) ok: Vec<Duration>,
    pub(super) refused: Vec<Duration>,
    /// Answers that are neither 200 nor 503, and connections that broke off.
    pub(super) other: u64,
    pub(super) unsent: u64,
}

impl Outcome {
    pub(super) fn sent(&self) -> u64 {
        (self.ok.len() + self.refused.len()) as u64 + self.other
    }

    fn note(&mut self, answer: io::Result<Answer>, took: Duration) {
        match answer {
            Ok(answer) if answer.status == 200 => self.ok.push(took),
            Ok(answer) if answer.status == 503 => self.refused.push(took),
            _ => self.other += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.ok.extend(other.ok);
        self.refused.extend(other.refused);
        self.other += other.other;
        self.unsent += other.unsent;
    }
}

/// The value below which so many of a hundred are.
pub(super) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = times.len().saturating_sub(1) * percent / 100;
    times.get(at).copied().unwrap_or_default()
}

/// A session for each of so many visitors; their cookies.
pub(super) async fn visitors(app: SocketAddr, n: usize) -> io::Result<Vec<String>> {
    let mut cookies = Vec::new();
    while cookies.len() < n {
        let mut browser = Browser::new(app);
        browser.get("/").await?;
        cookies.extend(browser.cookie);
    }
    Ok(cookies)
}

/// Clients that ask again when they were answered, and after a pause.
pub(super) async fn closed(
    app: SocketAddr,
    cookies: &[String],
    clients: usize,
    pause: Duration,
    time: Duration,
) -> Outcome {
    let end = Instant::now() + time;
    let mut running = JoinSet::new();
    for cookie in cookies.iter().cycle().take(clients) {
        let mut browser = Browser::new(app);
        browser.cookie = Some(cookie.clone());
        running.spawn(async move {
            let mut outcome = Outcome::default();
            while Instant::now() < end {
                let begin = Instant::now();
                let answer = ask(&mut browser).await;
                outcome.note(answer, begin.elapsed());
                sleep(pause).await;
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    for outcome in running.join_all().await {
        all.add(outcome);
    }
    all
}

/// So many requests per second, whatever becomes of them. An outcome for each second in which
/// requests were sent.
pub(super) async fn open(
    app: SocketAddr,
    cookies: &[String],
    per_second: f64,
    time: Duration,
) -> Vec<Outcome> {
    let idle: Arc<Mutex<Vec<(Instant, Browser)>>> = Arc::default();
    let seconds: Arc<Mutex<Vec<Outcome>>> = Arc::default();
    let (begin, mut ticks, mut due) = (Instant::now(), interval(TICK), 0_u64);
    let mut cookies = cookies.iter().cycle();
    let mut running = JoinSet::new();
    while begin.elapsed() < time {
        ticks.tick().await;
        while running.try_join_next().is_some() {}
        let wanted = (begin.elapsed().as_secs_f64() * per_second) as u64;
        while due < wanted {
            due += 1;
            let second = begin.elapsed().as_secs() as usize;
            let cookie = cookies.next().cloned();
            if running.len() >= UNDER_WAY_MAX {
                in_second(&seconds, second, |outcome| outcome.unsent += 1);
                continue;
            }
            let (idle, seconds) = (Arc::clone(&idle), Arc::clone(&seconds));
            running.spawn(async move {
                let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                // The newest is on top: if that is too old, the others are as well.
                let kept = kept.filter(|(since, _)| since.elapsed() < IDLE_MAX);
                let mut browser = kept.map_or_else(|| Browser::new(app), |(_, browser)| browser);
                browser.cookie = cookie;
                let begin = Instant::now();
                let answer = ask(&mut browser).await;
                let took = begin.elapsed();
                in_second(&seconds, second, |outcome| outcome.note(answer, took));
                idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), browser));
            });
        }
    }
    running.join_all().await;
    let mut seconds = seconds.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *seconds)
}

fn in_second(seconds: &Mutex<Vec<Outcome>>, second: usize, note: impl FnOnce(&mut Outcome)) {
    let mut seconds = seconds.lock().unwrap_or_else(PoisonError::into_inner);
    if seconds.len() <= second {
        seconds.resize_with(second + 1, Outcome::default);
    }
    if let Some(outcome) = seconds.get_mut(second) {
        note(outcome);
    }
}

pub(super) fn sum(outcomes: &[Outcome]) -> Outcome {
    let mut all = Outcome::default();
    for outcome in outcomes {
        all.add(outcome.clone());
    }
    all
}

async fn ask(browser: &mut Browser) -> io::Result<Answer> {
    timeout(PATIENCE, browser.get("/"))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
