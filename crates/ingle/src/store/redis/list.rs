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
    scan::{RECORDS_PER_CALL, load_all, scan},
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

/// The keys behind a place in the list of all, as they were a moment ago.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<Keys>>);

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
        let wanted = limit.saturating_sub(page.records.len());
        let (keys, more) = keys_behind(client, cache, after, wanted).await?;
        let found = load_all(client, &keys).await?;
        page.records
            .extend(found.into_iter().flatten().filter(|loaded| !loaded.record.is_dead(now)));
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

/// A page of one user's records.
pub(super) async fn page_of_user(
    client: &Arc<Client>,
    mends: &Mends,
    user: &str,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
    let members = mend::members(client, mends, user, now).await?;
    let mut keys: Vec<Key> = members.iter().filter_map(|member| key_of(member)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| Some(*key) > after);
    let mut page = Page::default();
    let mut rest = keys.as_slice();
    while !rest.is_empty() && page.records.len() < limit {
        let wanted = (limit - page.records.len()).min(RECORDS_PER_CALL).min(rest.len());
        let (these, others) = rest.split_at(wanted);
        for (key, found) in these.iter().zip(load_all(client, these).await?) {
            let theirs =
                found.as_ref().filter(|loaded| user_of(&loaded.record.header) == Some(user));
            if theirs.is_none() {
                user_set::remove_stale(client, user, key, &members, now);
            }
            let live = theirs.filter(|loaded| !loaded.record.is_dead(now));
            page.records.extend(live.cloned());
        }
        rest = others;
        let last = these.last().filter(|_| !rest.is_empty());
        page.next = last.map(|key| Cursor(key.to_string()));
    }
    Ok(page)
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
    let records = found.filter(|loaded| !loaded.record.is_dead(now)).collect();
    let last = keys.last().filter(|_| more);
    Ok(Page { records, next: last.map(|key| Cursor(key.to_string())) })
}

/// The next keys in their order, and whether there are more. To find them all keys have to be
/// scanned, so what is found beyond these is kept for the next page.
async fn keys_behind(
    client: &Client,
    cache: &Cache,
    after: Option<Key>,
    n: usize,
) -> Result<(Vec<Key>, bool), Error> {
    let cached = cache.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
    *cache.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
    Ok(keys)
}
