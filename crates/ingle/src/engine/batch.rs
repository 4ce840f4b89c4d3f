//! The changes of one commit. They run in order on one copy, and each succeeds or fails alone.

use std::sync::Arc;

use super::{
    change::{Change, Copy, Refused},
    context::Context,
    policy::Policy,
};
use crate::{
    id::{Key, NoRandomness, SessionId},
    record::{Op, Record},
};

/// A change on its way into a commit, and the result of its last run.
pub(crate) struct Item {
    pub(crate) change: Change,
    /// The new id, if this change renews the session.
    pub(crate) renew: Option<SessionId>,
    pub(crate) verdict: Result<(), Refused>,
}

impl Item {
    pub(crate) fn new(change: Change, renew: Option<SessionId>) -> Self {
        Self { change, renew, verdict: Ok(()) }
    }
}

/// Changes that are committed together. A renew is the last of its batch, because after it there is
/// nothing under the old key to change.
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
}

/// The result of running a batch on a record.
pub(crate) enum Next {
    /// This record is to be written.
    Write(Arc<Record>),
    /// No change made a difference.
    Nothing,
}

impl Batch {
    /// Runs all changes on `base`, and prepares the record that replaces it.
    ///
    /// # Errors
    /// The record needs a random name, and the system gives no random bytes.
    pub(crate) fn prepare(
        &mut self,
        policy: &Policy,
        base: &Record,
        op: Op,
    ) -> Result<Next, NoRandomness> {
        let mut copy = Copy::of(&base.data);
        for item in &mut self.items {
            // A closure that panicked may have left its own state half changed, so it is not run
            // again.
            if !matches!(item.verdict, Err(Refused::Panicked(_))) {
                item.verdict = copy.apply(&mut item.change, &policy.limits);
            }
        }
        let changed = copy.into_changed();
        let renew = self.items.last().filter(|last| last.verdict.is_ok());
        let renew = renew.and_then(|last| last.renew.as_ref());
        if changed.is_none() && renew.is_none() {
            return Ok(Next::Nothing);
        }
        let mut header = base.header.clone();
        if header.is_foreign() {
            policy.adopt(&mut header)?;
        }
        if let Some(id) = renew {
            header.key = id.key();
        }
        header.counter += 1;
        header.ops.push(op);
        header.idle_deadline = policy.idle_deadline(&header);
        let data = changed.unwrap_or_else(|| base.data.clone());
        Ok(Next::Write(Arc::new(Record { header, data })))
    }

    /// Generates another new id, because the first one is taken.
    pub(crate) fn renew_id(&mut self, context: &Context, from: &Key) -> Result<(), NoRandomness> {
        if let Some(id) = self.items.last_mut().and_then(|last| last.renew.as_mut()) {
            *id = context.id_to_renew(from)?;
        }
        Ok(())
    }
}
