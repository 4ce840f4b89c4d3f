//! Deletes dead records now and then. One scheduler for all stores, in each process.
//!
//! That a record is dead is decided at each load. So it does no harm when no sweep runs, and none
//! when many processes sweep the same store.

use std::{sync::Arc, time::Duration};

use crate::{background, core::Core, jitter};

/// How many records one call of the store may delete, so that no sweep holds up commits for long.
const BATCH: usize = 500;

/// A pause between two batches of one sweep, for the commits that wait.
const BREATH: Duration = Duration::from_millis(20);

/// Starts the sweeps of a layer with its first request, which runs where tasks can.
pub(crate) fn start_once(core: &Arc<Core>) {
    if let Some(every) = core.config.sweep_every
        && core.claim_sweeps()
    {
        let core = Arc::downgrade(core);
        background::spawn(async move {
            loop {
                // Many processes that began together shall not sweep together.
                tokio::time::sleep(jitter::between(every / 2, every + every / 2)).await;
                // The layer is gone, and the app with it.
                let Some(core) = core.upgrade() else { return };
                sweep(&core).await;
            }
        });
    }
}

async fn sweep(core: &Core) {
    loop {
        match core.guard.sweep(core.clock.now(), BATCH).await {
            Ok(swept) => {
                core.guard.meter.swept(swept.deleted);
                if !swept.more {
                    return;
                }
                tokio::time::sleep(BREATH).await;
            }
            Err(error) => {
                tracing::warn!(%error, "dead records could not be swept; the next sweep tries again");
                return;
            }
        }
    }
}
