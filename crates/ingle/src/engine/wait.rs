//! How those who wait learn of the end of a session.
//!
//! A session that ends in this process tells them at once. For one that ends elsewhere, one task loads
//! all that are waited for, every few seconds. It runs as long as anybody waits.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{coalesce::Coalescer, events::EventKind, users, watch::SessionEnd};
use crate::{detach, id::Key, jitter, store::Lookup};

/// How often the sessions are loaded, give or take a tenth.
const EVERY: Duration = Duration::from_secs(5);

/// How many of them are loaded at once.
const LOADS_MAX: usize = 64;

/// Waits until the session under `key` has ended.
pub(crate) async fn ended(coalescer: Arc<Coalescer>, key: Key) -> SessionEnd {
    let (mut end, is_first) = coalescer.context.watches.wait(&key);
    if is_first {
        detach::spawn(look_after(Looker { coalescer: Arc::clone(&coalescer), is_done: false }));
    }
    // Only now: an end before this is found here, and one after it is told.
    look(&coalescer, &key).await;
    match end.wait_for(Option::is_some).await.map(|end| *end) {
        Ok(Some(end)) => end,
        // The sender goes when it has told.
        _ => SessionEnd::Ended,
    }
}

/// Whoever looks after the sessions that are waited for.
struct Looker {
    coalescer: Arc<Coalescer>,
    is_done: bool,
}

impl Drop for Looker {
    fn drop(&mut self) {
        // Where it is done, another one may be at work already.
        if !self.is_done {
            self.coalescer.context.watches.stopped();
        }
    }
}

async fn look_after(mut looker: Looker) {
    let coalescer = Arc::clone(&looker.coalescer);
    loop {
        tokio::time::sleep(jitter::between(EVERY * 9 / 10, EVERY * 11 / 10)).await;
        let Some(keys) = coalescer.context.watches.keys() else {
            looker.is_done = true;
            return;
        };
        let (mut keys, mut under_way) = (keys.into_iter(), JoinSet::new());
        loop {
            while under_way.len() < LOADS_MAX
                && let Some(key) = keys.next()
            {
                let coalescer = Arc::clone(&coalescer);
                under_way.spawn(async move { look(&coalescer, &key).await });
            }
            if under_way.join_next().await.is_none() {
                break;
            }
        }
    }
}

/// Tells those who wait, if the session has ended. While the store does not answer, nobody knows.
async fn look(coalescer: &Coalescer, key: &Key) {
    let context = &coalescer.context;
    let deadline = context.policy.deadline();
    let end = match users::look_up(context, key, deadline).await {
        Ok(Lookup::Live(_)) | Err(_) => return,
        Ok(Lookup::Moved { .. }) => SessionEnd::Renewed,
        Ok(Lookup::Ended) => SessionEnd::Ended,
        Ok(Lookup::Missing) => {
            context.events.tell(*key, None, EventKind::Expired);
            SessionEnd::Expired
        }
    };
    context.watches.tell(key, end);
}
