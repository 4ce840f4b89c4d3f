//! Keeps what goes on for a while from filling the log.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Says when to log what happens many times: at most once per pause.
#[derive(Debug)]
pub(super) struct RateLimitedLog {
    since: Instant,
    /// Before this time nothing more is logged, in milliseconds after `since`.
    quiet_until: AtomicU64,
}

impl RateLimitedLog {
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self { since: Instant::now(), quiet_until: AtomicU64::new(0) }
    }

    /// Whether the caller is to log it. Then the pause begins.
    pub(super) fn is_due(&self) -> bool {
        let now = self.since.elapsed().as_millis() as u64;
        let until = self.quiet_until.load(Ordering::Relaxed);
        let next = now + Self::PAUSE.as_millis() as u64;
        now >= until
            && self
                .quiet_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
