//! Measures the apps on one store: rounds of slices, then what is kept, then what it costs the store.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Server,
    load::{self, Begin, Dealt, Length, Nobody, One, Plan, Tally, Visitor},
};

use super::{CONNECTIONS, SESSIONS};
use crate::{
    contestant::{By, Contestant},
    options::Options,
    place::Running,
    slice::Slice,
    spread::{ratio, whole},
    trips::Counter,
    usage::Tree,
};

/// Before a slice counts.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);

/// To begin sessions takes no longer, unless it never ends.
pub(crate) const BEGIN_TIME_MAX: Duration = Duration::from_secs(600);

/// Increments of one session, to see how many of them are kept, and how long they may take.
const INCREMENTS: u64 = 1000;
const INCREMENTS_TIME_MAX: Duration = Duration::from_secs(10);

/// Requests, one by one, to see how many trips to the store each of them takes.
const ONE_BY_ONE: u64 = 200;

/// Below `/lab/`, with the session's layer around it: one looks at no session, one reads it.
const UNTOUCHED: &str = "/lab/waiting";
const READ: &str = "/lab/data";

/// One after the other, in the same seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    pub(super) plain: Option<Slice>,
    /// A request that does not look at its session, and one that reads it.
    pub(super) untouched: Option<Slice>,
    pub(super) read: Option<Slice>,
    /// All sessions in turn, each of them never in flight twice.
    pub(super) spread: Slice,
    /// One session on all connections.
    pub(super) hot: Slice,
}

/// What became of the increments of one session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kept {
    /// Of those that were answered with 200, in percent.
    pub(super) kept: f64,
    /// Of all, those that were not, in percent.
    pub(super) failed: f64,
}

/// What the server was asked for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Trips {
    /// One request after the other.
    pub(super) alone: f64,
    /// One session on all connections.
    pub(super) hot: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) contestant: Contestant,
    pub(super) rounds: Vec<Round>,
    pub(super) one_process: Vec<Kept>,
    /// Empty where processes share no sessions.
    pub(super) two_processes: Vec<Kept>,
    /// None where there is no server.
    pub(super) trips: Option<Trips>,
    pub(super) memory_bytes: f64,
    /// What a session takes that has begun, where the server says it.
    pub(super) session_bytes: Option<f64>,
}

/// An app that runs, with what was measured until now.
struct Subject {
    process: Server,
    visitors: Vec<Visitor>,
    measured: Measured,
}

/// Measures each of these, in turn. One that is not ours and does not work is left out.
pub(super) async fn all(
    running: &Running,
    contestants: Vec<Contestant>,
    options: &Options,
) -> Result<Vec<Measured>> {
    let mut subjects = Vec::new();
    for contestant in contestants {
        match Subject::start(contestant, running) {
            Ok(subject) => subjects.push(subject),
            Err(error) if contestant.by == By::Ingle => return Err(error),
            Err(error) => println!("{} is left out: {error:#}", contestant.name),
        }
    }
    for n in 1..=options.repeats {
        for subject in &mut subjects {
            let round = subject.round(running, options)?;
            println!("{}, {n} of {}: {}", subject.name(), options.repeats, line(&round));
            subject.measured.rounds.push(round);
        }
    }
    let mut measured = Vec::new();
    for mut subject in subjects {
        subject.finish(running, options).await?;
        measured.push(subject.measured);
    }
    Ok(measured)
}

impl Subject {
    fn start(contestant: Contestant, running: &Running) -> Result<Self> {
        let process = contestant.start(running, running.address())?;
        let before = running.redis_bytes()?;
        let visitors = begin(&[process.address()], SESSIONS, CONNECTIONS)?;
        let session = |after: Option<f64>| Some((after? - before?) / SESSIONS as f64);
        let session_bytes = session(running.redis_bytes()?);
        let measured = Measured {
            contestant,
            rounds: Vec::new(),
            one_process: Vec::new(),
            two_processes: Vec::new(),
            trips: None,
            memory_bytes: 0.0,
            session_bytes,
        };
        Ok(Self { process, visitors, measured })
    }

