//! How often and after how long a call is made again.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::jitter;

/// Lets at most one in ten calls be a retry, so that retries do not make an outage worse. A few are
/// always available at the beginning.
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicU64);

impl RetryBudget {
    pub(super) const RETRY: u64 = 10;
    pub(super) const MAX: u64 = 100 * Self::RETRY;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(Self::MAX))
    }

    /// Counts a first attempt.
    pub(crate) fn deposit(&self) {
        let more = |tokens| (tokens < Self::MAX).then_some(tokens + 1);
        // A full budget needs no count.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether one more retry may be made; counts it if so.
    pub(crate) fn spend(&self) -> bool {
        let less = |tokens: u64| tokens.checked_sub(Self::RETRY);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Waits between attempts: a random time up to a bound that doubles ("full jitter").
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
    bound_max: Duration,
    /// Attempts that are made at once, before any wait.
    at_once: u32,
}

impl Default for Backoff {
    /// After a failure of the store, which needs time.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { bound: ms(4), bound_max: ms(128), at_once: 0 }
    }
}

impl Backoff {
    /// After another process was faster. That process yields now and then, and a wait would miss
    /// it. Each process has one commit to a record under way, so there is no crowd to spread out.
    pub(crate) fn of_rivals() -> Self {
        let ms = Duration::from_millis;
        Self { bound: ms(1), bound_max: ms(2), at_once: 16 }
    }

    /// Waits. Returns `false` at once if the deadline would pass meanwhile.
    pub(crate) async fn wait(&mut self, deadline: Instant) -> bool {
        if let Some(left) = self.at_once.checked_sub(1) {
            self.at_once = left;
            return Instant::now() < deadline;
        }
        let until = Instant::now() + jitter::between(Duration::ZERO, self.bound);
        self.bound = (self.bound * 2).min(self.bound_max);
        if until >= deadline {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }
}

#[cfg(test)]
mod tests;
