//! A store that fails on purpose, at chosen calls: for tests of whatever stands above a store.
//!
//! Each fault is one that a network makes by itself, only that here a test says when. What was
//! asked and what became of it stands in a log, without keys or data, to be printed or compared.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::sleep;

use super::owned::OwnedWrite;
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::Version,
    store::{
        Applied, CommitError, Cursor, Destroyed, Error, ErrorKind, Info, List, Listener, Lookup,
        Page, Replace, Store, Swept, Transactions, Warning, Write,
    },
};

/// A store that does what the one inside it does, except where a test tells it to fail.
///
/// Clones share the store, the faults to come and the log, so a test keeps one and gives one away.
///
/// ```
/// # use std::sync::Arc;
/// # use ingle::store::{Fault, Faulty, Memory, Step};
/// let faulty = Faulty::new(Arc::new(Memory::new()));
/// // The next commit is made and its answer lost, as when a connection breaks at the wrong moment.
/// faulty.on(Step::Commit(1), Fault::LoseAnswer);
/// ```
#[derive(Clone, Debug)]
pub struct Faulty {
    store: Arc<dyn Store>,
    script: Arc<Mutex<Script>>,
}

/// Which call a fault is meant for: the `n`th of its kind from now on, the next one being the 1st.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The `n`th call of [`Store::load`].
    Load(u64),
    /// The `n`th call of [`Store::commit`], [`Store::touch`], [`Store::destroy`] or [`Transactions`].
    Commit(u64),
    /// The `n`th call of [`Store::sweep`].
    Sweep(u64),
}

/// What goes wrong in a call. A failure is reported as [`ErrorKind::Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and surely not: [`Applied::No`].
    Refuse,
    /// The request is lost: it is not done, but nobody can know. [`Applied::Unknown`].
    LoseRequest,
    /// The answer is lost: it is done, or meets its condition, but nobody can know.
    /// [`Applied::Unknown`].
    LoseAnswer,
    /// It is done after this time.
    Delay(Duration),
    /// It is never done and never answered.
    Hang,
    /// It is done and never answered.
    HangAfter,
    /// The request is held up on its way: it fails at once with [`Applied::Unknown`], and is done
    /// this much later, when nobody waits for it. Conditions are decided then. A load that nobody
    /// waits for is not made.
    Late(Duration),
}

#[derive(Debug, Default)]
struct Script {
    loads: Calls,
    commits: Calls,
    sweeps: Calls,
    standing: Option<Fault>,
    log: Vec<String>,
}

/// The calls of one kind: how many there were, and which of those to come fail.
#[derive(Debug, Default)]
struct Calls {
    n: u64,
    faults: BTreeMap<u64, Fault>,
}

impl Calls {
    fn plan(&mut self, nth_from_now: u64, fault: Fault) {
        self.faults.insert(self.n.saturating_add(nth_from_now), fault);
    }

    fn begin(&mut self) -> Option<Fault> {
        self.n += 1;
        self.faults.remove(&self.n)
    }
}

