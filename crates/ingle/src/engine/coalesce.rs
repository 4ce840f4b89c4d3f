//! Coalescing: concurrent commits of one session in one process become one commit.
//!
//! While a commit of a key is under way, further changes of that key queue. When it ends, a task
//! takes all that wait, runs them on one copy and commits once. This repeats until nothing waits.
//! So a hot session costs the store one write per round trip, however many requests come, and
//! causes no conflicts with itself.
//!
//! Each key has exactly one [`Leader`]: the task of the first request, which commits for itself, or
//! a separate task. When the leader is dropped, for any reason, the next one follows. So no request
//! waits for a task that has ended, or that nothing polls.

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
use tokio::{sync::oneshot, time::Instant};

use super::{
    batch::{Batch, Item},
    commit::{self, Done},
    context::Context,
    failure::Failure,
};
use crate::{
    deadline::timeout_at,
    detach::{self, DetachHandle},
    id::Key,
    jitter,
};

/// How many changes of one session may wait. The next one is refused at once.
pub(super) const WAITING_MAX: usize = 1024;

const SHARDS: usize = 64;

/// How long a process commits to one record without a pause. If another process commits to it too,
/// this process pauses after each commit.
const LEAD_MAX: Duration = Duration::from_millis(100);

/// The shortest pause, which is the resolution of the runtime's timer, and the longest.
const YIELD_MIN: Duration = Duration::from_millis(1);
const YIELD_MAX: Duration = Duration::from_millis(20);

/// How long after its deadline a task still listens for an exact answer, which is due then.
const GRACE: Duration = Duration::from_millis(50);

/// How one change ended: the change itself, and the record after it or why there was no commit.
pub(crate) struct Outcome {
    pub(crate) item: Item,
    pub(crate) result: Result<Done, Failure>,
}

/// A change that waits, and the sender that its task listens to.
struct Waiting {
    ticket: Ticket,
    item: Item,
    deadline: Instant,
    answer: oneshot::Sender<Outcome>,
}

/// Identifies one waiting change among all others of this process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ticket(u64);

/// A key that has a commit under way.
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Detaches the request that commits for itself, if one does.
    first: Option<DetachHandle>,
}

type Shard = HashMap<Key, Queue, RandomState>;

/// The keys that have a commit under way, and what waits for each.
pub(crate) struct Coalescer {
    pub(crate) context: Context,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    tickets: AtomicU64,
}

impl Coalescer {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
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

impl fmt::Debug for Coalescer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coalescer")
    }
}

/// The right to commit to one key in this process.
struct Leader {
    coalescer: Arc<Coalescer>,
    key: Key,
    /// Since when this process commits to the key without a pause.
    since: Instant,
}

impl Leader {
    /// Ends a commit. The next leader follows at once, or after a pause if other processes may need
    /// one.
    ///
    /// A process that commits from its cached record is always faster than one that must load
    /// first. Without a pause it would keep the record to itself, and the requests of the other
    /// process would fail.
    fn end(mut self, began: Instant) {
        let now = Instant::now();
        if now - self.since > LEAD_MAX || self.coalescer.context.cache.is_contended(&self.key) {
            // Time for the other process to fail, to load, and to commit. Random, because two equal
            // pauses would keep both in step.
            let took = now - began;
            let pause = jitter::between(2 * took, 4 * took).clamp(YIELD_MIN, YIELD_MAX);
            detach::spawn(async move {
                tokio::time::sleep(pause).await;
                self.since = Instant::now();
                drop(self);
            });
        }
    }

    /// Takes what waits, up to and including a renew, after which nothing is left under the key. What has
    /// a line is taken alone. Ends the queue if nothing waits.
    fn take_batch(&self) -> Vec<Waiting> {
        let mut shard = self.coalescer.shard(&self.key);
        let Entry::Occupied(mut queue) = shard.entry(self.key) else { return Vec::new() };
        let Queue { waiting, first } = queue.get_mut();
        if waiting.is_empty() {
            queue.remove();
            return Vec::new();
        }
        *first = None;
        let end = waiting.iter().enumerate().find_map(|(n, Waiting { item, .. })| match item {
            Item { renew: Some(_), .. } => Some(n + 1),
            Item { line: Some(_), .. } => Some(n.max(1)),
            _ => None,
        });
        let end = end.unwrap_or(waiting.len());
        waiting.drain(..end).collect()
    }
}

impl Drop for Leader {
    /// Lets a separate task follow as leader, with all that waits.
    fn drop(&mut self) {
        let batch = self.take_batch();
        if !batch.is_empty() {
            let leader =
                Self { coalescer: Arc::clone(&self.coalescer), key: self.key, since: self.since };
            detach::spawn(lead(leader, batch));
        }
    }
}

/// Commits one change to the record under `key`, together with others if any wait. `handle` is that
/// of the work that this is a part of.
///
/// The future is boxed, as are other states that are rare: a future that holds others by value has
/// the size of the largest.
pub(crate) fn submit<'a>(
    coalescer: &'a Arc<Coalescer>,
    key: Key,
    item: Item,
    deadline: Instant,
    handle: &DetachHandle,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    match enqueue(coalescer, key, item, deadline, handle) {
        Enqueued::Leads(leader, item) => Box::pin(lead_alone(leader, item, deadline)),
        Enqueued::Waits(ticket, answer) => {
            Box::pin(listen(coalescer, key, ticket, answer, deadline))
        }
        Enqueued::Full(outcome) => Box::pin(ready(*outcome)),
    }
}

enum Enqueued {
    /// No commit of the key is under way.
    Leads(Leader, Item),
    Waits(Ticket, oneshot::Receiver<Outcome>),
    Full(Box<Outcome>),
}

