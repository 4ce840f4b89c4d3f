//! Tells whether this process stood still, as platforms let it that give no CPU between requests.
//!
//! While it stands still no ping keeps its connections alive, and what is between it and a server may
//! forget them without a word. The next call over such a connection would wait in vain, and a write
//! whose answer does not come is one of which nobody knows whether it was made. So stores give up the
//! connections from before.
//!
//! It knows no connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::detach;

/// How often a task shows that this process runs.
const EVERY: Duration = Duration::from_secs(5);

/// Without a sign for so long it stood still. Shorter than what drops connections waits, and longer than
/// a busy machine keeps a task waiting.
const STILL_MIN: Duration = Duration::from_secs(15);

/// The signs that this process runs, for one store.
#[derive(Debug)]
pub(in crate::store) struct Pulse(Arc<Signs>);

#[derive(Debug)]
struct Signs {
    since: Instant,
    /// The last one, in milliseconds after `since`.
    last: AtomicU64,
    stops: AtomicU64,
}

impl Pulse {
    /// Without a runtime, calls themselves are the only signs.
    pub(in crate::store) fn start() -> Self {
        let signs =
            Signs { since: Instant::now(), last: AtomicU64::new(0), stops: AtomicU64::new(0) };
        let signs = Arc::new(signs);
        let shown = Arc::downgrade(&signs);
        detach::spawn(async move {
            loop {
                sleep(EVERY).await;
                let Some(signs) = shown.upgrade() else { return };
                signs.show();
            }
        });
        Self(signs)
    }

    /// How often this process stood still so far. What was connected at another number is from before.
    pub(in crate::store) fn stops(&self) -> u64 {
        if self.0.is_still() {
            self.0.show();
        }
        self.0.stops.load(Ordering::Acquire)
    }
}

impl Signs {
    fn now(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }

    fn is_still(&self) -> bool {
        let shown = self.last.load(Ordering::Acquire);
        self.now().saturating_sub(shown) >= STILL_MIN.as_millis() as u64
    }

    /// Whoever sees the new sign sees that it stood still, too. Two that see it at once count two stops,
    /// which costs no more than a connection.
    fn show(&self) {
        if self.is_still() {
            self.stops.fetch_add(1, Ordering::Release);
        }
        self.last.store(self.now(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_runs_does_not_stand_still_however_long_nobody_asks() {
        let pulse = Pulse::start();
        // The runtime goes from timer to timer.
        sleep(Duration::from_secs(24 * 60 * 60)).await;
        assert_eq!(pulse.stops(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stood_still_where_its_own_timers_are_late() {
        let pulse = Pulse::start();
        sleep(EVERY * 2).await;
        advance(STILL_MIN + EVERY).await;
        assert_eq!(pulse.stops(), 1);
        assert_eq!(pulse.stops(), 1, "once for each time");
        sleep(EVERY * 10).await;
        advance(STILL_MIN + EVERY).await;
        assert_eq!(pulse.stops(), 2);
    }

    #[test]
    fn without_a_runtime_calls_are_the_signs() {
        let pulse = Pulse::start();
        assert_eq!((pulse.stops(), pulse.stops()), (0, 0));
    }
}
