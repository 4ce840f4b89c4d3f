//! Combining: commits of one session that meet in one process are made one.
//!
//! While a commit of a key is under way, further changes of that key queue. When it ends, a task takes
//! all that wait, runs them on one copy and commits once, and so on until nobody waits. So a hot
//! session costs the store one write per round trip however many requests come, and does not fight
//! itself.
//!
//! Exactly one task holds the [`Turn`] of a key: that of the first request, which commits for itself,
//! or one of its own. When the turn is dropped, wherever and however that happens, it passes on;
//! nobody waits for a task that is gone, or that nobody polls.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    future::ready,
    hash::BuildHasher as _,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::quality::RandomState;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    background::{self, Tether},
    batch::{Batch, Item},
    commit::{self, Done, Failure},
    core::Core,
    id::Key,
    jitter,
};

/// How many changes of one session may wait; the next one is refused at once.
const WAITING_MAX: usize = 1024;

const SHARDS: usize = 64;

/// How long a process commits to one record without a rest. Where another process was found to
/// commit to it, there is a rest after each commit.
const LEAD_MAX: Duration = Duration::from_millis(100);

/// The shortest rest, which is what the runtime's timer can tell, and the longest.
const REST_MIN: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_millis(20);

/// How long after its deadline a task still listens for an exact answer, which then is due.
const GRACE: Duration = Duration::from_millis(50);

/// How one change ended: the change itself, and the record since, or why there was no commit.
pub(crate) struct Settled {
    pub(crate) item: Item,
    pub(crate) result: Result<Done, Failure>,
}

/// A change that waits, and where its task listens.
struct Waiting {
    ticket: Ticket,
    item: Item,
    deadline: Instant,
    answer: oneshot::Sender<Settled>,
}

/// Tells one waiting change from all others of this process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ticket(u64);

/// A key that has a commit under way.
struct Lane {
    waiting: VecDeque<Waiting>,
    /// Lets the request go on by itself that commits for itself, if one does.
    first: Option<Tether>,
}

type Shard = HashMap<Key, Lane, RandomState>;

/// The keys that have a commit under way, and what waits for each.
pub(crate) struct Lanes {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    tickets: AtomicU64,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            tickets: AtomicU64::new(0),
        }
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length")]
        let shard = &self.shards[index];
        // Each critical section is one call on the map, so a panic leaves nothing half done.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lanes")
    }
}

/// The right to commit to one key in this process.
struct Turn {
    core: Arc<Core>,
    key: Key,
    /// Since when this process commits to the key without a rest.
    since: Instant,
}

impl Turn {
    /// Ends a commit: passes the turn on at once, or after a rest if others may need one.
    ///
    /// A process that commits without a load is always faster than one that must load first. Without
    /// a rest now and then it would keep the record to itself, and the other's requests would fail.
    fn end(mut self, began: Instant) {
        let now = Instant::now();
        if now - self.since > LEAD_MAX || self.core.is_crowded(&self.key) {
            // Time for the other one to fail, to load, and to commit; random, or two that rest
            // equally long would keep in step.
            let took = now - began;
            let rest = jitter::between(2 * took, 4 * took).clamp(REST_MIN, REST_MAX);
            background::spawn(async move {
                tokio::time::sleep(rest).await;
                self.since = Instant::now();
                drop(self);
            });
        }
    }

    /// Takes what waits, up to a renew: after it nothing is left under the key to change. Ends the
    /// lane if nothing waits.
    fn next(&self) -> Vec<Waiting> {
        let mut shard = self.core.lanes.shard(&self.key);
        let Entry::Occupied(mut lane) = shard.entry(self.key) else { return Vec::new() };
        let Lane { waiting, first } = lane.get_mut();
        if waiting.is_empty() {
            lane.remove();
            return Vec::new();
        }
        *first = None;
        let renews = waiting.iter().position(|waiting| waiting.item.renew.is_some());
        let end = renews.map_or(waiting.len(), |renew| renew + 1);
        waiting.drain(..end).collect()
    }
}

impl Drop for Turn {
    /// Passes the turn on to a task of its own, with all that waits.
    fn drop(&mut self) {
        let batch = self.next();
        if !batch.is_empty() {
            let turn = Self { core: Arc::clone(&self.core), key: self.key, since: self.since };
            background::spawn(lead(turn, batch));
        }
    }
}

/// Commits one change to the record under `key`, together with others if any wait. `tether` is that of
/// the work which this is a part of.
///
/// Boxed, as is whatever else not every request comes to: where futures hold each other by value, all
/// have the size of the largest.
pub(crate) fn submit<'a>(
    core: &'a Arc<Core>,
    key: Key,
    item: Item,
    deadline: Instant,
    tether: &Tether,
) -> Pin<Box<dyn Future<Output = Settled> + Send + 'a>> {
    match enter(core, key, item, deadline, tether) {
        Entered::First(turn, item) => Box::pin(lead_alone(turn, item, deadline)),
        Entered::Waits(ticket, answer) => Box::pin(listen(core, key, ticket, answer, deadline)),
        Entered::Full(settled) => Box::pin(ready(*settled)),
    }
}

enum Entered {
    /// No commit of the key is under way.
    First(Turn, Item),
    Waits(Ticket, oneshot::Receiver<Settled>),
    Full(Box<Settled>),
}