fn enqueue(
    coalescer: &Arc<Coalescer>,
    key: Key,
    item: Item,
    deadline: Instant,
    handle: &DetachHandle,
) -> Enqueued {
    let mut shard = coalescer.shard(&key);
    match shard.entry(key) {
        Entry::Vacant(queue) => {
            queue.insert(Queue { waiting: VecDeque::new(), first: Some(handle.clone()) });
            let leader = Leader { coalescer: Arc::clone(coalescer), key, since: Instant::now() };
            Enqueued::Leads(leader, item)
        }
        Entry::Occupied(queue) if queue.get().waiting.len() >= WAITING_MAX => {
            let error =
                coalescer.context.client.too_late("too many changes of this session wait already");
            Enqueued::Full(Box::new(Outcome { item, result: Err(error.into()) }))
        }
        Entry::Occupied(mut queue) => {
            let (answer, listener) = oneshot::channel();
            let ticket = coalescer.ticket();
            queue.get_mut().waiting.push_back(Waiting { ticket, item, deadline, answer });
            let first = queue.get_mut().first.take();
            drop(shard);
            // From now on another request waits for it, so it must go on even if nothing polls it.
            first.iter().for_each(DetachHandle::detach);
            Enqueued::Waits(ticket, listener)
        }
    }
}

async fn listen(
    coalescer: &Arc<Coalescer>,
    key: Key,
    ticket: Ticket,
    mut answer: oneshot::Receiver<Outcome>,
    deadline: Instant,
) -> Outcome {
    match timeout_at(deadline + GRACE, &mut answer).await {
        Ok(Ok(outcome)) => outcome,
        // The task that had this change ended without an answer.
        Ok(Err(_)) => lost(Failure::Unknown),
        Err(_) => {
            answer.close();
            answer.try_recv().unwrap_or_else(|_| withdraw(coalescer, key, ticket))
        }
    }
}

/// Takes back the change of a task that stops listening, if no commit has begun with it.
///
/// It takes back only that change. For another one, "not made" could be wrong.
fn withdraw(coalescer: &Coalescer, key: Key, ticket: Ticket) -> Outcome {
    let mut shard = coalescer.shard(&key);
    let own = shard.get_mut(&key).and_then(|queue| {
        let index = queue.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        queue.waiting.remove(index)
    });
    match own {
        Some(own) => Outcome {
            item: own.item,
            result: Err(coalescer.context.client.too_late("it was not committed in time").into()),
        },
        None => lost(Failure::Unknown),
    }
}

/// The outcome of a change that this task no longer holds.
fn lost(failure: Failure) -> Outcome {
    Outcome { item: Item::new(Box::new(|_| Ok(())), None), result: Err(failure) }
}

/// Commits a change that no other waits with.
fn lead_alone(leader: Leader, item: Item, deadline: Instant) -> impl Future<Output = Outcome> {
    let mut batch = Batch { items: vec![item] };
    async move {
        let result = commit(&leader.coalescer.context, &leader.key, &mut batch, deadline).await;
        if result.is_ok() {
            let began = leader.since;
            leader.end(began);
        }
        match batch.items.pop() {
            Some(item) => Outcome { item, result },
            None => lost(Failure::Unknown),
        }
    }
}

/// Commits a batch, and tells each task that waits what became of its change.
async fn lead(leader: Leader, waiting: Vec<Waiting>) {
    let latest = waiting.iter().map(|waiting| waiting.deadline).max();
    let deadline = latest.unwrap_or_else(Instant::now);
    let context = &leader.coalescer.context;
    let (items, answers): (Vec<_>, Vec<_>) =
        waiting.into_iter().map(|waiting| (waiting.item, waiting.answer)).unzip();
    let mut batch = Batch { items };
    let began = Instant::now();
    let result = commit(context, &leader.key, &mut batch, deadline).await;
    let outcomes = match &result {
        Err(Failure::Store(error)) if error.is_about_the_data() && batch.items.len() > 1 => {
            one_by_one(context, &leader.key, batch.items, deadline).await
        }
        _ => {
            let items = batch.items.into_iter();
            items.map(|item| Outcome { item, result: result.clone() }).collect()
        }
    };
    if outcomes.iter().any(|outcome| outcome.result.is_ok()) {
        leader.end(began);
    } else {
        drop(leader);
    }
    for (outcome, answer) in outcomes.into_iter().zip(answers) {
        // A task that no longer listens has been told that the outcome is unknown.
        drop(answer.send(outcome));
    }
}

/// Commits a batch, and caches the record after it.
async fn commit(
    context: &Context,
    key: &Key,
    batch: &mut Batch,
    deadline: Instant,
) -> Result<Done, Failure> {
    let result = commit::run(context, key, batch, deadline).await;
    match &result {
        Ok(done) => {
            if done.written {
                context.client.meter.commit(batch.items.len());
            }
            context.cache.keep(key, &done.loaded);
        }
        // The cached record may be wrong now.
        Err(_) => drop(context.cache.remove(key)),
    }
    result
}

/// Commits the changes of a batch that the store cannot hold, each alone. Most likely one of them
/// is the cause, and the others must not fail with it.
async fn one_by_one(
    context: &Context,
    key: &Key,
    items: Vec<Item>,
    deadline: Instant,
) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(items.len());
    for item in items {
        let mut alone = Batch { items: vec![item] };
        let result = commit(context, key, &mut alone, deadline).await;
        outcomes
            .extend(alone.items.into_iter().map(|item| Outcome { item, result: result.clone() }));
    }
    outcomes
}

#[cfg(test)]
mod tests;
