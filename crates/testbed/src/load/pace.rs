//! So many requests in a second, over all senders.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// Tells when the next request is due. Workers that share it have the rate together; when they are
/// behind, they catch up.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    per_second: f64,
    begun: AtomicU64,
}

impl Pace {
    /// Begins now.
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        Self { began: Instant::now(), per_second, begun: AtomicU64::new(0) }
    }

    /// Returns when the next request is due: after how long since the beginning that is.
    pub async fn next(&self) -> Duration {
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        let due = Duration::try_from_secs_f64(before as f64 / self.per_second);
        let due = due.unwrap_or(Duration::MAX);
        let early = due.saturating_sub(self.began.elapsed());
        if !early.is_zero() {
            sleep(early).await;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_one_after_the_other() {
        let pace = Pace::new(1000.0);
        let mut due = Vec::new();
        for _ in 0..3 {
            due.push(pace.next().await);
        }
        assert_eq!(due, [0, 1, 2].map(Duration::from_millis));
    }
}
