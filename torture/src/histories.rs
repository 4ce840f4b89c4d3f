//! Histories: visitors of the app append to sessions and read them, and users log in and end all their
//! sessions, while everything between the app and its store goes wrong. Afterwards what they were told
//! is checked.
//!
//! `load.rs` has visitors and users, `plan.rs` what goes wrong, `place.rs` the processes; `history.rs`
//! keeps what was asked and answered, and `check.rs` says whether it can be so. `docs/torture.md`
//! names the invariants and describes the files.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use tokio::time::sleep;

use crate::{lateness::Lateness, options::Options, report::Section};

mod ask;
mod check;
mod history;
mod load;
mod place;
mod plan;

use history::{Act, Op, Outcome};
use load::{Load, Tally};
use place::{Kind, Place};
use plan::Trouble;

/// Where histories are written, in the workspace.
const FOLDER: &str = "target/torture/histories";

/// How many operations are served while each trouble comes once. Those that are refused come on top.
const OPERATIONS: u64 = 12_000;

/// How many times each trouble comes.
const ROUNDS_SHORT: u64 = 1;
const ROUNDS_USUAL: u64 = 5;

/// About how long one trouble takes, with the time until all is well again. It only decides how
/// densely the operations come.
const TROUBLE: Duration = Duration::from_millis(1200);

/// The success of requests is looked at over so long a time, and over so many at least: as long as it
/// takes on a machine that is busy otherwise.
const WINDOW: Duration = Duration::from_millis(200);
const WINDOW_MIN: u64 = 20;

/// I11: after so long, all must be well again, or later by what a busy machine takes.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// And after so many requests, as long as some are served: a slow machine has few of them in that time.
const RECOVERY_REQUESTS: u64 = 500;

/// I13: no request takes so long, or longer by what a busy machine takes. A load and a commit have a
/// second each, and an app that is paused another one.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// How many lines are shown of what one run broke.
const SHOWN: usize = 20;

/// Runs on each store, with one process of the app and with two.
pub(crate) async fn run(options: &Options) -> Result<Section> {
    let folder = folder();
    // What an earlier run has left would be taken for this one's.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).context("could not make the folder of the histories")?;
    let rounds = options.count(ROUNDS_SHORT, ROUNDS_USUAL);
    let mut rng = Rng::with_seed(options.seed);
    let mut section = Section { name: "histories", ..Section::default() };
    let mut runs = Vec::new();
    for kind in Kind::ALL {
        if !kind.is_installed() {
            println!("{} is not installed, and left out.", kind.name());
            let _ = writeln!(section.text, "{} is not installed, and was left out.\n", kind.name());
            continue;
        }
        for processes in [1, 2] {
            // Each has a seed of its own, so that one does not depend on how long another took.
            let rng = rng.fork();
            let name = format!("{}-{processes}", kind.name());
            let run = Run::make(kind, processes, rounds, rng, &folder, &name);
            let run = run.await.with_context(|| format!("the run {name}"))?;
            println!("{}", run.row());
            section.broken.extend(run.shown());
            runs.push(run);
        }
    }
    section.text.push_str(&tables(&runs));
    Ok(section)
}

fn folder() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).join(FOLDER)
}

/// What came of one store with so many processes of the app.
#[derive(Debug)]
struct Run {
    name: String,
    outcomes: BTreeMap<&'static str, u64>,
    sessions: u64,
    /// How many had requests under way at once, when it was fewest.
    at_once: usize,
    /// How many ends of all sessions of a user were acknowledged.
    ends_of_all: usize,
    /// How often each trouble met something.
    met: BTreeMap<&'static str, u64>,
    longest_request: Duration,
    longest_recovery: Duration,
    broken: Vec<String>,
}

