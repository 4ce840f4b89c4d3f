//! The writes and their conditions: what must stand in Redis, byte by byte, and what is to stand there.
//!
//! What must stand there follows from the base: a record always becomes the same bytes (`codec.rs`). Where other
//! bytes stand, they may be the same record all the same, as a person writes it, or with an idle deadline that
//! a touch has moved. Then the write is made in the place of those bytes. That is no second attempt: the
//! first is proof that nothing was changed.

use std::borrow::Cow;

use redis::{Cmd, Value};

use super::{
    codec::{self, Entry, KEPT, MARK_EXPIRY, Unreadable},
    connect::Client,
    error::{Failure, NAME, contended},
    names::Partition,
    scripts::{self, Script, swap::Swap},
    user_set::{self, Membership},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
    store::{Applied, CommitError, Destroyed, Error, ErrorKind, mark::Mark},
};

/// How often a write looks at what there is: once for a base that is written in another way, and for touches
/// that meet it.
pub(super) const LOOKS_MAX: usize = 8;

/// Tries all that the user must be allowed to do to write and to read under this key.
pub(super) async fn probe(client: &Client, key: &Key) -> Result<(), Failure> {
    let names = &client.names;
    let mut command = scripts::PROBE.call(1);
    command.arg(names.record(key));
    client.run(Partition::of(key), &scripts::PROBE, &command).await?;
    // The key stands for a user here: it is a name that nobody has.
    let user = key.to_string();
    let mut command = scripts::PROBE_LIST.call(1);
    command.arg(names.user(&user));
    client.run(Partition::of_user(&user), &scripts::PROBE_LIST, &command).await?;
    client.call(Partition::of(key), &codec::load(names, key)).await.map(drop)
}

/// Asks each server for what each write is asked for before it is run.
pub(super) async fn ping(client: &Client) -> Result<(), Failure> {
    for partition in client.one_partition_each() {
        let mut bytes = [0; 32];
        bytes[0] = partition.0;
        let mut command = scripts::PING.call(1);
        command.arg(client.names.record(&Key::from_bytes(bytes)));
        client.run(partition, &scripts::PING, &command).await?;
    }
    Ok(())
}

/// The bytes that stand under a key, if there are any.
async fn look(client: &Client, key: &Key) -> Result<Option<Vec<u8>>, Error> {
    let answer = client.call(Partition::of(key), &codec::load(&client.names, key)).await;
    Ok(codec::found(answer.map_err(|failure| client.error(failure))?)?)
}

pub(super) async fn create(
    client: &Client,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let membership = Membership::of(None, record, now);
    let key = &record.header.key;
    // Nothing may stand there, or what is dead.
    let mut dead = None;
    for _ in 0..LOOKS_MAX {
        let made = write(client, dead.as_deref(), record, membership.as_ref(), now).await?;
        let found = match made {
            Written::Done(version) => return Ok(version),
            Written::Undone(Some(found)) => Some(found),
            Written::Undone(None) => look(client, key).await?,
        };
        // What cannot be read is live, so that nothing is written over it.
        let is_dead =
            |found: &Vec<u8>| codec::entry(found, key).is_ok_and(|entry| entry.is_dead(now));
        match found {
            Some(found) if !is_dead(&found) => return Err(CommitError::Conflict(None)),
            found => dead = found,
        }
    }
    Err(contended().into())
}

/// The replace that nearly every commit is: its base is live, and it stays in its user's list.
pub(super) async fn advance(
    client: &Client,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let (header, writes) = (&record.header, &client.last_writes);
    let mut swap = Swap::of(&client.names, &base.record, record, now)?;
    let version = codec::version(swap.new_text());
    let is_own = writes.is_last(&header.key, base.version);
    if is_own && !codec::moves_expiry(&base.record.header, header) {
        swap = swap.keeping_expiry();
    }
    let answer = client.swap(Partition::of(&header.key), swap).await;
    match answer.map_err(|failure| client.error(failure))? {
        Value::Okay => {
            writes.note(&header.key, version);
            Ok(version)
        }
        undone => {
            let found = codec::found(undone).map_err(|_| strange())?;
            Box::pin(replace_what_stands(client, base, record, found, now)).await
        }
    }
}

/// Whether a replace is an [`advance`].
pub(super) fn is_advance(base: &Loaded, record: &Record, now: Timestamp) -> bool {
    !base.record.is_dead(now) && Membership::of(Some(&base.record.header), record, now).is_none()
}

pub(super) async fn replace(
    client: &Client,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    replace_what_stands(client, base, record, None, now).await
}

