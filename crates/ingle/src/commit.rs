//! The commit protocol: each change is made once or not at all, and the caller learns which, even
//! when the answer of the store is lost.
//!
//! Every commit has a random name, its op, that goes into the record with the data. Whoever lost an
//! answer loads the record again and looks for the op. [`attempt`] is the protocol for one write;
//! [`run`] runs the changes again on newer data as often as another commit was faster.
//!
//! This module knows no cookies and no requests. It never guesses: what cannot be found out is
//! reported as unknown.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    batch::{Batch, Next},
    core::Core,
    guard::Backoff,
    id::{Key, NoRandomness, SessionId},
    planted::Bug,
    record::{Loaded, OPS_MAX, Op, Record, Version},
    store::{self, CommitError, ErrorKind, Happened, Write},
};

/// Why no commit was made, as far as all the changes in it are concerned.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// There is no live record. Nothing was changed.
    Gone,
    /// The store failed. Nothing was changed.
    Store(Arc<store::Error>),
    /// It cannot be found out any more whether the commit was made.
    Unknown,
    /// No op could be drawn. Nothing was changed.
    NoRandomness(Arc<NoRandomness>),
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<NoRandomness> for Failure {
    fn from(error: NoRandomness) -> Self {
        Self::NoRandomness(Arc::new(error))
    }
}

/// Where a batch left the record.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) loaded: Loaded,
    /// Whether there was anything to write. If not, `loaded` is what the store had.
    pub(crate) written: bool,
}

/// Commits a batch of changes to the record under `key`.
pub(crate) async fn run(
    core: &Core,
    key: &Key,
    batch: &mut Batch,
    deadline: Instant,
) -> Result<Done, Failure> {
    let op = Op::random()?;
    let mut rivalry = Backoff::of_rivals();
    let mut base = match core.hint(key) {
        Some(hint) => Base::Hint(hint),
        None => Base::Fresh(Box::pin(core.load_live(key, deadline)).await?),
    };
    loop {
        let record = match batch.run(core, &base.loaded().record, op)? {
            Next::Write(record) => record,
            // On a hint, "nothing to do" and every refusal are only as good as the hint.
            Next::Nothing => match base {
                Base::Fresh(loaded) => return Ok(Done { loaded, written: false }),
                Base::Hint(_) => {
                    base = Base::Fresh(Box::pin(core.load_live(key, deadline)).await?);
                    continue;
                }
            },
        };
        match attempt(core, base.loaded(), &record, op, deadline).await? {
            Attempt::Applied(loaded) => return Ok(Done { loaded, written: true }),
            Attempt::KeyTaken => batch.draw_again(core, key)?,
            Attempt::Moved(newer) => {
                core.guard.meter.replay();
                core.note_crowd(key);
                base = Base::Fresh(newer);
                if !rivalry.wait(deadline).await {
                    return Err(core.too_late("other requests kept changing the record").into());
                }
            }
        }
    }
}

/// What the changes are run on.
enum Base {
    /// What this process last knew of the record. Good enough to write on, since the write is
    /// conditional on its version, and for nothing else.
    Hint(Loaded),
    /// What the store said during this commit.
    Fresh(Loaded),
}

impl Base {
    fn loaded(&self) -> &Loaded {
        match self {
            Self::Hint(loaded) | Self::Fresh(loaded) => loaded,
        }
    }
}

/// How one write ended, as far as its caller must go on from there.
enum Attempt {
    /// It was made; this is the record since.
    Applied(Loaded),
    /// It was not made and never will be; this is the newer record.
    Moved(Loaded),
    /// It was not made: the new key of a renew belongs to another record.
    KeyTaken,
}

