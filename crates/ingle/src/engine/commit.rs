//! The commit protocol. Each change is made once or not at all, and the caller learns which, even
//! when the answer of the store is lost.
//!
//! Every commit has a random name, its op, which goes into the record with the data. If an answer
//! was lost, the protocol loads the record again and looks for the op. [`attempt`] is the protocol
//! for one write. [`run`] runs the changes again on newer data as often as another commit was
//! faster.
//!
//! This module knows no cookies and no requests. It never guesses: what it cannot find out, it
//! reports as unknown.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    batch::{Batch, Next},
    context::Context,
    events::{Cause, EventKind},
    failure::Failure,
    line::Completed,
    retry::Backoff,
    watch::SessionEnd,
};
use crate::{
    clock::Timestamp,
    id::{Key, SessionId},
    record::{Loaded, OPS_MAX, Op, Record},
    store::{self, Applied, CommitError, Destroyed, ErrorKind, Lookup, Replace, Write},
};

/// The record after a batch.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) loaded: Loaded,
    /// Whether there was anything to write. If not, `loaded` is what the store had.
    pub(crate) written: bool,
    /// When the session was used before.
    pub(crate) last_use: Timestamp,
}

/// Commits a batch of changes to the record under `key`.
pub(crate) async fn run(
    context: &Context,
    key: &Key,
    batch: &mut Batch,
    deadline: Instant,
) -> Result<Done, Failure> {
    let op = Op::random()?;
    let mut rivalry = Backoff::of_rivals();
    let mut base = match context.cached(key) {
        Some(cached) => Base::Cached(cached),
        None => Base::Fresh(Box::pin(context.load_live(key, deadline)).await?),
    };
    loop {
        let (record, line) = match batch.prepare(&context.policy, &base.loaded().record, op)? {
            Next::Write(record, line) => (record, line),
            // On a cached record, "nothing to do" and every refusal may be out of date.
            Next::Nothing => match base {
                Base::Fresh(loaded) => {
                    let last_use = context.policy.last_use(&loaded.record.header);
                    return Ok(Done { loaded, written: false, last_use });
                }
                Base::Cached(_) => {
                    base = Base::Fresh(Box::pin(context.load_live(key, deadline)).await?);
                    continue;
                }
            },
        };
        let line = line.as_ref().map(Completed::write);
        match attempt(context, base.loaded(), &record, line, op, deadline).await? {
            Attempt::Applied(loaded) => {
                if record.header.key != *key {
                    context.watches.tell(key, SessionEnd::Renewed);
                }
                let last_use = context.policy.last_use(&base.loaded().record.header);
                return Ok(Done { loaded, written: true, last_use });
            }
            Attempt::KeyTaken => batch.renew_id(context, key)?,
            Attempt::Moved(newer) => {
                context.client.meter.replay();
                context.cache.note_contention(key);
                base = Base::Fresh(newer);
                if !rivalry.wait(deadline).await {
                    return Err(context
                        .client
                        .too_late("other requests kept changing the record")
                        .into());
                }
            }
        }
    }
}

/// The record that the changes run on.
enum Base {
    /// The cached record. It may only be written on, because the write is conditional on its
    /// version.
    Cached(Loaded),
    /// What the store returned during this commit.
    Fresh(Loaded),
}

impl Base {
    fn loaded(&self) -> &Loaded {
        match self {
            Self::Cached(loaded) | Self::Fresh(loaded) => loaded,
        }
    }
}

/// How one write ended, as far as its caller needs to know.
enum Attempt {
    /// It was made. This is the record after it.
    Applied(Loaded),
    /// It was not made and never will be. This is the newer record.
    Moved(Loaded),
    /// It was not made: the new key of a renew belongs to another record.
    KeyTaken,
}

