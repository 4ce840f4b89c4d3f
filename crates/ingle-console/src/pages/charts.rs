//! Small charts of the last hour, one bar a minute. Each is a drawing with a text that says the same, so
//! that nobody has to see it.

use ingle::operator::{Activity, ActivityMinute};
use ingle_operator::grouped;
use serde::Serialize;

/// How many minutes a chart has.
pub(crate) const MINUTES: usize = 60;

/// A bar and the gap beside it, and how high the highest one is, in units of the drawing.
const STEP: usize = 4;
const BAR: usize = 3;
const HEIGHT: u64 = 40;

/// How many minutes a row of the table has.
const ROW: usize = 5;

/// One figure of each minute.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Chart {
    pub(crate) name: &'static str,
    /// What it is about, where the name does not say it.
    #[serde(skip)]
    pub(crate) note: &'static str,
    pub(crate) total: String,
    /// What is said beside the total.
    pub(crate) most: String,
    /// The same as a text.
    pub(crate) label: String,
    /// The bars of the minutes that are over, and that of the one that it is, as paths of SVG.
    pub(crate) bars: String,
    pub(crate) now: String,
}

impl Chart {
    /// The counts of at most an hour, the oldest first. The last one is of the minute that it is.
    pub(crate) fn new(name: &'static str, note: &'static str, counts: &[u64]) -> Self {
        let total = grouped(counts.iter().sum());
        let most = counts.iter().copied().max().unwrap_or(0);
        let last = counts.last().copied().unwrap_or(0);
        let most_text = match most {
            0 => String::new(),
            most => format!("at most {} a minute", grouped(most)),
        };
        let label = format!(
            "{name}: {total} in the last hour, at most {} a minute, {} in this one",
            grouped(most),
            grouped(last)
        );
        let first = MINUTES.saturating_sub(counts.len());
        let bars = counts.iter().enumerate().map(|(at, n)| bar(first + at, *n, most));
        let mut bars: Vec<String> = bars.collect();
        let now = bars.pop().unwrap_or_default();
        Self { name, note, total, most: most_text, label, bars: bars.concat(), now }
    }
}

/// The bar of a minute. What is there is seen, however little it is beside the most.
fn bar(at: usize, n: u64, most: u64) -> String {
    let height = match (n * HEIGHT).checked_div(most) {
        None | Some(0) if n == 0 => return String::new(),
        height => height.unwrap_or(0).max(1),
    };
    format!("M{} {HEIGHT}v-{height}h{BAR}v{height}z", at * STEP)
}

/// What this process has done.
#[derive(Serialize)]
pub(crate) struct Activities {
    pub(crate) charts: [Chart; 6],
    /// Five minutes each, the newest first, with what the charts show in their order.
    pub(crate) rows: Vec<[String; 6]>,
}

type Figure = (&'static str, &'static str, fn(&ActivityMinute) -> u64);

const FIGURES: [Figure; 6] = [
    ("Begun", "sessions that began here", |minute| minute.began),
    ("Ended", "by a logout, by an operator, or found expired", |minute| minute.ended),
    ("Commits", "changes that were stored", |minute| minute.commits),
    ("Conflicts", "commits that met a newer record", |minute| minute.conflicts),
    ("Replays", "changes that were run again on it", |minute| minute.replays),
    ("503", "responses that sent a visitor away", |minute| minute.unavailable),
];

impl Activities {
    pub(crate) fn of(activity: &Activity) -> Self {
        let minutes = &activity.minutes;
        let charts = FIGURES.map(|(name, note, of)| {
            Chart::new(name, note, &minutes.iter().map(of).collect::<Vec<_>>())
        });
        let rows = minutes.rchunks(ROW).map(|minutes| {
            let sum = |(_, _, of): Figure| grouped(minutes.iter().map(of).sum());
            FIGURES.map(sum)
        });
        let mut rows: Vec<_> = rows.collect();
        rows.resize(MINUTES / ROW, FIGURES.map(|_| grouped(0)));
        Self { charts, rows }
    }
}

/// How long ago a row of the table was.
pub(crate) fn row_name(row: &usize) -> String {
    match row {
        0 => format!("the last {ROW} minutes"),
        row => format!("{} to {} minutes ago", row * ROW, (row + 1) * ROW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_minute_with_something_and_says_the_same() {
        let chart = Chart::new("Commits", "", &[0, 4000, 1, 2000]);
        assert_eq!(chart.bars, "M228 40v-40h3v40zM232 40v-1h3v1z");
        assert_eq!(chart.now, "M236 40v-20h3v20z");
        let label = "Commits: 6,001 in the last hour, at most 4,000 a minute, 2,000 in this one";
        assert_eq!((&*chart.label, &*chart.most), (label, "at most 4,000 a minute"));
        let nothing = Chart::new("Commits", "", &[]);
        assert_eq!((&*nothing.bars, &*nothing.now, &*nothing.most), ("", "", ""));
    }
}
