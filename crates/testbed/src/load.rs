//! The load generator of the tests, the benchmark and the torture.
//!
//! Requests come in one of three ways. [`run`] and [`closed`] have so many connections, each of which
//! asks again when it was answered, for a time or for a number of requests. [`open`] sends so many
//! requests in a second, whatever becomes of them. [`at_once`] sends a few that begin together.
//!
//! It knows nothing of stores and of what the numbers are for. What each connection asks with, and
//! what it makes of the answer, are its [`Turns`].
//!
//! Requests are written to the socket by hand and not by the [client](crate::http). The generator
//! shares the machine with what it measures, and each microsecond that it takes for a request is one
//! that the app has not.

mod burst;
mod connection;
mod open;
mod pace;
mod tally;
mod visitor;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::{runtime, task::JoinSet, time::sleep};

pub use burst::{Burst, at_once};
pub use connection::Answer;
use connection::Connection;
pub use open::open;
pub use pace::Pace;
pub use tally::{Tally, percentile};
pub use visitor::{Begin, Chance, Dealt, Nobody, One, Picked, Turns, Visitor};

/// How long an answer is waited for, if nothing else was said.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a connection that could not be made, or that broke off.
const AFTER_ERROR: Duration = Duration::from_millis(5);

/// What is asked, from where, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Connections are dealt over these in turn: instances of one app.
    pub addresses: Vec<SocketAddr>,
    pub path: String,
    pub length: Length,
    /// How long each connection rests between an answer and its next request.
    pub pause: Duration,
    /// An answer that takes longer does not come.
    pub patience: Duration,
}

impl Plan {
    /// One without pauses, and with the usual patience.
    pub fn new(addresses: &[SocketAddr], path: impl Into<String>, length: Length) -> Self {
        let (addresses, path) = (addresses.to_vec(), path.into());
        Self { addresses, path, length, pause: Duration::ZERO, patience: PATIENCE }
    }
}

/// How long a run goes on, unless its [`Turns`] end before that.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// What is answered in `warm_up` before the time is not counted.
    Time { warm_up: Duration, time: Duration },
    /// So many requests, unless they take longer than that.
    Requests { count: u64, time_max: Duration },
}

/// Makes a run on a thread of its own, and waits for it. `turns` has one for each connection, and
/// they come back in the same order.
///
/// # Errors
/// There is no thread for it.
pub fn run<T: Turns>(plan: &Plan, turns: Vec<T>) -> Result<(Vec<T>, Tally)> {
    let generate = || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("could not start the load generator")?;
        Ok(runtime.block_on(closed(plan, turns)))
    };
    thread::scope(|scope| scope.spawn(generate).join())
        .unwrap_or_else(|_| Err(anyhow!("the load generator panicked")))
}

/// What the connections of a run share.
struct Run {
    start: Instant,
    end: Instant,
    left: AtomicU64,
    pause: Duration,
}

/// The same in the runtime of its caller.
pub async fn closed<T: Turns>(plan: &Plan, turns: Vec<T>) -> (Vec<T>, Tally) {
    let now = Instant::now();
    let (start, end, left) = match plan.length {
        Length::Time { warm_up, time } => (now + warm_up, now + warm_up + time, u64::MAX),
        Length::Requests { count, time_max } => (now, now + time_max, count),
    };
    let run = Arc::new(Run { start, end, left: AtomicU64::new(left), pause: plan.pause });
    let mut connections = JoinSet::new();
    for ((n, turns), address) in turns.into_iter().enumerate().zip(plan.addresses.iter().cycle()) {
        let connection = Connection::new(*address, &plan.path, plan.patience);
        let run = Arc::clone(&run);
        connections.spawn(async move { (n, work(connection, turns, &run).await) });
    }
    let mut done = connections.join_all().await;
    done.sort_by_key(|(n, _)| *n);
    let mut tally = Tally { seconds: start.elapsed().as_secs_f64(), ..Tally::default() };
    let mut turns = Vec::new();
    for (_, (one, its_tally)) in done {
        turns.push(one);
        tally.add(its_tally);
    }
    tally.sort();
    (turns, tally)
}

/// One connection, which has one request under way at a time.
async fn work<T: Turns>(mut connection: Connection, mut turns: T, run: &Run) -> (T, Tally) {
    let mut tally = Tally::default();
    loop {
        let begun = Instant::now();
        if begun >= run.end {
            break;
        }
        let Some(cookie) = turns.next() else { break };
        let take = |left: u64| left.checked_sub(1);
        if run.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            break;
        }
        tally.sent += 1;
        match connection.get(cookie).await {
            Ok(answer) => {
                if tally.note(answer.status, begun.elapsed(), begun >= run.start) {
                    tally.wrong += u64::from(!turns.answered(&answer));
                }
            }
            Err(_) => {
                tally.broken += 1;
                if !turns.unanswered() {
                    break;
                }
                sleep(AFTER_ERROR).await;
            }
        }
        if !run.pause.is_zero() {
            sleep(run.pause).await;
        }
    }
    (turns, tally)
}

#[cfg(test)]
mod tests;
