//! The library itself on a store that fails, in a time that a seed decides.
//!
//! Each seed is a small world: one store in memory, two layers on it as if they were two processes,
//! and visitors whose clients change, read, renew and end their sessions at the same time, while
//! calls of the store are refused, lost, delayed, never answered, or done when nobody waits any
//! more. All of it is on one thread, whose clock stands still until everybody waits. So a seed goes
//! the same way each time, to the byte of its log.
//!
//! `simulation/world.rs` is that world, `simulation/visit.rs` what its clients do, and
//! `simulation/check.rs` what must be true of it afterwards. `simulation/logins.rs` is another one, of one user
//! who logs in and ends sessions.

mod check;
mod logins;
mod visit;
mod world;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result};

use crate::{options::Options, report::Section};

/// What the threads found, together.
#[derive(Default)]
struct Tally {
    worlds: u64,
    visits: u64,
    calls: u64,
    /// How often each thing happened, by its name.
    events: BTreeMap<String, u64>,
    broken: Vec<String>,
}

/// The first of these are told with their logs; more would help nobody.
const BROKEN_MAX: usize = 5;

pub(crate) async fn run(options: &Options) -> Result<Section> {
    let n_seeds = options.count(1_000, 10_000);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let began = Instant::now();
    let (seed, mut halves) = (options.seed, Vec::new());
    for thread in 0..threads {
        let seeds = (thread..n_seeds).step_by(threads as usize);
        let seeds = seeds.map(move |n| seed.wrapping_add(n));
        halves.push(tokio::task::spawn_blocking(move || try_all(seeds)));
    }
    let mut all = Tally::default();
    for half in halves {
        let half = half.await.context("a simulation panicked")??;
        all.worlds += half.worlds;
        all.visits += half.visits;
        all.calls += half.calls;
        half.events.into_iter().for_each(|(name, n)| *all.events.entry(name).or_default() += n);
        all.broken.extend(half.broken);
    }
    all.broken.sort();
    Ok(Section {
        name: "simulation",
        text: text(&all, seed, began.elapsed().as_secs_f64()),
        broken: all.broken,
    })
}

fn try_all(seeds: impl Iterator<Item = u64>) -> Result<Tally> {
    let mut tally = Tally::default();
    for seed in seeds {
        let history = world::simulate(seed)?;
        tally.worlds += 1;
        tally.visits += history.visits.len() as u64;
        tally.calls += history.calls.len() as u64;
        for event in history.events() {
            *tally.events.entry(event).or_default() += 1;
        }
        tally.tell(seed, check::broken(&history), || history.log());
        let history = logins::simulate(seed)?;
        tally.worlds += 1;
        tally.visits += history.visits();
        tally.calls += history.calls.len() as u64;
        for event in history.events() {
            *tally.events.entry(event).or_default() += 1;
        }
        tally.tell(seed, logins::broken(&history), || history.log());
    }
    Ok(tally)
}

impl Tally {
    fn tell(&mut self, seed: u64, broken: Vec<String>, log: impl Fn() -> String) {
        for broken in broken {
            if self.broken.len() < BROKEN_MAX {
                println!("seed {seed}: {broken}\n{}", log());
            }
            self.broken.push(format!("seed {seed}: {broken}"));
        }
    }
}

fn text(tally: &Tally, seed: u64, seconds: f64) -> String {
    let Tally { worlds, visits, calls, events, .. } = tally;
    let mut text = format!(
        "{worlds} worlds, from seed {seed} on, in {seconds:.1} s: {visits} visits, {calls} calls of \
         the store.\n\n| what happened | times |\n|---|---|\n"
    );
    events.iter().for_each(|(name, n)| text.push_str(&format!("| {name} | {n} |\n")));
    text
}

#[cfg(test)]
mod tests;
