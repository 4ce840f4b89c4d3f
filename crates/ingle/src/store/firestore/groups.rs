//! Replaces that meet are one call.
//!
//! Firestore makes each of them or not, as if it had come alone, and bills them so. It is calls that are
//! saved, which cost this process more than what is in them.
//!
//! The answer comes when the last of them is decided, and a document that somebody else has locked in a
//! transaction is decided when the lock ends. So a group is not waited for long: who is in it learns that
//! nobody knows what became of it, looks, and goes on alone, as does everybody for a while.

use std::{sync::Arc, time::Duration};

use googleapis_tonic_google_firestore_v1::google::firestore::v1::Write as Rpc;
use tokio::{sync::oneshot, time::timeout};
use tonic::Status;

use super::{
    client::{Client, Rest},
    failure,
};
use crate::{
    background,
    id::Key,
    record::Version,
    store::{ErrorKind, batcher::Batcher},
};

/// How many replaces go together at most.
const GROUP_MAX: usize = 32;

/// How long a group is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// What became of a replace.
#[derive(Debug)]
pub(super) enum Fate {
    Decided(Result<Version, Status>),
    /// It met no other, and nothing was sent.
    Alone(Box<Rpc>),
    /// Nobody knows.
    Unknown,
}

/// Where replaces wait for each other.
pub(super) struct Groups {
    replaces: Arc<Batcher<Replace>>,
    shared: Arc<Shared>,
}

struct Shared {
    client: Arc<Client>,
    /// There are no groups meanwhile, after one that was waited for in vain, or refused for the sake of one.
    rest: Rest,
}

struct Replace {
    key: Key,
    write: Box<Rpc>,
    fate: oneshot::Sender<Fate>,
}

impl Groups {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let shared = Arc::new(Shared { client, rest: Rest::default() });
        let who = Arc::clone(&shared);
        Self { replaces: Batcher::new(GROUP_MAX, move |met| group(&who, met)), shared }
    }

    /// Makes a replace together with those that meet it.
    pub(super) async fn join(&self, key: Key, write: Rpc) -> Fate {
        let write = Box::new(write);
        if self.shared.rest.is_on(&self.shared.client) {
            return Fate::Alone(write);
        }
        let (fate, decided) = oneshot::channel();
        self.replaces.join(Replace { key, write, fate });
        decided.await.unwrap_or(Fate::Unknown)
    }
}

/// Makes one call of those that met, and can be in one.
fn group(shared: &Arc<Shared>, met: Vec<Replace>) {
    let mut group: Vec<Replace> = Vec::with_capacity(met.len());
    for replace in met {
        if replace.fate.is_closed() {
            // Its caller has given up, and nothing of it was sent.
        } else if group.iter().any(|other| other.key == replace.key) {
            // One call takes a document once.
            replace.goes_alone();
        } else {
            group.push(replace);
        }
    }
    match group.len() {
        0 => {}
        1 => group.into_iter().for_each(Replace::goes_alone),
        _ => detach::spawn(make(Arc::clone(shared), group)),
    }
}

async fn make(shared: Arc<Shared>, group: Vec<Replace>) {
    let Shared { client, rest } = &*shared;
    let (writes, callers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|replace| (*replace.write, replace.fate)).unzip();
    // Who asked may have gone meanwhile.
    let tell = |caller: oneshot::Sender<Fate>, fate| _ = caller.send(fate);
    match timeout(PATIENCE, client.write_each(writes)).await {
        Ok(Ok(outcomes)) => {
            // With too few answers some callers learn of none.
            for (caller, outcome) in callers.into_iter().zip(outcomes) {
                tell(caller, Fate::Decided(outcome.and_then(super::version_of)));
            }
        }
        Ok(Err(status)) if failure::kind(&status) == ErrorKind::Unavailable => {
            callers.into_iter().for_each(|caller| tell(caller, Fate::Decided(Err(status.clone()))));
        }
        Ok(Err(_)) | Err(_) => {
            rest.begin(client);
            callers.into_iter().for_each(|caller| tell(caller, Fate::Unknown));
        }
    }
}

impl Replace {
    fn goes_alone(self) {
        let _ = self.fate.send(Fate::Alone(self.write));
    }
}
