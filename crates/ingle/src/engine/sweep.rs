//! Deletes dead records now and then. One scheduler for all stores, in each process.
//!
//! Each load decides whether a record is dead. So it does no harm when no sweep runs, or when many
//! processes sweep the same store.

use std::{sync::Arc, time::Duration};

use super::{client::Client, coalesce::Coalescer};
use crate::{detach, jitter};

/// How many records one call of the store may delete, so that no sweep delays commits for long.
const BATCH: usize = 500;

/// A pause between two batches of one sweep, for the commits that wait.
const PAUSE: Duration = Duration::from_millis(20);

/// Sweeps as often as the policy says, for as long as the layer exists.
pub(super) fn start(coalescer: &Arc<Coalescer>) {
    let Some(every) = coalescer.context.policy.sweep_every else { return };
    let coalescer = Arc::downgrade(coalescer);
    detach::spawn(async move {
        loop {
            // Random, so that processes that began together do not sweep together.
            tokio::time::sleep(jitter::between(every / 2, every + every / 2)).await;
            // The layer is gone, and the app with it.
            let Some(coalescer) = coalescer.upgrade() else { return };
            sweep(&coalescer.context.client).await;
        }
    });
}

async fn sweep(client: &Client) {
    loop {
        match client.sweep(BATCH).await {
            Ok(swept) => {
                client.meter.swept(swept.deleted);
                if !swept.more {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "dead records could not be swept; the next sweep tries again");
                return;
            }
        }
    }
}