/// Replaces a base that stands there in other bytes. `found` is what stands there, if that is known.
async fn replace_what_stands(
    client: &Client,
    base: &Loaded,
    record: &Record,
    mut found: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let membership = Membership::of(Some(&base.record.header), record, now);
    for _ in 0..LOOKS_MAX {
        let old = match found.take() {
            Some(found) => Some(found),
            None => look(client, &base.record.header.key).await?,
        };
        let (old, touched) = unchanged(base, old, now)?;
        let mut record = Cow::Borrowed(record);
        if record.keeps_idle_deadline(&base.record) {
            record.to_mut().header.idle_deadline = touched;
        }
        match write(client, Some(&old), &record, membership.as_ref(), now).await? {
            Written::Done(version) => return Ok(version),
            Written::Undone(there) => found = there,
        }
    }
    Err(contended().into())
}

/// The bytes of the base as they stand there, and its idle deadline, which a touch may have moved; or what to
/// say of a write on top of it.
fn unchanged(
    base: &Loaded,
    found: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<(Vec<u8>, Timestamp), CommitError> {
    let Some(found) = found else { return Err(CommitError::Gone) };
    let key = &base.record.header.key;
    match codec::entry(&found, key).map_err(Error::from)? {
        // Its reader is told of it, and sees that it is another one's.
        Entry::Record(other) if other.record.header.key != *key => {
            Err(CommitError::Conflict(Some(other)))
        }
        Entry::Record(loaded) if loaded.record.is_dead(now) => Err(CommitError::Gone),
        Entry::Record(loaded) if is_same(&base.record, &loaded.record) => {
            Ok((found, loaded.record.header.idle_deadline))
        }
        Entry::Record(newer) => Err(CommitError::Conflict(Some(newer))),
        Entry::Mark(_) => Err(CommitError::Gone),
    }
}

/// Whether it is the same record, but for an idle deadline that a touch may have moved.
fn is_same(base: &Record, found: &Record) -> bool {
    let (before, after) = (&base.header, &found.header);
    before.only_moves(after)
        && before.counter == after.counter
        && before.ops == after.ops
        && base.data == found.data
}

/// What became of a write.
enum Written {
    Done(Version),
    /// Nothing was changed. These bytes stand there; none if that is not known, or if nothing does.
    Undone(Option<Vec<u8>>),
}

/// Writes a record in the place of these bytes, or where nothing is. The session joins its user's list before:
/// from its first moment on it is found there.
async fn write(
    client: &Client,
    old: Option<&[u8]>,
    record: &Record,
    membership: Option<&Membership>,
    now: Timestamp,
) -> Result<Written, Error> {
    let header = &record.header;
    let partition = Partition::of(&header.key);
    let membership = join_elsewhere(client, membership, now).await?;
    let (version, answer) = match (membership, old) {
        (Some(membership), old) => {
            let text = codec::text(record)?;
            let script = &scripts::JOIN;
            let mut command = script.call(3);
            command.arg(client.names.record(&header.key));
            user_set::push_names(&mut command, client, &membership.user);
            command.arg(old.unwrap_or_default()).arg(&text).arg(codec::expiry(header, now));
            membership.push(&mut command, now);
            (codec::version(&text), client.run(partition, script, &command).await)
        }
        (None, Some(old)) => {
            let swap = Swap::of_text(&client.names, old, record, now)?;
            (codec::version(swap.new_text()), client.swap(partition, swap).await)
        }
        (None, None) => {
            let text = codec::text(record)?;
            let mut command = Cmd::with_capacity(6, text.len() + 256);
            command.arg("SET").arg(client.names.record(&header.key)).arg(&text);
            command.arg("NX").arg("PX").arg(codec::expiry(header, now));
            (codec::version(&text), client.call(partition, &command).await)
        }
    };
    match answer.map_err(|failure| client.error(failure))? {
        Value::Okay | Value::Int(1) => Ok(Written::Done(version)),
        answer @ (Value::Nil | Value::BulkString(_)) => Ok(Written::Undone(codec::found(answer)?)),
        _ => Err(strange()),
    }
}

/// In a cluster the user's set may be on another server, and is written before. What is returned is to be
/// written with the record.
async fn join_elsewhere<'a>(
    client: &Client,
    membership: Option<&'a Membership>,
    now: Timestamp,
) -> Result<Option<&'a Membership>, Error> {
    match membership {
        Some(membership) if client.is_cluster() => {
            user_set::add(client, membership, now).await.map(|()| None)
        }
        membership => Ok(membership),
    }
}

