//! The load generator: one thread, so many connections that are kept, and visitors with their cookies.
//!
//! It knows nothing of stores and of what the numbers are for. A run goes on for a time or for a number
//! of requests; what each connection asks with, and what it makes of the answer, are its [`Turns`].

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
    time::sleep,
};

mod connection;
mod visitor;

use connection::{Answer, Connection};
pub(crate) use visitor::{Begin, Chance, Dealt, Nobody, One, Picked, Turns, Visitor};

/// After a connection that could not be made, or that broke off.
const AFTER_ERROR: Duration = Duration::from_millis(5);

/// What is asked, from where, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Connections are dealt over these in turn: instances of one app.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) path: String,
    pub(crate) length: Length,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// What is answered in `warm_up` before the time is not counted.
    Time { warm_up: Duration, time: Duration },
    /// So many requests, unless they take longer than that.
    Requests { count: u64, time_max: Duration },
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Of the good answers that count, in microseconds, from the least on.
    pub(crate) latencies: Vec<u32>,
    /// All requests that were sent, also those of the warm-up.
    pub(crate) sent: u64,
    /// Answers with a status that is no good one: 200, or 204 where there is nothing to show.
    pub(crate) refused: u64,
    /// Connections that broke off, and answers that did not come.
    pub(crate) broken: u64,
    /// Good answers that show another count than they must.
    pub(crate) wrong: u64,
    /// From the end of the warm-up to the last answer.
    pub(crate) seconds: f64,
}

impl Tally {
    /// Good answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency, in milliseconds, within which this part of the answers came.
    pub(crate) fn within(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = ((self.latencies.len() as f64 * part) as usize).min(last);
        self.latencies.get(at).map_or(f64::NAN, |us| f64::from(*us) / 1e3)
    }

    /// Requests without a good answer.
    pub(crate) fn failed(&self) -> u64 {
        self.refused + self.broken
    }

    pub(crate) fn answered(&self) -> u64 {
        self.sent - self.failed()
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.sent += other.sent;
        self.refused += other.refused;
        self.broken += other.broken;
        self.wrong += other.wrong;
    }
}

/// Makes a run on a thread of its own, and waits for it. `turns` has one for each connection, and
/// they come back in the same order.
pub(crate) fn run<T: Turns>(plan: &Plan, turns: Vec<T>) -> Result<(Vec<T>, Tally)> {
    let generate = || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("could not start the load generator")?;
        LocalSet::new().block_on(&runtime, all(plan, turns))
    };
    thread::scope(|scope| scope.spawn(generate).join())
        .unwrap_or_else(|_| Err(anyhow!("the load generator panicked")))
}

/// What the connections of a run share.
struct Run {
    start: Instant,
    end: Instant,
    left: Cell<u64>,
}

async fn all<T: Turns>(plan: &Plan, turns: Vec<T>) -> Result<(Vec<T>, Tally)> {
    let now = Instant::now();
    let (start, end, left) = match plan.length {
        Length::Time { warm_up, time } => (now + warm_up, now + warm_up + time, u64::MAX),
        Length::Requests { count, time_max } => (now, now + time_max, count),
    };
    let run = Rc::new(Run { start, end, left: Cell::new(left) });
    let mut connections = JoinSet::new();
    for ((n, turns), address) in turns.into_iter().enumerate().zip(plan.addresses.iter().cycle()) {
        let connection = Connection::new(*address, &plan.path);
        let run = Rc::clone(&run);
        connections.spawn_local(async move { (n, work(connection, turns, &run).await) });
    }
    let mut done = connections.join_all().await;
    done.sort_by_key(|(n, _)| *n);
    let mut tally = Tally { seconds: start.elapsed().as_secs_f64(), ..Tally::default() };
    let mut turns = Vec::new();
    for (_, (one, its_tally)) in done {
        turns.push(one);
        tally.add(its_tally);
    }
    tally.latencies.sort_unstable();
    Ok((turns, tally))
}

/// One connection, which has one request under way at a time.
async fn work<T: Turns>(mut connection: Connection, mut turns: T, run: &Run) -> (T, Tally) {
    let mut tally = Tally::default();
    loop {
        let begun = Instant::now();
        let Some(left) = run.left.get().checked_sub(1).filter(|_| begun < run.end) else { break };
        let Some(cookie) = turns.next() else { break };
        run.left.set(left);
        tally.sent += 1;
        match connection.get(cookie).await {
            Ok(answer) if answer.status / 100 == 2 => {
                if begun >= run.start {
                    let us = begun.elapsed().as_micros();
                    tally.latencies.push(u32::try_from(us).unwrap_or(u32::MAX));
                }
                tally.wrong += u64::from(!turns.answered(&answer));
            }
            Ok(_) => tally.refused += 1,
            Err(_) => {
                tally.broken += 1;
                sleep(AFTER_ERROR).await;
            }
        }
    }
    (turns, tally)
}