/// Makes one write, or finds out that it never will be made.
async fn attempt(
    core: &Core,
    base: &Loaded,
    record: &Arc<Record>,
    op: Op,
    deadline: Instant,
) -> Result<Attempt, Failure> {
    let renews = record.header.key != base.record.header.key;
    if renews {
        core.ending(&base.record.header.key, deadline);
    }
    let mut backoff = Backoff::default();
    // Whether this very write may have been made already, or may still be, by an earlier sending.
    let mut in_doubt = false;
    core.budget.deposit();
    loop {
        let write = match renews {
            true if Bug::OldIdEndsLate.is_planted() => Write::Create { record },
            true => Write::Renew { base, record },
            false => Write::Replace { base, record },
        };
        let mut newer = None;
        let refused = match core.guard.commit(write, core.clock.now(), deadline).await {
            Ok(version) => {
                resolved(core, in_doubt);
                return Ok(Attempt::Applied(Loaded { record: Arc::clone(record), version }));
            }
            Err(CommitError::Gone) if !in_doubt => {
                core.not_ending(&base.record.header.key, deadline);
                return Err(Failure::Gone);
            }
            // A conflict that answers a resending can mean that the first sending won.
            Err(conflict @ (CommitError::Gone | CommitError::Conflict(_))) => {
                core.guard.meter.conflict();
                if let CommitError::Conflict(seen) = conflict {
                    newer = seen;
                }
                None
            }
            Err(CommitError::Failed(error)) => {
                in_doubt |= error.happened() == Happened::Maybe;
                Some(error)
            }
        };
        if in_doubt || refused.is_none() {
            let sent = Sent { base, record, op, in_doubt };
            match Box::pin(find_out(core, &sent, newer, deadline)).await? {
                Found::Applied(loaded) => {
                    resolved(core, in_doubt);
                    return Ok(Attempt::Applied(loaded));
                }
                Found::Moved(loaded) => {
                    resolved(core, in_doubt);
                    return Ok(Attempt::Moved(loaded));
                }
                Found::Unmoved if !in_doubt && renews => return Ok(Attempt::KeyTaken),
                Found::Unmoved => {}
            }
        }
        // The same write again, under the same condition: only one of the two can be made.
        let why = refused.as_ref().map_or(ErrorKind::Unavailable, store::Error::kind);
        if !core.may_try_again(why, &mut backoff, deadline).await {
            return Err(match refused {
                _ if in_doubt => unresolved(core),
                Some(error) => error.into(),
                None => core.too_late("the record neither moved nor took the write").into(),
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
    /// The record moved on without the op, so that the write's condition can never hold again.
    Moved(Loaded),
}

/// A write that was sent, from `base` to `record`.
struct Sent<'a> {
    base: &'a Loaded,
    record: &'a Record,
    op: Op,
    /// Whether it can have been made.
    in_doubt: bool,
}

/// Looks at the record to find out what became of a write.
///
/// Only a write in doubt can have been made; otherwise this merely fetches the newer record, if the
/// store has not given it along.
async fn find_out(
    core: &Core,
    sent: &Sent<'_>,
    newer: Option<Loaded>,
    deadline: Instant,
) -> Result<Found, Failure> {
    let found = look(core, sent, newer, deadline).await;
    match found {
        // Neither the op nor proof of its absence was to be had.
        Err(_) if sent.in_doubt => Err(unresolved(core)),
        found => found,
    }
}

async fn look(
    core: &Core,
    sent: &Sent<'_>,
    newer: Option<Loaded>,
    deadline: Instant,
) -> Result<Found, Failure> {
    let Sent { base, record, op, in_doubt } = *sent;
    let (from, to) = (&base.record.header.key, &record.header.key);
    let may_be_renewed = in_doubt && from != to;
    if may_be_renewed && let Some(loaded) = with_op(core, to, op, deadline).await? {
        return Ok(Found::Applied(loaded));
    }
    let seen = match newer {
        Some(newer) => Some(newer),
        None => match core.load_patiently(from, deadline).await {
            // Perhaps by this very renew.
            Err(Failure::Store(error)) if error.kind() == ErrorKind::Moved => None,
            loaded => loaded?,
        },
    };
    let Some(loaded) = seen else {
        // A renew may have been made between the two loads.
        let renewed = if may_be_renewed { with_op(core, to, op, deadline).await? } else { None };
        return renewed.map(Found::Applied).ok_or(Failure::Gone);
    };
    let (before, after) = (&base.record.header, &loaded.record.header);
    let same_life = before.epoch == after.epoch;
    // The op is in the record only if this commit was made, also where nobody doubted that it was
    // not: something between here and the store may have sent it twice.
    if after.ops.contains(op) {
        return Ok(Found::Applied(loaded));
    }
    if same_life && after.counter < before.counter {
        went_back(core, before.counter, after.counter);
        return if in_doubt { Err(Failure::Unknown) } else { Ok(Found::Moved(loaded)) };
    }
    if same_life && loaded.version == base.version {
        return Ok(Found::Unmoved);
    }
    // The ring tells of the last commits only; beyond them the op may have come and gone. And a
    // record without our header remembers none: who took the header away took the op along.
    let remembered =
        same_life && !after.is_foreign() && after.counter - before.counter <= OPS_MAX as u64;
    if in_doubt && !remembered { Err(Failure::Unknown) } else { Ok(Found::Moved(loaded)) }
}

/// The record under `key`, if it carries the op.
async fn with_op(
    core: &Core,
    key: &Key,
    op: Op,
    deadline: Instant,
) -> Result<Option<Loaded>, Failure> {
    let loaded = core.load_patiently(key, deadline).await?;
    Ok(loaded.filter(|loaded| loaded.record.header.ops.contains(op)))
}

/// Reports that the store lost commits that it had acknowledged, such as in a Redis failover.
fn went_back(core: &Core, from: u64, to: u64) {
    let store = core.guard.name();
    core.guard.meter.regression();
    tracing::error!(store, from, to, "a record went back in time: acknowledged commits are lost");
}

/// Creates a record for a session that has none yet, under a new id.
///
/// Each attempt has an id of its own. So a create whose answer was lost, and which is made late, is
/// a record that nobody can reach and that expires, and never a session that comes back to life.
pub(crate) async fn create(
    core: &Core,
    mut record: Record,
    deadline: Instant,
) -> Result<(SessionId, Loaded), Failure> {
    let mut backoff = Backoff::default();
    let op = Op::random()?;
    record.header.ops.push(op);
    core.budget.deposit();
    loop {
        let id = core.draw_id()?;
        let key = id.key(&core.namespace);
        record.header.key = key;
        let created = Arc::new(record.clone());
        let write = Write::Create { record: &created };
        let error = match core.guard.commit(write, core.clock.now(), deadline).await {
            Ok(version) => return Ok((id, Loaded { record: created, version })),
            // The id is taken, which chance will not do: draw another one.
            Err(CommitError::Conflict(_) | CommitError::Gone) if backoff.wait(deadline).await => {
                continue;
            }
            Err(CommitError::Conflict(_) | CommitError::Gone) => {
                return Err(core.too_late("every new id was taken").into());
            }
            Err(CommitError::Failed(error)) => error,
        };
        let in_doubt = error.happened() == Happened::Maybe;
        if in_doubt {
            let found = core.load_patiently(&key, deadline).await.map_err(|_| unresolved(core))?;
            if let Some(loaded) = found.filter(|found| found.record.header.ops.contains(op)) {
                resolved(core, true);
                return Ok((id, loaded));
            }
        }
        if !core.may_try_again(error.kind(), &mut backoff, deadline).await {
            return Err(if in_doubt { unresolved(core) } else { error.into() });
        }
    }
}

/// Ends a session. To destroy again what may be destroyed already does no harm.
pub(crate) async fn destroy(core: &Core, key: &Key, deadline: Instant) -> Result<Version, Failure> {
    let mut backoff = Backoff::default();
    let mut in_doubt = false;
    core.ending(key, deadline);
    if Bug::DestroyedHereOnly.is_planted() {
        return Ok(Version::NONE);
    }
    core.budget.deposit();
    loop {
        let error =
            match core.guard.commit(Write::Destroy { key }, core.clock.now(), deadline).await {
                Ok(version) => return Ok(version),
                Err(CommitError::Conflict(_) | CommitError::Gone) => return Ok(Version::NONE),
                Err(CommitError::Failed(error)) => error,
            };
        in_doubt |= error.happened() == Happened::Maybe;
        if !core.may_try_again(error.kind(), &mut backoff, deadline).await {
            return Err(if in_doubt { unresolved(core) } else { error.into() });
        }
    }
}

fn resolved(core: &Core, in_doubt: bool) {
    if in_doubt {
        core.guard.meter.unknown_resolved();
    }
}

fn unresolved(core: &Core) -> Failure {
    core.guard.meter.unknown_unresolved();
    Failure::Unknown
}
