//! How late this machine is: how much longer than it asked for a thread sleeps here that does nothing
//! else.
//!
//! What must end in time must do so on a machine that is busy otherwise, too. There it takes longer by
//! as often as somebody has to wait for a processor, so a bound grows with what such a wait takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const NAP: Duration = Duration::from_millis(10);

/// How often a request waits for a processor at most: client, proxy, app and store, each more than
/// once, there and back, and once more with a retry.
const WAITS: u32 = 16;

/// Looks at the machine until it is dropped.
#[derive(Debug)]
pub(crate) struct Lateness {
    worst_us: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Lateness {
    pub(crate) fn watch() -> Self {
        let (worst_us, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (worst, end) = (Arc::clone(&worst_us), Arc::clone(&ends));
        thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let asleep = Instant::now();
                thread::sleep(NAP);
                let late = asleep.elapsed().saturating_sub(NAP);
                worst.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
            }
        });
        Self { worst_us, ends }
    }

    /// The longest wait until now.
    pub(crate) fn worst(&self) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::Relaxed))
    }

    /// How long something may take here that takes so long on a machine that does nothing else.
    pub(crate) fn allows(&self, time: Duration) -> Duration {
        time + self.worst() * WAITS
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_grows_with_the_lateness() {
        let (worst_us, ends) = (Arc::new(AtomicU64::new(250)), Arc::default());
        let lateness = Lateness { worst_us, ends };
        assert_eq!(lateness.worst(), Duration::from_micros(250));
        assert_eq!(lateness.allows(Duration::from_millis(50)), Duration::from_millis(54));
    }
}
