//! What stands between the protocol and any store: a deadline for each call, a bound on the calls
//! under way, a breaker, the check of the inner key, and the numbers that operators see.
//!
//! It is one for all stores, so that no store has to bring its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use crate::{
    clock::Timestamp,
    id::Key,
    jitter,
    meter::{Meter, Verb},
    record::{FORMAT, Loaded, Version},
    store::{CommitError, Error, ErrorKind, Happened, Store, Swept, Write},
};

/// How many calls one process has under way with its store; the next one is refused at once.
const CALLS_MAX: usize = 1024;

/// How long one batch of a sweep may take.
const SWEEP_MAX: Duration = Duration::from_secs(60);

/// A store, guarded.
#[derive(Debug)]
pub(crate) struct Guard {
    store: Arc<dyn Store>,
    pub(crate) meter: Meter,
    calls: Calls,
    /// One each, since a store that cannot write any more, such as on a full disk, can still read.
    loads: Breaker,
    commits: Breaker,
    complaints: Complaints,
}

impl Guard {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let (loads, commits) = (Breaker::new("loads"), Breaker::new("commits"));
        let (calls, complaints) = (Calls::default(), Complaints::new());
        let meter = Meter::new(store.name());
        Self { store, meter, calls, loads, commits, complaints }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.store.name()
    }

    pub(crate) fn can_renew(&self, from: &Key, to: &Key) -> bool {
        self.store.can_renew(from, to)
    }

    pub(crate) async fn load(
        &self,
        key: &Key,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<Loaded>, Error> {
        self.meter.load();
        let load = self.store.load(key, now);
        let loaded = self.call(Verb::Load, &self.loads, deadline, load).await?;
        loaded.map(|loaded| self.check(key, loaded)).transpose()
    }

    pub(crate) async fn commit(
        &self,
        write: Write<'_>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Version, CommitError> {
        let verb = match write {
            Write::Touch { .. } => Verb::Touch,
            _ => Verb::Commit,
        };
        let commit = self.store.commit(write, now);
        match (self.call(verb, &self.commits, deadline, commit).await, write) {
            (
                Err(CommitError::Conflict(Some(newer))),
                Write::Replace { base, .. } | Write::Renew { base, .. },
            ) => {
                let newer = self.check(&base.record.header.key, newer)?;
                Err(CommitError::Conflict(Some(newer)))
            }
            (done, _) => done,
        }
    }

    pub(crate) async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        let sweep = tokio::time::timeout(SWEEP_MAX, self.store.sweep(now, limit));
        // What it has deleted was dead; the next sweep goes on from there.
        sweep.await.unwrap_or_else(|_| Err(self.refused("it did not answer a sweep in time")))
    }

    /// One call of the store, within its deadline.
    async fn call<T, E: From<Error> + AsFailure>(
        &self,
        verb: Verb,
        breaker: &Breaker,
        deadline: Instant,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began);
        if left.is_zero() {
            return Err(self.refused("there is no time left to wait for an answer").into());
        }
        breaker.admit().map_err(|why| self.refused(why))?;
        let _call = self.calls.begin().ok_or_else(|| {
            self.refused("there are too many calls under way, which is a limit of this process")
        })?;
        // Half of the time is left to find out what the call did, should it not answer.
        let until = deadline - left / 2;
        let span = tracing::debug_span!("ingle_store", store = self.name(), verb = verb.name());
        let work = timeout_at(until, work.instrument(span));
        let done = work.await.unwrap_or_else(|_| {
            // Nobody can say what a store did that has not answered.
            let error = Error::new(self.name(), ErrorKind::Unavailable, Happened::Maybe);
            Err(error.because("it did not answer in time").into())
        });
        self.meter.latency(verb, began.elapsed());
        let failed = done.as_ref().err().and_then(AsFailure::as_failure);
        breaker.record(failed.is_none_or(|error| error.kind() != ErrorKind::Unavailable));
        if let Some(error) = failed.filter(|error| error.kind() != ErrorKind::Moved) {
            self.complaints.tell(verb, error);
        }
        done
    }

    fn refused(&self, why: &'static str) -> Error {
        self.meter.refused();
        Error::new(self.name(), ErrorKind::Unavailable, Happened::No).because(why)
    }

    /// A reply that was meant for another request must never become this visitor's session: the
    /// lesson of CVE-2023-28858, where a late reply was read by the next user of a connection.
    fn check(&self, key: &Key, loaded: Loaded) -> Result<Loaded, Error> {
        let header = &loaded.record.header;
        let problem = if header.key != *key {
            self.meter.cross_key();
            "the record was written under another key"
        } else if header.format > FORMAT {
            "the record was written by a newer version of ingle"
        } else if header.counter >= i64::MAX as u64 {
            "the record's counter is out of range"
        } else {
            return Ok(loaded);
        };
        tracing::error!(store = self.name(), problem, "a record was not used");
        Err(Error::new(self.name(), ErrorKind::Corrupt, Happened::No).because(problem))
    }
}

