//! Commits, touches and destroys, and the steps of a renew.
//!
//! Two keys may be on two servers, and nothing writes to two items at once. So a renew from `old` to
//! `new` is three steps, of which the second decides:
//!
//! ```text
//!            old              new            who looks finds the record
//!            here             nothing        under old
//!  1  add                     arriving       under old: what is arriving is not there yet
//!  2  cas    left for new     arriving       under new: old says that it left, with the same op
//!  3  cas    left for new     here           under new
//! ```
//!
//! - Who finds a record arriving looks at the item that it comes from. If that says that it left for this
//!   very item, the renew was made, and who found it does the third step. The note has the item's token:
//!   a first step that was held up may come when all is over, and what arrived has ended since.
//! - Of all that replace, renew or destroy `old` one wins, because each needs its token. A renew that
//!   loses takes back its first step.
//! - A crash after step 1 leaves an item that nobody ever sees and that memcached forgets after ten
//!   minutes; after step 2, a renew that is made and that the next load finishes. A renew that is sent
//!   again finds its own first step by its op, and goes on from there.
//! - *Left* stands for eleven minutes, and is a mark for the first of them. A destroy leaves it there,
//!   since a record that is arriving needs it.

use super::{
    codec::{ARRIVING_TIME, Item, Left, MARK_STANDS, newest_op},
    connect::Servers,
    error::{Failure, NAME, contended},
    find::{Found, LOOKS_MAX, find, has_left, put, stands_for},
    wire::{Command, Reply},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Op, Record, Version},
    store::{Applied, CommitError, Destroyed, Error, ErrorKind, mark::Mark},
};

pub(super) async fn create(
    servers: &Servers,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let value = Item::here(record)?;
    let exptime = stands_for(servers, record, now).map_err(Error::from)?;
    let mut command = Command::Add { value: &value, exptime };
    for _ in 0..LOOKS_MAX {
        let key = &record.header.key;
        if let Reply::Done { token } = servers.ask(key, command).await.map_err(Error::from)? {
            return Ok(Version(token));
        }
        command = match find(servers, key, now).await? {
            Found::Live(_) | Found::Arriving { .. } | Found::Marked(_) => {
                return Err(CommitError::Conflict(None));
            }
            Found::Nothing => Command::Add { value: &value, exptime },
            Found::Vacant { token, left_for } => {
                settle(servers, left_for.as_ref(), now).await?;
                Command::Cas { value: &value, exptime, token }
            }
        };
    }
    Err(contended().into())
}

pub(super) async fn replace(
    servers: &Servers,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    if base.record.is_dead(now) {
        return Err(refusal(servers, base, now).await);
    }
    match put(servers, record, base.version.0, now).await? {
        Reply::Done { token } => Ok(Version(token)),
        Reply::NotFound => Err(CommitError::Gone),
        _ => Err(refusal(servers, base, now).await),
    }
}

/// A renew, and where it begins and ends.
#[derive(Clone, Copy)]
struct Renew<'a> {
    base: &'a Loaded,
    record: &'a Record,
    op: Op,
    now: Timestamp,
}

pub(super) async fn renew(
    servers: &Servers,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    if base.record.is_dead(now) {
        return Err(refusal(servers, base, now).await);
    }
    let (from, to) = (&base.record.header.key, &record.header.key);
    let op = newest_op(record).ok_or_else(|| {
        Error::new(NAME, ErrorKind::Refused, Applied::No).with_source("a renew must have an op")
    })?;
    let renew = Renew { base, record, op, now };
    // Nothing of this counts before the second step: a failure here is surely no renew.
    let Some(arrived) = arrive(servers, renew).await? else {
        return Err(match find(servers, from, now).await? {
            Found::Live(old) => CommitError::Conflict(Some(old)),
            _ => CommitError::Gone,
        });
    };
    let until = Mark::moved(*to, now).until;
    let value = Item::left(&Left { to: *to, op, arrived, until })?;
    let leave = Command::Cas { value: &value, exptime: MARK_STANDS, token: base.version.0 };
    if !matches!(servers.ask(from, leave).await.map_err(Error::from)?, Reply::Done { .. }) {
        // It may be this very renew that was faster, sent once before.
        let made = has_left(servers, from, to, op, arrived).await.map_err(maybe_applied)?;
        if !made {
            // What stays if this fails is seen by nobody, and forgotten.
            let _ = servers.ask(to, Command::Delete { token: arrived }).await;
            return Err(refusal(servers, base, now).await);
        }
    }
    settle_in(servers, renew, arrived).await
}

