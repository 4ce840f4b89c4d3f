//! How those who wait learn of the end of a session.
//!
//! A session that ends in this process tells them at once. For one that ends elsewhere, one task loads
//! all that are waited for, every few seconds. Where the store tells of ends, another one listens, and
//! looks at once at what it hears of. Both run as long as anybody waits.
//!
//! What was heard is never believed, and what was missed is found by the loads: to listen only makes
//! the wait shorter.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{coalesce::Coalescer, events::EventKind, users, watch::SessionEnd};
use crate::{
    detach,
    id::Key,
    jitter,
    store::{Error, Listener, Lookup},
};

/// How often the sessions are loaded, give or take a tenth.
const EVERY: Duration = Duration::from_secs(5);

/// How many of them are loaded at once.
const LOADS_MAX: usize = 64;

/// How long nobody listens after a connection broke or could not be made: the first time, and when that
/// goes on. One that held for longer than the second is a success.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Waits until the session under `key` has ended.
pub(crate) async fn ended(coalescer: Arc<Coalescer>, key: Key) -> SessionEnd {
    let mut end = coalescer.context.watches.wait(&key);
    // Only now: an end before this is found here, and one after it is told.
    look(&coalescer, &key, Before::Unknown).await;
    loop {
        let told = *end.borrow_and_update();
        if let Some(end) = told {
            return end;
        }
        if coalescer.context.watches.begin_looking() {
            detach::spawn(look_after(Looker { coalescer: Arc::clone(&coalescer), is_done: false }));
        }
        if end.changed().await.is_err() {
            // The sender goes when it has told.
            return SessionEnd::Ended;
        }
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
    // Dropped with this task, and the connection with it.
    let mut listening = JoinSet::new();
    listening.spawn(listen(Arc::clone(&coalescer)));
    loop {
        tokio::time::sleep(jitter::between(EVERY * 9 / 10, EVERY * 11 / 10)).await;
        let Some(keys) = coalescer.context.watches.keys() else {
            looker.is_done = true;
            return;
        };
        look_at(&coalescer, keys).await;
    }
}

/// Looks at what the store tells of, if it tells of anything.
async fn listen(coalescer: Arc<Coalescer>) {
    let client = &coalescer.context.client;
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let error = match client.listen().await {
            Ok(None) => return,
            Ok(Some(listener)) => hear(&coalescer, listener).await,
            Err(error) => error,
        };
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        // Once, and not for each attempt of an outage.
        if pause == PAUSE_MIN {
            let cause = error.cause();
            tracing::warn!(
                %error, %cause,
                "the session store cannot be listened to; ends in other processes are told within 6 \
                 seconds"
            );
        }
        tokio::time::sleep(jitter::between(pause / 2, pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Listens until that fails.
async fn hear(coalescer: &Arc<Coalescer>, mut listener: Box<dyn Listener>) -> Error {
    // What ended before is told to no listener.
    look_at(coalescer, coalescer.context.watches.all()).await;
    let mut looks = JoinSet::new();
    loop {
        let key = match listener.next().await {
            Ok(key) => key,
            Err(error) => {
                while looks.join_next().await.is_some() {}
                return error;
            }
        };
        if !coalescer.context.watches.has(&key) {
            continue;
        }
        while looks.try_join_next().is_some() {}
        if looks.len() >= LOADS_MAX {
            looks.join_next().await;
        }
        let coalescer = Arc::clone(coalescer);
        looks.spawn(async move { look(&coalescer, &key, Before::Live).await });
    }
}

/// Looks at these sessions, some of them at a time.
async fn look_at(coalescer: &Arc<Coalescer>, keys: Vec<Key>) {
    let (mut keys, mut under_way) = (keys.into_iter(), JoinSet::new());
    loop {
        while under_way.len() < LOADS_MAX
            && let Some(key) = keys.next()
        {
            let coalescer = Arc::clone(coalescer);
            under_way.spawn(async move { look(&coalescer, &key, Before::Live).await });
        }
        if under_way.join_next().await.is_none() {
            return;
        }
    }
}

/// What is known of a session before it is looked at.
enum Before {
    /// A browser has brought its id.
    Unknown,
    Live,
}

/// Tells those who wait, if the session has ended. While the store does not answer, nobody knows.
async fn look(coalescer: &Coalescer, key: &Key, before: Before) {
    let context = &coalescer.context;
    let deadline = context.policy.deadline();
    let end = match users::look_up(context, key, deadline).await {
        Ok(Lookup::Live(_)) | Err(_) => return,
        Ok(Lookup::Moved { .. }) => SessionEnd::Renewed,
        Ok(Lookup::Ended) => SessionEnd::Ended,
        Ok(Lookup::Missing) => {
            match before {
                Before::Unknown => context.tell_missing(key),
                Before::Live => context.events.tell(*key, None, EventKind::Expired),
            }
            SessionEnd::Expired
        }
    };
    context.watches.tell(key, end);
}

#[cfg(test)]
mod tests;
