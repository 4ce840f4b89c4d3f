//! What stands under a key: readable JSON, in one of four states, and how long it may stand.
//!
//! It knows no server.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::error::{NAME, Unreadable};
use crate::{
    clock::Timestamp,
    data::Data,
    id::Key,
    record::{FORMAT, Header, Op, Record},
    store::{Applied, Error, ErrorKind, mark::Mark},
};

/// What stands under a key.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    /// A record.
    Here(Arc<Record>),
    /// A record that a renew is about to move here. It is one from the moment on at which the old
    /// key's item says [`Left`](Self::Left).
    Arriving {
        /// The old key.
        from: Key,
        record: Arc<Record>,
    },
    /// A record was here, and a renew has moved it away: a mark, and what the renew may still need when
    /// the mark is dead.
    Left(Left),
    /// A session was here, and was destroyed: a mark.
    Ended {
        /// The mark is dead from here on.
        until: Timestamp,
    },
}

/// What a renew leaves under the old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The new key.
    pub(super) to: Key,
    /// The renew.
    pub(super) op: Op,
    /// The token of the item that arrived there. One that is added late, when the renew is long
    /// over, has another.
    pub(super) arrived: u64,
    /// The mark is dead from here on.
    pub(super) until: Timestamp,
}

/// An item as it is written.
#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Here { header: &'a Header, data: &'a Data },
    Arriving { arriving_from: &'a Key, header: &'a Header, data: &'a Data },
    Left { left_for: &'a Key, op: &'a Op, arrived: u64, until: Timestamp },
    Ended { ended: bool, until: Timestamp },
}

/// An item as it is read. A person may have edited it: what is not known is passed over.
#[derive(Deserialize)]
struct Read {
    header: Option<Header>,
    #[serde(default)]
    data: Data,
    arriving_from: Option<Key>,
    left_for: Option<Key>,
    op: Option<Op>,
    arrived: Option<u64>,
    #[serde(default)]
    ended: bool,
    until: Option<Timestamp>,
}

impl Item {
    /// Reads the item that stands under `key`.
    pub(super) fn read(value: &[u8], key: &Key) -> Result<Self, Unreadable> {
        let read: Read = serde_json::from_slice(value).map_err(|error| {
            Unreadable::NotASession { line: error.line(), column: error.column() }
        })?;
        if let (Some(to), Some(op), Some(arrived), Some(until)) =
            (read.left_for, read.op, read.arrived, read.until)
        {
            return Ok(Self::Left(Left { to, op, arrived, until }));
        }
        if let (true, Some(until)) = (read.ended, read.until) {
            return Ok(Self::Ended { until });
        }
        let header = read.header.ok_or(Unreadable::NotASession { line: 1, column: 0 })?;
        if header.format > FORMAT {
            return Err(Unreadable::Format(header.format));
        }
        // Read on the wrong connection, or copied by someone: never another visitor's session.
        if header.key != *key {
            return Err(Unreadable::OtherKey);
        }
        let record = Arc::new(Record { header, data: read.data });
        Ok(match read.arriving_from {
            Some(from) => Self::Arriving { from, record },
            None => Self::Here(record),
        })
    }

    /// The mark that this item is, be it dead.
    pub(super) fn mark(&self) -> Option<Mark> {
        match self {
            Self::Left(Left { to, until, .. }) => Some(Mark { moved_to: Some(*to), until: *until }),
            Self::Ended { until } => Some(Mark { moved_to: None, until: *until }),
            Self::Here(_) | Self::Arriving { .. } => None,
        }
    }

    /// The bytes of a record under its key.
    pub(super) fn here(record: &Record) -> Result<Vec<u8>, Error> {
        write(&Written::Here { header: &record.header, data: &record.data })
    }

    /// The bytes of a record that a renew is about to move here.
    pub(super) fn arriving(record: &Record, from: &Key) -> Result<Vec<u8>, Error> {
        let Record { header, data } = record;
        write(&Written::Arriving { arriving_from: from, header, data })
    }

    /// The bytes of what a renew leaves behind.
    pub(super) fn left(left: &Left) -> Result<Vec<u8>, Error> {
        let Left { to, op, arrived, until } = left;
        write(&Written::Left { left_for: to, op, arrived: *arrived, until: *until })
    }

    /// The bytes of what a destroy leaves behind.
    pub(super) fn ended(until: Timestamp) -> Result<Vec<u8>, Error> {
        write(&Written::Ended { ended: true, until })
    }
}

fn write(written: &Written<'_>) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(written)
        .map_err(|error| Error::new(NAME, ErrorKind::Unfit, Applied::No).with_source(error))
}

/// The op of the commit that wrote this record.
pub(super) fn newest_op(record: &Record) -> Option<Op> {
    record.header.ops.newest()
}

/// Up to here memcached takes a lifetime as seconds from now; beyond it, as a date.
const RELATIVE_MAX: u64 = 60 * 60 * 24 * 30;

/// Beyond here a date is taken for one of the past by some builds.
const DATE_MAX: u64 = i32::MAX as u64;

/// What memcached takes for "never". What is dead is then the first to be evicted.
const NEVER: u32 = 0;

/// How much longer than its record an item may stand: the clocks of the app's instances may differ
/// by so much. Whether a record is live, memcached does not decide.
const SLACK: Duration = Duration::from_secs(5 * 60);

/// The same for dates, by which a server's clock may be set wrong.
const SLACK_OF_DATE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a record may be arriving.
pub(super) const ARRIVING_TIME: u32 = 10 * 60;

/// How long a mark may stand: longer than a record may be arriving, which needs it. This is a broom.
/// Whether a mark is dead, its `until` says, by the clock of the app, which may be minutes behind.
pub(super) const MARK_STANDS: u32 = ARRIVING_TIME + 60;

/// The lifetime that memcached is told for a record, at `now` by the app's clock and `server_now`,
/// in seconds since 1970, by the server's.
///
/// It is never zero by accident, which would be for ever, and never negative, which would be over
/// at once.
pub(super) fn exptime(header: &Header, now: Timestamp, server_now: u64) -> u32 {
    let deadline = header.idle_deadline.min(header.absolute_deadline);
    let left = deadline.since(now);
    let seconds = left.saturating_add(SLACK).as_secs().saturating_add(1);
    if seconds <= RELATIVE_MAX {
        return u32::try_from(seconds).unwrap_or(NEVER);
    }
    let left = left.saturating_add(SLACK_OF_DATE).as_secs();
    let date = server_now.saturating_add(left);
    if date > DATE_MAX { NEVER } else { u32::try_from(date).unwrap_or(NEVER) }
}
