//! The state of a session, as far as one request knows it, and what is still to be done for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool};

use super::error::Error;
use crate::{
    data::update::Rules,
    detach::DetachHandle,
    engine::{
        Engine,
        change::{Draft, Edit, Reads},
        policy::Policy,
    },
    id::SessionId,
    record::Record,
};

/// What the clones of one session share.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    /// Whether the request brought an id, whatever became of it.
    pub(super) presented: bool,
    /// Whether the handler asked anything of the session, so that the response depends on the
    /// cookie.
    pub(super) looked: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Held during each load and commit, so that those of one request come one after the other.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// The state of a session, as far as this request knows it.
pub(super) enum Standing {
    /// There is no session. Storing something begins one.
    None,
    /// The browser brought an id that was not looked up yet.
    Presented(SessionId),
    /// The record was seen alive by this request.
    Live(SessionId),
    /// Another request ended it while this one was working on it.
    Interrupted(SessionId),
}

/// What the browser has not been told yet.
pub(crate) enum PendingCookie {
    Nothing,
    /// The session has this id from now on.
    Begun(SessionId),
    Ended {
        /// Whether the browser is to forget other data of this site, too.
        by_logout: bool,
    },
}

pub(super) struct State {
    pub(super) standing: Standing,
    pub(super) pending: PendingCookie,
    /// Edits that are not committed yet, in order.
    pub(super) edits: Vec<Edit>,
    pub(super) reads: Reads,
    /// The record as this request last loaded or committed it.
    pub(super) snapshot: Option<Arc<Record>>,
    /// Whether a commit of this request has moved the idle deadline, so that no touch is due.
    pub(super) committed: bool,
    /// Detaches the work that has the turn from the future that awaits it.
    pub(super) working: Option<DetachHandle>,
    /// Whether tasks of this request have met. From then on the work of each is a task of its own.
    pub(super) turn_is_wanted: bool,
    /// Whether the response has left. Then no new id can reach the browser, and each read asks the
    /// store.
    pub(super) responded: bool,
}

impl Shared {
    pub(super) fn new(engine: &Arc<Engine>, id: Option<SessionId>) -> Self {
        let presented = id.is_some();
        let state = State {
            standing: id.map_or(Standing::None, Standing::Presented),
            pending: PendingCookie::Nothing,
            edits: Vec::new(),
            reads: Reads::default(),
            snapshot: None,
            committed: false,
            working: None,
            turn_is_wanted: false,
            responded: false,
        };
        Self {
            engine: Arc::clone(engine),
            presented,
            looked: AtomicBool::new(false),
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.engine.context().policy
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code of the app runs while this is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is nothing to commit and no read that a touch would be due for.
    pub(super) fn is_done(&self) -> bool {
        let may_touch = matches!(self.standing, Standing::Live(_)) && !self.committed;
        self.edits.is_empty() && !may_touch
    }

    /// Drops the first edits, which are done. The app may have ended the session meanwhile, and its
    /// edits with it.
    pub(super) fn forget_edits(&mut self, n_edits: usize) {
        self.edits.drain(..n_edits.min(self.edits.len()));
    }

    /// Whether a recorded edit sets the field to a value of this request's own.
    pub(super) fn overwrites(&self, name: &str) -> bool {
        self.edits.iter().any(|edit| edit.overwrites(name))
    }

    /// Applies the recorded edits to a draft of the snapshot, so that a read sees this request's
    /// own writes.
    ///
    /// An edit that cannot be applied is reported by the commit that it makes fail.
    pub(super) fn replay(&self, draft: &mut Draft<'_>, rules: &Rules) -> Result<(), Error> {
        self.edits.iter().try_for_each(|edit| edit.apply(draft, rules)).map_err(Error::from)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.responded && !state.edits.is_empty() {
            let edits = state.edits.len();
            tracing::warn!(
                edits,
                "edits made after the response were never committed: call `commit`"
            );
        }
    }
}
