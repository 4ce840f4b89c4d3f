//! Who waits for the end of a session, and how they learn of it.
//!
//! A session that ends in this process tells them at once. For one that ends elsewhere, one task loads
//! all that are waited for, every few seconds. It runs as long as anybody waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{account, coalesce::Coalescer};
use crate::{detach, id::Key, jitter, store::Lookup};

/// How often the sessions are loaded, give or take a tenth.
const EVERY: Duration = Duration::from_secs(5);

/// How many of them are loaded at once.
const LOADS_MAX: usize = 64;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// By a logout, by the user from another session, or by an operator.
    Ended,
    /// It has another id now, such as after a login in another tab: whoever waits must come again with
    /// the new cookie.
    Renewed,
    /// One of its deadlines has passed.
    Expired,
}

/// The sessions that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    ends: HashMap<Key, watch::Sender<Option<SessionEnd>>>,
    /// Whether the task runs.
    is_looking: bool,
}

impl Watches {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        // Each use is a few calls on the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all who wait that a session has ended.
    pub(crate) fn tell(&self, key: &Key, end: SessionEnd) {
        let mut watched = self.watched();
        if watched.ends.is_empty() {
            return;
        }
        if let Some(waiting) = watched.ends.remove(key) {
            waiting.send_replace(Some(end));
        }
    }

    /// The keys that anybody still waits for. None if there is nothing to look after any more.
    fn keys(&self) -> Option<Vec<Key>> {
        let mut watched = self.watched();
        watched.ends.retain(|_, waiting| waiting.receiver_count() > 0);
        watched.is_looking = !watched.ends.is_empty();
        watched.is_looking.then(|| watched.ends.keys().copied().collect())
    }
}

/// Waits until the session under `key` has ended.
pub(crate) async fn ended(coalescer: Arc<Coalescer>, key: Key) -> SessionEnd {
    let watches = &coalescer.context.watches;
    let mut end = {
        let mut watched = watches.watched();
        if !std::mem::replace(&mut watched.is_looking, true) {
            detach::spawn(look_after(Arc::clone(&coalescer)));
        }
        watched.ends.entry(key).or_default().subscribe()
    };
    // Only now: an end before this is found here, and one after it is told.
    look(&coalescer, &key).await;
    match end.wait_for(Option::is_some).await.map(|end| *end) {
        Ok(Some(end)) => end,
        // The sender goes when it has told.
        _ => SessionEnd::Ended,
    }
}

async fn look_after(coalescer: Arc<Coalescer>) {
    loop {
        tokio::time::sleep(jitter::between(EVERY * 9 / 10, EVERY * 11 / 10)).await;
        let Some(keys) = coalescer.context.watches.keys() else { return };
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
    let deadline: Instant = context.policy.deadline();
    let end = match account::look_up(context, key, deadline).await {
        Ok(Lookup::Live(_)) | Err(_) => return,
        Ok(Lookup::Moved { .. }) => SessionEnd::Renewed,
        Ok(Lookup::Ended) => SessionEnd::Ended,
        Ok(Lookup::Missing) => SessionEnd::Expired,
    };
    context.watches.tell(key, end);
}
