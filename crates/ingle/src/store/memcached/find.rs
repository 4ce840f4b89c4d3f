//! What a reader finds under a key, and the last step of renews that others made.

use std::sync::Arc;

use super::{
    codec::{Item, Left, exptime, newest_op},
    connect::Servers,
    error::{Failure, contended},
    wire::{Command, Reply},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Op, Record, Version},
    store::{Applied, Error, mark::Mark},
};

/// How often one call looks again at an item that changes under it. Each time another writer has
/// made progress, so this is far more than it takes.
pub(super) const LOOKS_MAX: usize = 64;

/// What stands under a key.
pub(super) enum Found {
    Nothing,
    /// What became of the record that was here.
    Marked(Mark),
    /// What is dead, and may be replaced.
    Vacant {
        token: u64,
        /// Where the record has gone, if it has left.
        left_for: Option<Key>,
    },
    /// What may become a record, if the renew that it belongs to goes on.
    Arriving {
        token: u64,
        from: Key,
        record: Arc<Record>,
    },
    Live(Loaded),
}

/// What stands under a key. Finishes a renew to this key that was made and not finished.
pub(super) async fn find(servers: &Servers, key: &Key, now: Timestamp) -> Result<Found, Error> {
    for _ in 0..LOOKS_MAX {
        let Some((value, token)) = servers.get(key).await.map_err(Failure::beside)? else {
            return Ok(Found::Nothing);
        };
        let item = Item::read(&value, key)?;
        if let Some(mark) = item.mark().filter(|mark| !mark.is_dead(now)) {
            return Ok(Found::Marked(mark));
        }
        let (from, record) = match item {
            Item::Left(Left { to, .. }) => {
                return Ok(Found::Vacant { token, left_for: Some(to) });
            }
            Item::Ended { .. } => return Ok(Found::Vacant { token, left_for: None }),
            Item::Here(record) | Item::Arriving { record, .. } if record.is_dead(now) => {
                return Ok(Found::Vacant { token, left_for: None });
            }
            Item::Here(record) => {
                return Ok(Found::Live(Loaded { record, version: Version(token) }));
            }
            Item::Arriving { from, record } => (from, record),
        };
        let made = match newest_op(&record) {
            Some(op) => has_left(servers, &from, key, op, token).await?,
            None => false,
        };
        if !made {
            return Ok(Found::Arriving { token, from, record });
        }
        // The step is not the caller's write.
        let put = put(servers, &record, token, now).await;
        if let Reply::Done { token } = put.map_err(|error| error.with_applied(Applied::No))? {
            return Ok(Found::Live(Loaded { record, version: Version(token) }));
        }
    }
    Err(contended())
}

/// Whether this renew has moved the record away, to the very item that arrived with this token.
pub(super) async fn has_left(
    servers: &Servers,
    from: &Key,
    to: &Key,
    op: Op,
    arrived: u64,
) -> Result<bool, Error> {
    let Some((value, _)) = servers.get(from).await.map_err(Failure::beside)? else {
        return Ok(false);
    };
    Ok(match Item::read(&value, from)? {
        Item::Left(left) => (left.to, left.op, left.arrived) == (*to, op, arrived),
        Item::Here(_) | Item::Arriving { .. } | Item::Ended { .. } => false,
    })
}

/// Stores a record in the place of what has this token.
pub(super) async fn put(
    servers: &Servers,
    record: &Record,
    token: u64,
    now: Timestamp,
) -> Result<Reply, Error> {
    let value = Item::here(record)?;
    let exptime = stands_for(servers, record, now)?;
    let cas = Command::Cas { value: &value, exptime, token };
    Ok(servers.ask(&record.header.key, cas).await?)
}

/// How long an item with this record may stand.
pub(super) fn stands_for(
    servers: &Servers,
    record: &Record,
    now: Timestamp,
) -> Result<u32, Failure> {
    Ok(exptime(&record.header, now, servers.now_at(&record.header.key)?))
}
