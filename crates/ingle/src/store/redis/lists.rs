//! Lists: of all records, by looking at all keys, and of a user's, by the set that they have.
//!
//! A user's set has a member for each session, `KEY:TIME:OP`: who came, when, and by which commit. The
//! record has time and op, too, as `listed`. So a member is named by one record at most, and only by
//! the commit that put it there: when that commit was long ago, and the record does not name it,
//! nothing ever will, and it can be dropped without a look at what others do meanwhile.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{Cmd, Value};

use super::{
    NAME, Redis, SLACK,
    failure::Failure,
    hash::{self, Unreadable},
    node::Node,
    place::Partition,
    servers::Servers,
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Header, Loaded, Record},
    store::{Applied, Cursor, Error, ErrorKind, Page},
};

/// A commit that put its session into a set so long ago has ended, one way or the other.
const LONG_AGO: Duration = Duration::from_secs(10 * 60);

/// How many keys a server looks at before it serves others.
const KEYS_PER_LOOK: usize = 1000;

/// How many keys are kept from one look at all of them, for the pages that follow, and how long.
const KNOWN_MAX: usize = 64 * 1024;
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// How many records are read at a time.
const RECORDS_PER_CALL: usize = 100;

/// The list that a write puts its session into.
pub(super) struct Listing {
    pub(super) user: String,
    /// `KEY:TIME:OP`.
    member: String,
    deadline: Timestamp,
}

/// Of a member, where what comes behind the key begins.
const STAMP: usize = 65;

impl Listing {
    /// What a write must put the session into, unless it is there since an earlier one.
    pub(super) fn of(base: Option<&Header>, record: &Record, now: Timestamp) -> Option<Self> {
        let header = &record.header;
        let name = super::name(header)?;
        let is_there = |base: &Header| base.key == header.key && super::name(base) == Some(name);
        if base.is_some_and(is_there) {
            return None;
        }
        let op = hash::newest_op(&header.ops);
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
    pub(super) fn arguments(&self, command: &mut Cmd, now: Timestamp) {
        let slack = hash::millis(SLACK);
        let dead = now.as_millis().saturating_sub(slack);
        command.arg(&self.member).arg(self.deadline.as_millis()).arg(dead).arg(slack);
    }
}

/// Tries what lists need.
pub(super) async fn probe(servers: &Servers) -> Result<(), Failure> {
    for master in servers.masters() {
        let link = master.link().await.map_err(Failure::NotSent)?;
        link.call(redis::cmd("SCAN").arg(0).arg("COUNT").arg(1)).await?;
    }
    Ok(())
}

/// The keys behind a place in the list of all, as they were a moment ago.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<Keys>>);

#[derive(Clone)]
struct Keys {
    looked: Instant,
    /// These are all that there are behind this one,
    after: Option<Key>,
    keys: Vec<Key>,
    /// unless there are more behind the last.
    more: bool,
}

impl Redis {
    /// Puts a session into its user's set, on the server that has it.
    pub(super) async fn list_before(&self, listing: &Listing, now: Timestamp) -> Result<(), Error> {
        let script = &self.0.scripts.list;
        let mut command = script.call(1);
        command.arg(self.0.place.user(&listing.user)).arg(now.as_millis());
        listing.arguments(&mut command, now);
        let listed = self.run(Partition::of_user(&listing.user), script, &command).await;
        match listed {
            Ok(_) => Ok(()),
            // Of the record nothing was sent, and a member without one is nobody's harm.
            Err(Failure::Lost(_)) => {
                let error = Error::new(NAME, ErrorKind::Unavailable, Applied::No);
                Err(error.with_source("the server of the user's set did not answer"))
            }
            Err(failure) => Err(self.told(failure)),
        }
    }

    /// Takes what a session was listed as out of its user's set. Should that fail, a list does it.
    pub(super) fn unlist(&self, key: &Key, user: Option<&str>, stamp: &[u8]) {
        let (Some(user), Ok(stamp)) = (user, std::str::from_utf8(stamp)) else { return };
        let mut command = redis::cmd("ZREM");
        command.arg(self.0.place.user(user)).arg(format!("{key}:{stamp}"));
        self.0.servers.tell(Partition::of_user(user), command);
    }

    pub(super) async fn page(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        let mut after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        loop {
            let wanted = limit.saturating_sub(page.records.len());
            let (keys, more) = self.keys_behind(after, wanted).await?;
            let found = self.load_all(&keys).await?;
            let live = found.into_iter().flatten().map(|(loaded, _)| loaded);
            page.records.extend(live.filter(|loaded| !loaded.record.is_dead(now)));
            after = keys.last().copied();
            if !more || after.is_none() {
                return Ok(page);
            }
            if page.records.len() >= limit {
                page.next = after.map(|key| Cursor(key.to_string()));
                return Ok(page);
            }
        }
    }