/// Makes one write, or finds out that it will never be made. If it has a line, the same holds for that.
async fn attempt(
    context: &Context,
    base: &Loaded,
    record: &Arc<Record>,
    line: Option<Replace<'_>>,
    op: Op,
    deadline: Instant,
) -> Result<Attempt, Failure> {
    let renews = record.header.key != base.record.header.key;
    let write =
        if renews { Write::Renew { base, record } } else { Write::Replace { base, record } };
    let mut backoff = Backoff::default();
    // Whether an earlier sending of this very write may have been made, or may still be.
    let mut in_doubt = false;
    context.client.budget.deposit();
    loop {
        let mut newer = None;
        let refused = match context.client.commit(write, line, deadline).await {
            Ok(version) => {
                resolved(context, in_doubt);
                return Ok(Attempt::Applied(Loaded { record: Arc::clone(record), version }));
            }
            // After a resending, this answer can also mean that the first sending was made.
            Err(CommitError::Gone) => None,
            Err(CommitError::Conflict(seen)) => {
                context.client.meter.conflict();
                newer = seen;
                None
            }
            Err(CommitError::Failed(error)) => {
                in_doubt |= error.applied() == Applied::Unknown;
                Some(error)
            }
        };
        if in_doubt || refused.is_none() {
            let sent = Sent { base, record, op, in_doubt };
            match Box::pin(find_out(context, &sent, newer, deadline)).await? {
                Found::Applied(loaded) => {
                    resolved(context, in_doubt);
                    return Ok(Attempt::Applied(loaded));
                }
                Found::Moved(loaded) => {
                    resolved(context, in_doubt);
                    return Ok(Attempt::Moved(loaded));
                }
                Found::Unmoved if !in_doubt && renews => return Ok(Attempt::KeyTaken),
                Found::Unmoved => {}
            }
        }
        // The same write again, under the same condition: only one of the two can be made.
        let why = refused.as_ref().map_or(ErrorKind::Unavailable, store::Error::kind);
        if !context.client.may_try_again(why, &mut backoff, deadline).await {
            return Err(match refused {
                _ if in_doubt => unresolved(context),
                Some(error) => error.into(),
                None => {
                    context.client.too_late("the record neither moved nor took the write").into()
                }
            });
        }
    }
}

/// What the record itself tells about a write.
enum Found {
    /// The op is in the record.
    Applied(Loaded),
    /// The record is as it was before the write.
    Unmoved,
    /// The record moved on without the op, so the condition of the write can never hold again.
    Moved(Loaded),
}

/// A write that was sent, from `base` to `record`.
struct Sent<'a> {
    base: &'a Loaded,
    record: &'a Record,
    op: Op,
    /// Whether it may have been made.
    in_doubt: bool,
}

/// Looks at the record to find out what became of a write.
///
/// Only a write in doubt can have been made. For any other, this only fetches the newer record,
/// unless the store has returned it already.
async fn find_out(
    context: &Context,
    sent: &Sent<'_>,
    newer: Option<Loaded>,
    deadline: Instant,
) -> Result<Found, Failure> {
    let found = look(context, sent, newer, deadline).await;
    match found {
        // Neither the op nor proof of its absence was found.
        Err(_) if sent.in_doubt => Err(unresolved(context)),
        found => found,
    }
}

async fn look(
    context: &Context,
    sent: &Sent<'_>,
    newer: Option<Loaded>,
    deadline: Instant,
) -> Result<Found, Failure> {
    let Sent { base, record, op, in_doubt } = *sent;
    let (from, to) = (&base.record.header.key, &record.header.key);
    let may_be_renewed = in_doubt && from != to;
    if may_be_renewed && let Some(loaded) = with_op(context, to, op, deadline).await? {
        return Ok(Found::Applied(loaded));
    }
    let seen = match newer {
        Some(newer) => Lookup::Live(newer),
        None => context.client.load(from, deadline).await?,
    };
    let loaded = match seen {
        Lookup::Live(loaded) => loaded,
        absent => {
            // A renew may have been made between the two loads.
            let renewed =
                if may_be_renewed { with_op(context, to, op, deadline).await? } else { None };
            return renewed.map(Found::Applied).ok_or(Failure::of_absence(&absent));
        }
    };
    let (before, after) = (&base.record.header, &loaded.record.header);
    let same_life = before.epoch == after.epoch;
    // The op is in the record only if this commit was made. That holds even without a doubt:
    // something between here and the store may have sent the write twice.
    if after.ops.contains(op) {
        return Ok(Found::Applied(loaded));
    }
    if same_life && after.counter < before.counter {
        went_back(context, before.counter, after.counter);
        return if in_doubt { Err(Failure::Unknown) } else { Ok(Found::Moved(loaded)) };
    }
    if same_life && loaded.version == base.version {
        return Ok(Found::Unmoved);
    }
    // The ring remembers only the last commits. Beyond them, the op may have come and gone. A
    // record without our header remembers none: the program that removed the header removed the op,
    // too.
    let remembered =
        same_life && !after.is_foreign() && after.counter - before.counter <= OPS_MAX as u64;
    if in_doubt && !remembered { Err(Failure::Unknown) } else { Ok(Found::Moved(loaded)) }
}

