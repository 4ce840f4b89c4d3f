//! What all requests of one layer share: the settings, the guarded store, the hints, the queues.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use foldhash::quality::RandomState;
use quick_cache::{
    UnitWeighter, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::time::Instant;

use crate::{
    clock::{Clock, Timestamp},
    combine::Lanes,
    commit::Failure,
    config::Config,
    cookie::Cookie,
    data::{Data, memory_len},
    guard::{Backoff, Guard, RetryBudget},
    id::{Ids, Key, LogKey, Namespace, NoRandomness, SessionId},
    planted::Bug,
    record::{Epoch, FORMAT, Header, Loaded, Ops, Record},
    store::{self, ErrorKind, Happened, Store},
};

/// How many sessions' last known records one process keeps, and how many bytes of them.
const HINTS_MAX: usize = 16 * 1024;
const HINT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What a hint takes beside its data, roughly.
const HINT_BYTES: u64 = 512;

/// How many ended sessions one process remembers by key.
const ENDED_MAX: usize = 16 * 1024;

/// How many sessions one process remembers as crowded, and how long.
const CROWDED_MAX: usize = 1024;
const CROWDED_FOR: Duration = Duration::from_secs(1);

/// How often a new id is drawn for a store that takes one in 256: that none of so many would do has a
/// chance of one in 10^27. The store refuses the last one then.
const DRAWS_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) ids: Ids,
    /// Where a browser may still bring a plain id, while sessions move to safe ones.
    pub(crate) plain_cookie: Option<Cookie>,
    pub(crate) guard: Guard,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) namespace: Namespace,
    pub(crate) log_key: LogKey,
    pub(crate) lanes: Lanes,
    pub(crate) budget: RetryBudget,
    pub(crate) hints: Hints,
    /// Until when sessions were being destroyed or renewed here, to tell requests that were under way
    /// then.
    ended: Marks,
    /// When another process was last found to commit to a session that this one commits to.
    crowded: Marks,
    sweeps: AtomicBool,
}

impl Core {
    pub(crate) fn new(store: Arc<dyn Store>, config: Config) -> Self {
        let log_key = config.log_key.as_ref();
        let ids = store.ids();
        Self {
            ids,
            plain_cookie: (ids == Ids::Upgrade).then(|| config.cookie.tutorial()),
            guard: Guard::new(store),
            clock: Arc::clone(&config.clock),
            namespace: Namespace::new(&config.namespace),
            log_key: log_key.map_or_else(|| LogKey::of_namespace(&config.namespace), Clone::clone),
            lanes: Lanes::new(),
            budget: RetryBudget::new(),
            hints: Hints::new(),
            ended: marks(ENDED_MAX),
            crowded: marks(CROWDED_MAX),
            sweeps: AtomicBool::new(false),
            config,
        }
    }

    /// Whether the caller is the first to ask, who then starts the sweeps.
    pub(crate) fn claim_sweeps(&self) -> bool {
        !self.sweeps.load(Ordering::Relaxed) && !self.sweeps.swap(true, Ordering::Relaxed)
    }

    /// A new id.
    pub(crate) fn draw_id(&self) -> Result<SessionId, NoRandomness> {
        SessionId::random(self.ids.form())
    }

    /// A new id for the session under `from`, to which the store can move it in one step.
    pub(crate) fn draw_id_to_renew(&self, from: &Key) -> Result<SessionId, NoRandomness> {
        let mut id = self.draw_id()?;
        for _ in 0..DRAWS_MAX {
            if self.guard.can_renew(from, &id.key(&self.namespace)) {
                break;
            }
            id = self.draw_id()?;
        }
        Ok(id)
    }

