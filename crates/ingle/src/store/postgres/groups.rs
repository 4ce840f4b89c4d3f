//! Commits that meet are one statement: one transaction and one sync for all of them.
//!
//! While [`AT_ONCE`] groups are under way, what comes waits and is the next one. Each commit still
//! stands or falls alone. A group waits for no row: what another transaction has locked is left out of
//! it, and its commit goes alone, as does each commit of a group that was refused for the sake of one.
//! So no session ever waits for another one's lock, and two groups cannot lock each other out.

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
    failure::{Failure, Unserved},
    pool::{Pool, WAITING_MAX},
    rows::{self, Param},
    statements::Kind,
};
use crate::{
    background,
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record},
    store::Error,
};

/// How many groups are under way at once: one is worked on while another one is synced.
const AT_ONCE: usize = 2;

/// A group that has no answer after so long leaves its place to others, on another connection: its own
/// may have been dropped without a word.
const PATIENCE: Duration = Duration::from_millis(300);

/// How many commits one group takes at most, and how many bytes of data, give or take one commit.
const GROUP_MAX: usize = 64;
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// What became of a commit in a group.
#[derive(Debug)]
pub(super) enum Fate {
    Applied,
    /// The record is there, free, and not what the commit was made from; or it is dead.
    Unmet,
    /// The group has not decided it, and changed nothing of it.
    Alone,
}

/// The commits that wait for a group.
pub(super) struct Groups {
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
    params: [Param; rows::MOVED],
    fate: oneshot::Sender<Result<Fate, Error>>,
}

/// The place of a group among those under way.
struct Place {
    groups: Arc<Groups>,
    left: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Its task broke off.
        let mut state = self.groups.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            // Nobody would come for these.
            state.waiting.clear();
        }
    }
}

impl Groups {
    pub(super) fn new(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { pool, state: Mutex::default() })
    }

    /// Commits a replace that moves what every commit moves, and the data.
    pub(super) async fn commit(
        self: &Arc<Self>,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Fate, Error> {
        let (fate, decided) = oneshot::channel();
        let params = rows::moved(base, record, now)?;
        if !self.wait(Commit { key: record.header.key, params, fate }) {
            return Err(self.failed(&Unserved::TooManyWait.into()));
        }
        // Without an answer the group broke off somewhere.
        decided.await.unwrap_or_else(|_| Err(self.failed(&Failure::Silent)))
    }

    /// Lets a commit wait for its group, which begins at once if few are under way; false if too many wait.
    fn wait(self: &Arc<Self>, commit: Commit) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            return false;
        }
        state.waiting.push_back(commit);
        self.begin(state);
        true
    }

    /// Begins a group if there is a place for it, and something waits.
    fn begin(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.under_way < AT_ONCE && !state.waiting.is_empty() {
            state.under_way += 1;
            // A task that cannot be begun is dropped, and with it the place.
            drop(state);
            detach::spawn(Place { groups: Arc::clone(self), left: false }.serve());
        }
    }

    /// What becomes of each of `count` commits whose columns these are.
    async fn decide(&self, columns: Vec<Param>, count: usize) -> Vec<Result<Fate, Error>> {
        let failure = match self.pool.ask_here(Kind::Group, columns).await {
            Ok(rows) => match decided(&rows, count) {
                Ok(fates) => return fates.into_iter().map(Ok).collect(),
                Err(error) => Failure::Sent(error),
            },
            // One is to blame, and the server took back all of them.
            Err(failure) if count > 1 && failure.is_refusal() => {
                return iter::repeat_with(|| Ok(Fate::Alone)).take(count).collect();
            }
            Err(failure) => failure,
        };
        iter::repeat_with(|| Err(self.failed(&failure))).take(count).collect()
    }

    fn failed(&self, failure: &Failure) -> Error {
        failure.of_call(self.pool.config())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Runs one group after another until nothing waits.
    async fn serve(mut self) {
        while let Some(group) = self.next_group() {
            let mut columns: [Vec<Param>; rows::MOVED] = Default::default();
            let mut waiting = Vec::with_capacity(group.len());
            for Commit { params, fate, .. } in group {
                columns.iter_mut().zip(params).for_each(|(column, param)| column.push(param));
                waiting.push(fate);
            }
            let columns = columns.into_iter().map(Param::List).collect();
            let groups = Arc::clone(&self.groups);
            let mut deciding = pin!(groups.decide(columns, waiting.len()));
            let fates = match timeout(PATIENCE, &mut deciding).await {
                Ok(fates) => fates,
                Err(_) => {
                    self.leave_to_others();
                    deciding.await
                }
            };
            for (waiting, fate) in waiting.into_iter().zip(fates) {
                // Who asked may have gone; what is done is done.
                let _ = waiting.send(fate);
            }
            if self.left {
                return;
            }
        }
    }

    /// What goes together now: of each record one commit, in the order in which they came. If nothing
    /// waits the place is left, in the same step, so that nothing comes to wait for it in between.
    fn next_group(&mut self) -> Option<Vec<Commit>> {
        let mut state = self.groups.state();
        let (mut group, mut later) = (Vec::new(), VecDeque::new());
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            let Some(commit) = state.waiting.pop_front() else { break };
            if commit.fate.is_closed() {
                // Whoever wanted it gave up, and nothing of it was sent.
            } else if keys.insert(commit.key) {
                bytes += commit.params.iter().map(Param::bytes).sum::<usize>();
                group.push(commit);
            } else {
                later.push_back(commit);
            }
        }
        later.append(&mut state.waiting);
        state.waiting = later;
        if group.is_empty() {
            state.under_way -= 1;
            self.left = true;
            return None;
        }
        Some(group)
    }

    /// Lets others begin while the answer is still waited for.
    fn leave_to_others(&mut self) {
        let mut state = self.groups.state();
        state.under_way -= 1;
        self.left = true;
        self.groups.begin(state);
    }
}

/// Reads the answer: the places of those whose rows were free, and of those that were written.
fn decided(rows: &[Row], count: usize) -> Result<Vec<Fate>, tokio_postgres::Error> {
    let mut fates: Vec<_> = iter::repeat_with(|| Fate::Alone).take(count).collect();
    for row in rows {
        for (column, fate) in [(0, (|| Fate::Unmet) as fn() -> Fate), (1, || Fate::Applied)] {
            for place in row.try_get::<_, Option<Vec<i64>>>(column)?.into_iter().flatten() {
                // The server counts from 1.
                let index = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
                if let Some(found) = index.and_then(|index| fates.get_mut(index)) {
                    *found = fate();
                }
            }
        }
    }
    Ok(fates)
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("pool", &self.pool).finish_non_exhaustive()
    }
}