    fn name(&self) -> &'static str {
        self.measured.contestant.name
    }

    fn tree(&self) -> Option<Tree> {
        self.process.pid().map(Tree)
    }

    /// Runs what makes a tally, and looks at what it took.
    fn slice(&self, running: &Running, run: impl FnOnce() -> Result<Tally>) -> Result<Slice> {
        Slice::watched(self.tree().into_iter().collect(), running.tree(), run)
    }

    fn round(&mut self, running: &Running, options: &Options) -> Result<Round> {
        let length = Length::Time { warm_up: WARM_UP, time: options.time };
        let plan = |path: &str| Plan::new(&[self.process.address()], path, length);
        let plain = self.measured.contestant.plain().map(|path| {
            self.slice(running, || {
                let nobody = (0..options.connections).map(|_| Nobody).collect();
                Ok(load::run(&plan(path), nobody)?.1)
            })
        });
        let plain = plain.transpose()?;
        let mut visitors = std::mem::take(&mut self.visitors);
        let mut in_turn = |path: &str, counts: bool| {
            self.slice(running, || {
                let dealt = Dealt::over(options.connections, std::mem::take(&mut visitors), counts);
                let (dealt, tally) = load::run(&plan(path), dealt)?;
                visitors = Dealt::back(dealt);
                Ok(tally)
            })
        };
        let ours = self.measured.contestant.by == By::Ingle;
        let untouched = ours.then(|| in_turn(UNTOUCHED, false)).transpose()?;
        let read = ours.then(|| in_turn(READ, false)).transpose()?;
        let spread = in_turn("/", true)?;
        let one = visitors.first().context("there is no session")?.cookie().into();
        let hot =
            self.slice(running, || Ok(load::run(&plan("/"), ones(&one, options.connections))?.1))?;
        // Its views went on without it.
        if let Some(first) = visitors.first_mut() {
            *first = begin(&[self.process.address()], 1, 1)?.swap_remove(0);
        }
        self.visitors = visitors;
        Ok(Round { plain, untouched, read, spread, hot })
    }

    /// What takes a second process, or one behind a proxy.
    async fn finish(&mut self, running: &Running, options: &Options) -> Result<()> {
        let contestant = self.measured.contestant;
        self.measured.memory_bytes = self.tree().map_or(f64::NAN, Tree::memory_bytes);
        let first = self.process.address();
        let second = contestant.is_shared().then(|| contestant.start(running, running.address()));
        let second = second.transpose()?;
        for _ in 0..options.repeats {
            let begun = Instant::now();
            self.measured.one_process.push(kept(&[first])?);
            if let Some(second) = &second {
                self.measured.two_processes.push(kept(&[first, second.address()])?);
            }
            // Apps that wait for locks would take minutes, and be no better for it.
            if begun.elapsed() > INCREMENTS_TIME_MAX {
                break;
            }
        }
        self.measured.trips = match Counter::before(running).await? {
            Some(counter) => Some(trips(&contestant, running, &counter)?),
            None => None,
        };
        let Measured { one_process, two_processes, trips, .. } = &self.measured;
        println!("{}: {one_process:?}, {two_processes:?}, {trips:?}", self.name());
        Ok(())
    }
}

/// One session on each of so many connections.
fn ones(cookie: &Arc<str>, connections: usize) -> Vec<One> {
    let one = || One { cookie: Arc::clone(cookie), shown: Vec::new() };
    (0..connections).map(|_| one()).collect()
}

/// Begins so many sessions, on so many connections.
pub(crate) fn begin(
    addresses: &[SocketAddr],
    sessions: usize,
    connections: usize,
) -> Result<Vec<Visitor>> {
    // Each connection knows how many sessions it has to begin, whatever fails meanwhile.
    let length = Length::Requests { count: u64::MAX, time_max: BEGIN_TIME_MAX };
    let plan = Plan::new(addresses, "/", length);
    let share = |n| sessions / connections + usize::from(n < sessions % connections);
    let turns = (0..connections).map(|n| Begin { wanted: share(n), ..Begin::default() });
    let (turns, tally) = load::run(&plan, turns.collect())?;
    let visitors: Vec<Visitor> = turns.into_iter().flat_map(|turns| turns.begun).collect();
    let (refused, broken) = (tally.refused(), tally.broken);
    ensure!(
        visitors.len() == sessions,
        "sessions begin too slowly: {refused} refused, {broken} broken"
    );
    ensure!(tally.wrong == 0, "{} sessions did not begin with their first view", tally.wrong);
    Ok(visitors)
}

