//! The section of the document: where it was measured, a table for each server, and what it shows.
//!
//! Every number is made from what was measured.

use std::{collections::BTreeSet, fmt::Write as _, process::Command};

use testbed::{firestore, tutorial};

use super::{Kind, Measured, REPEATS, REQUESTS, Repeat};
use crate::{
    machine,
    spread::{Spread, ratio, seconds, whole},
};

/// What the app runs on, besides Python: the packages that a request goes through.
const PACKAGES: [&str; 5] =
    ["flask", "gunicorn", "google-cloud-firestore", "google-api-core", "grpcio"];

const PACKAGE_VERSIONS: &str = "
import platform, sys
from importlib.metadata import version
print(', '.join(['Python ' + platform.python_version()] + [f'{p} {version(p)}' for p in sys.argv[1:]]))
";

/// A column: its head, and what an app has there.
type Column = (&'static str, fn(&[Repeat]) -> String);

const COLUMNS: [Column; 6] = [
    ("answered 200", |repeats| shown(repeats, whole, |repeat| repeat.answered() as f64)),
    ("other answers", other_answers),
    ("views lost after a 200", |repeats| shown(repeats, whole, |repeat| repeat.lost as f64)),
    ("views counted without a 200", |repeats| {
        shown(repeats, whole, |repeat| repeat.unconfirmed as f64)
    }),
    ("seconds to the last answer", |repeats| shown(repeats, seconds, |repeat| repeat.seconds)),
    ("calls per request", |repeats| shown(repeats, ratio, |repeat| repeat.calls)),
];

/// What people call an app, in a table and while it is measured.
pub(super) fn name(kind: Kind) -> String {
    match kind {
        Kind::Tutorial { workers, threads: 1 } => {
            format!("the tutorial's app, {workers} sync workers")
        }
        Kind::Tutorial { workers: 1, threads } => {
            format!("the tutorial's app, 1 worker with {threads} threads")
        }
        Kind::Tutorial { workers, threads } => {
            format!("the tutorial's app, {workers} workers with {threads} threads each")
        }
        Kind::Greetings { processes: 1 } => "greetings, 1 process".to_owned(),
        Kind::Greetings { processes } => format!("greetings, {processes} processes"),
    }
}

/// The whole section. `load` is what the machine had to do before.
pub(super) fn text(measured: &[Measured], load: Option<&str>) -> String {
    let mut text = where_measured(measured, load);
    for measured in measured {
        text.push_str(&table(measured));
    }
    text.push_str(&losses(measured));
    text
}

fn where_measured(measured: &[Measured], load: Option<&str>) -> String {
    let servers: Vec<String> = measured.iter().map(|measured| versioned(measured.server)).collect();
    let load = load.map_or_else(String::new, |load| format!("; load average before: {load}"));
    format!(
        "{REQUESTS} requests at once; medians of {REPEATS} repeats, with the least and the most in \
         parentheses where they differ.\n\n\
         - Machine: {}, shared by the load generator, the server, the apps and whatever else \
         ran{load}.\n\
         - Servers: {}.\n\
         - The tutorial's app: {}.\n\
         - greetings: {}, built in release.\n\n",
        machine::processor(),
        servers.join("; "),
        package_versions().unwrap_or_else(|| "of unknown versions".to_owned()),
        env!("CARGO_PKG_VERSION"),
    )
}

/// A server with its version, where it tells.
fn versioned(server: &str) -> String {
    let (hidane, version) = firestore::HIDANE;
    if server == hidane {
        return format!("{server} {version}");
    }
    let mut gcloud = Command::new("gcloud");
    gcloud.args(["version", "--format=value('cloud-firestore-emulator')"]);
    let version = machine::printed(&mut gcloud).filter(|version| !version.is_empty());
    version.map_or_else(|| server.to_owned(), |version| format!("{server} {version}"))
}

fn package_versions() -> Option<String> {
    let mut python = Command::new(tutorial::environment().join("bin/python"));
    machine::printed(python.args(["-c", PACKAGE_VERSIONS]).args(PACKAGES))
}

fn table(measured: &Measured) -> String {
    let mut table = format!("| on {} |", measured.server);
    for (head, _) in COLUMNS {
        _ = write!(table, " {head} |");
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(COLUMNS.len()));
    for (kind, repeats) in &measured.apps {
        _ = write!(table, "\n| {} |", name(*kind));
        for (_, cell) in COLUMNS {
            _ = write!(table, " {} |", cell(repeats));
        }
    }
    table.push_str("\n\n");
    table
}

fn shown(repeats: &[Repeat], show: fn(f64) -> String, value: fn(&Repeat) -> f64) -> String {
    let spread = Spread::of(repeats.iter().map(value));
    spread.map_or_else(|| "not measured".to_owned(), |spread| spread.shown(show))
}

/// Which answers there were besides 200, in any repeat.
fn other_answers(repeats: &[Repeat]) -> String {
    let statuses = repeats.iter().flat_map(|repeat| repeat.statuses.keys());
    let others: BTreeSet<_> = statuses.filter(|status| **status != Some(200)).collect();
    if others.is_empty() {
        return "none".to_owned();
    }
    others.into_iter().map(|status| status_name(*status)).collect::<Vec<_>>().join(", ")
}

fn status_name(status: Option<u16>) -> String {
    status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
}

/// One repeat in a line, for people who wait for the rest.
pub(super) fn line(repeat: &Repeat) -> String {
    let statuses = repeat.statuses.iter();
    let statuses = statuses.map(|(status, n)| format!("{n} × {}", status_name(*status)));
    format!(
        "{}; lost {}, counted without a 200 {}; {} s; {} calls per request",
        statuses.collect::<Vec<_>>().join(", "),
        repeat.lost,
        repeat.unconfirmed,
        seconds(repeat.seconds),
        ratio(repeat.calls),
    )
}

fn losses(measured: &[Measured]) -> String {
    let apps = measured.iter().flat_map(|measured| &measured.apps);
    let lost: usize = apps.flat_map(|(_, repeats)| repeats).map(|repeat| repeat.lost).sum();
    match lost {
        0 => "No app lost a view that it had answered with 200.".to_owned(),
        n => format!("Views that were answered with 200 and lost, over all repeats: {n}."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn repeat(answered: usize, calls: f64) -> Repeat {
        let statuses = BTreeMap::from([(Some(200), answered), (Some(500), REQUESTS - answered)]);
        Repeat { statuses, calls, seconds: 1.0, ..Repeat::default() }
    }

    fn measured() -> Measured {
        let tutorial = vec![repeat(20, 9.5), repeat(10, 8.0), repeat(15, 8.5)];
        let greetings = vec![Repeat { statuses: [(Some(200), 50)].into(), ..repeat(50, 0.1) }; 3];
        let kinds = [Kind::Tutorial { workers: 4, threads: 1 }, Kind::Greetings { processes: 1 }];
        Measured {
            server: "a server",
            apps: kinds.into_iter().zip([tutorial, greetings]).collect(),
        }
    }

    #[test]
    fn a_table_has_the_median_and_the_spread() {
        let table = table(&measured());
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let tutorial = "| the tutorial's app, 4 sync workers \
                        | 15 (10–20) | 500 | 0 | 0 | 1.0 | 8.50 (8.00–9.50) |";
        let greetings = "| greetings, 1 process | 50 | none | 0 | 0 | 1.0 | 0.10 |";
        assert_eq!(rows, [tutorial, greetings, ""]);
    }

    #[test]
    fn a_lost_view_is_told() {
        let mut measured = measured();
        assert_eq!(losses(&[]), "No app lost a view that it had answered with 200.");
        measured.apps[0].1[2].lost = 3;
        assert!(losses(&[measured]).ends_with("over all repeats: 3."));
    }
}