fn enter(core: &Arc<Core>, key: Key, item: Item, deadline: Instant, tether: &Tether) -> Entered {
    let mut shard = core.lanes.shard(&key);
    match shard.entry(key) {
        Entry::Vacant(lane) => {
            lane.insert(Lane { waiting: VecDeque::new(), first: Some(tether.clone()) });
            let turn = Turn { core: Arc::clone(core), key, since: Instant::now() };
            Entered::First(turn, item)
        }
        Entry::Occupied(lane) if lane.get().waiting.len() >= WAITING_MAX => {
            let error = core.too_late("too many changes of this session wait already");
            Entered::Full(Box::new(Settled { item, result: Err(error.into()) }))
        }
        Entry::Occupied(mut lane) => {
            let (answer, listener) = oneshot::channel();
            let ticket = core.lanes.ticket();
            lane.get_mut().waiting.push_back(Waiting { ticket, item, deadline, answer });
            let first = lane.get_mut().first.take();
            drop(shard);
            // From now on somebody waits for it, whoever polls it or not.
            first.iter().for_each(Tether::cut);
            Entered::Waits(ticket, listener)
        }
    }
}

async fn listen(
    core: &Arc<Core>,
    key: Key,
    ticket: Ticket,
    mut answer: oneshot::Receiver<Settled>,
    deadline: Instant,
) -> Settled {
    match timeout_at(deadline + GRACE, &mut answer).await {
        Ok(Ok(settled)) => settled,
        // Whoever had this change is gone without a word.
        Ok(Err(_)) => lost(Failure::Unknown),
        Err(_) => {
            answer.close();
            answer.try_recv().unwrap_or_else(|_| withdraw(core, key, ticket))
        }
    }
}

/// Takes back the change of a task that listens no more, if no commit has begun with it.
///
/// Only that very one: to take another's would say of a change that may be made that it was not.
fn withdraw(core: &Core, key: Key, ticket: Ticket) -> Settled {
    let mut shard = core.lanes.shard(&key);
    let own = shard.get_mut(&key).and_then(|lane| {
        let index = lane.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        lane.waiting.remove(index)
    });
    match own {
        Some(own) => Settled {
            item: own.item,
            result: Err(core.too_late("its turn did not come in time").into()),
        },
        None => lost(Failure::Unknown),
    }
}

/// The end of a change that is no longer in this task's hands.
fn lost(failure: Failure) -> Settled {
    Settled { item: Item::new(Box::new(|_| Ok(())), None), result: Err(failure) }
}

/// Commits a change that no other waits with.
fn lead_alone(turn: Turn, item: Item, deadline: Instant) -> impl Future<Output = Settled> {
    let mut batch = Batch { items: vec![item] };
    async move {
        let result = run(&turn.core, &turn.key, &mut batch, deadline).await;
        if result.is_ok() {
            let began = turn.since;
            turn.end(began);
        }
        match batch.items.pop() {
            Some(item) => Settled { item, result },
            None => lost(Failure::Unknown),
        }
    }
}

/// Commits a batch, and tells those who wait what became of their changes.
async fn lead(turn: Turn, waiting: Vec<Waiting>) {
    let latest = waiting.iter().map(|waiting| waiting.deadline).max();
    let deadline = latest.unwrap_or_else(Instant::now);
    let core = Arc::clone(&turn.core);
    let (items, answers): (Vec<_>, Vec<_>) =
        waiting.into_iter().map(|waiting| (waiting.item, waiting.answer)).unzip();
    let mut batch = Batch { items };
    let began = Instant::now();
    let result = run(&core, &turn.key, &mut batch, deadline).await;
    let settled = match &result {
        Err(Failure::Store(error)) if error.is_about_the_data() && batch.items.len() > 1 => {
            one_by_one(&core, &turn.key, batch.items, deadline).await
        }
        _ => {
            let items = batch.items.into_iter();
            items.map(|item| Settled { item, result: result.clone() }).collect()
        }
    };
    if settled.iter().any(|settled| settled.result.is_ok()) {
        turn.end(began);
    } else {
        drop(turn);
    }
    for (settled, answer) in settled.into_iter().zip(answers) {
        // A task that listens no more has been told that the outcome is unknown.
        drop(answer.send(settled));
    }
}

/// Commits a batch, and keeps what this process knows of the record since.
async fn run(
    core: &Core,
    key: &Key,
    batch: &mut Batch,
    deadline: Instant,
) -> Result<Done, Failure> {
    let result = commit::run(core, key, batch, deadline).await;
    match &result {
        Ok(done) => {
            if done.written {
                core.guard.meter.commit(batch.items.len());
            }
            core.remember(key, &done.loaded);
        }
        // What this process believed of the record may be wrong now.
        Err(_) => core.hints.remove(key),
    }
    result
}

/// Commits the changes of a batch that the store cannot hold, each alone: most likely it is one of
/// them, and the others shall not fall with it.
async fn one_by_one(core: &Core, key: &Key, items: Vec<Item>, deadline: Instant) -> Vec<Settled> {
    let mut settled = Vec::with_capacity(items.len());
    for item in items {
        let mut alone = Batch { items: vec![item] };
        let result = run(core, key, &mut alone, deadline).await;
        settled
            .extend(alone.items.into_iter().map(|item| Settled { item, result: result.clone() }));
    }
    settled
}

#[cfg(test)]
mod tests;
