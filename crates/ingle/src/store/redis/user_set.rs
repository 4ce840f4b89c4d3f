//! The sets that name the sessions of each user.
//!
//! A user's set has a member for each session, `KEY:TIME`: which one, and since when. A session joins before it
//! is the user's, each time under a new time. So a member whose session is not the user's can be dropped when
//! its time was long ago: whatever commit put it there has ended, and one that makes the session the user's
//! again puts another one there. It takes no look at what others do meanwhile.

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

/// Of a member, where the time begins.
const TIME: usize = 65;

/// The user of a record.
pub(super) fn user_of(header: &Header) -> Option<&str> {
    header.user.as_ref().map(|user| user.name.as_str())
}

/// What a write adds to a user's set.
pub(super) struct Membership {
    pub(super) user: String,
    /// `KEY:TIME`.
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
        Some(Self {
            user: name.to_owned(),
            member: format!("{}:{}", header.key, now.as_millis()),
            deadline: header.absolute_deadline,
        })
    }

    /// The arguments of the function `list` in the scripts.
    pub(super) fn push(&self, command: &mut Cmd, now: Timestamp) {
        let slack = codec::millis(SLACK);
        let dead = now.as_millis().saturating_sub(slack);
        command
            .arg(now.as_millis())
            .arg(&self.member)
            .arg(self.deadline.as_millis())
            .arg(dead)
            .arg(slack);
    }
}

/// Adds a session to its user's set, on the server that has it.
pub(super) async fn add(
    client: &Client,
    membership: &Membership,
    now: Timestamp,
) -> Result<(), Error> {
    let mut command = scripts::LIST.call(1);
    command.arg(client.names.user(&membership.user));
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

/// Takes a session that has ended, or has left its key for good, out of its user's set. Should that fail, a list
/// does it.
pub(super) fn leave(client: &Client, was: &Header, now: Timestamp) {
    let Some(user) = user_of(was) else { return };
    let mut call = scripts::UNLIST.call(1);
    call.arg(client.names.user(user)).arg(was.absolute_deadline.as_millis());
    call.arg(format!("{}:", was.key)).arg(now.as_millis());
    // With its text, since nobody hears that the server does not know the script.
    client.tell(Partition::of_user(user), scripts::UNLIST.with_text(&call));
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

/// Removes the members of a key whose session is not this user's, unless they are young.
pub(super) fn remove_stale(
    client: &Client,
    user: &str,
    key: &Key,
    members: &[String],
    now: Timestamp,
) {
    for member in members.iter().filter(|member| key_of(member) == Some(*key)) {
        let since = member.get(TIME..).and_then(|since| since.parse().ok());
        let since = since.map_or(now, Timestamp::from_millis);
        if now.since(since) > LONG_AGO {
            let mut command = redis::cmd("ZREM");
            command.arg(client.names.user(user)).arg(member);
            client.tell(Partition::of_user(user), command);
        }
    }
}

/// The key of the session that a member is.
pub(super) fn key_of(member: &str) -> Option<Key> {
    member.get(..TIME - 1)?.parse().ok()
}