pub(super) async fn renew(
    client: &Client,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let (from, to) = (&base.record.header.key, &record.header.key);
    let membership = Membership::of(Some(&base.record.header), record, now);
    let membership = join_elsewhere(client, membership.as_ref(), now).await?;
    let mut old = codec::text(&base.record)?;
    if base.record.is_dead(now) {
        (old, _) = unchanged(base, look(client, from).await?, now)?;
    }
    let text = codec::text(record)?;
    let new = Renewal { record, text: &text, membership, now };
    let mut dead = None;
    for _ in 0..LOOKS_MAX {
        let stands = [old.as_slice(), dead.as_deref().unwrap_or_default()];
        let command = renewal(client, [from, to], stands, &new);
        let answer = client.run(Partition::of(to), &scripts::RENEW, &command).await;
        match answer.map_err(|failure| client.error(failure))? {
            Value::Int(1) => {
                user_set::leave(client, &base.record.header, now);
                return Ok(codec::version(&text));
            }
            answer @ (Value::Nil | Value::BulkString(_)) => {
                let found = codec::found(answer).map_err(Error::from)?;
                (old, _) = unchanged(base, found, now)?;
            }
            Value::Array(taken) => {
                let taken = taken.into_iter().next().unwrap_or(Value::Nil);
                let taken = codec::found(taken).map_err(Error::from)?;
                let is_dead =
                    |taken: &Vec<u8>| codec::entry(taken, to).is_ok_and(|entry| entry.is_dead(now));
                if taken.as_ref().is_some_and(|taken| !is_dead(taken)) {
                    return Err(CommitError::Conflict(None));
                }
                dead = taken;
            }
            _ => return Err(strange().into()),
        }
    }
    Err(contended().into())
}

/// What a renew writes.
struct Renewal<'a> {
    record: &'a Record,
    text: &'a [u8],
    membership: Option<&'a Membership>,
    now: Timestamp,
}

fn renewal(
    client: &Client,
    [from, to]: [&Key; 2],
    [old, dead]: [&[u8]; 2],
    renewal: &Renewal<'_>,
) -> Cmd {
    let Renewal { record, text, membership, now } = *renewal;
    let mut command = scripts::RENEW.call(if membership.is_some() { 4 } else { 2 });
    command.arg(client.names.record(from)).arg(client.names.record(to));
    if let Some(membership) = membership {
        user_set::push_names(&mut command, client, &membership.user);
    }
    command.arg(old).arg(codec::mark_text(&Mark::moved(*to, now))).arg(codec::millis(MARK_EXPIRY));
    command.arg(dead).arg(text).arg(codec::expiry(&record.header, now));
    command.arg(client.names.ends());
    if let Some(membership) = membership {
        membership.push(&mut command, now);
    }
    command
}

pub(super) async fn touch(
    client: &Client,
    key: &Key,
    idle_deadline: Timestamp,
    now: Timestamp,
) -> Result<(), CommitError> {
    let command = |script: &Script| {
        let mut command = script.call(1);
        command.arg(client.names.record(key)).arg(now.as_millis());
        command.arg(idle_deadline.as_millis()).arg(codec::millis(KEPT));
        command
    };
    let script = &scripts::TOUCH;
    for _ in 0..LOOKS_MAX {
        let touched = client.run(Partition::of(key), script, &command(script)).await;
        let found = match touched.map_err(|failure| client.error(failure))? {
            Value::Int(1) => return Ok(()),
            Value::Nil => return Err(CommitError::Gone),
            Value::BulkString(found) => found,
            _ => return Err(strange().into()),
        };
        // A mark, or a record as a person writes it.
        let found_record = match codec::entry(&found, key).map_err(Error::from)? {
            Entry::Record(loaded) if loaded.record.header.key != *key => {
                return Err(strange().into());
            }
            Entry::Record(loaded) if !loaded.record.is_dead(now) => loaded.record,
            _ => return Err(CommitError::Gone),
        };
        let to = idle_deadline.min(found_record.header.absolute_deadline);
        if to <= found_record.header.idle_deadline {
            return Ok(());
        }
        let mut record = Record::clone(&found_record);
        record.header.idle_deadline = to;
        if let Written::Done(_) = write(client, Some(&found), &record, None, now).await? {
            return Ok(());
        }
    }
    Err(contended().into())
}

pub(super) async fn destroy(
    client: &Client,
    key: &Key,
    now: Timestamp,
) -> Result<Destroyed, Error> {
    let script = &scripts::DESTROY;
    let mut command = script.call(1);
    command.arg(client.names.record(key)).arg(codec::mark_text(&Mark::ended(now)));
    command.arg(codec::millis(MARK_EXPIRY)).arg(client.names.ends());
    let destroyed = client.run(Partition::of(key), script, &command).await;
    let found =
        codec::found(destroyed.map_err(|failure| client.error(failure))?).map_err(|_| strange())?;
    let Some(found) = found else { return Ok(Destroyed::Nothing) };
    match codec::entry(&found, key) {
        Ok(Entry::Mark(mark)) => Ok(mark.destroyed(now)),
        // An answer to another call: what became of this one is not known.
        Ok(Entry::Record(other)) if other.record.header.key != *key => Err(strange()),
        Ok(Entry::Record(was)) => {
            user_set::leave(client, &was.record.header, now);
            Ok(Destroyed::Ended)
        }
        // What cannot be read has ended all the same.
        Err(_) => Ok(Destroyed::Ended),
    }
}

/// An answer that none of our commands gives. Whatever did give it may have written.
fn strange() -> Error {
    Error::new(NAME, ErrorKind::Corrupt, Applied::Unknown).with_source(Unreadable::Answer)
}
