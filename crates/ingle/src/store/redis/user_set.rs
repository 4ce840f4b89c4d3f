//! The sets that name the sessions of each user.
//!
//! A user's set has a member for each session, `KEY:TIME:OP`: which one, since when, and by which commit. The
//! record has time and op, too, as `listed`. So a member is named by one record at most, and only by
//! the commit that put it there: when that commit was long ago, and the record does not name it,
//! nothing ever will, and it can be dropped without a look at what others do meanwhile.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{
    codec::{self, SLACK, Unreadable},
    connect::Client,
    error::{Failure, NAME},
    names::Partition,
    scripts,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Header, Record},
    store::{Applied, Error, ErrorKind},
};

/// A commit that put its session into a set so long ago has ended, one way or the other.
const LONG_AGO: Duration = Duration::from_secs(10 * 60);

/// Of a member, where what comes behind the key begins.
const STAMP: usize = 65;

/// The user of a record.
pub(super) fn user_of(header: &Header) -> Option<&str> {
    header.user.as_ref().map(|user| user.name.as_str())
}

/// What a write adds to a user's set.
pub(super) struct Membership {
    pub(super) user: String,
    /// `KEY:TIME:OP`.
    member: String,
    deadline: Timestamp,
}

impl Membership {
    /// What a write must add, unless it is there since an earlier one.
    pub(super) fn of(base: Option<&Header>, record: &Record, now: Timestamp) -> Option<Self> {
        let header = &record.header;
        let name = user_of(header)?;
        let is_there = |base: &Header| base.key == header.key && user_of(base) == Some(name);
        if base.is_some_and(is_there) {
            return None;
        }
        let op = codec::newest_op(&header.ops);
        Some(Self {
            user: name.to_owned(),
            member: format!("{}:{}:{op}", header.key, now.as_millis()),
            deadline: header.absolute_deadline,
        })
    }

    /// What the record remembers of it.
    pub(super) fn stamp(&self) -> &str {
        self.member.get(STAMP..).unwrap_or_default()
    }

    /// The arguments of the function `list` in the scripts.
    pub(super) fn push(&self, command: &mut Cmd, now: Timestamp) {
        let slack = codec::millis(SLACK);
        let dead = now.as_millis().saturating_sub(slack);
        command.arg(&self.member).arg(self.deadline.as_millis()).arg(dead).arg(slack);
    }
}

/// Adds a session to its user's set, on the server that has it.
pub(super) async fn add(
    client: &Client,
    membership: &Membership,
    now: Timestamp,
) -> Result<(), Error> {
    let mut command = scripts::LIST.call(1);
    command.arg(client.names.user(&membership.user)).arg(now.as_millis());
    membership.push(&mut command, now);
    let partition = Partition::of_user(&membership.user);
    match client.run(partition, &scripts::LIST, &command).await {
        Ok(_) => Ok(()),
        // Of the record nothing was sent, and a member without one is nobody's harm.
        Err(Failure::Lost(_)) => {
            let error = Error::new(NAME, ErrorKind::Unavailable, Applied::No);
            Err(error.with_source("the server of the user's set did not answer"))
        }
        Err(failure) => Err(client.error(failure)),
    }
}

/// Takes a session out of its user's set, where it is under this stamp. Should that fail, a list does it.
pub(super) fn remove(client: &Client, key: &Key, user: Option<&str>, stamp: &[u8]) {
    let (Some(user), Ok(stamp)) = (user, std::str::from_utf8(stamp)) else { return };
    let mut command = redis::cmd("ZREM");
    command.arg(client.names.user(user)).arg(format!("{key}:{stamp}"));
    client.tell(Partition::of_user(user), command);
}

/// The members of a user's set.
pub(super) async fn members(client: &Client, user: &str) -> Result<Vec<String>, Error> {
    let mut command = redis::cmd("ZRANGE");
    command.arg(client.names.user(user)).arg(0).arg(-1);
    let answer = client.call(Partition::of_user(user), &command).await;
    let Value::Array(members) = answer.map_err(|failure| client.error(failure))? else {
        return Err(Unreadable::Answer.into());
    };
    let text = |member| match member {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    };
    Ok(members.into_iter().filter_map(text).collect())
}

/// Removes the members of this key but the one that the record names.
pub(super) fn remove_stale(
    client: &Client,
    user: &str,
    key: &Key,
    listed: Option<&str>,
    members: &[String],
    now: Timestamp,
) {
    for member in members.iter().filter(|member| key_of(member) == Some(*key)) {
        let stamp = member.get(STAMP..).unwrap_or_default();
        let since = stamp.split(':').next().and_then(|since| since.parse().ok());
        let since = since.map_or(now, Timestamp::from_millis);
        if listed != Some(stamp) && now.since(since) > LONG_AGO {
            remove(client, key, Some(user), stamp.as_bytes());
        }
    }
}

/// The key of the session that a member is.
pub(super) fn key_of(member: &str) -> Option<Key> {
    member.get(..STAMP - 1)?.parse().ok()
}
