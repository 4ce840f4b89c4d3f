//! The writes and their conditions, each a script that Redis runs in one step.
//!
//! It knows which script does what, and what its answer says.

use redis::{Cmd, Value};

use super::{
    codec::{self, Entry, SLACK, Unreadable},
    connect::Client,
    error::{Failure, NAME},
    names::Partition,
    scripts::{
        self, Script,
        advance::{self, Advance},
    },
    user_set::{self, Membership, user_of},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Header, Loaded, Record, Version},
    store::{Applied, CommitError, Destroyed, Error, ErrorKind, mark::Mark},
};

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

pub(super) async fn create(
    client: &Client,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let name = client.names.record(&record.header.key);
    let membership = Membership::of(None, record, now);
    let script = &scripts::CREATE;
    let mut command = begin(client, script, &[&name], None, record, membership.as_ref(), now);
    codec::whole(&mut command, record, membership.as_ref().map(Membership::stamp))?;
    match send(client, script, record, membership.as_ref(), &command, now).await? {
        Value::BulkString(_) => Ok(Version(record.header.counter)),
        Value::Int(_) => Err(CommitError::Conflict(None)),
        _ => Err(strange().into()),
    }
}

/// Whether a replace is an [`advance`].
pub(super) fn is_advance(base: &Loaded, record: &Record, now: Timestamp) -> bool {
    advance::is_one(base, record, now)
}

/// The replace that nearly every commit is, on a base that is live.
pub(super) async fn advance(
    client: &Client,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let advance = || Advance::of(&client.names, base, record, now);
    match client.advance(Partition::of(&record.header.key), advance).await? {
        Value::Nil => Ok(Version(record.header.counter)),
        found @ Value::Array(_) => {
            let found = codec::read(found).map_err(Error::from)?.and_then(Entry::record);
            let live = found.filter(|found| !found.record.is_dead(now));
            Err(live.map_or(CommitError::Gone, |newer| CommitError::Conflict(Some(newer))))
        }
        _ => Err(strange().into()),
    }
}

pub(super) async fn replace(
    client: &Client,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let before = &base.record.header;
    let name = client.names.record(&record.header.key);
    let membership = Membership::of(Some(before), record, now);
    let script = &scripts::REPLACE;
    let mut command =
        begin(client, script, &[&name], Some(before), record, membership.as_ref(), now);
    let stamp = membership.as_ref().map(Membership::stamp);
    codec::changed(&mut command, &base.record, record, stamp)?;
    let answer = send(client, script, record, membership.as_ref(), &command, now).await?;
    outcome(client, base, record, answer)
}

