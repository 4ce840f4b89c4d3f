//! Replaces of several sessions in one call, BatchWrite.
//!
//! Firestore makes each of them or not, as if it had come alone, and bills them so. The calls are
//! saved, which cost this process more than their content.
//!
//! The answer comes when the last of them is decided. A document that another program has locked in a
//! transaction is decided when the lock ends. So a batch is not waited for long: its callers learn that
//! nobody knows what became of their writes, look, and go on alone. So does everybody for a while.

use std::sync::Arc;

use googleapis_tonic_google_firestore_v1::google::firestore::v1::Write as Rpc;
use tokio::{sync::oneshot, time::timeout};
use tonic::Status;

use super::{
    connect::{Client, Rest, version_of},
    error,
};
use crate::{
    id::Key,
    record::Version,
    store::{ErrorKind, floor::batch::Batcher},
};

/// How many replaces go together at most.
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
pub(super) struct Batches {
    replaces: Arc<Batcher<Replace>>,
    shared: Arc<Shared>,
}

struct Shared {
    client: Arc<Client>,
    /// There are no batches meanwhile: one was waited for in vain, or refused for the sake of one write.
    rest: Rest,
}

struct Replace {
    key: Key,
    write: Box<Rpc>,
    outcome: oneshot::Sender<Outcome>,
}

impl Batches {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let shared = Arc::new(Shared { client, rest: Rest::default() });
        let sender = Arc::clone(&shared);
        let replaces = Batcher::new(MAX_BATCH, move |calls| batch(Arc::clone(&sender), calls));
        Self { replaces, shared }
    }

    /// Makes a replace together with those that are made at the same time.
    pub(super) async fn push(&self, key: Key, write: Rpc) -> Outcome {
        let write = Box::new(write);
        if self.shared.rest.is_on(&self.shared.client) {
            return Outcome::Alone(write);
        }
        let (outcome, decided) = oneshot::channel();
        self.replaces.push(Replace { key, write, outcome });
        decided.await.unwrap_or(Outcome::Unknown)
    }
}

/// Makes one call of those replaces that can be in one.
async fn batch(shared: Arc<Shared>, replaces: Vec<Replace>) {
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
        _ => send(&shared, batch).await,
    }
}

async fn send(shared: &Shared, batch: Vec<Replace>) {
    let Shared { client, rest } = shared;
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

impl Replace {
    fn goes_alone(self) {
        let _ = self.outcome.send(Outcome::Alone(self.write));
    }
}