    /// When an operation that begins now gives up.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.deadline
    }

    /// The record under `key`, tried again while there is time and the retry budget allows.
    pub(crate) async fn load_patiently(
        &self,
        key: &Key,
        deadline: Instant,
    ) -> Result<Option<Loaded>, Failure> {
        if Bug::DestroyedHereOnly.is_planted() && self.ended.get(key).is_some() {
            return Ok(None);
        }
        let mut backoff = Backoff::default();
        self.budget.deposit();
        loop {
            let error = match self.guard.load(key, self.clock.now(), deadline).await {
                Ok(loaded) => return Ok(loaded),
                Err(error) => error,
            };
            if !self.may_try_again(error.kind(), &mut backoff, deadline).await {
                return Err(error.into());
            }
        }
    }

    /// Whether a call that failed may be made again; waits until it is time for that.
    pub(crate) async fn may_try_again(
        &self,
        why: ErrorKind,
        backoff: &mut Backoff,
        deadline: Instant,
    ) -> bool {
        let may = match why {
            ErrorKind::Unavailable => self.budget.spend(),
            // The store is well, so there is nothing to spare it.
            ErrorKind::Contended => true,
            ErrorKind::TooLarge
            | ErrorKind::Unfit
            | ErrorKind::Corrupt
            | ErrorKind::Refused
            | ErrorKind::Moved => false,
        };
        may && backoff.wait(deadline).await
    }

    /// The same of a record that must be there.
    pub(crate) async fn load_live(&self, key: &Key, deadline: Instant) -> Result<Loaded, Failure> {
        self.load_patiently(key, deadline).await?.ok_or(Failure::Gone)
    }

    /// What this process last knew of a record, if it is still live by that knowledge.
    pub(crate) fn hint(&self, key: &Key) -> Option<Loaded> {
        self.hints.get(key).filter(|hint| !hint.record.is_dead(self.clock.now()))
    }

    /// Keeps what a commit left behind; of a renewed session, under the new key.
    pub(crate) fn remember(&self, key: &Key, loaded: &Loaded) {
        let current = loaded.record.header.key;
        if current != *key {
            self.forget(key);
        }
        self.hints.offer(&current, loaded);
    }

    /// Notes that a session may end under this key at any moment until `deadline`: whoever finds it
    /// gone before the store has answered must know why. Should it live on, nobody asks.
    pub(crate) fn ending(&self, key: &Key, deadline: Instant) {
        self.ended.insert(*key, deadline);
    }

    /// Takes back what [`ending`](Self::ending) noted, since the session had ended before.
    pub(crate) fn not_ending(&self, key: &Key, deadline: Instant) {
        self.ended.remove_if(key, |noted| *noted == deadline);
    }

    /// Notes that a session has ended under this key.
    pub(crate) fn forget(&self, key: &Key) {
        self.hints.remove(key);
        self.ended.insert(*key, Instant::now());
    }

    /// Whether a session ended here, under this key, after `began`.
    pub(crate) fn ended_since(&self, key: &Key, began: Instant) -> bool {
        self.ended.get(key).is_some_and(|ended| ended >= began)
    }

    /// Notes that another process commits to the record under this key.
    pub(crate) fn note_crowd(&self, key: &Key) {
        self.crowded.insert(*key, Instant::now());
    }

    /// Whether another process was found to commit to the record a moment ago.
    pub(crate) fn is_crowded(&self, key: &Key) -> bool {
        self.crowded.get(key).is_some_and(|noted| noted.elapsed() < CROWDED_FOR)
    }

    /// The first record of a session; its key and its first op are drawn when it is written.
    pub(crate) fn first_record(&self, data: Data) -> Result<Record, NoRandomness> {
        let created = self.clock.now();
        let absolute_deadline = created.after(self.config.lifetime.absolute());
        let mut header = Header {
            format: FORMAT,
            key: Key::from_bytes([0; 32]),
            created,
            idle_deadline: absolute_deadline,
            absolute_deadline,
            idle_timeout: None,
            user: None,
            epoch: Epoch::random()?,
            counter: 1,
            ops: Ops::default(),
        };
        header.idle_deadline = self.idle_deadline(&header);
        Ok(Record { header, data })
    }

    /// Gives a record that this library did not write the life that it has from its first commit on.
    pub(crate) fn adopt(&self, header: &mut Header) -> Result<(), NoRandomness> {
        header.epoch = Epoch::random()?;
        header.absolute_deadline = self.clock.now().after(self.config.lifetime.absolute());
        Ok(())
    }

    /// The idle deadline of a session that is used now.
    pub(crate) fn idle_deadline(&self, header: &Header) -> Timestamp {
        let idle = header.idle_timeout.unwrap_or_else(|| self.config.lifetime.idle());
        self.clock.now().after(idle).min(header.absolute_deadline)
    }

    /// A failure of this process to wait any longer; nothing was changed.
    pub(crate) fn too_late(&self, why: &'static str) -> store::Error {
        store::Error::new(self.guard.name(), ErrorKind::Unavailable, Happened::No).because(why)
    }
}

/// Something that happened to some sessions, and when; of so many that it did last.
type Marks = Cache<Key, Instant, UnitWeighter, RandomState>;

fn marks(max: usize) -> Marks {
    cache(max, max as u64, UnitWeighter)
}

fn cache<V: Clone, W: Weighter<Key, V> + Clone>(
    max: usize,
    weight_max: u64,
    weighter: W,
) -> Cache<Key, V, W, RandomState> {
    Cache::with(max, weight_max, weighter, RandomState::default(), DefaultLifecycle::default())
}

/// The bounded cache of what this process last knew of records.
#[derive(Debug)]
pub(crate) struct Hints(Cache<Key, Loaded, Weight, RandomState>);

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Loaded> for Weight {
    fn weight(&self, _: &Key, hint: &Loaded) -> u64 {
        HINT_BYTES + memory_len(&hint.record.data) as u64
    }
}

impl Hints {
    fn new() -> Self {
        Self(cache(HINTS_MAX, HINT_BYTES_MAX, Weight))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Loaded> {
        self.0.get(key)
    }

    /// Keeps what was loaded or committed, unless something newer is known already. A race here
    /// costs a conflict and nothing else.
    pub(crate) fn offer(&self, key: &Key, loaded: &Loaded) {
        let header = &loaded.record.header;
        let newer = |hint: Loaded| {
            let known = &hint.record.header;
            known.epoch == header.epoch && known.counter > header.counter
        };
        if !self.0.peek(key).is_some_and(newer) {
            self.0.insert(*key, loaded.clone());
        }
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.0.remove(key);
    }
}