/// The record under `key`, if it carries the op.
async fn with_op(
    context: &Context,
    key: &Key,
    op: Op,
    deadline: Instant,
) -> Result<Option<Loaded>, Failure> {
    let found = context.client.load(key, deadline).await?;
    Ok(found.live().filter(|loaded| loaded.record.header.ops.contains(op)))
}

/// Reports that the store lost commits that it had acknowledged, such as in a Redis failover.
fn went_back(context: &Context, from: u64, to: u64) {
    let store = context.client.name();
    context.client.meter.regression();
    tracing::error!(store, from, to, "a record went back in time: acknowledged commits are lost");
}

/// Creates a record for a session that has none yet, under a new id: this one, if it is free.
///
/// Each attempt has an id of its own. A create whose answer was lost may be made late. It then
/// leaves a record that nobody can reach and that expires. It never brings a session back to life.
///
/// Where the first id has a place among those that its user may have, there is no second one: both records
/// could be there at once. So a create in doubt stays in doubt.
pub(crate) async fn create(
    context: &Context,
    mut record: Record,
    first: SessionId,
    has_place: bool,
    deadline: Instant,
) -> Result<(SessionId, Loaded), Failure> {
    let mut next = Some(first);
    let mut backoff = Backoff::default();
    let op = Op::random()?;
    record.header.ops.push(op);
    context.client.budget.deposit();
    loop {
        let id = next.take().map_or_else(|| context.ids.generate(), Ok)?;
        let key = id.key();
        record.header.key = key;
        let created = Arc::new(record.clone());
        let write = Write::Create { record: &created };
        let error = match context.client.commit(write, None, deadline).await {
            Ok(version) => return Ok((id, Loaded { record: created, version })),
            // The id is taken, which does not happen by chance. Generate another one.
            Err(CommitError::Conflict(_) | CommitError::Gone)
                if !has_place && backoff.wait(deadline).await =>
            {
                continue;
            }
            Err(CommitError::Conflict(_) | CommitError::Gone) => {
                return Err(context.client.too_late("every new id was taken").into());
            }
            Err(CommitError::Failed(error)) => error,
        };
        let in_doubt = error.applied() == Applied::Unknown;
        if in_doubt {
            let found = with_op(context, &key, op, deadline).await;
            if let Some(loaded) = found.map_err(|_| unresolved(context))? {
                resolved(context, true);
                return Ok((id, loaded));
            }
            if has_place {
                return Err(unresolved(context));
            }
        }
        if !context.client.may_try_again(error.kind(), &mut backoff, deadline).await {
            return Err(if in_doubt { unresolved(context) } else { error.into() });
        }
        next = has_place.then_some(id);
    }
}

