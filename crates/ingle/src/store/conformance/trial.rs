//! What every law is tried with: two handles, records to write, and races.

use std::{
    fmt,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

use super::{Place, owned::OwnedWrite};
use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    data::Data,
    id::Key,
    record::{Epoch, FORMAT, Header, Loaded, Op, Ops, Record, User, Version},
    store::{
        Applied, Capabilities, CommitError, Destroyed, ErrorKind, List, Lookup, Shared, Store,
    },
};

/// As many as the layer draws.
const DRAWS_MAX: usize = 16 * 1024;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// One law, tried on one store: two handles on the same records, in a place of their own.
///
/// The handles are two stores that were opened apart where [`Shared::Processes`] is promised, else
/// one store twice. Writes go through them in turn, and what one finds the other must find too.
#[derive(Clone, Debug)]
pub struct Trial {
    /// When the trial began. A law moves time by adding to this, so that a store which uses its
    /// server's own expiry meets no live record whose deadline is near.
    pub(super) now: Timestamp,
    pub(super) place: Place,
    /// The path of the test that runs this trial, from its crate on.
    pub(super) test: &'static str,
    handles: [Arc<dyn Store>; 2],
    turn: Arc<AtomicUsize>,
}

/// How a commit ended, where the store did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done(Version),
    Conflict,
    Gone,
}

impl Outcome {
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }

    pub(super) fn done(self, why: &str) -> Version {
        match self {
            Self::Done(version) => version,
            Self::Conflict | Self::Gone => panic!("{why}, but the store reported {self:?}"),
        }
    }
}

impl Trial {
    /// Opens the store at `place`, once or twice.
    pub(super) async fn begin<S: Store, F: Future<Output = S>>(
        test: &'static str,
        place: Place,
        open: impl Fn(Place) -> F,
    ) -> Self {
        let one: Arc<dyn Store> = Arc::new(open(place.clone()).await);
        let other: Arc<dyn Store> = match one.info().capabilities.shared {
            Shared::Processes => Arc::new(open(place.clone()).await),
            Shared::Process => Arc::clone(&one),
        };
        let (now, turn) = (SystemClock.now(), Arc::default());
        Self { now, place, test, handles: [one, other], turn }
    }

    /// The handle whose turn it is.
    pub(super) fn store(&self) -> &dyn Store {
        let [one, other] = &self.handles;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(2) { one.as_ref() } else { other.as_ref() }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.store().info().capabilities
    }

    pub(super) fn lists(&self) -> [Option<&dyn List>; 2] {
        self.handles.each_ref().map(|store| store.as_list())
    }

    /// Whether law 13 is promised, which both handles must agree on.
    pub(super) fn has_transactions(&self) -> bool {
        let [one, other] = self.handles.each_ref().map(|store| store.as_transactions().is_some());
        assert_eq!(one, other, "law 13: two handles must agree whether there are transactions");
        one
    }

    /// Writes through the handle whose turn it is.
    pub(super) async fn commit(&self, write: &OwnedWrite, now: Timestamp) -> Outcome {
        loop {
            give_way().await;
            match write.apply(self.store(), now).await {
                Ok(version) => return Outcome::Done(version),
                Err(CommitError::Conflict(_)) => return Outcome::Conflict,
                Err(CommitError::Gone) => return Outcome::Gone,
                // A writer that meets a lock tries again, if it is sure that nothing was changed.
                Err(CommitError::Failed(error))
                    if error.kind() == ErrorKind::Contended && error.applied() == Applied::No => {}
                Err(CommitError::Failed(error)) => failed("commit", &error),
            }
        }
    }

    /// Reads through the handle whose turn it is: for readers in a race.
    pub(super) async fn peek(&self, key: &Key, now: Timestamp) -> Option<Loaded> {
        self.look_up(key, now).await.live()
    }

    /// What the handle whose turn it is finds.
    pub(super) async fn look_up(&self, key: &Key, now: Timestamp) -> Lookup {
        give_way().await;
        let found = self.store().load(key, now).await;
        found.unwrap_or_else(|error| failed("load", &error))
    }

    /// Reads through both handles, which must agree.
    pub(super) async fn load(&self, key: &Key, now: Timestamp) -> Option<Loaded> {
        let (first, second) = (self.look_up(key, now).await, self.look_up(key, now).await);
        assert_eq!(first, second, "law 1: two handles must find the same record");
        first.live()
    }

    /// Creates a record, which must succeed.
    pub(super) async fn create(&self, record: Record) -> Loaded {
        let write = OwnedWrite::create(record.clone());
        let outcome = self.commit(&write, self.now).await;
        let version = outcome.done("a create where nothing is must succeed");
        Loaded { record: Arc::new(record), version }
    }

    /// Replaces a record, which must succeed.
    pub(super) async fn replace(&self, base: &Loaded, record: Record) -> Loaded {
        let write = OwnedWrite::replace(base, record.clone());
        let outcome = self.commit(&write, self.now).await;
        let version = outcome.done("a replace of what was just read must succeed");
        Loaded { record: Arc::new(record), version }
    }

    /// Renews a record, which must succeed.
    pub(super) async fn renew(&self, base: &Loaded, record: Record) -> Loaded {
        let write = OwnedWrite::renew(base, record.clone());
        let outcome = self.commit(&write, self.now).await;
        let version = outcome.done("a renew of what was just read to a free key must succeed");
        Loaded { record: Arc::new(record), version }
    }

