//! The bounded queue in front of a thread, and the wait for the thread's reply.

use tokio::sync::{mpsc, oneshot};

use super::{error::Unserved, wakes};
use crate::store::{Applied, Error};

/// How many commits may wait, and how many loads: a tenth of a second of work. Beyond it an error at
/// once is worth more than an answer that comes late.
pub(super) const QUEUE_MAX: usize = 4096;

pub(super) fn queue<J>() -> (mpsc::Sender<J>, mpsc::Receiver<J>) {
    mpsc::channel(QUEUE_MAX)
}

/// Queues a job for a thread and waits for its reply. `unanswered` is what may have been applied if the
/// thread ends without one.
pub(super) async fn ask<J, T, E: From<Error>>(
    queue: &mpsc::Sender<J>,
    unanswered: Applied,
    job: impl FnOnce(oneshot::Sender<Result<T, E>>) -> J,
) -> Result<T, E> {
    let (reply, outcome) = oneshot::channel();
    queue.try_send(job(reply)).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(_) => Unserved::QueueFull.error(Applied::No),
        mpsc::error::TrySendError::Closed(_) => Unserved::NoThread.error(Applied::No),
    })?;
    wakes::gathered(outcome)
        .await
        .unwrap_or_else(|_| Err(Unserved::NoThread.error(unanswered).into()))
}
