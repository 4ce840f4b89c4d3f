//! The section of the document: where it was measured, a table for each store, and what it shows.

use std::fmt::Write as _;

use super::{
    CONNECTIONS, Measured, OnPlace, SESSIONS,
    aims::{self, Load},
    measure::{Kept, Round},
    picture::{Group, Row},
};
use crate::{
    contestant::{self, By},
    facts::Facts,
    machine,
    options::Options,
    slice::Slice,
    spread::{Spread, ratio, tenth, whole},
};

/// What the peers are made of.
const PACKAGES: [&str; 8] = [
    "axum",
    "tower-sessions",
    "tower-sessions-redis-store",
    "tower-sessions-sqlx-store",
    "axum_session",
    "actix-web",
    "actix-session",
    "firestore",
];

const MIB: f64 = 1024.0 * 1024.0;

/// A column: its head, and what an app of a store has there.
type Column = (&'static str, fn(&OnPlace, &Measured) -> String);

const KEPT_BY_ONE: Column =
    ("kept %, 1 process", |_, app| kept(&app.one_process, |kept| kept.kept));
const KEPT_BY_TWO: Column =
    ("kept %, 2 processes", |_, app| kept(&app.two_processes, |kept| kept.kept));
const SPREAD_RATE: Column =
    ("spread, requests/s", |_, app| shown(app, whole, |round| Some(round.spread.rate)));
const HOT_RATE: Column =
    ("hot, requests/s", |_, app| shown(app, whole, |round| Some(round.hot.rate)));
const SPREAD_BY_HAND: Column =
    ("spread ÷ by hand", |on, app| aims::cell(on, app, By::Hand, Load::Spread));
const HOT_BY_HAND: Column = ("hot ÷ by hand", |on, app| aims::cell(on, app, By::Hand, Load::Hot));
const SPREAD_BEST_PEER: Column =
    ("spread ÷ best peer", |on, app| aims::cell(on, app, By::Peer, Load::Spread));
const HOT_BEST_PEER: Column =
    ("hot ÷ best peer", |on, app| aims::cell(on, app, By::Peer, Load::Hot));
const APP_CPU: Column =
    ("app CPU, µs/request", |_, app| shown(app, whole, |round| Some(round.spread.app_us)));
const STORE_CPU: Column = ("store CPU, µs/request", |_, app| store_cpu(app));
const TRIPS: Column = ("trips/request: alone, hot", |_, app| trips(app));
const SESSION_BYTES: Column = ("store bytes/new session", |_, app| {
    app.session_bytes.map_or_else(|| NOT_MEASURED.to_owned(), whole)
});

/// Of a table of one store.
const COLUMNS: [Column; 19] = [
    KEPT_BY_ONE,
    KEPT_BY_TWO,
    ("failed %", |_, app| failed(app)),
    ("spread ÷ plain", |_, app| shown(app, ratio, |round| to_plain(round, &round.spread))),
    ("hot ÷ plain", |_, app| shown(app, ratio, |round| to_plain(round, &round.hot))),
    SPREAD_BY_HAND,
    HOT_BY_HAND,
    SPREAD_BEST_PEER,
    HOT_BEST_PEER,
    ("plain, requests/s", |_, app| shown(app, whole, |round| Some(round.plain?.rate))),
    SPREAD_RATE,
    HOT_RATE,
    ("spread p50, p99 ms", |_, app| latencies(app, |round| round.spread)),
    ("hot p50, p99 ms", |_, app| latencies(app, |round| round.hot)),
    APP_CPU,
    STORE_CPU,
    TRIPS,
    SESSION_BYTES,
    ("MiB", |_, app| whole(app.memory_bytes / MIB)),
];

/// Of the one table of all stores.
const COLUMNS_OF_ALL: [Column; 11] = [
    KEPT_BY_ONE,
    KEPT_BY_TWO,
    SPREAD_BY_HAND,
    HOT_BY_HAND,
    SPREAD_BEST_PEER,
    HOT_BEST_PEER,
    SPREAD_RATE,
    HOT_RATE,
    APP_CPU,
    STORE_CPU,
    TRIPS,
];

/// The whole section. `load` is what the machine had to do before.
pub(super) fn text(all: &[OnPlace], options: &Options, load: Option<&str>) -> String {
    let mut text = where_measured(all, options, load);
    if options.connections == CONNECTIONS {
        for on in all {
            text.push_str(&table(on));
        }
        text.push_str(&aims::table(all));
        text.push_str(&frameworks(all));
        text.push_str(&kinds(all));
    } else {
        text.push_str(&table_of_all(all));
        text.push_str(&aims::table(all));
    }
    text.push_str(&wrongs(all));
    text
}

fn where_measured(all: &[OnPlace], options: &Options, load: Option<&str>) -> String {
    let stores: Vec<&str> = all.iter().map(|on| on.described.as_str()).collect();
    let versions = PACKAGES.iter().filter_map(|package| {
        Some(format!("{package} {}", contestant::peer_version(package).ok()?))
    });
    let disk = machine::synced_write().map_or_else(String::new, |us| {
        format!("; a write of 4 KiB is on the disk after {} µs", whole(us))
    });
    let rounds = all.iter().flat_map(|on| &on.measured).flat_map(|app| &app.rounds);
    let disturbed = Spread::of(rounds.map(|round| 100.0 * round.spread.disturbed));
    let disturbed = disturbed.map_or_else(|| "?".to_owned(), |spread| spread.shown(whole));
    format!(
        "{} connections; {SESSIONS} sessions; medians of {} of {} s each, with the \
         least and the most in parentheses where they differ.\n\n\
         - Machine: {}, shared by the load generator, the server, the apps and whatever else ran; load \
         average before: {}; others took {disturbed} % of it meanwhile{disk}.\n\
         - Stores: {}.\n\
         - Peers: {}; and greetings {}, built in release.\n\n",
        options.connections,
        options.how_often(),
        options.time.as_secs_f64(),
        machine::processor(),
        load.unwrap_or("?"),
        stores.join("; "),
        versions.collect::<Vec<_>>().join(", "),
        env!("CARGO_PKG_VERSION"),
    )
}

fn table(on: &OnPlace) -> String {
    let mut table = head(&format!("| on {} |", on.place.title()), &COLUMNS);
    for app in &on.measured {
        _ = write!(table, "\n| {} |", name(app));
        cells(&mut table, on, app, &COLUMNS);
    }
    table.push_str("\n\n");
    table
}

/// The apps of all stores, one after the other.
fn table_of_all(all: &[OnPlace]) -> String {
    let mut table = head("| store | app |", &COLUMNS_OF_ALL);
    for on in all {
        for app in &on.measured {
            _ = write!(table, "\n| {} | {} |", on.place.title(), name(app));
            cells(&mut table, on, app, &COLUMNS_OF_ALL);
        }
    }
    table.push_str("\n\n");
    table
}

/// The first line of a table and the one below it.
fn head(first: &str, columns: &[Column]) -> String {
    let mut head = first.to_owned();
    columns.iter().for_each(|(name, _)| _ = write!(head, " {name} |"));
    let n_columns = head.matches('|').count() - 1;
    _ = write!(head, "\n|{}", "---|".repeat(n_columns));
    head
}

fn cells(table: &mut String, on: &OnPlace, app: &Measured, columns: &[Column]) {
    columns.iter().for_each(|(_, cell)| _ = write!(table, " {} |", cell(on, app)));
}

/// Ours stands out.
fn name(app: &Measured) -> String {
    let name = app.contestant.name;
    if app.contestant.by == By::Ingle { format!("**{name}**") } else { name.to_owned() }
}

/// What an app has in a column that says nothing of it.
pub(super) const NOT_MEASURED: &str = "–";

fn to_plain(round: &Round, slice: &Slice) -> Option<f64> {
    Some(slice.rate / round.plain?.rate)
}

fn shown(app: &Measured, show: fn(f64) -> String, value: fn(&Round) -> Option<f64>) -> String {
    let spread = app.spread(value);
    spread.map_or_else(|| NOT_MEASURED.to_owned(), |spread| spread.shown(show))
}

/// The least of all repeats: what is lost once is lost.
fn kept(repeats: &[Kept], value: fn(&Kept) -> f64) -> String {
    let spread = Spread::of(repeats.iter().map(value));
    spread.map_or_else(|| NOT_MEASURED.to_owned(), |spread| spread.shown(percent))
}

/// 100 means all.
pub(super) fn percent(value: f64) -> String {
    if value == 0.0 || value == 100.0 { whole(value) } else { tenth(value) }
}

/// The most of all repeats, with one process and with two.
fn failed(app: &Measured) -> String {
    let repeats = app.one_process.iter().chain(&app.two_processes);
    let spread = Spread::of(repeats.map(|kept| kept.failed));
    spread.map_or_else(|| NOT_MEASURED.to_owned(), |spread| percent(spread.most))
}

fn latencies(app: &Measured, slice: fn(&Round) -> Slice) -> String {
    let median = |value: fn(Slice) -> f64| app.median(|round| Some(value(slice(round))));
    let [p50, p99] = [median(|slice| slice.p50), median(|slice| slice.p99)]
        .map(|ms| ms.filter(|ms| ms.is_finite()).map_or_else(|| NOT_MEASURED.to_owned(), ratio));
    format!("{p50}, {p99}")
}

fn store_cpu(app: &Measured) -> String {
    if app.trips.is_none() {
        return NOT_MEASURED.to_owned();
    }
    shown(app, whole, |round| Some(round.spread.store_us))
}

fn trips(app: &Measured) -> String {
    let trips = app.trips.map(|trips| format!("{}, {}", ratio(trips.alone), ratio(trips.hot)));
    trips.unwrap_or_else(|| NOT_MEASURED.to_owned())
}

/// The numbers of the picture.
pub(super) fn picture(all: &[OnPlace]) -> Vec<Group> {
    let kept =
        |repeats: &[Kept]| Some(Spread::of(repeats.iter().map(|one| one.kept))?.median / 100.0);
    let row = |app: &Measured| Row {
        name: app.contestant.name.to_owned(),
        by: app.contestant.by,
        to_plain: [
            app.median(|round| to_plain(round, &round.spread)),
            app.median(|round| to_plain(round, &round.hot)),
        ],
        kept: [kept(&app.one_process), kept(&app.two_processes)],
    };
    let group = |on: &OnPlace| Group {
        name: format!("On {}", on.place.title()),
        rows: on.measured.iter().map(row).collect(),
    };
    all.iter().map(group).collect()
}

/// The line at the foot of the picture.
pub(super) fn below(options: &Options) -> String {
    format!(
        "{} connections, medians of {} in one run; {}, shared with the load generator. \
         By hand: code for this one page, with no session library.",
        options.connections,
        options.how_often(),
        machine::processor(),
    )
}

/// What each kind of request costs with ingle.
fn kinds(all: &[OnPlace]) -> String {
    type Kind = (&'static str, fn(&Round) -> Option<Slice>);
    let kinds: [Kind; 4] = [
        ("does not look at its session", |round| round.untouched),
        ("reads it", |round| round.read),
        ("changes it, each session in turn", |round| Some(round.spread)),
        ("changes it, one session for all", |round| Some(round.hot)),
    ];
    let mut table =
        "What a request costs with ingle, in microseconds of CPU time: the app's, and the \
                     store's server's. `plain` touches nothing of ingle.\n\n| the request |"
            .to_owned();
    // The first of each store: what the framework costs is another question.
    let ours = || all.iter().filter_map(|on| on.measured.first());
    for app in ours() {
        _ = write!(table, " {} |", app.contestant.place.name());
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(ours().count()));
    let plain: Kind = ("plain", |round| round.plain);
    for (name, slice) in [plain].into_iter().chain(kinds) {
        _ = write!(table, "\n| {name} |");
        for app in ours() {
            let app_us = app.median(|round| Some(slice(round)?.app_us)).unwrap_or(f64::NAN);
            let store_us = app.median(|round| Some(slice(round)?.store_us)).unwrap_or(f64::NAN);
            _ = match app.trips {
                Some(_) => write!(table, " {} + {} |", whole(app_us), whole(store_us)),
                None => write!(table, " {} |", whole(app_us)),
            };
        }
    }
    table.push_str("\n\n");
    table
}

/// What each kind of request costs on one store, for the paper.
pub(super) fn facts(on: &OnPlace, facts: &mut Facts) {
    let Some(ingle) = on.measured.iter().find(|app| app.contestant.by == By::Ingle) else { return };
    let mut set = |kind: &str, slice: fn(&Round) -> Option<Slice>| {
        let us = |value: fn(Slice) -> f64| ingle.median(|round| slice(round).map(value));
        for (whose, us) in
            [("app", us(|slice| slice.app_us)), ("store", us(|slice| slice.store_us))]
        {
            let name = format!("{}.{kind}.{whose}_us", on.place.name());
            facts.set(name, us.unwrap_or(f64::NAN));
        }
    };
    set("untouched", |round| round.untouched);
    set("read", |round| round.read);
    set("update", |round| Some(round.spread));
}

/// What a framework costs: the same app on axum and on actix-web, each against its own floor.
fn frameworks(all: &[OnPlace]) -> String {
    let mut table = "The same app on two frameworks, each as a ratio to its own page without a \
                     session.\n\n\
                     | | axum: spread, hot | actix-web: spread, hot | actix-web to axum: spread, hot |\n\
                     |---|---|---|---|"
        .to_owned();
    for on in all {
        let mut ours = on.measured.iter().filter(|app| app.contestant.by == By::Ingle);
        let (Some(axum), Some(actix)) = (ours.next(), ours.next()) else { continue };
        let [on_axum, on_actix] = [axum, actix].map(|app| {
            [|round: &Round| round.spread, |round: &Round| round.hot]
                .map(|slice| app.median(|round| to_plain(round, &slice(round))).unwrap_or(f64::NAN))
        });
        _ = write!(table, "\n| {} |", on.place.title());
        let between = [on_actix[0] / on_axum[0], on_actix[1] / on_axum[1]];
        for [spread, hot] in [on_axum, on_actix, between] {
            _ = write!(table, " {}, {} |", ratio(spread), ratio(hot));
        }
    }
    table.push_str("\n\n");
    table
}

/// What must not be, in any slice.
fn wrongs(all: &[OnPlace]) -> String {
    let bad = |app: &Measured| -> u64 {
        app.rounds.iter().map(|round| round.spread.wrong + round.spread.failed).sum()
    };
    let apps = all.iter().flat_map(|on| &on.measured).filter(|app| bad(app) > 0);
    let named: Vec<String> = apps
        .map(|app| {
            format!("{} on {} {}", app.contestant.name, app.contestant.place.name(), bad(app))
        })
        .collect();
    if named.is_empty() {
        return "With the sessions in turn, every answer of every app counted one view more than the last."
            .to_owned();
    }
    format!(
        "With the sessions in turn, answers that failed or did not count one view more than the last: {}.",
        named.join(", ")
    )
}