/// The first step of a renew: the record is under its new key, where nobody sees it yet. Returns
/// its token, or none if the key is taken.
async fn arrive(servers: &Servers, renew: Renew<'_>) -> Result<Option<u64>, Error> {
    let Renew { base, record, op, now } = renew;
    let (from, to) = (&base.record.header.key, &record.header.key);
    let value = Item::arriving(record, from)?;
    let mut command = Command::Add { value: &value, exptime: ARRIVING_TIME };
    for _ in 0..LOOKS_MAX {
        if let Reply::Done { token } = servers.ask(to, command).await.map_err(Failure::beside)? {
            return Ok(Some(token));
        }
        command = match find(servers, to, now).await? {
            Found::Nothing => Command::Add { value: &value, exptime: ARRIVING_TIME },
            Found::Vacant { token, left_for } => {
                settle(servers, left_for.as_ref(), now).await?;
                Command::Cas { value: &value, exptime: ARRIVING_TIME, token }
            }
            // This very renew was sent once before, and came so far.
            Found::Arriving { token, from: whence, record: same }
                if whence == *from && newest_op(&same) == Some(op) && *same == *record =>
            {
                return Ok(Some(token));
            }
            Found::Arriving { .. } | Found::Live(_) | Found::Marked(_) => return Ok(None),
        };
    }
    Err(contended())
}

/// The last step of a renew that was made: what arrived is a record as any other.
async fn settle_in(
    servers: &Servers,
    renew: Renew<'_>,
    arrived: u64,
) -> Result<Version, CommitError> {
    let Renew { record, now, .. } = renew;
    match put(servers, record, arrived, now).await.map_err(maybe_applied)? {
        Reply::Done { token } => return Ok(Version(token)),
        Reply::NotFound => return Err(CommitError::Gone),
        _ => {}
    }
    // Somebody has looked meanwhile, and done it.
    let key = &record.header.key;
    let found = servers.get(key).await.map_err(Failure::after)?;
    let Some((value, token)) = found else { return Err(CommitError::Gone) };
    match Item::read(&value, key).map_err(|error| maybe_applied(error.into()))? {
        Item::Here(same) if *same == *record => Ok(Version(token)),
        // What arrived has ended. An arriving item here is a first step that was sent once more and
        // came late.
        Item::Arriving { .. } | Item::Ended { .. } => Err(CommitError::Gone),
        // It has moved on. The version that it had for a moment will be stale for ever, which
        // is what a version of before must be.
        Item::Here(_) | Item::Left(_) => Ok(Version(arrived)),
    }
}

/// Before the note that a record has left is overwritten, the record must have arrived.
async fn settle(servers: &Servers, left_for: Option<&Key>, now: Timestamp) -> Result<(), Error> {
    match left_for {
        Some(to) => find(servers, to, now).await.map(|_| ()),
        None => Ok(()),
    }
}

pub(super) async fn touch(
    servers: &Servers,
    key: &Key,
    idle_deadline: Timestamp,
    now: Timestamp,
) -> Result<(), CommitError> {
    for _ in 0..LOOKS_MAX {
        let Found::Live(found) = find(servers, key, now).await? else {
            return Err(CommitError::Gone);
        };
        let header = &found.record.header;
        let idle_deadline = idle_deadline.min(header.absolute_deadline);
        if idle_deadline <= header.idle_deadline {
            return Ok(());
        }
        let mut record = Record::clone(&found.record);
        record.header.idle_deadline = idle_deadline;
        match put(servers, &record, found.version.0, now).await? {
            Reply::Done { .. } => return Ok(()),
            Reply::NotFound => return Err(CommitError::Gone),
            // Another commit was faster; its data stays.
            _ => {}
        }
    }
    Err(contended().into())
}

pub(super) async fn destroy(
    servers: &Servers,
    key: &Key,
    now: Timestamp,
) -> Result<Destroyed, Error> {
    let value = Item::ended(Mark::ended(now).until)?;
    for _ in 0..LOOKS_MAX {
        let found = servers.get(key).await.map_err(Failure::beside)?;
        let Some((item, token)) = found else { return Ok(Destroyed::Nothing) };
        // What cannot be read can be ended all the same.
        if let Some(mark) = Item::read(&item, key).ok().and_then(|item| item.mark()) {
            return Ok(mark.destroyed(now));
        }
        let end = Command::Cas { value: &value, exptime: MARK_STANDS, token };
        match servers.ask(key, end).await? {
            Reply::Done { .. } => return Ok(Destroyed::Ended),
            Reply::NotFound => return Ok(Destroyed::Nothing),
            _ => {}
        }
    }
    Err(contended())
}

/// What to say of a write whose condition does not hold: the record is gone, or newer.
async fn refusal(servers: &Servers, base: &Loaded, now: Timestamp) -> CommitError {
    match find(servers, &base.record.header.key, now).await {
        Ok(Found::Live(same)) if same.version == base.version => contended().into(),
        Ok(Found::Live(newer)) => CommitError::Conflict(Some(newer)),
        Ok(_) => CommitError::Gone,
        Err(error) => error.into(),
    }
}

/// A failure of a step that decides, or of one after it: the write may have been made.
fn maybe_applied(error: Error) -> Error {
    error.with_applied(Applied::Unknown)
}
