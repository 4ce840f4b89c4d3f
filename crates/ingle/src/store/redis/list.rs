//! Lists: of all records, by looking at all keys, and of a user's, by the user's set.
//!
//! It writes nothing but to drop what a set names in vain, and to mend a set (`mend.rs`).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    connect::Client,
    error::Failure,
    mend::{self, Mends},
    scan::{Found, RECORDS_PER_CALL, load_all, scan},
    user_set::{self, key_of, user_of},
};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    store::{Cursor, Error, Page},
};

/// How many keys are kept from one scan of all of them, for the pages that follow, and how long.
const CACHED_MAX: usize = 64 * 1024;
const CACHED_FOR: Duration = Duration::from_secs(30);

/// Tries what lists need.
pub(super) async fn probe(client: &Client) -> Result<(), Failure> {
    for master in client.masters() {
        master.call(redis::cmd("SCAN").arg(0).arg("COUNT").arg(1)).await?;
    }
    Ok(())
}

/// What the last page of a list has found for the next one.
#[derive(Default)]
pub(super) struct Cache {
    keys: Mutex<Option<Keys>>,
    members: Mutex<Option<Arc<Members>>>,
}

impl Cache {
    /// The members of a user's set behind a key, if they are kept. The first page always reads them anew.
    fn members_behind(&self, user: &str, after: Option<Key>) -> Option<Arc<Members>> {
        let kept = self.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.filter(|kept| after.is_some() && kept.fits(user, after))
    }

    fn keep(&self, members: &Arc<Members>) {
        let mut kept = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Arc::clone(members));
    }
}

/// The members of a user's set behind a key, as they were a moment ago, in the order of their keys.
struct Members {
    user: String,
    read: Instant,
    /// These are all that there are behind this one,
    after: Option<Key>,
    members: Vec<String>,
    /// unless there are more behind the last.
    more: bool,
}

impl Members {
    fn fits(&self, user: &str, after: Option<Key>) -> bool {
        let last = self.members.last().and_then(|member| key_of(member));
        let covered = self.after <= after && (!self.more || last > after);
        self.user == user && covered && self.read.elapsed() < CACHED_FOR
    }

    fn behind(&self, after: Option<Key>) -> &[String] {
        let start = self.members.partition_point(|member| key_of(member) <= after);
        self.members.get(start..).unwrap_or_default()
    }
}

/// The keys behind a place in the list of all, as they were a moment ago.

#[derive(Clone)]
struct Keys {
    scanned: Instant,
    /// These are all that there are behind this one,
    after: Option<Key>,
    keys: Vec<Key>,
    /// unless there are more behind the last.
    more: bool,
}

/// A page of all records.
pub(super) async fn page(
    client: &Client,
    cache: &Cache,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let mut page = Page::default();
    let mut after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
    loop {
        let wanted = limit.saturating_sub(page.len());
        let (keys, more) = keys_behind(client, cache, after, wanted).await?;
        let found = load_all(client, &keys).await?;
        found
            .into_iter()
            .flatten()
            .filter(|found| may_live(found, now))
            .for_each(|found| page.push(found));
        after = keys.last().copied();
        if !more || after.is_none() {
            return Ok(page);
        }
        if page.len() >= limit {
            page.next = after.map(|key| Cursor(key.to_string()));
            return Ok(page);
        }
    }
}

/// A page of one user's records.
pub(super) async fn page_of_user(
    client: &Arc<Client>,
    mends: &Mends,
    cache: &Cache,
    user: &str,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
    let set = match cache.members_behind(user, after) {
        Some(set) => set,
        None => {
            let set = Arc::new(read_members(client, mends, user, after, now).await?);
            if set.members.len() > limit {
                cache.keep(&set);
            }
            set
        }
    };
    let members = set.behind(after);
    let mut keys: Vec<Key> = members.iter().filter_map(|member| key_of(member)).collect();
    keys.dedup();
    let mut page = Page::default();
    let mut rest = keys.as_slice();
    while !rest.is_empty() && page.len() < limit {
        let wanted = (limit - page.len()).min(RECORDS_PER_CALL).min(rest.len());
        let (these, others) = rest.split_at(wanted);
        for (key, found) in these.iter().zip(load_all(client, these).await?) {
            // What cannot be read may be theirs.
            let theirs = found.filter(|found| {
                found.as_ref().is_ok_and(|loaded| user_of(&loaded.record.header) == Some(user))
                    || found.is_err()
            });
            if theirs.is_none() {
                user_set::remove_stale(client, user, key, members, now);
            }
            if let Some(found) = theirs.filter(|found| may_live(found, now)) {
                page.push(found);
            }
        }
        rest = others;
        let last = these.last().filter(|_| set.more || !rest.is_empty());
        page.next = last.map(|key| Cursor(key.to_string()));
    }
    Ok(page)
}

