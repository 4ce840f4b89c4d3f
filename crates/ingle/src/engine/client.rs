//! The store client, between the protocol and any store: a deadline for each call, a bound on the
//! calls under way, a breaker, the check of the inner key, and metrics.
//!
//! It is the same for all stores, so that no store needs its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    breaker::Breaker,
    rate_limited_log::RateLimitedLog,
    retry::{Backoff, RetryBudget},
};
use crate::{
    clock::{Clock, Timestamp},
    deadline::timeout_at,
    id::{HandlePrefix, Key},
    meter::{Meter, Verb, activity::Recent},
    record::{FORMAT, Loaded, Version},
    store::{
        Applied, CommitError, Cursor, Damaged, Destroyed, Error, ErrorKind, Info, Listener, Lookup,
        Page, Replace, Store, Swept, Transactions, Write,
    },
};

/// How many calls one process has under way with its store. The next one is refused at once.
pub(super) const CALLS_MAX: usize = 1024;

/// How many records one page of a list has, unless the caller says otherwise, and at most.
const PAGE: usize = 100;
pub(crate) const PAGE_MAX: usize = 500;

/// How long the store may take to begin to listen.
const LISTEN_MAX: Duration = Duration::from_secs(30);

/// How long one batch of a sweep may take.
const SWEEP_MAX: Duration = Duration::from_secs(60);

/// The only way from the engine to a store.
#[derive(Debug)]
pub(crate) struct Client {
    store: Arc<dyn Store>,
    name: &'static str,
    clock: Arc<dyn Clock>,
    pub(crate) meter: Meter,
    pub(super) budget: RetryBudget,
    calls: Calls,
    /// One breaker for loads and one for writes: a store that cannot write, such as on a full disk,
    /// can still read.
    loads: Breaker,
    commits: Breaker,
    log: RateLimitedLog,
}