impl Run {
    async fn make(
        kind: Kind,
        processes: usize,
        rounds: u64,
        mut rng: Rng,
        folder: &Path,
        name: &str,
    ) -> Result<Self> {
        let lateness = Lateness::watch();
        let mut place = Place::start(kind, processes).await?;
        let mut troubles = Vec::new();
        for _ in 0..rounds {
            troubles.extend(plan::draw(kind, &mut rng));
        }
        let operations = OPERATIONS * rounds;
        let time = TROUBLE * troubles.len() as u32;
        let per_second = operations * 1000 / time.as_millis().max(1) as u64;
        let mut load = Load::start(place.addresses(), per_second, &mut rng);
        let mut met = BTreeMap::new();
        let mut broken = Vec::new();
        let mut longest_recovery = Duration::ZERO;
        // Before the first trouble all must be well, too.
        let mut after = "the start";
        for trouble in troubles.into_iter().map(Some).chain([None]) {
            match until_well(&mut load, &lateness).await {
                Some(recovery) => longest_recovery = longest_recovery.max(recovery),
                None => broken.push(not_well(after)),
            }
            let Some(trouble) = trouble else { break };
            after = trouble.name();
            plan::make(trouble, &mut place, &mut rng).await?;
            if !matches!(trouble, Trouble::Between(..)) {
                *met.entry(after).or_default() += 1;
            }
        }
        if !until_done(&mut load, operations, &lateness).await {
            broken.push(not_well("all troubles"));
        }
        let at_once = load.at_once;
        let (ops, unread) = load.end().await;
        broken.extend(unread);
        history::write(&ops, folder, name)?;
        place.write_logs(folder, name)?;
        for proxy in &place.proxies {
            for (fault, n) in proxy.met() {
                *met.entry(fault).or_default() += n;
            }
        }
        let mut run = Self::of(name, &ops, at_once, met, longest_recovery, broken);
        run.judge(&lateness);
        Ok(run)
    }

    fn of(
        name: &str,
        ops: &[Op],
        at_once: usize,
        met: BTreeMap<&'static str, u64>,
        longest_recovery: Duration,
        mut broken: Vec<String>,
    ) -> Self {
        broken.extend(check::check(ops));
        let took = |op: &Op| Duration::from_nanos(op.ended.time.saturating_sub(op.began.time));
        let longest_request = ops.iter().map(took).max().unwrap_or_default();
        let mut outcomes = BTreeMap::new();
        for op in ops {
            *outcomes.entry(column(&op.outcome)).or_default() += 1;
        }
        let mut sessions: Vec<_> = ops.iter().map(|op| op.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let (name, sessions) = (name.to_owned(), sessions.len() as u64);
        let is_end = |op: &&Op| matches!(op.act, Act::EndAll(_)) && op.outcome == Outcome::Done;
        let ends_of_all = ops.iter().filter(is_end).count();
        Self {
            name,
            outcomes,
            sessions,
            ends_of_all,
            at_once,
            met,
            longest_request,
            longest_recovery,
            broken,
        }
    }

    /// Whether a request took too long on this machine.
    fn judge(&mut self, lateness: &Lateness) {
        let (took, late) = (self.longest_request, lateness.worst());
        if took > lateness.allows(REQUEST_MAX) {
            let what =
                format!("I13: a request took {took:.1?}; the machine was late by {late:.1?}");
            self.broken.push(what);
        }
    }

    fn row(&self) -> String {
        let n = |column: &str| self.outcomes.get(column).copied().unwrap_or_default();
        let counts = COLUMNS.map(|column| n(column).to_string());
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.1?} | {:.1?} | {} |",
            self.name,
            self.outcomes.values().sum::<u64>(),
            counts.join(" | "),
            self.sessions,
            self.ends_of_all,
            self.at_once,
            self.met.values().sum::<u64>(),
            self.longest_request,
            self.longest_recovery,
            self.broken.len(),
        )
    }

    /// What it broke, as far as it is shown.
    fn shown(&self) -> Vec<String> {
        let line = |broken: &String| format!("{}: {broken}", self.name);
        let mut shown: Vec<String> = self.broken.iter().take(SHOWN).map(line).collect();
        if let Some(more) = self.broken.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            shown.push(format!("{}: and {more} more", self.name));
        }
        shown
    }
}