    /// The next keys in their order, and whether there are more. To find them all keys have to be
    /// looked at, so what is found beyond these is kept for the next page.
    async fn keys_behind(&self, after: Option<Key>, n: usize) -> Result<(Vec<Key>, bool), Error> {
        let known = self.0.lists.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fits = |known: &Keys| {
            let covered =
                known.after < after && (!known.more || known.keys.last() > after.as_ref());
            after.is_some() && covered && known.looked.elapsed() < KNOWN_FOR
        };
        let known = match known.filter(fits) {
            Some(known) => known,
            None => self.look(after).await?,
        };
        let start = known.keys.partition_point(|key| Some(*key) <= after);
        let rest = known.keys.get(start..).unwrap_or_default();
        let keys: Vec<Key> = rest.iter().take(n).copied().collect();
        let more = known.more || keys.len() < rest.len();
        Ok((keys, more))
    }

    /// Looks at all keys.
    async fn look(&self, after: Option<Key>) -> Result<Keys, Error> {
        let looked = Instant::now();
        let mut first = BTreeSet::new();
        let mut more = false;
        for master in self.0.servers.masters() {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.scan(&master, cursor).await?;
                first.extend(keys.into_iter().filter(|key| Some(*key) > after));
                while first.len() > KNOWN_MAX {
                    more = true;
                    first.pop_last();
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        let keys = Keys { looked, after, keys: first.into_iter().collect(), more };
        *self.0.lists.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }

    async fn scan(
        &self,
        master: &std::sync::Arc<Node>,
        cursor: u64,
    ) -> Result<(u64, Vec<Key>), Error> {
        let place = &self.0.place;
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(place.records()).arg("COUNT").arg(KEYS_PER_LOOK);
        let link = master.link().await.map_err(|error| self.told(Failure::NotSent(error)))?;
        let answer = link.call(&command).await.map_err(|failure| self.told(failure))?;
        let Value::Array(answer) = answer else { return Err(Unreadable::Answer.into()) };
        let [Value::BulkString(next), Value::Array(names)] = answer.as_slice() else {
            return Err(Unreadable::Answer.into());
        };
        let next = std::str::from_utf8(next).ok().and_then(|next| next.parse().ok());
        let keys = names.iter().filter_map(|name| match name {
            Value::BulkString(name) => place.key(name),
            _ => None,
        });
        Ok((next.ok_or(Unreadable::Answer)?, keys.collect()))
    }

    /// The records under these keys, with what they remember of their lists, dead ones too.
    async fn load_all(&self, keys: &[Key]) -> Result<Vec<Option<(Loaded, Option<String>)>>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(RECORDS_PER_CALL) {
            let command = |key| {
                let mut command = hash::load(&self.0.place, key);
                command.arg("listed");
                (Partition::of(key), command)
            };
            let answers = self.0.servers.call_all(keys.iter().map(command).collect()).await;
            for answer in answers.map_err(|failure| self.told(failure))? {
                found.push(hash::read_listed(answer)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn page_of_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
        let members = self.members(user).await?;
        let mut keys: Vec<Key> = members.iter().filter_map(|member| key_of(member)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| Some(*key) > after);
        let mut page = Page::default();
        let mut rest = keys.as_slice();
        while !rest.is_empty() && page.records.len() < limit {
            let wanted = (limit - page.records.len()).min(RECORDS_PER_CALL).min(rest.len());
            let (these, others) = rest.split_at(wanted);
            for (key, found) in these.iter().zip(self.load_all(these).await?) {
                let listed = found.as_ref().and_then(|(_, listed)| listed.as_deref());
                let theirs = found.as_ref().filter(|(loaded, _)| is_of(loaded, user));
                let listed = theirs.and(listed);
                self.drop_stale(user, key, listed, &members, now);
                let live = theirs.filter(|(loaded, _)| !loaded.record.is_dead(now));
                page.records.extend(live.map(|(loaded, _)| loaded.clone()));
            }
            rest = others;
            if !rest.is_empty() {
                page.next = these.last().map(|key| Cursor(key.to_string()));
            } else {
                page.next = None;
            }
        }
        Ok(page)
    }

    async fn members(&self, user: &str) -> Result<Vec<String>, Error> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.0.place.user(user)).arg(0).arg(-1);
        let answer = self.0.servers.call(Partition::of_user(user), &command).await;
        let Value::Array(members) = answer.map_err(|failure| self.told(failure))? else {
            return Err(Unreadable::Answer.into());
        };
        let text = |member| match member {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        Ok(members.into_iter().filter_map(text).collect())
    }

    /// Drops the members of this key but the one that the record names.
    fn drop_stale(
        &self,
        user: &str,
        key: &Key,
        listed: Option<&str>,
        members: &[String],
        now: Timestamp,
    ) {
        for member in members.iter().filter(|member| key_of(member) == Some(*key)) {
            let stamp = member.get(STAMP..).unwrap_or_default();
            let came = stamp.split(':').next().and_then(|came| came.parse().ok());
            let came = came.map_or(now, Timestamp::from_millis);
            if listed != Some(stamp) && now.since(came) > LONG_AGO {
                self.unlist(key, Some(user), stamp.as_bytes());
            }
        }
    }
}

fn is_of(loaded: &Loaded, user: &str) -> bool {
    super::name(&loaded.record.header) == Some(user)
}

fn key_of(member: &str) -> Option<Key> {
    member.get(..STAMP - 1)?.parse().ok()
}