/// How many calls are under way. Nobody ever waits for one to end, so a number is enough.
#[derive(Debug, Default)]
struct Calls(AtomicUsize);

impl Calls {
    /// Counts a call until what this returns is dropped. None if there are as many as there may be.
    fn begin(&self) -> Option<Call<'_>> {
        let call = Call(&self.0);
        (self.0.fetch_add(1, Ordering::Relaxed) < CALLS_MAX).then_some(call)
    }
}

struct Call<'a>(&'a AtomicUsize);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What kind of failure an error is, for the breaker: a conflict is none.
trait AsFailure {
    fn as_failure(&self) -> Option<&Error>;
}

impl AsFailure for Error {
    fn as_failure(&self) -> Option<&Error> {
        Some(self)
    }
}

impl AsFailure for CommitError {
    fn as_failure(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Conflict(_) | Self::Gone => None,
        }
    }
}

/// Tells operators why calls fail, and does not fill their logs with it.
#[derive(Debug)]
struct Complaints {
    since: Instant,
    /// Milliseconds after `since` before which nothing more is told.
    quiet_until: AtomicU64,
}

impl Complaints {
    const PAUSE: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self { since: Instant::now(), quiet_until: AtomicU64::new(0) }
    }

    fn tell(&self, verb: Verb, error: &Error) {
        let now = self.since.elapsed().as_millis() as u64;
        let until = self.quiet_until.load(Ordering::Relaxed);
        let next = now + Self::PAUSE.as_millis() as u64;
        let mine = now >= until
            && self
                .quiet_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let (verb, cause) = (verb.name(), error.cause());
            tracing::warn!(verb, %error, %cause, "a call of the session store failed");
        }
    }
}

/// Stops asking a store that does not answer, so that waiting requests do not pile up, and asks
/// again by itself.
#[derive(Debug)]
struct Breaker {
    /// What it stops, for messages.
    calls: &'static str,
    failures: AtomicU32,
    /// Milliseconds after `since` until which calls are refused; zero while the breaker is closed.
    open_until: AtomicU64,
    since: Instant,
}

impl Breaker {
    /// So many failures in a row open the breaker.
    const FAILURES_MAX: u32 = 16;
    /// How long it stays open before one call may try again.
    const PAUSE: Duration = Duration::from_millis(250);

    fn new(calls: &'static str) -> Self {
        let (failures, open_until) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { calls, failures, open_until, since: Instant::now() }
    }

    fn admit(&self) -> Result<(), &'static str> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(());
        }
        let now = self.now();
        let next = now + Self::PAUSE.as_millis() as u64;
        // Of all that find the pause over, one goes ahead and the pause begins again for the rest.
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

    fn record(&self, answered: bool) {
        if answered {
            // Looked at first: to write would take the line from all other threads, each time.
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

/// Lets at most one in ten calls be a retry, so that an outage is not made worse by those who
/// suffer it. A few are always there to begin with.
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicU64);

impl RetryBudget {
    const RETRY: u64 = 10;
    const MAX: u64 = 100 * Self::RETRY;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(Self::MAX))
    }

    /// Counts a first attempt.
    pub(crate) fn deposit(&self) {
        let more = |tokens| (tokens < Self::MAX).then_some(tokens + 1);
        // Full is as good as counted.
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
    /// After another process was faster. It rests now and then, and who waits would miss that; and
    /// each process has one commit to a record under way, so there is no crowd to disperse.
    pub(crate) fn of_rivals() -> Self {
        let ms = Duration::from_millis;
        Self { bound: ms(1), bound_max: ms(2), at_once: 16 }
    }

    /// Waits, unless the deadline would pass meanwhile: then it returns `false` at once.
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