/// Creates a record under a key that may be taken. None if it is.
///
/// Nobody destroys such a record, so a create that is made late meets another one.
pub(crate) async fn create_at(
    context: &Context,
    record: &Arc<Record>,
    op: Op,
    deadline: Instant,
) -> Result<Option<Loaded>, Failure> {
    let key = &record.header.key;
    let write = Write::Create { record };
    let mut backoff = Backoff::default();
    let mut in_doubt = false;
    context.client.budget.deposit();
    loop {
        let refused = match context.client.commit(write, None, deadline).await {
            Ok(version) => {
                resolved(context, in_doubt);
                return Ok(Some(Loaded { record: Arc::clone(record), version }));
            }
            Err(CommitError::Conflict(_) | CommitError::Gone) => None,
            Err(CommitError::Failed(error)) => {
                in_doubt |= error.applied() == Applied::Unknown;
                Some(error)
            }
        };
        if !in_doubt && refused.is_none() {
            return Ok(None);
        }
        if in_doubt {
            let found = context.client.load(key, deadline).await;
            match found.map_err(|_| unresolved(context))?.live() {
                Some(loaded) if loaded.record.header.ops.contains(op) => {
                    resolved(context, true);
                    return Ok(Some(loaded));
                }
                Some(loaded) if loaded.record.header.counter > OPS_MAX as u64 => {
                    return Err(unresolved(context));
                }
                Some(_) => {
                    resolved(context, true);
                    return Ok(None);
                }
                None => {}
            }
        }
        let why = refused.as_ref().map_or(ErrorKind::Unavailable, store::Error::kind);
        if !context.client.may_try_again(why, &mut backoff, deadline).await {
            return Err(match refused {
                Some(error) if !in_doubt => error.into(),
                _ => unresolved(context),
            });
        }
    }
}

/// How often a session is followed to the key that a renew moved it to.
pub(crate) const MOVES_MAX: usize = 64;

/// Ends a session, also if another request has moved it to a new id. A second destroy of the same
/// session does no harm. Returns whether there was one.
pub(crate) async fn destroy(
    context: &Context,
    key: &Key,
    cause: Cause,
    deadline: Instant,
) -> Result<bool, Failure> {
    destroy_with(context, key, cause, None, deadline).await
}

/// The same, with the line of this act.
pub(crate) async fn destroy_with(
    context: &Context,
    key: &Key,
    cause: Cause,
    line: Option<Replace<'_>>,
    deadline: Instant,
) -> Result<bool, Failure> {
    let mut key = *key;
    for _ in 0..MOVES_MAX {
        let mut told = context.events.open(key);
        let destroyed = destroy_here(context, &key, line, deadline).await;
        let known = context.cache.remove(&key);
        let destroyed = destroyed?;
        match destroyed {
            Destroyed::Moved { to } => {
                key = to;
                continue;
            }
            Destroyed::Ended => {
                let Cause { why, by, user } = cause;
                let known = known.and_then(|known| known.record.header.user.clone());
                let user = user.or(known.map(|user| user.name));
                told.note(user.as_deref(), EventKind::Ended { why, by });
            }
            Destroyed::Nothing => {}
        }
        context.watches.tell(&key, SessionEnd::Ended);
        return Ok(destroyed == Destroyed::Ended);
    }
    Err(context.client.too_late("the session was renewed again and again").into())
}

async fn destroy_here(
    context: &Context,
    key: &Key,
    line: Option<Replace<'_>>,
    deadline: Instant,
) -> Result<Destroyed, Failure> {
    let mut backoff = Backoff::default();
    let mut in_doubt = false;
    context.client.budget.deposit();
    loop {
        let error = match context.client.destroy(key, line, deadline).await {
            // An earlier sending may have ended it.
            Ok(Destroyed::Nothing) if in_doubt => return Ok(Destroyed::Ended),
            Ok(destroyed) => return Ok(destroyed),
            Err(error) => error,
        };
        in_doubt |= error.applied() == Applied::Unknown;
        if !context.client.may_try_again(error.kind(), &mut backoff, deadline).await {
            return Err(if in_doubt { unresolved(context) } else { error.into() });
        }
    }
}

fn resolved(context: &Context, in_doubt: bool) {
    if in_doubt {
        context.client.meter.unknown_resolved();
    }
}

fn unresolved(context: &Context) -> Failure {
    context.client.meter.unknown_unresolved();
    Failure::Unknown
}

#[cfg(test)]
mod tests;
