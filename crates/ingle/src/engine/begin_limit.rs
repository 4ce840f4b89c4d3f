//! How many sessions one process begins in a second, where the app sets a limit: a token bucket.
//!
//! Each session that begins is a record that lives until its deadline, and whoever sends no cookie can
//! begin one after the other.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
};

use super::rate_limited_log::RateLimitedLog;
use crate::clock::Timestamp;

/// A bucket that holds one second's worth of sessions, and is full at the beginning.
#[derive(Debug)]
pub(super) struct BeginLimit {
    per_second: NonZeroU32,
    bucket: Mutex<Bucket>,
    log: RateLimitedLog,
}

#[derive(Debug)]
struct Bucket {
    /// In thousandths of a session, so that a millisecond adds a whole number.
    tokens: u64,
    filled: Timestamp,
}

/// What one session takes out of the bucket.
const SESSION: u64 = 1000;

impl BeginLimit {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let bucket = Bucket { tokens: full(per_second), filled: Timestamp::from_millis(0) };
        Self { per_second, bucket: Mutex::new(bucket), log: RateLimitedLog::new() }
    }

    /// Whether one more session may begin now; counts it if so.
    pub(super) fn admit(&self, now: Timestamp) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back adds nothing, and counts from there.
        let passed = u64::try_from(now.since(bucket.filled).as_millis()).unwrap_or(u64::MAX);
        let added = passed.saturating_mul(self.per_second.get().into());
        bucket.filled = now;
        bucket.tokens = bucket.tokens.saturating_add(added).min(full(self.per_second));
        let left = bucket.tokens.checked_sub(SESSION);
        bucket.tokens = left.unwrap_or(bucket.tokens);
        drop(bucket);
        if left.is_none() && self.log.is_due() {
            let per_second = self.per_second;
            tracing::warn!(per_second, "no more sessions begin in this second, as the limit says");
        }
        left.is_some()
    }
}

fn full(per_second: NonZeroU32) -> u64 {
    u64::from(per_second.get()) * SESSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32) -> BeginLimit {
        BeginLimit::new(NonZeroU32::new(per_second).unwrap())
    }

    /// How many of `n` sessions may begin at this time.
    fn admitted(limit: &BeginLimit, n: usize, millis: u64) -> usize {
        (0..n).filter(|_| limit.admit(Timestamp::from_millis(millis))).count()
    }

    #[tokio::test]
    async fn a_second_s_worth_begins_at_once_and_then_as_many_as_time_allows() {
        let limit = limit(10);
        assert_eq!(admitted(&limit, 100, 5_000), 10);
        assert_eq!(admitted(&limit, 100, 5_099), 0);
        assert_eq!(admitted(&limit, 100, 5_100), 1);
        assert_eq!(admitted(&limit, 100, 5_350), 2);
        assert_eq!(admitted(&limit, 100, 5_400), 1, "what is left of a token counts");
        assert_eq!(admitted(&limit, 100, 3_600_000), 10, "an hour's rest saves no more than that");
    }

    #[tokio::test]
    async fn each_second_has_its_number_at_any_rate() {
        for per_second in [1, 3, 7, 999, 1000, 1001, 12_345] {
            let limit = limit(per_second);
            let first = admitted(&limit, per_second as usize + 1, 0);
            assert_eq!(first, per_second as usize);
            let later = (1..=2_000).map(|millis| admitted(&limit, 100, millis)).sum::<usize>();
            assert_eq!(later, 2 * per_second as usize);
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_neither_adds_sessions_nor_ends_them() {
        let limit = limit(2);
        assert_eq!(admitted(&limit, 9, 3_600_000), 2);
        assert_eq!(admitted(&limit, 9, 0), 0, "nothing for going back");
        assert_eq!(admitted(&limit, 9, 500), 1, "and time counts from there");
    }

    #[tokio::test]
    async fn the_highest_rate_and_the_latest_time_do_not_overflow() {
        let limit = limit(u32::MAX);
        assert!(limit.admit(Timestamp::MAX));
        assert!(limit.admit(Timestamp::from_millis(0)));
        assert!(limit.admit(Timestamp::MAX));
    }
}
