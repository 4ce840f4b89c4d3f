//! Replaces of several sessions in one call, BatchWrite.
//!
//! Firestore makes each of them or not, as if it had come alone, and bills them so. The calls are
//! saved, which cost this process more than their content.
//!
//! The answer comes when the last of them is decided. A document that another program has locked in a
//! transaction is decided when the lock ends. So a batch is not waited for long: its callers learn that
//! nobody knows what became of their writes, look, and go on alone. So does everybody for a while.
//!
//! A batch lets those come first that are about to write in this process. That takes no time where
//! there are none: nobody waits for a clock.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use googleapis_tonic_google_firestore_v1::google::firestore::v1::Write as Rpc;
use tokio::{sync::oneshot, task::yield_now, time::timeout};
use tonic::Status;

use super::{
    connect::{Client, Rest, version_of},
    error,
};
use crate::{detach, id::Key, record::Version, store::ErrorKind};

/// How many replaces go together at most. So many go at once: the server is at work on them while this
/// process makes those that follow.
pub(super) const MAX_BATCH: usize = 32;

/// What became of a replace that was given to a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    Decided(Result<Version, Status>),
    /// It is to be made alone, and nothing was sent.
    Alone(Box<Rpc>),
    /// Nobody knows.
    Unknown,
}

/// Where replaces wait for each other.
pub(super) struct Batches(Arc<Shared>);

struct Shared {
    client: Arc<Client>,
    /// There are no batches meanwhile: one was waited for in vain, or refused for the sake of one write.
    rest: Rest,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Replace>,
    /// A task will come for what waits.
    is_attended: bool,
}

struct Replace {
    key: Key,
    write: Box<Rpc>,
    outcome: oneshot::Sender<Outcome>,
}

impl Batches {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let (rest, state) = (Rest::default(), Mutex::default());
        Self(Arc::new(Shared { client, rest, state }))
    }

    /// Makes a replace together with those that are made at the same time.
    pub(super) async fn push(&self, key: Key, write: Rpc) -> Outcome {
        let write = Box::new(write);
        if self.0.rest.is_on(&self.0.client) {
            return Outcome::Alone(write);
        }
        let (outcome, decided) = oneshot::channel();
        self.0.wait(Replace { key, write, outcome });
        decided.await.unwrap_or(Outcome::Unknown)
    }
}

impl Shared {
    /// Lets a replace wait for its batch, and begins that if it is whole.
    fn wait(self: &Arc<Self>, replace: Replace) {
        let mut state = self.state();
        state.waiting.push(replace);
        if state.waiting.len() >= MAX_BATCH {
            let replaces = mem::take(&mut state.waiting);
            drop(state);
            let shared = Arc::clone(self);
            detach::spawn(async move { shared.make(replaces).await });
        } else if !mem::replace(&mut state.is_attended, true) {
            drop(state);
            detach::spawn(Attendant(Some(Arc::clone(self))).serve());
        }
    }

    /// Takes what waits, and leaves it to the next replace to have somebody come.
    fn leave(&self) -> Vec<Replace> {
        let mut state = self.state();
        state.is_attended = false;
        mem::take(&mut state.waiting)
    }

    /// Makes one call of those replaces that can be in one.
    async fn make(&self, replaces: Vec<Replace>) {
        let mut batch: Vec<Replace> = Vec::with_capacity(replaces.len());
        for replace in replaces {
            if replace.outcome.is_closed() {
                // Its caller has given up, and nothing of it was sent.
            } else if batch.iter().any(|other| other.key == replace.key) {
                // One call takes a document once.
                replace.goes_alone();
            } else {
                batch.push(replace);
            }
        }
        match batch.len() {
            0 => {}
            1 => batch.into_iter().for_each(Replace::goes_alone),
            _ => self.send(batch).await,
        }
    }

    async fn send(&self, batch: Vec<Replace>) {
        let Self { client, rest, .. } = self;
        let (writes, callers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|replace| (*replace.write, replace.outcome)).unzip();
        // The caller may have gone meanwhile.
        let tell = |caller: oneshot::Sender<Outcome>, outcome| _ = caller.send(outcome);
        match timeout(client.config.batch_timeout, client.write_each(writes)).await {
            Ok(Ok(results)) => {
                // With too few answers some callers learn of none.
                for (caller, result) in callers.into_iter().zip(results) {
                    tell(caller, Outcome::Decided(result.and_then(version_of)));
                }
            }
            Ok(Err(status)) if error::kind(&status) == ErrorKind::Unavailable => {
                let decided = || Outcome::Decided(Err(status.clone()));
                callers.into_iter().for_each(|caller| tell(caller, decided()));
            }
            Ok(Err(_)) | Err(_) => {
                rest.begin(client);
                callers.into_iter().for_each(|caller| tell(caller, Outcome::Unknown));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each use is one look and one write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Comes for what waits.
struct Attendant(Option<Arc<Shared>>);

impl Attendant {
    async fn serve(mut self) {
        // Who is about to write does so now.
        yield_now().await;
        if let Some(shared) = self.0.take() {
            let replaces = shared.leave();
            shared.make(replaces).await;
        }
    }
}

impl Drop for Attendant {
    /// The runtime ends before it came. Who waits learns that nobody comes.
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            drop(shared.leave());
        }
    }
}

impl Replace {
    fn goes_alone(self) {
        let _ = self.outcome.send(Outcome::Alone(self.write));
    }
}
