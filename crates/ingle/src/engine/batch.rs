//! The changes of one commit. They run in order on one copy, and each succeeds or fails alone.

use std::{sync::Arc, time::Duration};

use super::{
    change::{Change, Copy, Refused},
    context::Context,
    line::{Completed, LineOf},
    policy::Policy,
};
use crate::{
    clock::Timestamp,
    data::Data,
    id::{Key, NoRandomness, SessionId},
    record::{Header, Op, Record, User},
};

/// A change on its way into a commit, and the result of its last run.
pub(crate) struct Item {
    pub(crate) change: Change,
    /// If this change renews the session.
    pub(crate) renew: Option<Box<Renewal>>,
    /// The line of the audit log that is stored with it.
    pub(crate) line: Option<LineOf>,
    pub(crate) verdict: Result<(), Refused>,
    /// Whether it is a use of the session, and so moves its idle deadline.
    pub(crate) is_use: bool,
}

/// A move to a new id.
pub(crate) struct Renewal {
    pub(crate) id: SessionId,
    pub(crate) grant: Option<Arc<Grant>>,
}

/// What a login or a reauthentication makes of a session.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) user: User,
    pub(crate) absolute_deadline: Timestamp,
    pub(crate) idle_timeout: Option<Duration>,
    /// Whether the data stays: that of another user does not.
    pub(crate) keeps_data: bool,
    pub(crate) proof: Proof,
}

/// What a grant is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Login,
    Reauthentication,
    /// Nothing new: the user is known already.
    None,
}

impl Grant {
    /// Whether the session goes on that the user had. A login counts by its own generation alone.
    pub(crate) fn goes_on(&self) -> bool {
        self.proof != Proof::Login
    }

    pub(crate) fn apply(&self, header: &mut Header) {
        header.user = Some(self.user.clone());
        header.absolute_deadline = self.absolute_deadline;
        header.idle_timeout = self.idle_timeout;
    }
}

impl Item {
    pub(crate) fn new(change: Change, renew: Option<Box<Renewal>>) -> Self {
        Self { change, renew, line: None, verdict: Ok(()), is_use: true }
    }
}

/// Changes that are committed together. A renew is the last of its batch, because after it there is
/// nothing under the old key to change. A change with a line is alone in its batch, because no request's
/// change may fail with the line.
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
}

/// The result of running a batch on a record.
pub(crate) enum Next {
    /// This record is to be written, and this line with it.
    Write(Arc<Record>, Option<Completed>),
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
        let is_adopted = header.is_foreign();
        if is_adopted {
            policy.adopt(&mut header)?;
        }
        let grant = renew.and_then(|renewal| renewal.grant.as_ref());
        if let Some(renewal) = renew {
            header.key = renewal.id.key();
        }
        if let Some(grant) = grant {
            grant.apply(&mut header);
        }
        header.counter += 1;
        header.ops.push(op);
        if self.items.iter().any(|item| item.is_use) || is_adopted {
            header.idle_deadline = policy.idle_deadline(&header);
        }
        let data = match changed {
            _ if grant.is_some_and(|grant| !grant.keeps_data) => Data::new(),
            changed => changed.unwrap_or_else(|| base.data.clone()),
        };
        let line = self.items.last().and_then(|last| last.line.as_ref()).map(|line| line());
        Ok(Next::Write(Arc::new(Record { header, data }), line))
    }

    /// Generates another new id, because the first one is taken.
    pub(crate) fn renew_id(&mut self, context: &Context, from: &Key) -> Result<(), NoRandomness> {
        if let Some(renewal) = self.items.last_mut().and_then(|last| last.renew.as_mut()) {
            renewal.id = context.id_to_renew(from)?;
        }
        Ok(())
    }
}
