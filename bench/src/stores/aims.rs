//! The aims: what ingle is to reach beside code by hand and beside its fastest peer, and what it reached.
//!
//! A ratio is taken in each round, of slices that were measured one after the other, and the median of
//! those counts. The best peer is the one with the most requests per second, whatever it keeps.

use std::fmt::Write as _;

use super::{Measured, OnPlace, measure::Round, report};
use crate::{
    contestant::By,
    place::Place,
    slice::Slice,
    spread::{Spread, ratio},
};

/// With the sessions in turn, and with one session for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Spread,
    Hot,
}

/// The least ratios that are wanted: [`Load::Spread`], then [`Load::Hot`].
#[derive(Clone, Copy, Debug, PartialEq)]
struct Aims {
    by_hand: Option<[f64; 2]>,
    best_peer: [f64; 2],
}

/// Where there is no more to reach: not to be behind.
const AHEAD: [f64; 2] = [1.0, 1.0];

/// How often a server may be asked for a warm update.
const TRIPS_MAX: f64 = 1.1;

impl Aims {
    fn on(place: Place) -> Self {
        let (by_hand, best_peer) = match place {
            Place::Memory => (Some([0.9, 1.0]), AHEAD),
            // By hand it is a log that is synced, as every group of commits is.
            Place::Sqlite => (Some([0.85, 1.0]), AHEAD),
            Place::Redis | Place::Valkey | Place::NewRedis => (Some([1.0, 1.3]), [1.15, 1.3]),
            Place::Memcached => (None, AHEAD),
            Place::Postgres => (None, [4.0, 15.0]),
            Place::Firestore => (None, [1.4, 100.0]),
            Place::FirestoreAway => (None, [2.5, 1.0]),
        };
        Self { by_hand, best_peer }
    }

    fn least(&self, by: By, load: Load) -> Option<f64> {
        let [spread, hot] = match by {
            By::Hand => self.by_hand?,
            By::Peer => self.best_peer,
            By::Ingle => return None,
        };
        Some(if load == Load::Spread { spread } else { hot })
    }
}

impl Load {
    fn of(self, round: &Round) -> Slice {
        match self {
            Self::Spread => round.spread,
            Self::Hot => round.hot,
        }
    }
}

/// What a row of ingle has in the column of this comparison; others have none.
pub(super) fn cell(on: &OnPlace, app: &Measured, by: By, load: Load) -> String {
    let Some(other) = fastest(on, by, load).filter(|_| app.contestant.by == By::Ingle) else {
        return report::NOT_MEASURED.to_owned();
    };
    match beside(app, other, load) {
        Some(times) if by == By::Peer => format!("{}: {}", named(other), times.shown(ratio)),
        Some(times) => times.shown(ratio),
        None => NONE_ANSWERS.to_owned(),
    }
}

const NONE_ANSWERS: &str = "none answers any";

fn rate(app: &Measured, load: Load) -> f64 {
    app.median(|round| Some(load.of(round).rate)).unwrap_or_default()
}

fn fastest(on: &OnPlace, by: By, load: Load) -> Option<&Measured> {
    let others = on.measured.iter().filter(|app| app.contestant.by == by);
    others.max_by(|one, other| rate(one, load).total_cmp(&rate(other, load)))
}

/// How many times the requests of the other, in the same rounds. None if that answers none.
fn beside(app: &Measured, other: &Measured, load: Load) -> Option<Spread> {
    if rate(other, load) == 0.0 {
        return None;
    }
    let rounds = app.rounds.iter().zip(&other.rounds);
    Spread::of(rounds.map(|(ours, theirs)| load.of(ours).rate / load.of(theirs).rate))
}

/// A peer that loses updates is named by what it keeps, for it does less.
fn named(peer: &Measured) -> String {
    let kept = peer.one_process.iter().chain(&peer.two_processes).map(|kept| kept.kept);
    let name = peer.contestant.name;
    match Spread::of(kept) {
        Some(kept) if kept.least < 100.0 => {
            format!("{name}, keeps {} %", report::percent(kept.least))
        }
        _ => name.to_owned(),
    }
}

