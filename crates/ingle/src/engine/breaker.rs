//! Stops asking a store that does not answer.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Stops asking a store that does not answer, so that waiting requests do not pile up. After a
/// pause it asks again.
#[derive(Debug)]
pub(super) struct Breaker {
    /// The calls that it stops, for messages.
    calls: &'static str,
    failures: AtomicU32,
    /// Until when calls are refused, in milliseconds after `since`. Zero while the breaker is
    /// closed.
    open_until: AtomicU64,
    since: Instant,
}

impl Breaker {
    /// This many failures in a row open the breaker.
    pub(super) const FAILURES_MAX: u32 = 16;
    /// How long it stays open before one call may try again.
    const PAUSE: Duration = Duration::from_millis(250);

    pub(super) fn new(calls: &'static str) -> Self {
        let (failures, open_until) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { calls, failures, open_until, since: Instant::now() }
    }

    pub(super) fn admit(&self) -> Result<(), &'static str> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(());
        }
        let now = self.now();
        let next = now + Self::PAUSE.as_millis() as u64;
        // Of all calls that find the pause over, one goes ahead. For the others the pause begins
        // again.
        let probe = now >= until
            && self
                .open_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if probe {
            Ok(())
        } else {
            Err("it failed many times in a row and is left alone for a moment")
        }
    }

    pub(super) fn record(&self, answered: bool) {
        if answered {
            // Read first: a write would take the cache line from all other threads, each time.
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
            let open = self.open_until.load(Ordering::Relaxed) != 0;
            if open && self.open_until.swap(0, Ordering::Relaxed) != 0 {
                tracing::warn!(calls = self.calls, "the session store answers again");
            }
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == Self::FAILURES_MAX {
            self.open_until.store(self.now() + Self::PAUSE.as_millis() as u64, Ordering::Relaxed);
            let calls = self.calls;
            tracing::error!(calls, "the session store fails; it is asked only now and then");
        }
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests;
