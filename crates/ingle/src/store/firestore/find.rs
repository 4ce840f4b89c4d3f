//! What stands under a key: one document, or for a plain id one of two.

use super::{
    codec::{self, Entry},
    connect::Client,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Version},
    store::{Error, mark::Mark},
};

/// What a look under a key finds.
pub(super) enum Found {
    Live(Loaded),
    /// A mark whose time is not over.
    Marked(Mark),
    /// Nothing that counts.
    Free(Dead),
}

/// What is dead and still there. A write that takes the key replaces it, unless it changes meanwhile.
#[derive(Default)]
pub(super) struct Dead {
    pub(super) record: Option<Version>,
    pub(super) mark: Option<Version>,
}

impl Found {
    pub(super) fn live(self) -> Option<Loaded> {
        match self {
            Self::Live(loaded) => Some(loaded),
            Self::Marked(_) | Self::Free(_) => None,
        }
    }
}

/// Looks under a key. A mark that stands in a document of its own counts only where no record lives.
pub(super) async fn find(client: &Client, key: &Key, now: Timestamp) -> Result<Found, Error> {
    let mut dead = Dead::default();
    let names = [Some(client.names.document(key)), client.names.mark(key)];
    for name in names.into_iter().flatten() {
        let document = client.get(name, None).await;
        let document = document.map_err(|status| client.server.read_failed(&status))?;
        match document.map(|document| codec::read(document, key)).transpose()? {
            None => {}
            Some(Entry::Record(loaded)) if loaded.record.is_dead(now) => {
                dead.record = Some(loaded.version);
            }
            Some(Entry::Record(loaded)) => return Ok(Found::Live(loaded)),
            Some(Entry::Mark(mark, version)) if mark.is_dead(now) => dead.mark = Some(version),
            Some(Entry::Mark(mark, _)) => return Ok(Found::Marked(mark)),
        }
    }
    Ok(Found::Free(dead))
}