    /// Destroys a record, which always succeeds.
    pub(super) async fn destroy(&self, key: Key) -> Destroyed {
        let destroyed = self.store().destroy(&key, self.now).await;
        destroyed.unwrap_or_else(|error| failed("destroy", &error))
    }

    /// Checks that `expected` is what both handles find.
    pub(super) async fn finds(&self, expected: &Loaded, law: &str) {
        let found = self.load(&expected.record.header.key, self.now).await;
        assert_eq!(found.as_ref(), Some(expected), "{law}");
    }

    /// Checks that neither handle finds a record.
    pub(super) async fn finds_nothing(&self, key: &Key, now: Timestamp, law: &str) {
        let found = self.load(key, now).await;
        assert_eq!(found, None, "{law}");
    }

    /// Makes all the writes at once and returns how each of them ended.
    pub(super) async fn race(&self, writes: &[OwnedWrite]) -> Vec<Outcome> {
        let contenders = writes.iter().map(|write| {
            let (trial, write) = (self.clone(), write.clone());
            async move { trial.commit(&write, trial.now).await }
        });
        race(contenders).await
    }

    /// The next record of a session that moves to a random key.
    pub(super) fn renewed(&self, base: &Loaded) -> Record {
        let mut record = next(base, Value::Object(base.record.data.clone()));
        record.header.key = self.key_to_renew(base);
        record
    }

    /// A random key to which the store can move a record.
    pub(super) fn key_to_renew(&self, base: &Loaded) -> Key {
        let (store, from) = (self.store(), &base.record.header.key);
        let mut keys = std::iter::repeat_with(random_key).take(DRAWS_MAX);
        let key = keys.find(|key| store.can_renew(from, key));
        key.expect("law 6: a record can be renewed to one key in some hundreds")
    }

    /// A record under a random key, dead in two hours and in twelve at the latest.
    pub(super) fn record(&self) -> Record {
        self.record_under(random_key())
    }

    /// The same under a certain key.
    pub(super) fn record_under(&self, key: Key) -> Record {
        let header = Header {
            format: FORMAT,
            key,
            created: self.now,
            idle_deadline: self.now.after(2 * HOUR),
            absolute_deadline: self.now.after(12 * HOUR),
            idle_timeout: None,
            user: None,
            epoch: Epoch::random().expect("an epoch needs random bytes"),
            counter: 1,
            ops: [random_op()].into_iter().collect(),
        };
        Record { header, data: object(json!({ "n": 1 })) }
    }

    /// The same, logged in.
    pub(super) fn record_of(&self, user: &str) -> Record {
        let mut record = self.record();
        record.header.user = Some(User::new(user, 0, Timestamp::from_millis(7)));
        record
    }
}

/// Panics on a store that failed: the law cannot be tried.
fn failed(verb: &str, error: &dyn std::error::Error) -> ! {
    let mut chain = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        chain.push_str(&format!(": {error}"));
        cause = error.source();
    }
    panic!("law 9: a store that is up must not fail, nor call a condition a failure; {verb}{chain}")
}

/// Lets others run. A store that never waits would else let each contender of a race do all its
/// work before the next one begins.
async fn give_way() {
    tokio::task::yield_now().await;
}

/// Runs all the contenders at once, each in a task of its own, and returns what they return.
pub(super) async fn race<F>(contenders: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let contenders: Vec<F> = contenders.into_iter().collect();
    let start = Arc::new(Barrier::new(contenders.len()));
    let mut tasks = JoinSet::new();
    for (place, contender) in contenders.into_iter().enumerate() {
        let start = Arc::clone(&start);
        tasks.spawn(async move {
            start.wait().await;
            (place, contender.await)
        });
    }
    let mut results = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        results.push(ended.unwrap_or_else(|error| resume_unwind(error.into_panic())));
    }
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The next record of a session: one commit more, with data of its own.
pub(super) fn next(base: &Loaded, data: Value) -> Record {
    let mut record = Record::clone(&base.record);
    record.header.counter += 1;
    record.header.ops.push(random_op());
    record.data = object(data);
    record
}

/// The same record where another deadline is the only difference.
pub(super) fn with_idle_deadline(base: &Loaded, idle_deadline: Timestamp) -> Record {
    let mut record = Record::clone(&base.record);
    record.header.idle_deadline = idle_deadline;
    record
}

pub(super) fn object(value: Value) -> Data {
    match value {
        Value::Object(data) => data,
        other => panic!("the data of a record is an object, not {other}"),
    }
}

pub(super) fn random_key() -> Key {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("a key needs random bytes");
    Key::from_bytes(bytes)
}

pub(super) fn random_op() -> Op {
    Op::random().expect("an op needs random bytes")
}

/// How many of the outcomes are a success.
pub(super) fn n_done(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.is_done()).count()
}

/// A comparison that does not fill the screen when it fails.
pub(super) fn assert_same<T: PartialEq + fmt::Display>(found: &T, expected: &T, law: &str) {
    let shorten = |value: &T| value.to_string().chars().take(400).collect::<String>();
    let (left, right) = (shorten(found), shorten(expected));
    assert!(found == expected, "{law}\n   found: {left}\nexpected: {right}");
}

/// A full ring of ops, at both ends of what an op can be.
pub(super) fn all_ops() -> Ops {
    (0..8).flat_map(|n| [Op::from_bits(n), Op::from_bits(u64::MAX - n)]).collect()
}
