//! The sets that name the sessions of each user, and how many members each has.
//!
//! A user's set has a member for each session, `KEY:TIME`: which one, and since when. A session joins before it
//! is the user's, each time under a new time. So a member whose session is not the user's can be dropped when
//! its time was long ago: whatever commit put it there has ended, and one that makes the session the user's
//! again puts another one there. It takes no look at what others do meanwhile.
//!
//! Beside each set is its size, which every script moves that moves a member, in the same step and on the same
//! server. So what a person removes from a set, or adds, or deletes, is seen when the set is next read, and
//! `mend.rs` makes the set anew. Both keys expire at the same instant, and a size that is not there is zero:
//! a user without a session has neither key. A session that ends where its member is missing changes neither,
//! so the difference stays until it is mended.

use std::{collections::BTreeSet, time::Duration};

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

/// The names of a user's set and of its size, as scripts take them.
pub(super) fn push_names(command: &mut Cmd, client: &Client, user: &str) {
    command.arg(client.names.user(user)).arg(client.names.size(user));
}

/// A session that joins now, as a member.
fn member(key: &Key, now: Timestamp) -> String {
    format!("{key}:{}", now.as_millis())
}

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
            member: member(&header.key, now),
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
    let mut command = scripts::LIST.call(2);
    push_names(&mut command, client, &membership.user);
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
    let mut call = scripts::UNLIST.call(2);
    push_names(&mut call, client, user);
    call.arg(was.absolute_deadline.as_millis());
    call.arg(format!("{}:", was.key)).arg(now.as_millis());
    // With its text, since nobody hears that the server does not know the script.
    client.tell(Partition::of_user(user), scripts::UNLIST.with_text(&call));
}

/// A user's set, as it is.
pub(super) struct UserSet {
    pub(super) members: Vec<String>,
    /// How many more members it should have than it has.
    pub(super) lacks: i64,
}

pub(super) async fn read(client: &Client, user: &str) -> Result<UserSet, Error> {
    let mut command = scripts::READ_LIST.call(2);
    push_names(&mut command, client, user);
    let answer = client.run(Partition::of_user(user), &scripts::READ_LIST, &command).await;
    let answer = answer.map_err(|failure| client.error(failure))?;
    let Value::Array(answer) = answer else { return Err(Unreadable::Answer.into()) };
    let [Value::Int(size), Value::Array(members)] = answer.as_slice() else {
        return Err(Unreadable::Answer.into());
    };
    let lacks = i64::try_from(members.len()).map_or(i64::MIN, |members| size - members);
    let text = |member: &Value| match member {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    Ok(UserSet { members: members.iter().filter_map(text).collect(), lacks })
}

/// Puts these sessions into a user's set where they are missing, and counts its members anew. It does nothing
/// if somebody has changed the set by hand since it was read.
pub(super) async fn mend(
    client: &Client,
    user: &str,
    set: &UserSet,
    sessions: &[Header],
    now: Timestamp,
) -> Result<(), Error> {
    let mut command = scripts::MEND_LIST.call(2);
    push_names(&mut command, client, user);
    command.arg(now.as_millis()).arg(codec::millis(SLACK)).arg(set.lacks);
    let listed: BTreeSet<Key> = set.members.iter().filter_map(|member| key_of(member)).collect();
    for header in sessions.iter().filter(|header| !listed.contains(&header.key)) {
        command.arg(header.absolute_deadline.as_millis()).arg(member(&header.key, now));
    }
    let mended = client.run(Partition::of_user(user), &scripts::MEND_LIST, &command).await;
    mended.map(drop).map_err(|failure| client.error(failure))
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
            let mut call = scripts::UNLIST_MEMBER.call(2);
            push_names(&mut call, client, user);
            call.arg(member);
            client.tell(Partition::of_user(user), scripts::UNLIST_MEMBER.with_text(&call));
        }
    }
}

/// The key of the session that a member is.
pub(super) fn key_of(member: &str) -> Option<Key> {
    member.get(..TIME - 1)?.parse().ok()
}