/// The outcomes as the report counts them.
const COLUMNS: [&str; 4] = ["ok", "ended", "refused", "unknown"];

fn column(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done | Outcome::Viewed(_) | Outcome::Read(_) => "ok",
        Outcome::Anonymous | Outcome::Interrupted => "ended",
        Outcome::Refused => "refused",
        Outcome::Unknown | Outcome::Strange(_) => "unknown",
    }
}

fn tables(runs: &[Run]) -> String {
    let mut text = format!(
        "| store and processes | operations | {} | sessions | ends of all | at once | faults | longest request | \
         longest recovery | broken |\n|---|{}\n",
        COLUMNS.join(" | "),
        "--:|".repeat(COLUMNS.len() + 8)
    );
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    for run in runs {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", run.row());
        for (name, n) in &run.met {
            *met.entry(name).or_default() += n;
        }
    }
    text.push_str("\nRequests that each fault met, and times that each server was met:\n\n");
    for (name, n) in met {
        let _ = writeln!(text, "- {name}: {n}");
    }
    let _ = writeln!(text, "\nThe histories are in {FOLDER}.");
    text
}

/// Waits until 99 of 100 requests are served again, and returns how long it took. None if they are
/// not.
///
/// Where they are not, half as many are at work at once from then on, down to one. A call is given up
/// after a second, so on a machine that is too slow for all at once some fail for ever, and with fewer none
/// does. An app that does not get well fails with one as well.
async fn until_well(load: &mut Load, lateness: &Lateness) -> Option<Duration> {
    let began = Instant::now();
    loop {
        let (halved, first) = (Instant::now(), load.tally());
        let mut before = first;
        while halved.elapsed() < lateness.allows(RECOVERY_MAX) || is_slow(first, before) {
            sleep(WINDOW).await;
            let after = load.tally();
            match is_well(before, after) {
                Some(true) => return Some(began.elapsed()),
                Some(false) => before = after,
                None => {}
            }
        }
        if !load.halve().await {
            return None;
        }
    }
}

/// Whether some requests are served, and too few were made yet to say more.
fn is_slow(before: Tally, after: Tally) -> bool {
    let Tally { answered, unanswered } = after.since(before);
    answered > 0 && answered + unanswered < RECOVERY_REQUESTS
}

/// None if that cannot be said yet.
fn is_well(before: Tally, after: Tally) -> Option<bool> {
    let Tally { answered, unanswered } = after.since(before);
    if unanswered * 100 > answered + unanswered {
        return Some(false);
    }
    (answered >= WINDOW_MIN).then_some(true)
}

fn not_well(after: &str) -> String {
    format!("I11: after {after} requests still fail, also one at a time")
}

/// Waits until so many operations were served, which would take too long on a machine that is too slow for
/// all workers at once. False if they are not served any more.
async fn until_done(load: &mut Load, operations: u64, lateness: &Lateness) -> bool {
    while load.tally().answered < operations && !load.is_halved() {
        if until_well(load, lateness).await.is_none() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_is_who_is_served_99_times_of_100() {
        let tally = |answered, unanswered| Tally { answered, unanswered };
        assert_eq!(is_well(tally(5, 50), tally(104, 51)), Some(true));
        assert_eq!(is_well(tally(5, 50), tally(103, 51)), Some(false));
        assert_eq!(is_well(tally(5, 50), tally(6, 50)), None);
    }

    #[test]
    fn slow_is_who_serves_some_of_few() {
        let tally = |answered, unanswered| Tally { answered, unanswered };
        assert!(is_slow(tally(5, 50), tally(6, 548)));
        assert!(!is_slow(tally(5, 50), tally(6, 549)));
        assert!(!is_slow(tally(5, 50), tally(5, 60)));
    }
}
