//! What can go wrong between an app and its server, and which requests it meets.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// What is done to a request, to its answer, or to the connection that it comes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is passed on so much later.
    Latency(Duration),
    /// It is taken, and nothing is passed in either direction until the fault ends. Then all is:
    /// it comes late, and perhaps when nobody waits for it any more.
    Stall,
    /// It is passed on. Its answer, and all that follows, is held until the fault ends.
    Silence,
    /// The connection is cut, and the request is not passed on.
    CutBefore,
    /// The connection is cut after half of it was passed on.
    CutWithin,
    /// It is passed on, and the connection is cut when the answer comes: it was done, and who sent
    /// it cannot know.
    CutAfter,
    /// It is passed on, and both connections are reset at once.
    Reset,
    /// It is passed on, and what was to be the answer is the end of the stream. The client may go on
    /// sending.
    HalfClose,
    /// It and its answer are passed on byte by byte.
    Drip,
    /// All connections end, and further ones are refused.
    Refuse,
    /// It is passed on. Its answer is held for a time between these, and what follows comes behind it.
    Late(Duration, Duration),
    /// Before its answer the answer before comes once more, so that all that follow are taken for
    /// answers to the next question.
    Again,
}

impl Fault {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Stall => "stall",
            Self::Silence => "silence",
            Self::CutBefore => "cut before",
            Self::CutWithin => "cut within",
            Self::CutAfter => "cut after",
            Self::Reset => "reset",
            Self::HalfClose => "half-close",
            Self::Drip => "drip",
            Self::Refuse => "refuse",
            Self::Late(..) => "late",
            Self::Again => "again",
        }
    }
}

/// Which requests a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Often {
    /// The next one, and then each of so many.
    Each(u64),
    /// One of so many, by chance.
    OneIn(u64),
}

/// What is done until it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mode {
    fault: Option<(Fault, Often)>,
    /// Counts the modes, so that a fault knows that its time is over.
    number: u64,
}

impl Mode {
    fn next(self) -> Self {
        Self { fault: None, number: self.number + 1 }
    }

    pub(super) fn refuses(&self) -> bool {
        matches!(self.fault, Some((Fault::Refuse, _)))
    }
}

/// The fault that there is, and those that there were.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) mode: watch::Sender<Mode>,
    /// How many requests there were since the fault began.
    requests: AtomicU64,
    pub(super) met: Mutex<BTreeMap<&'static str, u64>>,
    chance: Mutex<fastrand::Rng>,
}

impl Faults {
    pub(super) fn begin(&self, fault: Fault, often: Often) {
        self.requests.store(0, Ordering::Relaxed);
        self.mode.send_modify(|mode| *mode = Mode { fault: Some((fault, often)), ..mode.next() });
    }

    pub(super) fn end(&self) {
        self.mode.send_modify(|mode| *mode = mode.next());
    }

    /// What meets the request that has come, and the number of the mode that it comes from.
    pub(super) fn meet(&self) -> Option<(Fault, u64)> {
        let Mode { fault, number } = *self.mode.borrow();
        let (fault, often) = fault?;
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let meets = match often {
            Often::Each(n) => before.is_multiple_of(n.max(1)),
            Often::OneIn(n) => self.chance().u64(..n.max(1)) == 0,
        };
        meets.then(|| {
            self.count(fault);
            (fault, number)
        })
    }

    pub(super) fn chance(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A time between these, by chance.
    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.chance().f64())
    }

    pub(super) fn count(&self, fault: Fault) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        *met.entry(fault.name()).or_default() += 1;
    }

    pub(super) fn refuses(&self) -> bool {
        self.mode.borrow().refuses()
    }

    pub(super) fn is_over(&self, number: u64) -> bool {
        self.mode.borrow().number != number
    }

    /// Returns when the mode of this number has ended.
    pub(super) async fn until_over(&self, number: u64) {
        // The sender is ours, so it is there.
        let _ = self.mode.subscribe().wait_for(|mode| mode.number != number).await;
    }
}
