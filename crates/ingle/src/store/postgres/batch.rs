//! Commits that are made at the same time are one statement: one transaction and one sync for all.
//!
//! While [`AT_ONCE`] batches are under way, what comes waits and is the next one. Each commit still
//! stands or falls alone. A batch waits for no row: what another transaction has locked is left out of
//! it, and its commit goes alone, as does each commit of a batch that was refused for the sake of one.
//! So no session ever waits for another one's lock, and two batches cannot lock each other out.
//!
//! A batch costs a sync, so it waits for the one before it and grows meanwhile. It takes one commit of
//! each record, up to a number of bytes, and none that nobody waits for any more.

use std::{
    collections::{HashSet, VecDeque},
    fmt, iter,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use tokio_postgres::Row;

use super::{
    codec::{self, Param},
    error::{Failure, Unserved},
    pool::{Pool, WAITING_MAX},
    statements::Kind,
};
use crate::{
    clock::Timestamp,
    detach,
    id::Key,
    record::{Loaded, Record},
    store::Error,
};

/// How many batches are under way at once: one is worked on while another one is synced.
pub(super) const AT_ONCE: usize = 2;

/// A batch that has no answer after so long leaves its place to others, on another connection: its own
/// may have been dropped without a word.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// How many commits one batch takes at most, and how many bytes of data, give or take one commit.
pub(super) const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What became of a commit in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    Applied,
    /// The row is there, free, and not what the commit was made from: another version, dead, or a mark.
    Unmet,
    /// The batch has not decided it, and changed nothing of it.
    Undecided,
}

/// The commits that wait for a batch.
pub(super) struct BatchQueue {
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Commit>,
    under_way: usize,
}

struct Commit {
    key: Key,
    params: [Param; codec::MOVED],
    caller: oneshot::Sender<Result<Decision, Error>>,
}

/// One of those who send batches.
struct Worker {
    queue: Arc<BatchQueue>,
    left: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Its task broke off.
        let mut state = self.queue.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            // Nobody would come for these.
            state.waiting.clear();
        }
    }
}

impl BatchQueue {
    pub(super) fn new(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { pool, state: Mutex::default() })
    }

    /// Commits a replace that moves what every commit moves, and the data.
    pub(super) async fn commit(
        self: &Arc<Self>,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Decision, Error> {
        let (caller, decided) = oneshot::channel();
        let params = codec::moved(base, record, now)?;
        if !self.wait(Commit { key: record.header.key, params, caller }) {
            return Err(self.failed(&Unserved::TooManyWait.into()));
        }
        // Without an answer the batch broke off somewhere.
        decided.await.unwrap_or_else(|_| Err(self.failed(&Failure::Silent)))
    }

    /// Lets a commit wait for its batch, which begins at once if few are under way; false if too many wait.
    fn wait(self: &Arc<Self>, commit: Commit) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            return false;
        }
        state.waiting.push_back(commit);
        self.begin(state);
        true
    }

    /// Begins a batch if there is a place for it, and something waits.
    fn begin(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.under_way < AT_ONCE && !state.waiting.is_empty() {
            state.under_way += 1;
            // A task that cannot be begun is dropped, and with it the place.
            drop(state);
            detach::spawn(Worker { queue: Arc::clone(self), left: false }.serve());
        }
    }

    /// What becomes of each of `count` commits whose columns these are.
    async fn decide(&self, columns: Vec<Param>, count: usize) -> Vec<Result<Decision, Error>> {
        let failure = match self.pool.ask_here(Kind::Batch, columns).await {
            Ok(rows) => match decided(&rows, count) {
                Ok(decisions) => return decisions.into_iter().map(Ok).collect(),
                Err(error) => Failure::Sent(error),
            },
            // One is to blame, and the server took back all of them.
            Err(failure) if count > 1 && failure.is_refusal() => {
                return iter::repeat_with(|| Ok(Decision::Undecided)).take(count).collect();
            }
            Err(failure) => failure,
        };
        iter::repeat_with(|| Err(self.failed(&failure))).take(count).collect()
    }

    fn failed(&self, failure: &Failure) -> Error {
        failure.of_write(self.pool.names())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Runs one batch after another until nothing waits.
    async fn serve(mut self) {
        while let Some(batch) = self.next_batch() {
            let mut columns: [Vec<Param>; codec::MOVED] = Default::default();
            let mut callers = Vec::with_capacity(batch.len());
            for Commit { params, caller, .. } in batch {
                columns.iter_mut().zip(params).for_each(|(column, param)| column.push(param));
                callers.push(caller);
            }
            let columns = columns.into_iter().map(Param::List).collect();
            let queue = Arc::clone(&self.queue);
            let mut deciding = pin!(queue.decide(columns, callers.len()));
            let decisions = match timeout(PATIENCE, &mut deciding).await {
                Ok(decisions) => decisions,
                Err(_) => {
                    self.leave_to_others();
                    deciding.await
                }
            };
            for (caller, decision) in callers.into_iter().zip(decisions) {
                // A caller may have gone; what is done is done.
                let _ = caller.send(decision);
            }
            if self.left {
                return;
            }
        }
    }

    /// What goes together now: of each record one commit, in the order in which they came. If nothing
    /// waits the place is left, in the same step, so that nothing comes to wait for it in between.
    fn next_batch(&mut self) -> Option<Vec<Commit>> {
        let mut state = self.queue.state();
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Some(commit) = state.waiting.pop_front() else { break };
            if commit.caller.is_closed() {
                // Its caller gave up, and nothing of it was sent.
            } else if keys.insert(commit.key) {
                bytes += commit.params.iter().map(Param::bytes).sum::<usize>();
                batch.push(commit);
            } else {
                later.push_back(commit);
            }
        }
        later.append(&mut state.waiting);
        state.waiting = later;
        if batch.is_empty() {
            state.under_way -= 1;
            self.left = true;
            return None;
        }
        Some(batch)
    }

    /// Lets others begin while the answer is still waited for.
    fn leave_to_others(&mut self) {
        let mut state = self.queue.state();
        state.under_way -= 1;
        self.left = true;
        self.queue.begin(state);
    }
}

/// Reads the answer: the numbers of those whose rows were free, and of those that were written.
fn decided(rows: &[Row], count: usize) -> Result<Vec<Decision>, tokio_postgres::Error> {
    let mut decisions = vec![Decision::Undecided; count];
    for row in rows {
        for (column, decision) in [(0, Decision::Unmet), (1, Decision::Applied)] {
            for number in row.try_get::<_, Option<Vec<i64>>>(column)?.into_iter().flatten() {
                // The server counts from 1.
                let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                if let Some(found) = index.and_then(|index| decisions.get_mut(index)) {
                    *found = decision;
                }
            }
        }
    }
    Ok(decisions)
}

impl fmt::Debug for BatchQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchQueue").field("pool", &self.pool).finish_non_exhaustive()
    }
}