impl Faulty {
    /// A store that does what `store` does, until it is told to fail.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, script: Arc::default() }
    }

    /// Lets one call to come go wrong. A later word for the same call counts instead.
    ///
    /// # Panics
    /// `step` is the 0th call.
    pub fn on(&self, step: Step, fault: Fault) {
        let (Step::Load(n) | Step::Commit(n) | Step::Sweep(n)) = step;
        assert!(n > 0, "the next call is the 1st, so {step:?} never comes");
        self.script(|script| match step {
            Step::Load(n) => script.loads.plan(n, fault),
            Step::Commit(n) => script.commits.plan(n, fault),
            Step::Sweep(n) => script.sweeps.plan(n, fault),
        });
    }

    /// Lets every call go wrong, lists included, until this is called with `None`: an outage. What
    /// was said about a call with [`on`](Self::on) goes before.
    pub fn fail_all(&self, fault: Option<Fault>) {
        self.script(|script| script.standing = fault);
    }

    /// How many loads have begun.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.script(|script| script.loads.n)
    }

    /// How many commits, touches and destroys have begun.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.script(|script| script.commits.n)
    }

    /// How many sweeps have begun.
    #[must_use]
    pub fn sweeps(&self) -> u64 {
        self.script(|script| script.sweeps.n)
    }

    /// What was asked, in the order in which it ended, and what became of it if that was not plain
    /// success: `load`, `replace -> conflict`, `replace -> answer lost`, `late replace`.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.script(|script| script.log.clone())
    }

    fn script<R>(&self, work: impl FnOnce(&mut Script) -> R) -> R {
        // No work below leaves the script half changed when it panics.
        work(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, calls: impl FnOnce(&mut Script) -> &mut Calls) -> Option<Fault> {
        self.script(|script| {
            let standing = script.standing;
            calls(script).begin().or(standing)
        })
    }

    fn note(&self, verb: &str, ends: &[Option<&str>]) {
        let ends: Vec<&str> = ends.iter().copied().flatten().collect();
        let line = match ends.as_slice() {
            [] => verb.to_owned(),
            ends => format!("{verb} -> {}", ends.join(", ")),
        };
        self.script(|script| script.log.push(line));
    }

    fn error(&self, happened: Applied) -> Error {
        Error::new(self.store.info().name, ErrorKind::Unavailable, happened)
            .with_source("on purpose")
    }

    /// Lets `call` go as `fault` has it, and notes what became of it. A call that no one awaits is
    /// never made.
    async fn go<T, E: From<Error> + Ending>(
        &self,
        verb: &str,
        fault: Option<Fault>,
        call: impl Future<Output = Result<T, E>>,
        call_later: impl FnOnce(Duration),
    ) -> Result<T, E> {
        let happened = match fault {
            None => {
                let result = call.await;
                self.note(verb, &[ending(&result)]);
                return result;
            }
            Some(Fault::Delay(duration)) => {
                sleep(duration).await;
                let result = call.await;
                self.note(verb, &[ending(&result)]);
                return result;
            }
            Some(Fault::Refuse) => {
                self.note(verb, &[Some("refused")]);
                Applied::No
            }
            Some(Fault::LoseRequest) => {
                self.note(verb, &[Some("request lost")]);
                Applied::Unknown
            }
            Some(Fault::LoseAnswer) => {
                let result = call.await;
                self.note(verb, &[ending(&result), Some("answer lost")]);
                Applied::Unknown
            }
            Some(Fault::Hang) => {
                self.note(verb, &[Some("hangs")]);
                return pending().await;
            }
            Some(Fault::HangAfter) => {
                let result = call.await;
                self.note(verb, &[ending(&result), Some("hangs after")]);
                return pending().await;
            }
            Some(Fault::Late(duration)) => {
                self.note(verb, &[Some("late")]);
                call_later(duration);
                Applied::Unknown
            }
        };
        Err(self.error(happened).into())
    }

    /// Lets a write go as the next fault has it; one that is held up is made of `owned`.
    async fn write<T, E: From<Error> + Ending>(
        &self,
        owned: OwnedWrite,
        now: Timestamp,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let fault = self.begin(|script| &mut script.commits);
        let verb = owned.verb();
        self.go(verb, fault, call, |duration| {
            let faulty = self.clone();
            Self::later(duration, async move {
                let result = owned.apply(&*faulty.store, now).await;
                faulty.note(&format!("late {verb}"), &[ending(&result)]);
            });
        })
        .await
    }

    /// Does `work` when `duration` has passed, whether anybody waits or not.
    fn later(duration: Duration, work: impl Future<Output = ()> + Send + 'static) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a late write is one that outlives its caller"
        )]
        tokio::spawn(async move {
            sleep(duration).await;
            work.await;
        });
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Faulty {
    fn info(&self) -> Info {
        self.store.info()
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        self.store.can_renew(from, to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        let fault = self.begin(|script| &mut script.loads);
        self.go("load", fault, self.store.load(key, now), |_| {}).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        self.write(OwnedWrite::from(write), now, self.store.commit(write, now)).await
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let touch = self.store.touch(key, idle_deadline, now);
        self.write(OwnedWrite::touch(*key, idle_deadline), now, touch).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        self.write(OwnedWrite::destroy(*key), now, self.store.destroy(key, now)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        let fault = self.begin(|script| &mut script.sweeps);
        self.go("sweep", fault, self.store.sweep(now, limit), |duration| {
            let faulty = self.clone();
            Self::later(duration, async move {
                let result = faulty.store.sweep(now, limit).await;
                faulty.note("late sweep", &[ending(&result)]);
            });
        })
        .await
    }

    async fn ping(&self) -> Result<(), Error> {
        let standing = self.script(|script| script.standing);
        self.go("ping", standing, self.store.ping(), |_| {}).await
    }

    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        let standing = self.script(|script| script.standing);
        self.go("check", standing, self.store.check(now), |_| {}).await
    }

    fn as_list(&self) -> Option<&dyn List> {
        self.store.as_list().map(|_| self as &dyn List)
    }

    fn as_transactions(&self) -> Option<&dyn Transactions> {
        self.store.as_transactions().map(|_| self as &dyn Transactions)
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        let standing = self.script(|script| script.standing);
        self.go("listen", standing, self.store.listen(), |_| {}).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Transactions for Faulty {
    async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let inner = self.store.as_transactions().ok_or_else(|| self.error(Applied::No))?;
        let owned = OwnedWrite::ReplaceWith { act: act.into(), line: line.into() };
        self.write(owned, now, inner.replace_with(act, line, now)).await
    }

    async fn destroy_with(
        &self,
        key: &Key,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Destroyed, Error> {
        let inner = self.store.as_transactions().ok_or_else(|| self.error(Applied::No))?;
        let owned = OwnedWrite::DestroyWith { key: *key, line: line.into() };
        self.write(owned, now, inner.destroy_with(key, line, now)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl List for Faulty {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let standing = self.script(|script| script.standing);
        let list = self.store.as_list().ok_or_else(|| self.error(Applied::No))?;
        self.go("list", standing, list.list(after, limit, now), |_| {}).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let standing = self.script(|script| script.standing);
        let list = self.store.as_list().ok_or_else(|| self.error(Applied::No))?;
        let call = list.list_by_user(user, after, limit, now);
        self.go("list by user", standing, call, |_| {}).await
    }

    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let standing = self.script(|script| script.standing);
        let list = self.store.as_list().ok_or_else(|| self.error(Applied::No))?;
        let call = list.list_by_handle(prefix, after, limit, now);
        self.go("list by handle", standing, call, |_| {}).await
    }
}

/// What the log calls an error.
trait Ending {
    fn ending(&self) -> &'static str;
}

impl Ending for Error {
    fn ending(&self) -> &'static str {
        "failed"
    }
}

impl Ending for CommitError {
    fn ending(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Gone => "gone",
            Self::Failed(error) => error.ending(),
        }
    }
}

fn ending<T, E: Ending>(result: &Result<T, E>) -> Option<&'static str> {
    result.as_ref().err().map(Ending::ending)
}