/// Increments of a new session, on all connections of all processes.
fn kept(addresses: &[SocketAddr]) -> Result<Kept> {
    let first = addresses.get(..1).context("there is no process")?;
    let visitor = begin(first, 1, 1)?.swap_remove(0);
    let length = Length::Requests { count: INCREMENTS, time_max: INCREMENTS_TIME_MAX };
    let plan = Plan::new(addresses, "/", length);
    let (turns, tally) = load::run(&plan, ones(&visitor.cookie().into(), CONNECTIONS))?;
    let count = last_count(first, &visitor)?;
    Ok(summed_up(turns.iter().flat_map(|one| &one.shown), count, &tally))
}

/// What one more request is shown, without the view that it adds.
fn last_count(addresses: &[SocketAddr], visitor: &Visitor) -> Result<u64> {
    let length = Length::Requests { count: 1, time_max: BEGIN_TIME_MAX };
    let plan = Plan::new(addresses, "/", length);
    let one = || One { cookie: visitor.cookie().into(), shown: Vec::new() };
    for _ in 0..LAST_TRIES {
        let (turns, _) = load::run(&plan, vec![one()])?;
        if let Some(views) = turns.first().and_then(|one| one.shown.first()) {
            return Ok(views.saturating_sub(1));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    anyhow::bail!("it did not say the count")
}

/// A server may be busy for a while with what was given up.
const LAST_TRIES: usize = 30;

/// Of two answers that show the same number, one has undone the other; and a number beyond the last
/// count was undone later.
fn summed_up<'a>(shown: impl Iterator<Item = &'a u64>, count: u64, tally: &Tally) -> Kept {
    let kept: HashSet<u64> = shown.copied().filter(|views| (2..=count).contains(views)).collect();
    let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    Kept {
        kept: percent(kept.len() as u64, tally.answered()),
        failed: percent(tally.failed(), tally.sent),
    }
}

/// A process of its own, which finds a proxy where the server is.
fn trips(contestant: &Contestant, running: &Running, counter: &Counter) -> Result<Trips> {
    let process = contestant.start(running, Some(counter.address()))?;
    let visitor = begin(&[process.address()], 1, 1)?.swap_remove(0);
    let cookie: Arc<str> = visitor.cookie().into();
    let count = |connections, count| -> Result<f64> {
        let length = Length::Requests { count, time_max: INCREMENTS_TIME_MAX };
        let plan = Plan::new(&[process.address()], "/", length);
        let turns = ones(&cookie, connections);
        let before = counter.count()?;
        let (_, tally) = load::run(&plan, turns)?;
        Ok((counter.count()? - before) as f64 / tally.sent.max(1) as f64)
    };
    Ok(Trips { alone: count(1, ONE_BY_ONE)?, hot: count(CONNECTIONS, INCREMENTS)? })
}

/// One round in a line, for people who wait for the rest.
fn line(round: &Round) -> String {
    let rate = |slice: &Slice| whole(slice.rate);
    let to_plain = |slice: &Slice| match round.plain {
        Some(plain) => ratio(slice.rate / plain.rate),
        None => "?".to_owned(),
    };
    format!(
        "plain {}, spread {} ({}), hot {} ({}) requests/s; {} µs in the app, {} in the store; wrong {}, failed {}",
        round.plain.as_ref().map_or_else(|| "?".to_owned(), rate),
        rate(&round.spread),
        to_plain(&round.spread),
        rate(&round.hot),
        to_plain(&round.hot),
        whole(round.spread.app_us),
        whole(round.spread.store_us),
        round.spread.wrong,
        round.spread.failed + round.hot.failed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_increment_is_kept_lost_or_failed() {
        let tally = Tally { sent: 10, other: 1, broken: 1, ..Tally::default() };
        let all = summed_up([2, 3, 4, 5, 6, 7, 8, 9].iter(), 9, &tally);
        assert_eq!(all, Kept { kept: 100.0, failed: 20.0 });
        let undone = summed_up([2, 2, 2, 2, 3, 3, 4, 4].iter(), 3, &tally);
        assert_eq!(undone, Kept { kept: 25.0, failed: 20.0 });
    }
}