impl Client {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, recent: Arc<Recent>) -> Self {
        let name = store.info().name;
        Self {
            store,
            name,
            clock,
            meter: Meter::new(name, recent),
            budget: RetryBudget::new(),
            calls: Calls::default(),
            loads: Breaker::new("loads"),
            commits: Breaker::new("commits"),
            log: RateLimitedLog::new(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The store itself. A call of the [`Arc`] would box its future a second time.
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn can_renew(&self, from: &Key, to: &Key) -> bool {
        self.store.can_renew(from, to)
    }

    /// Loads what is under `key`. It asks again while there is time and the retry budget allows.
    pub(crate) async fn load(&self, key: &Key, deadline: Instant) -> Result<Lookup, Error> {
        let mut backoff = Backoff::default();
        self.budget.deposit();
        loop {
            let error = match self.load_once(key, deadline).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if !self.may_try_again(error.kind(), &mut backoff, deadline).await {
                return Err(error);
            }
        }
    }

    async fn load_once(&self, key: &Key, deadline: Instant) -> Result<Lookup, Error> {
        self.meter.load();
        let load = self.store().load(key, self.now());
        match self.call(Verb::Load, &self.loads, deadline, load).await? {
            Lookup::Live(loaded) => self.check(key, loaded).map(Lookup::Live),
            nothing => Ok(nothing),
        }
    }

    /// Whether a call that failed may be made again. Waits until it is time for that.
    pub(crate) async fn may_try_again(
        &self,
        why: ErrorKind,
        backoff: &mut Backoff,
        deadline: Instant,
    ) -> bool {
        let may = match why {
            ErrorKind::Unavailable => self.budget.spend(),
            // The store is well, so retries need not be limited.
            ErrorKind::Contended => true,
            ErrorKind::TooLarge | ErrorKind::Unfit | ErrorKind::Corrupt | ErrorKind::Refused => {
                false
            }
        };
        may && backoff.wait(deadline).await
    }

    /// One write, sent once. A replace takes the line of its act along where the store can.
    pub(crate) async fn commit(
        &self,
        write: Write<'_>,
        line: Option<Replace<'_>>,
        deadline: Instant,
    ) -> Result<Version, CommitError> {
        let now = self.now();
        let commit = match (write, self.with_line(line)) {
            (Write::Replace { base, record }, Some((store, line))) => {
                store.replace_with(Replace { base, record }, line, now)
            }
            _ => self.store().commit(write, now),
        };
        match (self.call(Verb::Commit, &self.commits, deadline, commit).await, write) {
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

    /// One touch, sent once.
    pub(crate) async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        deadline: Instant,
    ) -> Result<(), CommitError> {
        let touch = self.store().touch(key, idle_deadline, self.now());
        self.call(Verb::Touch, &self.commits, deadline, touch).await
    }

    /// One destroy, sent once. It takes the line of its act along where the store can.
    pub(crate) async fn destroy(
        &self,
        key: &Key,
        line: Option<Replace<'_>>,
        deadline: Instant,
    ) -> Result<Destroyed, Error> {
        let now = self.now();
        let destroy = match self.with_line(line) {
            Some((store, line)) => store.destroy_with(key, line, now),
            None => self.store().destroy(key, now),
        };
        self.call(Verb::Destroy, &self.commits, deadline, destroy).await
    }

    /// Whether the store can write a line with its act.
    pub(crate) fn has_transactions(&self) -> bool {
        self.store().as_transactions().is_some()
    }

    /// A line that is there, and the store if it has transactions.
    fn with_line<'a>(&self, line: Option<Replace<'a>>) -> Option<(&dyn Transactions, Replace<'a>)> {
        line.and_then(|line| Some((self.store().as_transactions()?, line)))
    }

    /// Whether the store can list the sessions of a user.
    pub(crate) fn lists_by_user(&self) -> bool {
        self.store.as_list().is_some()
    }

    /// A page of a list.
    pub(crate) async fn list(
        &self,
        listing: &Listing<'_>,
        deadline: Instant,
    ) -> Result<Page, Error> {
        let list = self.store.as_list().ok_or_else(|| self.no_lists())?;
        let Listing { of, after, limit, with_dead } = *listing;
        // Before all deadlines, each record lives.
        let at = if with_dead { Timestamp::from_millis(0) } else { self.now() };
        let page = self.call(Verb::List, &self.loads, deadline, async {
            match of {
                Of::All => list.list(after, limit, at).await,
                Of::User(user) => list.list_by_user(user, after, limit, at).await,
                Of::Handle(prefix) => list.list_by_handle(prefix, after, limit, at).await,
            }
        });
        let page = page.await?;
        if let Some(Damaged { key, cause, .. }) = page.damaged.first()
            && self.log.is_due()
        {
            let (handle, damaged) = (key.handle(), page.damaged.len());
            tracing::error!(%handle, %cause, damaged, "a list found records that cannot be read");
        }
        Ok(page)
    }

    fn no_lists(&self) -> Error {
        let error = Error::new(self.name, ErrorKind::Refused, Applied::No);
        error.with_source("this store cannot list sessions")
    }

    pub(crate) fn info(&self) -> Info {
        self.store.info()
    }

    /// Asks whether the store answers. It is no matter of the breakers: whoever asks wants to know.
    pub(crate) async fn ping(&self, deadline: Instant) -> Result<(), Error> {
        let ping = timeout_at(deadline, self.store().ping()).await;
        ping.unwrap_or_else(|_| Err(self.too_late("it did not answer in time")))
    }

    pub(crate) async fn sweep(&self, limit: usize) -> Result<Swept, Error> {
        let sweep = tokio::time::timeout(SWEEP_MAX, self.store().sweep(self.now(), limit));
        // What it has deleted was dead, and the next sweep continues from there.
        sweep.await.unwrap_or_else(|_| Err(self.too_late("it did not answer a sweep in time")))
    }

    /// Begins to listen for ends. No breaker counts it: it says nothing of how calls fare.
    pub(crate) async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        let listen = tokio::time::timeout(LISTEN_MAX, self.store().listen());
        listen.await.unwrap_or_else(|_| Err(self.too_late("it did not begin to listen in time")))
    }

    /// The error of a change that this process stops waiting for. Nothing was changed.
    pub(crate) fn too_late(&self, why: &'static str) -> Error {
        Error::new(self.name, ErrorKind::Unavailable, Applied::No).with_source(why)
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.meter.recent.at(now);
        now
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
        // Half of the time is left to find out what the call did, if it does not answer.
        let until = deadline - left / 2;
        let span = tracing::debug_span!("ingle_store", store = self.name, verb = verb.name());
        let work = timeout_at(until, work.instrument(span));
        let done = work.await.unwrap_or_else(|_| {
            // Without an answer, nobody knows what the store did.
            let error = Error::new(self.name, ErrorKind::Unavailable, Applied::Unknown);
            Err(error.with_source("it did not answer in time").into())
        });
        self.meter.latency(verb, began.elapsed());
        let failed = done.as_ref().err().and_then(AsFailure::as_failure);
        breaker.record(failed.is_none_or(|error| error.kind() != ErrorKind::Unavailable));
        if let Some(error) = failed {
            self.warn(verb, error);
        }
        done
    }

    /// Tells operators why calls fail.
    fn warn(&self, verb: Verb, error: &Error) {
        if self.log.is_due() {
            let (verb, cause) = (verb.name(), error.cause());
            tracing::warn!(verb, %error, %cause, "a call of the session store failed");
        }
    }

    fn refused(&self, why: &'static str) -> Error {
        self.meter.refused();
        self.too_late(why)
    }

    /// A reply that belongs to another request must never become this visitor's session. In
    /// CVE-2023-28858, the next user of a connection read a late reply.
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
        tracing::error!(store = self.name, problem, "a record was not used");
        Err(Error::new(self.name, ErrorKind::Corrupt, Applied::No).with_source(problem))
    }
}

/// Which records a page of a list has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) of: Of<'a>,
    /// The end of the page before.
    pub(crate) after: Option<&'a Cursor>,
    pub(crate) limit: usize,
    /// Whether those are listed as well that are dead and that no sweep has deleted yet.
    pub(crate) with_dead: bool,
}

/// Whose records are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'a> {
    All,
    User(&'a str),
    Handle(&'a HandlePrefix),
}

impl<'a> Listing<'a> {
    /// The first page of live records.
    pub(crate) fn new(of: Of<'a>) -> Self {
        Self { of, after: None, limit: PAGE, with_dead: false }
    }

    /// The page that follows another one.
    pub(crate) fn after(self, after: Option<&'a Cursor>) -> Self {
        Self { after, ..self }
    }
}

/// How many calls are under way. Nobody waits for one to end, so a number is enough.
#[derive(Debug, Default)]
struct Calls(AtomicUsize);

impl Calls {
    /// Counts a call until the returned guard is dropped. None if the bound is reached.
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

/// The kind of failure that the breaker counts. A conflict is none.
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
