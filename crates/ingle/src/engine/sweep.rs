//! Deletes dead records now and then. One scheduler for all stores, in each process.
//!
//! Each load decides whether a record is dead. So it does no harm when no sweep runs, or when many
//! processes sweep the same store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{client::Client, coalesce::Coalescer};
use crate::{detach, jitter, store::Error};

/// How many records one call of the store may delete, so that no sweep delays commits for long.
const BATCH: usize = 500;

/// A pause between two batches of one sweep, for the commits that wait.
const PAUSE: Duration = Duration::from_millis(20);

/// Held by the task that sweeps. Dropped with it, or where there is no runtime for it.
pub(super) struct Sweeping(Arc<AtomicBool>);

impl Sweeping {
    /// Says there, when it is dropped, that nobody sweeps.
    pub(super) fn new(sweeps: &Arc<AtomicBool>) -> Self {
        Self(Arc::clone(sweeps))
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Sweeps every so often, for as long as the layer and this runtime exist.
pub(super) fn start(coalescer: &Arc<Coalescer>, every: Duration, sweeping: Sweeping) {
    let coalescer = Arc::downgrade(coalescer);
    detach::spawn(async move {
        let _sweeping = sweeping;
        let mut has_failed = false;
        loop {
            // Random, so that processes that began together do not sweep together.
            tokio::time::sleep(jitter::between(every / 2, every + every / 2)).await;
            // The layer is gone, and the app with it.
            let Some(coalescer) = coalescer.upgrade() else { return };
            let failure = sweep(&coalescer.context.client).await.err();
            // One alone may be no more than a process that was stopped in the middle, as platforms do that
            // give no CPU between requests. What is dead is dead, so it can wait for the next.
            if let Some(error) = failure.as_ref().filter(|_| has_failed) {
                tracing::warn!(%error, "dead records could not be swept twice; the next sweep tries again");
            }
            has_failed = failure.is_some();
        }
    });
}

async fn sweep(client: &Client) -> Result<(), Error> {
    loop {
        let swept = client.sweep(BATCH).await?;
        client.meter.swept(swept.deleted);
        if !swept.more {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
