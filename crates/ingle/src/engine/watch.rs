//! Who waits for the end of a session, and what they are told.
//!
//! It knows nobody who looks for ends.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::id::Key;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// By a logout, by the user from another session, or by an operator.
    Ended,
    /// It has another id now, such as after a login in another tab: whoever waits must come again with
    /// the new cookie.
    Renewed,
    /// One of its deadlines has passed, or the id that the browser brought is of no session.
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

    /// Waits for the end of a session, or for the time when nobody looks for ends any more.
    pub(super) fn wait(&self, key: &Key) -> watch::Receiver<Option<SessionEnd>> {
        self.watched().ends.entry(*key).or_default().subscribe()
    }

    /// Whether nobody looks for ends, so that the caller must from now on.
    pub(super) fn begin_looking(&self) -> bool {
        !std::mem::replace(&mut self.watched().is_looking, true)
    }

    /// The keys of all sessions that are watched.
    pub(super) fn all(&self) -> Vec<Key> {
        self.watched().ends.keys().copied().collect()
    }

    /// Whether anybody waits for the end of this session.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.watched().ends.contains_key(key)
    }

    /// Nobody looks any more, because the task that did was dropped with its runtime. Whoever waits is
    /// woken, and one of them must look.
    pub(super) fn stopped(&self) {
        let mut watched = self.watched();
        watched.is_looking = false;
        watched.ends.values().for_each(|waiting| waiting.send_modify(|_| ()));
    }

    /// The keys that anybody still waits for. None if there is nothing to look after any more.
    pub(super) fn keys(&self) -> Option<Vec<Key>> {
        let mut watched = self.watched();
        watched.ends.retain(|_, waiting| waiting.receiver_count() > 0);
        watched.is_looking = !watched.ends.is_empty();
        watched.is_looking.then(|| watched.ends.keys().copied().collect())
    }
}
