//! The section of the document: a table for each thing that grows.

use std::fmt::Write as _;

use super::{CONNECTIONS, DATA_BYTES, KIB, Memory, OnPlace, Row, SESSIONS};
use crate::{
    machine,
    options::Options,
    slice::Slice,
    spread::{Spread, ratio, thousands, whole},
};

const MIB: f64 = 1024.0 * 1024.0;

/// The rows of one table, for one store.
type Rows = fn(&OnPlace) -> &[Row];

/// The whole section. `load` is what the machine had to do before.
pub(super) fn text(all: &[OnPlace], options: &Options, load: Option<&str>) -> String {
    let stores: Vec<&str> = all.iter().map(|on| on.described.as_str()).collect();
    let mut text = format!(
        "Medians of {} of {} s each. *as acknowledged*: after each row the sessions that were \
         asked for most were looked at, and had every view that was answered with 200.\n\n\
         - Machine: {}, shared by the load generator, the server, the app and whatever else ran; load \
         average before: {}.\n\
         - Stores: {}.\n\
         - greetings: {}, built in release, one process if nothing else is said.\n\n",
        options.how_often(),
        options.time.as_secs_f64(),
        machine::processor(),
        load.unwrap_or("?"),
        stores.join("; "),
        env!("CARGO_PKG_VERSION"),
    );
    let mut part = |head: &str, what: &str, rows: Rows| {
        _ = write!(text, "### {head}\n\n{what}\n\n{}", table(all, rows));
    };
    let sessions = thousands(SESSIONS);
    part("Connections", &format!("{sessions} sessions in turn."), |on| &on.connections);
    part("Sessions", &format!("{CONNECTIONS} connections."), |on| &on.sessions);
    let each_kib = all.iter().map(kib_cost).collect::<Vec<_>>().join("; ");
    part("Data", &format!("Each further KiB costs the app, in CPU time: {each_kib}."), |on| {
        &on.data
    });
    part(
        "Instances on one session",
        &format!("{CONNECTIONS} connections change one session. Two instances meet in the store."),
        |on| &on.instances,
    );
    text.push_str(&memory(all));
    text
}

fn table(all: &[OnPlace], rows: Rows) -> String {
    let mut table = "| |".to_owned();
    for on in all {
        let store = on.place.name();
        _ = write!(
            table,
            " {store}: requests/s | p50, p99 ms | CPU µs/request: app, store | as acknowledged |"
        );
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(all.len() * 4));
    let names = all.first().map_or(&[][..], rows);
    for (n, named) in names.iter().enumerate() {
        _ = write!(table, "\n| {} |", named.name);
        for row in all.iter().filter_map(|on| rows(on).get(n)) {
            _ = write!(
                table,
                " {} | {}, {} | {}, {} | {} |",
                row.spread(|cell| cell.rate).map_or_else(String::new, |rate| rate.shown(whole)),
                ratio(row.median(|cell| cell.p50)),
                ratio(row.median(|cell| cell.p99)),
                whole(row.median(|cell| cell.app_us)),
                whole(row.median(|cell| cell.store_us)),
                acknowledged(row),
            );
        }
    }
    table.push_str("\n\n");
    table
}

impl Row {
    fn spread(&self, value: fn(&Slice) -> f64) -> Option<Spread> {
        Spread::of(self.cells.iter().map(value))
    }

    fn median(&self, value: fn(&Slice) -> f64) -> f64 {
        self.spread(value).map_or(f64::NAN, |spread| spread.median)
    }
}

fn acknowledged(row: &Row) -> String {
    let sum = |value: fn(&Slice) -> u64| row.cells.iter().map(value).sum::<u64>();
    match (sum(|cell| cell.wrong), sum(|cell| cell.failed)) {
        (0, 0) => "yes".to_owned(),
        (0, failed) => format!("yes; {failed} failed"),
        (wrong, failed) => format!("**{wrong} not**; {failed} failed"),
    }
}

/// One repeat in a line, for people who wait for the rest.
pub(super) fn line(cell: &Slice) -> String {
    format!(
        "{} requests/s, p50 {} ms, p99 {} ms, {} µs in the app, {} in the store; wrong {}, failed {}",
        whole(cell.rate),
        ratio(cell.p50),
        ratio(cell.p99),
        whole(cell.app_us),
        whole(cell.store_us),
        cell.wrong,
        cell.failed,
    )
}

/// What a further KiB of data costs the app on one store, from the smallest to the largest.
fn kib_cost(on: &OnPlace) -> String {
    let at = |n: usize| {
        let bytes = DATA_BYTES.get(n).map_or(f64::NAN, |bytes| *bytes as f64);
        let us = on.data.get(n).map_or(f64::NAN, |row| row.median(|cell| cell.app_us));
        (bytes / KIB as f64, us)
    };
    let ((few, less), (many, more)) = (at(0), at(on.data.len().saturating_sub(1)));
    format!("{} µs on {}", ratio((more - less) / (many - few)), on.place.name())
}

fn memory(all: &[OnPlace]) -> String {
    let mut text =
        "### Memory\n\nWhere what a process keeps is bounded, it grows no more after the \
                    first fifth of the sessions.\n\n"
            .to_owned();
    text.push_str("| MiB |");
    for on in all {
        _ = write!(text, " {} |", on.place.name());
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(all.len()));
    type Line = (&'static str, fn(&Memory) -> f64);
    let lines: [Line; 5] = [
        ("a process with no session", |memory| memory.fresh),
        ("after it made a fifth of the sessions", |memory| memory.early),
        ("after it made all of them", |memory| memory.after),
        ("one that was started after that", |memory| memory.restarted),
        ("the store's growth", |memory| memory.store),
    ];
    for (name, bytes) in lines {
        _ = write!(text, "\n| {name} |");
        for on in all {
            _ = write!(text, " {} |", whole(bytes(&on.memory) / MIB));
        }
    }
    text.push_str("\n| the store's growth for each session, in bytes |");
    for on in all {
        _ = write!(text, " {} |", whole(on.memory.store / on.memory.sessions as f64));
    }
    text.push('\n');
    text
}
