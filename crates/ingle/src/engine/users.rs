//! The record that is kept of a user, and the ends of all their sessions.
//!
//! It is a record like any session's. Its key follows from the namespace and the user's name. Most users
//! have none: a record that is not there says what an empty one says.
//!
//! All sessions of a user end by a new generation. A login writes down the generation that it found,
//! and looks again when its session is stored. So it sees the new generation, or the end of all
//! sessions sees its session.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{task::JoinSet, time::Instant};

use super::{
    account::{Account, Ended},
    batch::Item,
    change::{Change, Copy},
    client::{Listing, Of},
    coalesce::{self, Coalescer},
    commit,
    context::Context,
    events::{Cause, EndReason, EndedBy},
    failure::Failure,
    retry::Backoff,
};
use crate::{
    clock::Timestamp,
    data::Data,
    detach::DetachHandle,
    id::Key,
    record::{Header, Op, Record, User},
    store::{Applied, Error, ErrorKind, Lookup},
};

/// How many sessions are ended at once.
const ENDS_MAX: usize = 16;

fn damaged(context: &Context) -> Failure {
    let error = Error::new(context.client.name(), ErrorKind::Corrupt, Applied::No);
    error.with_source("what is kept of a user is not as it was written").into()
}

/// The app's limits leave no room for what is kept of a user.
fn no_room(context: &Context) -> Failure {
    let error = Error::new(context.client.name(), ErrorKind::TooLarge, Applied::No);
    error.with_source("what is kept of a user does not fit into the limits of the layer").into()
}

/// Reads what is kept of the user under `key`.
pub(crate) async fn load(
    context: &Context,
    key: &Key,
    deadline: Instant,
) -> Result<Account, Failure> {
    let Some(loaded) = context.client.load(key, deadline).await?.live() else {
        return Ok(Account::default());
    };
    Account::of(&loaded.record.data).ok_or_else(|| damaged(context))
}

/// What is under a session's key. Where the store cannot list the sessions of a user, the end of all of
/// them is found here.
pub(crate) async fn look_up(
    context: &Context,
    key: &Key,
    deadline: Instant,
) -> Result<Lookup, Failure> {
    let found = context.client.load(key, deadline).await?;
    if let Lookup::Live(loaded) = &found
        && !context.client.lists_by_user()
        && let Some(user) = &loaded.record.header.user
        && !is_present(context, key, user, deadline).await?
    {
        commit::destroy(context, key, Cause::found(user), deadline).await?;
        return Ok(Lookup::Ended);
    }
    Ok(found)
}

/// Whether the user's session under `key` has not been ended with the others of its generation.
pub(crate) async fn is_present(
    context: &Context,
    key: &Key,
    user: &User,
    deadline: Instant,
) -> Result<bool, Failure> {
    let Some(account) = context.ids.key_of_user(&user.name) else { return Ok(true) };
    Ok(load(context, &account, deadline).await?.is_present(key, user.generation))
}

/// The same of a session that was stored under the key `to`. It was the user's before under the key `from`, if
/// there is one.
pub(crate) async fn admit(
    coalescer: &Arc<Coalescer>,
    user: &User,
    from: Option<Key>,
    to: Key,
    deadline: Instant,
    handle: &DetachHandle,
) -> Result<bool, Failure> {
    let context = &coalescer.context;
    let Some(account) = context.ids.key_of_user(&user.name) else { return Ok(true) };
    let generation = user.generation;
    let mut found = load(context, &account, deadline).await?;
    // Nearly always nothing changes, and to look is enough.
    if !found.admits(from.as_ref(), &to, generation) || found.spared != Some(to) {
        return Ok(found.generation <= generation);
    }
    let admit = move |account: &mut Account| account.admits(from.as_ref(), &to, generation);
    update(coalescer, account, deadline, handle, admit).await
}