pub(super) async fn renew(
    client: &Client,
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<Version, CommitError> {
    let (before, to) = (&base.record.header, record.header.key);
    let names = [client.names.record(&before.key), client.names.record(&to)];
    let membership = Membership::of(Some(before), record, now);
    let script = &scripts::RENEW;
    let keys = names.each_ref().map(String::as_str);
    let mut command = begin(client, script, &keys, Some(before), record, membership.as_ref(), now);
    codec::push_mark(&mut command, &Mark::moved(to, now));
    command.arg(to.to_string());
    codec::whole(&mut command, record, membership.as_ref().map(Membership::stamp))?;
    let answer = send(client, script, record, membership.as_ref(), &command, now).await?;
    outcome(client, base, record, answer)
}

pub(super) async fn touch(
    client: &Client,
    key: &Key,
    idle_deadline: Timestamp,
    now: Timestamp,
) -> Result<(), CommitError> {
    let script = &scripts::TOUCH;
    let mut command = script.call(1);
    command.arg(client.names.record(key)).arg(now.as_millis());
    command.arg(idle_deadline.as_millis()).arg(codec::millis(SLACK));
    let touched = client.run(Partition::of(key), script, &command).await;
    match touched.map_err(|failure| client.error(failure))? {
        Value::Int(1) => Ok(()),
        Value::Int(_) => Err(Error::from(Unreadable::Field("head")).into()),
        Value::Nil => Err(CommitError::Gone),
        _ => Err(strange().into()),
    }
}

pub(super) async fn destroy(
    client: &Client,
    key: &Key,
    now: Timestamp,
) -> Result<Destroyed, Error> {
    let script = &scripts::DESTROY;
    let mut command = script.call(1);
    command.arg(client.names.record(key)).arg(now.as_millis());
    codec::push_mark(&mut command, &Mark::ended(now));
    let destroyed = client.run(Partition::of(key), script, &command).await;
    match destroyed.map_err(|failure| client.error(failure))? {
        Value::Nil => Ok(Destroyed::Done),
        Value::BulkString(to) => Ok(Destroyed::Moved { to: codec::read_key(&to)? }),
        Value::Array(was) => {
            if let [Value::BulkString(user), Value::BulkString(stamp)] = was.as_slice() {
                user_set::remove(client, key, std::str::from_utf8(user).ok(), stamp);
            }
            Ok(Destroyed::Done)
        }
        _ => Err(strange()),
    }
}

/// The beginning of a write: its keys, and what the scripts know by its place.
fn begin(
    client: &Client,
    script: &Script,
    keys: &[&str],
    base: Option<&Header>,
    record: &Record,
    membership: Option<&Membership>,
    now: Timestamp,
) -> Cmd {
    // In a cluster the user's set may be on another server, and is written before.
    let membership = membership.filter(|_| !client.is_cluster());
    let mut command = script.call(keys.len() + usize::from(membership.is_some()));
    keys.iter().for_each(|key| _ = command.arg(key));
    if let Some(membership) = membership {
        command.arg(client.names.user(&membership.user));
    }
    command.arg(now.as_millis()).arg(codec::expiry(&record.header, now));
    match membership {
        Some(membership) => membership.push(&mut command, now),
        None => _ = command.arg("").arg("").arg("").arg(""),
    }
    match base {
        Some(base) => command.arg(codec::condition(base)).arg(codec::epoch(base)),
        None => command.arg("").arg(""),
    };
    command
}

/// Sends a write. In a cluster the session is put into its user's set before: from its first
/// moment on it is found there.
async fn send(
    client: &Client,
    script: &Script,
    record: &Record,
    membership: Option<&Membership>,
    command: &Cmd,
    now: Timestamp,
) -> Result<Value, Error> {
    if let Some(membership) = membership.filter(|_| client.is_cluster()) {
        user_set::add(client, membership, now).await?;
    }
    let answer = client.run(Partition::of(&record.header.key), script, command).await;
    answer.map_err(|failure| client.error(failure))
}

/// What became of a replace or a renew.
fn outcome(
    client: &Client,
    base: &Loaded,
    record: &Record,
    answer: Value,
) -> Result<Version, CommitError> {
    match answer {
        Value::BulkString(stamp) => {
            let (before, after) = (&base.record.header, &record.header);
            if before.key != after.key || user_of(before) != user_of(after) {
                user_set::remove(client, &before.key, user_of(before), &stamp);
            }
            Ok(Version(after.counter))
        }
        Value::Nil => Err(CommitError::Gone),
        Value::Int(_) => Err(CommitError::Conflict(None)),
        newer @ Value::Array(_) => match codec::read(newer).map_err(Error::from)? {
            Some(Entry::Mark(_)) => Err(CommitError::Gone),
            Some(Entry::Record(newer)) => Err(CommitError::Conflict(Some(newer))),
            None => Err(CommitError::Conflict(None)),
        },
        _ => Err(strange().into()),
    }
}

/// An answer that none of our scripts gives. Whatever did give it may have written.
fn strange() -> Error {
    Error::new(NAME, ErrorKind::Corrupt, Applied::Unknown).with_source(Unreadable::Answer)
}
