//! The lines of the audit log: a record each, in the same store as the sessions.
//!
//! A line is written before its act, and completed after it. So no act is without a line, whatever ends
//! the process in between. It knows nothing of what stands in a line.

use std::time::Duration;

use tokio::time::Instant;

use super::{commit, context::Context, failure::Failure, policy::LONGEST_USE, retry::Backoff};
use crate::{
    data::Data,
    id::Key,
    record::{Op, Record, User},
    store::{CommitError, Write},
};

/// Whose records the lines are in the store's lists. Nobody can log in under a name with a control
/// character.
pub(crate) const AUDIT_USER: &str = "\u{1}audit";

/// How long a line is kept.
const KEPT_FOR: Duration = LONGEST_USE;

/// Writes a line, and returns its key.
pub(crate) async fn begin(context: &Context, data: Data) -> Result<Key, Failure> {
    let deadline = context.policy.deadline();
    let now = context.policy.now();
    let (key, op) = (Key::of_audit(now)?, Op::random()?);
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
        Ok(true) => Ok(key),
        Err(Failure::NoRandomness(error)) => Err(Failure::NoRandomness(error)),
        Err(Failure::Store(error)) => Err(Failure::Store(error)),
        Ok(false) | Err(Failure::Unknown | Failure::Missing | Failure::Ended) => {
            let error = context.client.too_late("the line of the audit log could not be written");
            Err(error.into())
        }
    }
}

/// Completes a line.
pub(crate) async fn end(context: &Context, key: &Key, data: &Data) -> Result<(), Failure> {
    let deadline = context.policy.deadline();
    let op = Op::random()?;
    let mut backoff = Backoff::default();
    loop {
        match write(context, key, data, op, deadline).await {
            Ok(()) => return Ok(()),
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
    key: &Key,
    data: &Data,
    op: Op,
    deadline: Instant,
) -> Result<(), CommitError> {
    let base = context.client.load(key, deadline).await?.live().ok_or(CommitError::Gone)?;
    // Nobody else writes here, so it was made before, and its answer was lost.
    if base.record.header.ops.contains(op) {
        return Ok(());
    }
    let mut header = base.record.header.clone();
    header.counter += 1;
    header.ops.push(op);
    let record = Record { header, data: data.clone() }.into();
    context.client.commit(Write::Replace { base: &base, record: &record }, deadline).await?;
    Ok(())
}