/// Changes what is kept of the user under `key`, exactly once, and returns what `change` returned.
pub(crate) async fn update<R: Send + 'static>(
    coalescer: &Arc<Coalescer>,
    key: Key,
    deadline: Instant,
    handle: &DetachHandle,
    mut change: impl FnMut(&mut Account) -> R + Send + 'static,
) -> Result<R, Failure> {
    let context = &coalescer.context;
    let returned = Arc::new(Mutex::new(None));
    let last = Arc::clone(&returned);
    let mut change: Change = Box::new(move |draft| {
        let mut account = Account::of(&draft.data());
        let done = account.as_mut().map(&mut change);
        if let Some(account) = account {
            account.write(draft);
        }
        *last.lock().unwrap_or_else(PoisonError::into_inner) = done;
        Ok(())
    });
    let returned = || {
        let last = returned.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.ok_or_else(|| damaged(context))
    };
    let mut rivalry = Backoff::of_rivals();
    loop {
        let item = Item::new(change, None);
        let outcome = coalesce::submit(coalescer, key, item, deadline, handle).await;
        match (outcome.result, outcome.item.verdict) {
            (Ok(_), Ok(())) => return returned(),
            (Ok(_), Err(_)) => return Err(no_room(context)),
            (Err(Failure::Missing | Failure::Ended), _) => change = outcome.item.change,
            (Err(failure), _) => return Err(failure),
        }
        let empty = Data::new();
        let mut copy = Copy::of(&empty);
        copy.apply(&mut change, &context.policy.limits).map_err(|_| no_room(context))?;
        let Some(data) = copy.into_changed() else { return returned() };
        let op = Op::random()?;
        let record: Arc<Record> = context.policy.record_of_user(key, op, data)?.into();
        if commit::create_at(context, &record, op, deadline).await?.is_some() {
            return returned();
        }
        // Another login was faster.
        if !rivalry.wait(deadline).await {
            let error = context.client.too_late("other requests kept changing the user's record");
            return Err(error.into());
        }
    }
}

/// Ends the sessions of a user that are of an older generation than this one, but for the one that is spared,
/// and returns how many there were.
///
/// A session that another request renews meanwhile may be on none of the pages of one pass. Then that
/// request sees the new generation.
pub(crate) async fn end_older(
    coalescer: &Arc<Coalescer>,
    user: &str,
    ended: Ended,
    by: &EndedBy,
) -> Result<usize, Failure> {
    let cause = Cause::new(EndReason::AllOfUser, by.clone(), Some(user));
    let is_to_end = |header: &Header| {
        let is_older = header.user.as_ref().is_some_and(|user| user.generation < ended.generation);
        is_older && ended.spared != Some(header.key)
    };
    end_listed(coalescer, Of::User(user), is_to_end, &cause).await
}

/// Ends all sessions that had begun by an instant, and returns how many there were.
///
/// One that another request renews meanwhile may be on none of the pages of the last pass.
pub(crate) async fn end_begun(
    coalescer: &Arc<Coalescer>,
    until: Timestamp,
    by: EndedBy,
) -> Result<usize, Failure> {
    let cause = Cause::new(EndReason::All, by, None);
    let has_begun = |header: &Header| header.key.is_of_session() && header.created <= until;
    end_listed(coalescer, Of::All, has_begun, &cause).await
}

/// Goes through the pages of a list, again and again, until none has a session that is to end.
async fn end_listed(
    coalescer: &Arc<Coalescer>,
    of: Of<'_>,
    is_to_end: impl Fn(&Header) -> bool + Send,
    cause: &Cause,
) -> Result<usize, Failure> {
    let mut ended = 0;
    loop {
        let mut found = 0;
        let mut after = None;
        loop {
            let page = {
                let Context { client, policy, .. } = &coalescer.context;
                let listing = Listing::new(of).after(after.as_ref());
                client.list(&listing, policy.deadline()).await?
            };
            let headers = page.records.iter().map(|loaded| &loaded.record.header);
            let to_end = headers.filter(|header| is_to_end(header)).map(|header| header.key);
            // What cannot be read here may live in an instance of a newer version.
            let damaged = page.damaged.iter().map(|damaged| damaged.key);
            let to_end: Vec<Key> = to_end.chain(damaged.filter(Key::is_of_session)).collect();
            found += to_end.len();
            ended += end(coalescer, to_end, cause).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if found == 0 {
            return Ok(ended);
        }
    }
}

/// Ends these sessions, some of them at a time, and returns how many had not ended before.
async fn end(coalescer: &Arc<Coalescer>, keys: Vec<Key>, cause: &Cause) -> Result<usize, Failure> {
    let (mut keys, mut under_way) = (keys.into_iter(), JoinSet::new());
    let (mut ended, mut failed) = (0, None);
    loop {
        while under_way.len() < ENDS_MAX
            && let Some(key) = keys.next()
        {
            let (coalescer, cause) = (Arc::clone(coalescer), cause.clone());
            under_way.spawn(async move {
                let context = &coalescer.context;
                commit::destroy(context, &key, cause, context.policy.deadline()).await
            });
        }
        match under_way.join_next().await {
            None => return failed.map_or(Ok(ended), Err),
            Some(Ok(Ok(was_live))) => ended += usize::from(was_live),
            // The others end all the same.
            Some(Ok(Err(failure))) => failed = failed.or(Some(failure)),
            Some(Err(_)) => failed = failed.or(Some(Failure::Unknown)),
        }
    }
}

#[cfg(test)]
mod tests;
