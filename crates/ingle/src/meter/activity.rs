//! What one layer has done in the last hour, by minute: for a page of operators, without a system of
//! metrics.
//!
//! To count costs an addition, because each call of the store reads the clock anyway and says here which
//! minute it is.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::clock::Timestamp;

/// How many minutes are told, with the one that it is.
const TOLD: u64 = 60;

/// How many minutes are kept: a power of two above [`TOLD`].
const KEPT: u64 = 64;

const MINUTE_MILLIS: u64 = 60 * 1000;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    Began,
    Ended,
    Commits,
    Conflicts,
    Replays,
    Unavailable,
}

const FIGURES: usize = 6;

type Counts = [AtomicU32; FIGURES];

/// The counts of the last minutes.
#[derive(Debug)]
pub(crate) struct Recent {
    since: Timestamp,
    /// The minute that it is, since 1970.
    minute: AtomicU64,
    /// The first minute that was counted, which is held while the minute changes.
    first: Mutex<u64>,
    minutes: [Counts; KEPT as usize],
}

impl Recent {
    pub(crate) fn new(now: Timestamp) -> Self {
        let minute = now.as_millis() / MINUTE_MILLIS;
        Self {
            since: now,
            minute: AtomicU64::new(minute),
            first: Mutex::new(minute),
            minutes: std::array::from_fn(|_| Counts::default()),
        }
    }

    /// Says what time it is.
    pub(crate) fn at(&self, now: Timestamp) {
        let minute = now.as_millis() / MINUTE_MILLIS;
        let known = self.minute.load(Ordering::Relaxed);
        if minute != known {
            self.turn_to(minute);
        }
    }

    #[cold]
    fn turn_to(&self, minute: u64) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.minute.load(Ordering::Relaxed);
        if minute == known || minute + 1 == known {
            // Another task was faster, or has looked at the clock a moment later.
            return;
        }
        let new = match minute.checked_sub(known) {
            Some(passed) => passed.min(KEPT),
            // The clock was set back.
            None => {
                *first = minute;
                KEPT
            }
        };
        for minute in (minute + 1).saturating_sub(new)..=minute {
            if let Some(counts) = self.counts(minute) {
                counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
            }
        }
        self.minute.store(minute, Ordering::Relaxed);
    }

    fn counts(&self, minute: u64) -> Option<&Counts> {
        self.minutes.get((minute % KEPT) as usize)
    }

    /// Counts in the minute that it is.
    pub(crate) fn count(&self, figure: Figure) {
        if let Some(counts) = self.counts(self.minute.load(Ordering::Relaxed))
            && let Some(count) = counts.get(figure as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted until now.
    pub(crate) fn told(&self, now: Timestamp) -> Activity {
        self.at(now);
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.minute.load(Ordering::Relaxed);
        let minutes = first.max((last + 1).saturating_sub(TOLD))..=last;
        let minutes = minutes.map(|minute| {
            let of = |figure: Figure| {
                let count = self.counts(minute).and_then(|counts| counts.get(figure as usize));
                count.map_or(0, |count| count.load(Ordering::Relaxed)).into()
            };
            ActivityMinute {
                at: Timestamp::from_millis(minute * MINUTE_MILLIS),
                began: of(Figure::Began),
                ended: of(Figure::Ended),
                commits: of(Figure::Commits),
                conflicts: of(Figure::Conflicts),
                replays: of(Figure::Replays),
                unavailable: of(Figure::Unavailable),
            }
        });
        Activity { since: self.since, minutes: minutes.collect() }
    }
}

/// What a layer in this process has done in the last hour, by
/// [`Sessions::activity`](crate::Sessions::activity). What other instances of the app did is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// When the layer was made.
    pub since: Timestamp,
    /// At most 60 minutes, the oldest first. The last one is the one that it is, which goes on. Those
    /// before the layer was made are not there.
    pub minutes: Vec<ActivityMinute>,
}

/// What a layer has done in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActivityMinute {
    /// When the minute began.
    pub at: Timestamp,
    /// Sessions that began here.
    pub began: u64,
    /// Sessions that ended here or were found expired here. Most sessions expire with nobody there,
    /// and these are not counted.
    pub ended: u64,
    /// Commits that succeeded. One may hold the changes of several requests.
    pub commits: u64,
    /// Commits that met a newer record.
    pub conflicts: u64,
    /// Changes that were run again on a newer record.
    pub replays: u64,
    /// Responses with status 503 that passed [`SessionLayer`](crate::SessionLayer), or its middleware
    /// for actix-web, whoever made them. An app that uses a [`Door`](crate::adapter::Door) alone has none here.
    pub unavailable: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn commits(recent: &Recent, now: Timestamp) -> Vec<u64> {
        recent.told(now).minutes.iter().map(|minute| minute.commits).collect()
    }

    #[test]
    fn what_is_counted_is_in_its_minute_for_an_hour() {
        let start = Timestamp::from_millis(1_000_000 * MINUTE_MILLIS + 59_999);
        let minutes = |n: u64| start.after(Duration::from_secs(60 * n));
        let recent = Recent::new(start);
        recent.count(Figure::Commits);
        assert_eq!(commits(&recent, start), [1]);
        recent.at(start.after(Duration::from_millis(1)));
        recent.count(Figure::Commits);
        recent.count(Figure::Commits);
        // Who looked at the clock before the minute was over counts in the one that it is.
        recent.at(start);
        recent.count(Figure::Commits);
        assert_eq!(commits(&recent, minutes(3)), [1, 3, 0, 0]);
        let told = recent.told(minutes(59));
        assert_eq!((told.since, told.minutes.len(), told.minutes[0].commits), (start, 60, 1));
        assert_eq!(told.minutes[0].at, Timestamp::from_millis(1_000_000 * MINUTE_MILLIS));
        let told = commits(&recent, minutes(60));
        assert_eq!((told.len(), told[0]), (60, 3));
        recent.count(Figure::Commits);
        // All that was kept is older than an hour.
        for n in [130, 100_000] {
            let told = commits(&recent, minutes(n));
            assert_eq!((told.len(), told.iter().sum::<u64>()), (60, 0));
            recent.count(Figure::Commits);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let start = Timestamp::from_millis(1_000_000 * MINUTE_MILLIS);
        let recent = Recent::new(start);
        recent.count(Figure::Began);
        let before = Timestamp::from_millis(10 * MINUTE_MILLIS);
        recent.at(before);
        recent.count(Figure::Ended);
        let minutes = recent.told(before.after(Duration::from_secs(60))).minutes;
        let told: Vec<_> = minutes.iter().map(|minute| (minute.began, minute.ended)).collect();
        assert_eq!(told, [(0, 1), (0, 0)]);
        let first = Recent::new(Timestamp::from_millis(0));
        assert_eq!(first.told(Timestamp::from_millis(0)).minutes.len(), 1);
        assert_eq!(first.told(before).minutes.len(), 11);
    }
}
