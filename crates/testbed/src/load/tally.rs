//! What came of a run, in numbers.

use std::time::Duration;

/// How many requests came to what, and how long they took.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of the good answers that count, in microseconds, from the least on. Good is 200, or 204 where
    /// there is nothing to show.
    pub latencies: Vec<u32>,
    /// The same of the answers with 503.
    pub refusals: Vec<u32>,
    /// All requests that were sent, also those of the warm-up.
    pub sent: u64,
    /// Answers with any other status.
    pub other: u64,
    /// Connections that broke off, and answers that did not come.
    pub broken: u64,
    /// Good answers that show another count than they must.
    pub wrong: u64,
    /// Requests that came while more than the generator can hold were under way.
    pub unsent: u64,
    /// From the end of the warm-up to the last answer.
    pub seconds: f64,
}

impl Tally {
    /// Good answers in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency, in milliseconds, within which this part of the answers came.
    #[must_use]
    pub fn within(&self, part: f64) -> f64 {
        at(&self.latencies, part).map_or(f64::NAN, |us| f64::from(us) / 1e3)
    }

    /// Answers that are no good ones.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refusals.len() as u64 + self.other
    }

    /// Requests without a good answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.refused() + self.broken
    }

    #[must_use]
    pub fn answered(&self) -> u64 {
        self.sent - self.failed()
    }

    /// All of these together, in the time of the longest.
    pub fn sum(tallies: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for tally in tallies {
            all.seconds = all.seconds.max(tally.seconds);
            all.add(tally);
        }
        all.sort();
        all
    }

    /// Counts an answer. True for a good one.
    pub(super) fn note(&mut self, status: u16, took: Duration, counts: bool) -> bool {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        match status {
            200..300 if counts => self.latencies.push(us),
            200..300 => {}
            503 => self.refusals.push(us),
            _ => self.other += 1,
        }
        (200..300).contains(&status)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refusals.extend(other.refusals);
        self.sent += other.sent;
        self.other += other.other;
        self.broken += other.broken;
        self.wrong += other.wrong;
        self.unsent += other.unsent;
    }

    pub(super) fn sort(&mut self) {
        self.latencies.sort_unstable();
        self.refusals.sort_unstable();
    }
}

/// The latency within which so many of a hundred are. Zero if there are none.
#[must_use]
pub fn percentile(sorted: &[u32], percent: u8) -> Duration {
    let us = at(sorted, f64::from(percent) / 100.0).unwrap_or_default();
    Duration::from_micros(us.into())
}

fn at(sorted: &[u32], part: f64) -> Option<u32> {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((sorted.len() as f64 * part) as usize).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_counted_as_what_it_is() {
        let mut tally = Tally::default();
        let ms = Duration::from_millis;
        assert!(tally.note(200, ms(3), true) && tally.note(204, ms(1), true));
        assert!(tally.note(200, ms(9), false), "good, and of the warm-up");
        assert!(!tally.note(503, ms(2), true) && !tally.note(409, ms(2), true));
        (tally.sent, tally.broken) = (6, 1);
        tally.sort();
        assert_eq!((&tally.latencies, &tally.refusals), (&vec![1000, 3000], &vec![2000]));
        assert_eq!((tally.refused(), tally.failed(), tally.answered()), (2, 3, 3));
        let all = Tally::sum([tally.clone(), tally]);
        assert_eq!((all.sent, all.latencies), (12, vec![1000, 1000, 3000, 3000]));
    }

    #[test]
    fn a_percentile_is_one_of_the_latencies() {
        let sorted: Vec<u32> = (1..=100).map(|ms| ms * 1000).collect();
        let [half, most, all] = [50, 99, 100].map(|percent| percentile(&sorted, percent));
        let ms = Duration::from_millis;
        assert_eq!([half, most, all], [ms(51), ms(100), ms(100)]);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
        let tally = Tally { latencies: sorted, ..Tally::default() };
        assert!((tally.within(0.5) - 51.0).abs() < f64::EPSILON);
    }
}
