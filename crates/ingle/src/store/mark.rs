//! What a renew or a destroy leaves under the old key for a while (law 12).

use serde::{Deserialize, Serialize};

use super::{Destroyed, Lookup, MARK_TIME};
use crate::{clock::Timestamp, id::Key};

/// A mark. To a create its key is taken, no list shows it, and a sweep deletes it when it is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The key that a renew moved the record to. None if a destroy ended the session.
    pub(crate) moved_to: Option<Key>,
    /// The mark is dead from this instant on.
    pub(crate) until: Timestamp,
}

impl Mark {
    /// What a renew leaves at `now`.
    pub(crate) fn moved(to: Key, now: Timestamp) -> Self {
        Self { moved_to: Some(to), until: now.after(MARK_TIME) }
    }

    /// What a destroy leaves at `now`.
    pub(crate) fn ended(now: Timestamp) -> Self {
        Self { moved_to: None, until: now.after(MARK_TIME) }
    }

    pub(crate) fn is_dead(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// What a load finds here.
    pub(crate) fn lookup(&self, now: Timestamp) -> Lookup {
        match self.moved_to {
            _ if self.is_dead(now) => Lookup::Missing,
            Some(to) => Lookup::Moved { to },
            None => Lookup::Ended,
        }
    }

    /// What a destroy finds here.
    pub(crate) fn destroyed(&self, now: Timestamp) -> Destroyed {
        match self.moved_to {
            Some(to) if !self.is_dead(now) => Destroyed::Moved { to },
            _ => Destroyed::Nothing,
        }
    }
}