/// The members of a user's set behind a key. A set has no order of keys, so it is read as a whole.
async fn read_members(
    client: &Arc<Client>,
    mends: &Mends,
    user: &str,
    after: Option<Key>,
    now: Timestamp,
) -> Result<Members, Error> {
    let read = Instant::now();
    let mut members = mend::members(client, mends, user, now).await?;
    members.retain(|member| key_of(member).is_some_and(|key| Some(key) > after));
    members.sort_unstable();
    let more = members.len() > CACHED_MAX;
    members.truncate(CACHED_MAX);
    Ok(Members { user: user.to_owned(), read, after, members, more })
}

/// A page of the records whose handles begin so. All keys are looked at, as they are now.
pub(super) async fn page_of_handle(
    client: &Client,
    prefix: &HandlePrefix,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
    let pattern = client.names.records_of(prefix);
    let mut keys = BTreeSet::new();
    for master in client.masters() {
        let mut cursor = 0;
        loop {
            let (next, found) = scan(client, &master, &pattern, cursor).await?;
            keys.extend(found.into_iter().filter(|key| Some(*key) > after));
            // One more than these tells whether there is another page.
            while keys.len() > limit.saturating_add(1) {
                keys.pop_last();
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    let more = keys.len() > limit;
    let keys: Vec<Key> = keys.into_iter().take(limit).collect();
    let found = load_all(client, &keys).await?.into_iter().flatten();
    let last = keys.last().filter(|_| more);
    let mut page = Page { next: last.map(|key| Cursor(key.to_string())), ..Page::default() };
    found.filter(|found| may_live(found, now)).for_each(|found| page.push(found));
    Ok(page)
}

/// Whether a list has it: what cannot be read is not known to be dead.
fn may_live(found: &Found, now: Timestamp) -> bool {
    found.as_ref().map_or(true, |loaded| !loaded.record.is_dead(now))
}

/// The next keys in their order, and whether there are more. To find them all keys have to be
/// scanned, so what is found beyond these is kept for the next page.
async fn keys_behind(
    client: &Client,
    cache: &Cache,
    after: Option<Key>,
    n: usize,
) -> Result<(Vec<Key>, bool), Error> {
    let cached = cache.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let fits = |cached: &Keys| {
        let covered = cached.after < after && (!cached.more || cached.keys.last() > after.as_ref());
        after.is_some() && covered && cached.scanned.elapsed() < CACHED_FOR
    };
    let cached = match cached.filter(fits) {
        Some(cached) => cached,
        None => scan_all(client, cache, after).await?,
    };
    let start = cached.keys.partition_point(|key| Some(*key) <= after);
    let rest = cached.keys.get(start..).unwrap_or_default();
    let keys: Vec<Key> = rest.iter().take(n).copied().collect();
    let more = cached.more || keys.len() < rest.len();
    Ok((keys, more))
}

async fn scan_all(client: &Client, cache: &Cache, after: Option<Key>) -> Result<Keys, Error> {
    let scanned = Instant::now();
    let mut first = BTreeSet::new();
    let mut more = false;
    for master in client.masters() {
        let mut cursor = 0;
        loop {
            let (next, keys) = scan(client, &master, &client.names.records(), cursor).await?;
            first.extend(keys.into_iter().filter(|key| Some(*key) > after));
            while first.len() > CACHED_MAX {
                more = true;
                first.pop_last();
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    let keys = Keys { scanned, after, keys: first.into_iter().collect(), more };
    *cache.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
    Ok(keys)
}
