//! The lines of the audit log: a record each, in the same store as the sessions.
//!
//! A line is begun before its act. It is completed with the act, in one transaction, where the store has
//! them, else after it. So no act is without a line, whatever ends the process in between; and with
//! transactions a line that stays begun is one whose act was not done. It knows nothing of what stands in a
//! line.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    commit,
    context::Context,
    failure::Failure,
    line::{self, Line},
    policy::LONGEST_USE,
    retry::Backoff,
};
use crate::{
    data::Data,
    id::Key,
    record::{Op, User},
    store::{CommitError, Write},
};

/// Whose records the lines are in the store's lists. Nobody can log in under a name with a control
/// character.
pub(crate) const AUDIT_USER: &str = "\u{1}audit";

/// How long a line is kept.
const KEPT_FOR: Duration = LONGEST_USE;

/// When a line was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// With its act, which so was done.
    WithAct,
    AfterAct,
}

/// Begins a line.
pub(crate) async fn begin(context: &Context, data: Data) -> Result<Line, Failure> {
    let deadline = context.policy.deadline();
    let now = context.policy.now();
    let (key, op, op_with_act) = (Key::of_audit(now)?, Op::random()?, Op::random()?);
    let mut record = context.policy.first_record(data)?;
    let header = &mut record.header;
    header.key = key;
    header.user = Some(User::new(AUDIT_USER, 0, now));
    header.idle_timeout = Some(KEPT_FOR);
    header.absolute_deadline = now.after(KEPT_FOR);
    header.idle_deadline = header.absolute_deadline;
    header.ops.push(op);
    // A line without an act does no harm. An act without a line must not be.
    match commit::create_at(context, &record.into(), op, deadline).await {
        Ok(Some(begun)) => Ok(Line { begun, op: op_with_act }),
        Err(Failure::NoRandomness(error)) => Err(Failure::NoRandomness(error)),
        Err(Failure::Store(error)) => Err(Failure::Store(error)),
        Ok(None) | Err(Failure::Unknown | Failure::Missing | Failure::Ended) => {
            let error = context.client.too_late("the line of the audit log could not be written");
            Err(error.into())
        }
    }
}

/// Completes a line, unless it was completed with its act.
pub(crate) async fn end(
    context: &Context,
    line: &Line,
    data: &Data,
) -> Result<Completion, Failure> {
    let deadline = context.policy.deadline();
    let op = Op::random()?;
    let mut backoff = Backoff::default();
    loop {
        match write(context, line, data, op, deadline).await {
            Ok(completion) => return Ok(completion),
            Err(CommitError::Gone) => return Err(Failure::Missing),
            Err(CommitError::Conflict(_)) if backoff.wait(deadline).await => {}
            Err(CommitError::Conflict(_)) => return Err(Failure::Unknown),
            Err(CommitError::Failed(error)) => {
                if !context.client.may_try_again(error.kind(), &mut backoff, deadline).await {
                    return Err(error.into());
                }
            }
        }
    }
}

async fn write(
    context: &Context,
    Line { begun, op: op_with_act }: &Line,
    data: &Data,
    op: Op,
    deadline: Instant,
) -> Result<Completion, CommitError> {
    let key = &begun.record.header.key;
    let base = context.client.load(key, deadline).await?.live().ok_or(CommitError::Gone)?;
    let ops = &base.record.header.ops;
    if ops.contains(*op_with_act) {
        return Ok(Completion::WithAct);
    }
    // Nobody else writes here, so it was made before, and its answer was lost.
    if !ops.contains(op) {
        let record = line::next(&base, data.clone(), op);
        let write = Write::Replace { base: &base, record: &record };
        context.client.commit(write, None, deadline).await?;
    }
    Ok(Completion::AfterAct)
}
