//! Combining: commits of one session that meet in one process are made one.
//!
//! While a commit of a key is under way, further changes of that key queue. Whoever is next takes
//! all that wait, runs them on one copy and commits once. So a hot session costs the store one
//! write per round trip however many requests come, and does not fight itself.
//!
//! Exactly one task holds the [`Turn`] of a key. When it is dropped, wherever and however that
//! happens, the turn passes on; nobody waits for a task that is gone.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    background::{self, RunToEnd},
    batch::{Batch, Item},
    commit::{self, Done, Failure},
    core::Core,
    id::Key,
    jitter, meter,
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

/// What a waiting task is told.
enum Word {
    /// Its change was in another task's commit.
    Settled(Settled),
    /// It is next: its own change is the first of these.
    Lead(Turn, Vec<Waiting>),
}

/// A change that waits, and where its task listens. The first of those who lead listens no more.
struct Waiting {
    ticket: Ticket,
    item: Item,
    deadline: Instant,
    answer: Option<oneshot::Sender<Word>>,
}

/// Tells one waiting change from all others of this process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ticket(u64);

/// The keys that have a commit under way, and what waits for each.
pub(crate) struct Lanes {
    shards: [Mutex<HashMap<Key, VecDeque<Waiting>>>; SHARDS],
    hasher: RandomState,
    tickets: AtomicU64,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            tickets: AtomicU64::new(0),
        }
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, VecDeque<Waiting>>> {
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
    /// Cleared where the turn is still in the hands of the one that passes it on.
    held: bool,
}

impl Turn {
    fn new(core: &Arc<Core>, key: Key, since: Instant) -> Self {
        Self { core: Arc::clone(core), key, since, held: true }
    }

    /// Ends a turn that made a commit: passes it on at once, or after a rest if others may need one.
    ///
    /// A process that commits without a load is always faster than one that must load first. Without
    /// a rest now and then it would keep the record to itself, and the other's requests would fail.
    fn end(mut self, took: Duration) {
        if self.since.elapsed() > LEAD_MAX || self.core.is_crowded(&self.key) {
            // Time for the other one to fail, to load, and to commit; random, or two that rest
            // equally long would keep in step.
            let rest = jitter::between(2 * took, 4 * took).clamp(REST_MIN, REST_MAX);
            background::spawn(async move {
                tokio::time::sleep(rest).await;
                self.since = Instant::now();
                drop(self);
            });
        }
    }
}

impl Drop for Turn {
    /// Passes the turn to the next task that still listens, with all that waits up to a renew.
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let mut shard = self.core.lanes.shard(&self.key);
        while let Some(waiting) = shard.get_mut(&self.key) {
            let renews = waiting.iter().position(|waiting| waiting.item.renew.is_some());
            let end = renews.map_or(waiting.len(), |renew| renew + 1);
            let mut batch: Vec<Waiting> = waiting.drain(..end).collect();
            let Some(next) = batch.first_mut().and_then(|first| first.answer.take()) else {
                shard.remove(&self.key);
                return;
            };
            let turn = Self::new(&self.core, self.key, self.since);
            match next.send(Word::Lead(turn, batch)) {
                Ok(()) => return,
                // It went away meanwhile, and its change with it; the others are still to be served.
                Err(Word::Lead(mut turn, batch)) => {
                    turn.held = false;
                    let others = batch.into_iter().skip(1);
                    let waiting = shard.entry(self.key).or_default();
                    others.rev().for_each(|other| waiting.push_front(other));
                }
                Err(Word::Settled(_)) => {}
            }
        }
    }
}

/// Commits one change to the record under `key`, together with others if any wait.
pub(crate) async fn submit(core: &Arc<Core>, key: Key, item: Item, deadline: Instant) -> Settled {
    let (turn, batch) = match enter(core, key, item, deadline) {
        Entered::Lead(turn, batch) => (turn, batch),
        Entered::Full(settled) => return *settled,
        Entered::Waits(ticket, answer) => match listen(core, key, ticket, answer, deadline).await {
            Word::Settled(settled) => return settled,
            Word::Lead(turn, batch) => (turn, batch),
        },
    };
    if batch.len() == 1 {
        return lead(turn, batch).await;
    }
    // Others in the batch may have more time left than this task.
    let all = RunToEnd::new(lead(turn, batch));
    timeout_at(deadline + GRACE, all).await.unwrap_or_else(|_| lost(Failure::Unknown))
}

enum Entered {
    Lead(Turn, Vec<Waiting>),
    Waits(Ticket, oneshot::Receiver<Word>),
    Full(Box<Settled>),
}

fn enter(core: &Arc<Core>, key: Key, item: Item, deadline: Instant) -> Entered {
    let ticket = core.lanes.ticket();
    let mut shard = core.lanes.shard(&key);
    match shard.entry(key) {
        Entry::Vacant(lane) => {
            lane.insert(VecDeque::new());
            let turn = Turn::new(core, key, Instant::now());
            Entered::Lead(turn, vec![Waiting { ticket, item, deadline, answer: None }])
        }
        Entry::Occupied(lane) if lane.get().len() >= WAITING_MAX => {
            let error = core.too_late("too many changes of this session wait already");
            Entered::Full(Box::new(Settled { item, result: Err(error.into()) }))
        }
        Entry::Occupied(mut lane) => {
            let (answer, listener) = oneshot::channel();
            lane.get_mut().push_back(Waiting { ticket, item, deadline, answer: Some(answer) });
            Entered::Waits(ticket, listener)
        }
    }
}

async fn listen(
    core: &Arc<Core>,
    key: Key,
    ticket: Ticket,
    mut answer: oneshot::Receiver<Word>,
    deadline: Instant,
) -> Word {
    match timeout_at(deadline + GRACE, &mut answer).await {
        Ok(Ok(word)) => word,
        // Whoever had this change is gone without a word, or has not answered in time.
        Ok(Err(_)) => Word::Settled(lost(Failure::Unknown)),
        Err(_) => {
            answer.close();
            match answer.try_recv() {
                Ok(Word::Lead(turn, batch)) => {
                    // The others in the batch have time left; they are served without this task.
                    background::spawn(async move { drop(lead(turn, batch).await) });
                    Word::Settled(lost(Failure::Unknown))
                }
                Ok(settled) => settled,
                Err(_) => Word::Settled(withdraw(core, key, ticket)),
            }
        }
    }
}

/// Takes back the change of a task that listens no more, if no commit has begun with it.
///
/// Only that very one: to take another's would say of a change that may be made that it was not.
fn withdraw(core: &Core, key: Key, ticket: Ticket) -> Settled {
    let mut shard = core.lanes.shard(&key);
    let own = shard.get_mut(&key).and_then(|waiting| {
        let index = waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        waiting.remove(index)
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

/// Commits a batch, tells the others, and returns what became of the first change.
async fn lead(turn: Turn, waiting: Vec<Waiting>) -> Settled {
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
        turn.end(began.elapsed());
    } else {
        drop(turn);
    }
    let mut own = None;
    for (settled, answer) in settled.into_iter().zip(answers) {
        match answer {
            // A task that listens no more has been told that the outcome is unknown.
            Some(answer) => drop(answer.send(Word::Settled(settled))),
            None => own = Some(settled),
        }
    }
    own.unwrap_or_else(|| lost(Failure::Unknown))
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
                meter::commit(core.guard.name(), batch.items.len());
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