/// One aim of one store: what to show of it, and whether it was met.
#[derive(Debug)]
struct Check {
    what: &'static str,
    shown: String,
    is_met: bool,
}

impl Check {
    fn new(what: &'static str, shown: String, is_met: bool) -> Self {
        Self { what, shown, is_met }
    }

    /// An aim that does not apply.
    fn none(what: &'static str) -> Self {
        Self::new(what, report::NOT_MEASURED.to_owned(), true)
    }
}

/// All aims of one store, always the same ones.
fn checks(on: &OnPlace, app: &Measured) -> [Check; 6] {
    let compared = |what, by, load| {
        let least = Aims::on(on.place).least(by, load);
        let Some((least, other)) = least.zip(fastest(on, by, load)) else {
            return Check::none(what);
        };
        let Some(times) = beside(app, other, load) else {
            return Check::new(what, NONE_ANSWERS.to_owned(), true);
        };
        // As it is shown, so that nobody reads of 1.00 that it is less than 1.00.
        let is_met = (times.median * 100.0).round() >= (least * 100.0).round();
        Check::new(what, format!("{} of {}", ratio(times.median), ratio(least)), is_met)
    };
    let trips = match app.trips {
        Some(trips) => {
            let shown = format!("{} of {}", ratio(trips.alone), ratio(TRIPS_MAX));
            Check::new("trips/request", shown, trips.alone <= TRIPS_MAX)
        }
        None => Check::none("trips/request"),
    };
    let is_whole = is_whole(app);
    let whole = if is_whole { "all" } else { "not all" };
    [
        Check::new("answered and kept", whole.to_owned(), is_whole),
        trips,
        compared("spread ÷ by hand", By::Hand, Load::Spread),
        compared("hot ÷ by hand", By::Hand, Load::Hot),
        compared("spread ÷ best peer", By::Peer, Load::Spread),
        compared("hot ÷ best peer", By::Peer, Load::Hot),
    ]
}

/// Whether every request was answered with 200, and every view that was answered is counted.
fn is_whole(app: &Measured) -> bool {
    let mut repeats = app.one_process.iter().chain(&app.two_processes);
    let slices = |round: &Round| [round.spread, round.hot];
    let mut slices = app.rounds.iter().flat_map(slices);
    repeats.all(|one| one.kept == 100.0 && one.failed == 0.0)
        && slices.all(|slice| slice.wrong == 0 && slice.failed == 0)
}

/// What was reached of each aim, by greetings on axum.
pub(super) fn table(all: &[OnPlace]) -> String {
    let mut table = "What ingle reached, of what is aimed at: a ratio is to be at least that, and \
                     the trips at most.\n\n"
        .to_owned();
    for (number, on) in all.iter().enumerate() {
        let Some(app) = on.measured.iter().find(|app| app.contestant.by == By::Ingle) else {
            continue;
        };
        let checks = checks(on, app);
        if number == 0 {
            table.push_str("| |");
            checks.iter().for_each(|check| _ = write!(table, " {} |", check.what));
            _ = write!(table, " met |\n|{}", "---|".repeat(checks.len() + 2));
        }
        _ = write!(table, "\n| {} |", on.place.name());
        checks.iter().for_each(|check| _ = write!(table, " {} |", check.shown));
        let missed: Vec<&str> =
            checks.iter().filter(|check| !check.is_met).map(|check| check.what).collect();
        _ = match missed.as_slice() {
            [] => write!(table, " yes |"),
            missed => write!(table, " **no**: {} |", missed.join(", ")),
        };
    }
    table.push_str("\n\n");
    table
}

#[cfg(test)]
mod tests {
    use super::{
        super::measure::{Kept, Trips},
        *,
    };
    use crate::contestant;

