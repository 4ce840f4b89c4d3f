//! The section of the document: a table for each thing that grows, and a sentence that says how.
//!
//! Every sentence is made from the numbers below it.

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
    let mut part = |head: &str, sentences: fn(&OnPlace) -> String, rows: Rows| {
        let sentences: Vec<String> = all.iter().map(sentences).collect();
        _ = write!(text, "### {head}\n\n{}\n\n{}", sentences.join(" "), table(all, rows));
    };
    part("Connections", connections, |on| &on.connections);
    part("Sessions", sessions, |on| &on.sessions);
    part("Data", data, |on| &on.data);
    part("Instances on one session", instances, |on| &on.instances);
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

/// One repeat in a line, for whoever waits for the rest.
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

fn between(rows: &[Row], from: usize, to: usize) -> Option<(&Row, &Row)> {
    rows.get(from).zip(rows.get(to))
}

fn connections(on: &OnPlace) -> String {
    let last = on.connections.len().saturating_sub(1);
    let Some((one, most)) = between(&on.connections, 0, last) else { return String::new() };
    let [slow, fast] = [one, most].map(|row| row.median(|cell| cell.rate));
    let [low, high] = [one, most].map(|row| row.median(|cell| cell.p99));
    let [alone, together] = [one, most].map(|row| row.median(|cell| cell.app_us));
    format!(
        "On {}, from {} to {} ({} sessions in turn) the requests per second become {} times as many, the \
         p99 goes from {} to {} ms, and the app's CPU time for each request from {} to {} µs.",
        on.place.name(),
        one.name,
        most.name,
        thousands(SESSIONS),
        ratio(fast / slow),
        ratio(low),
        ratio(high),
        whole(alone),
        whole(together),
    )
}

fn sessions(on: &OnPlace) -> String {
    let named = |end: &str| on.sessions.iter().rfind(|row| row.name.ends_with(end));
    let few = on.sessions.get(1);
    let (Some(few), Some(even), Some(zipf)) = (few, named("evenly"), named("law")) else {
        return String::new();
    };
    let rate = |row: &Row| row.median(|cell| cell.rate);
    format!(
        "On {}, with {} the app answers {} of the requests per second that it answers with {}, and with {} \
         {}; its CPU time for each request is {} and {} µs in the place of {} µs.",
        on.place.name(),
        even.name,
        percent(rate(even) / rate(few)),
        few.name,
        zipf.name,
        percent(rate(zipf) / rate(few)),
        whole(even.median(|cell| cell.app_us)),
        whole(zipf.median(|cell| cell.app_us)),
        whole(few.median(|cell| cell.app_us)),
    )
}

fn percent(part: f64) -> String {
    format!("{} %", whole(100.0 * part))
}

fn data(on: &OnPlace) -> String {
    let last = on.data.len().saturating_sub(1);
    let Some((least, most)) = between(&on.data, 0, last) else { return String::new() };
    let kib = |at: usize| DATA_BYTES.get(at).map_or(f64::NAN, |bytes| *bytes as f64 / KIB as f64);
    let [small, large] = [least, most].map(|row| row.median(|cell| cell.app_us));
    format!(
        "On {}, each further KiB of data costs the app {} µs of CPU time ({} µs with {}, {} µs with {}), \
         and {} become {} requests per second.",
        on.place.name(),
        ratio((large - small) / (kib(last) - kib(0))),
        whole(small),
        least.name,
        whole(large),
        most.name,
        whole(least.median(|cell| cell.rate)),
        whole(most.median(|cell| cell.rate)),
    )
}

fn instances(on: &OnPlace) -> String {
    let Some((one, two)) = between(&on.instances, 0, 1) else { return String::new() };
    let rate = |row: &Row| row.median(|cell| cell.rate);
    format!(
        "On {}, one session that {CONNECTIONS} connections change takes {} requests per second on one \
         instance, and {} on two, which then meet in the store ({}).",
        on.place.name(),
        whole(rate(one)),
        whole(rate(two)),
        percent(rate(two) / rate(one)),
    )
}

fn memory(all: &[OnPlace]) -> String {
    let mut text = "### Memory\n\n".to_owned();
    for on in all {
        let Memory { sessions, first, fresh, early, after, restarted, store } = on.memory;
        let each = |bytes: f64| whole(bytes / sessions as f64);
        _ = write!(
            text,
            "On {}, the process grows by {} MiB while it makes {} sessions, and had grown by {} after the \
             first {}: what it keeps is bounded. Another one that finds them in the store has {} MiB, \
             where one with no session at all has {}. The store takes {} bytes for each. ",
            on.place.name(),
            whole((after - fresh) / MIB),
            thousands(sessions),
            whole((early - fresh) / MIB),
            thousands(first),
            whole(restarted / MIB),
            whole(fresh / MIB),
            each(store),
        );
    }
    text.push_str("\n\n| MiB |");
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
    text.push('\n');
    text
}