    /// An app with these requests per second in each round: the sessions in turn, and one for all.
    fn app(place: Place, by: By, name: &str, rates: &[[f64; 2]], kept: f64) -> Measured {
        let mut found =
            contestant::all_on(place).filter(|one| one.by == by && one.name.contains(name));
        let slice = |rate| Slice { rate, ..Slice::default() };
        let round = |[spread, hot]: &[f64; 2]| Round {
            spread: slice(*spread),
            hot: slice(*hot),
            ..Round::default()
        };
        Measured {
            contestant: found.next().expect("there is one"),
            rounds: rates.iter().map(round).collect(),
            one_process: vec![Kept { kept, failed: 0.0 }],
            two_processes: Vec::new(),
            trips: Some(Trips { alone: 1.0, hot: 0.1 }),
            memory_bytes: 0.0,
            session_bytes: None,
        }
    }

    fn on_redis(ingle: &[[f64; 2]]) -> OnPlace {
        let app = |by, name, rates: &[[f64; 2]], kept| app(Place::Redis, by, name, rates, kept);
        let measured = vec![
            app(By::Ingle, "ingle", ingle, 100.0),
            app(By::Peer, "tower-sessions", &[[10.0, 50.0], [10.0, 50.0], [10.0, 50.0]], 7.0),
            app(By::Peer, "actix-session", &[[20.0, 40.0], [40.0, 40.0], [10.0, 40.0]], 6.25),
            app(By::Hand, "by hand", &[[20.0, 50.0], [50.0, 50.0], [10.0, 50.0]], 100.0),
        ];
        OnPlace { place: Place::Redis, described: "Redis 7".to_owned(), measured }
    }

    #[test]
    fn a_ratio_is_taken_in_the_same_round_and_beside_the_fastest_in_that_column() {
        let on = on_redis(&[[30.0, 65.0], [50.0, 60.0], [20.0, 70.0]]);
        let [ours, peer, ..] = on.measured.as_slice() else { panic!("no rows") };
        let cell = |app, by, load| cell(&on, app, by, load);
        // 30 / 20, 50 / 40, 20 / 10.
        let spread = "actix-session, keeps 6.2 %: 1.50 (1.25–2.00)";
        assert_eq!(cell(ours, By::Peer, Load::Spread), spread);
        assert_eq!(
            cell(ours, By::Peer, Load::Hot),
            "tower-sessions, keeps 7.0 %: 1.30 (1.20–1.40)"
        );
        assert_eq!(cell(ours, By::Hand, Load::Spread), "1.50 (1.00–2.00)");
        assert_eq!(cell(peer, By::Hand, Load::Spread), "–", "it is told of ingle alone");
    }

    #[test]
    fn an_aim_is_met_or_named() {
        let met = table(&[on_redis(&[[30.0, 65.0]; 3])]);
        let row = "| Redis | all | 1.00 of 1.10 | 1.50 of 1.00 | 1.30 of 1.30 | 1.50 of 1.15 | \
                   1.30 of 1.30 | yes |";
        assert!(met.contains(row), "{met}");
        let missed = table(&[on_redis(&[[22.0, 65.0]; 3])]);
        assert!(
            missed.contains("1.10 of 1.15 | 1.30 of 1.30 | **no**: spread ÷ best peer |"),
            "{missed}"
        );
    }

    #[test]
    fn what_is_lost_or_failed_or_asked_too_often_is_no_aim_met() {
        let mut on = on_redis(&[[30.0, 65.0]; 3]);
        let with = |on: &OnPlace| table(std::slice::from_ref(on));
        on.measured[0].trips = Some(Trips { alone: 1.2, hot: 0.1 });
        assert!(with(&on).contains("| **no**: trips/request |"));
        on.measured[0].rounds[1].hot.failed = 1;
        assert!(with(&on).contains("| not all | 1.20 of 1.10 |"));
    }

    #[test]
    fn a_peer_that_answers_none_is_no_ratio() {
        let place = Place::FirestoreAway;
        let measured = vec![
            app(place, By::Ingle, "ingle", &[[30.0, 10.0]], 100.0),
            app(place, By::Peer, "transactions", &[[10.0, 0.0]], 100.0),
        ];
        let on = OnPlace { place, described: "hidane".to_owned(), measured };
        let table = table(&[on]);
        assert!(table.contains("| – | – | 3.00 of 2.50 | none answers any | yes |"), "{table}");
    }
}
