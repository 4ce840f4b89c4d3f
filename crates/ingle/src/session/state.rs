//! The state of a session, as far as one request knows it, and what is still to be done for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use super::error::Error;
use crate::{
    clock::Timestamp,
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
    /// Whether it brought more ids than are looked up, whose sessions nobody can end.
    pub(super) left_out: bool,
    /// Whether browsers are to keep the cookie of every session when they close. If not, they keep that of
    /// a login which says so.
    pub(super) keeps_cookie: bool,
    /// Whether the handler asked anything of the session, so that the response depends on the
    /// cookie.
    pub(super) looked: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Held during each load and commit, so that those of one request come one after the other.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// How many different ids of one request are looked up. A browser has one, or two where the cookie's
/// domain or path was changed. Each costs a load, so more are refused.
const IDS_MAX: usize = 8;

/// The different ids that a request brought, in their order. There may be several: the cookie was
/// changed from host-only to a domain, or another host of the domain set one.
#[derive(Debug, Default)]
pub(crate) struct Presented {
    pub(crate) first: Option<SessionId>,
    pub(crate) others: Vec<SessionId>,
    /// Ids that do not count beside the others, and end with them.
    beside: Vec<SessionId>,
    /// There were more than are looked up, so that none of them counts.
    pub(crate) too_many: bool,
    /// Whether there were ids that are not in here, so that nobody can end their sessions.
    left_out: bool,
}

impl Presented {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds an id, unless it is there.
    pub(crate) fn note(&mut self, id: SessionId) {
        let is_known = |known: &SessionId| known.key() == id.key();
        if self.first.iter().chain(&self.others).any(is_known) {
            return;
        }
        match &self.first {
            None => self.first = Some(id),
            Some(_) if self.others.len() + 1 < IDS_MAX => self.others.push(id),
            Some(_) => (self.too_many, self.left_out) = (true, true),
        }
    }

    /// The same with others, which only end with them.
    pub(crate) fn beside(mut self, others: Self) -> Self {
        self.left_out |= others.left_out;
        self.beside.extend(others.first.into_iter().chain(others.others));
        self
    }
}

/// The state of a session, as far as this request knows it.
pub(super) enum Standing {
    /// There is no session. Storing something begins one.
    None,
    /// The browser brought an id that was not looked up yet.
    Presented(SessionId),
    /// The browser brought several. Which of them is live was not looked up yet.
    Several(Vec<SessionId>),
    /// The record was seen alive by this request.
    Live(SessionId),
    /// Another request ended it while this one was working on it.
    Interrupted(SessionId),
}

/// What the browser has not been told yet.
pub(crate) enum PendingCookie {
    Nothing,
    /// The session has this id.
    Id {
        id: SessionId,
        /// How long the browser is to keep it. None for until it closes.
        kept_for: Option<Duration>,
    },
    Ended {
        /// Whether the browser is to forget other data of this site, too.
        by_logout: bool,
    },
}

pub(super) struct State {
    pub(super) standing: Standing,
    /// Ids that the browser brought beside the session's. They end with it.
    pub(super) others: Vec<SessionId>,
    pub(super) pending: PendingCookie,
    /// Edits that are not committed yet, in order.
    pub(super) edits: Vec<Edit>,
    pub(super) reads: Reads,
    /// The record as this request last loaded or committed it.
    pub(super) snapshot: Option<Arc<Record>>,
    /// When the session was used before this request.
    pub(super) last_use: Option<Timestamp>,
    /// Whether the reads of this request are no use of the session.
    pub(super) skips_touch: bool,
    /// Whether the browser may have the cookie and not have sent it, so that no session begins unseen.
    pub(super) withheld: bool,
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
    pub(super) fn new(engine: &Arc<Engine>, presented: Presented, keeps_cookie: bool) -> Self {
        let Presented { first, others, beside, too_many, left_out } = presented;
        let presented = first.is_some();
        let standing = match first {
            Some(first) if !too_many && others.is_empty() => Standing::Presented(first),
            Some(first) if !too_many => {
                Standing::Several(std::iter::once(first).chain(others).collect())
            }
            _ => Standing::None,
        };
        let state = State {
            standing,
            others: beside,
            pending: PendingCookie::Nothing,
            edits: Vec::new(),
            reads: Reads::default(),
            snapshot: None,
            last_use: None,
            skips_touch: false,
            withheld: false,
            committed: false,
            working: None,
            turn_is_wanted: false,
            responded: false,
        };
        Self {
            engine: Arc::clone(engine),
            presented,
            left_out,
            keeps_cookie,
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
        let may_touch =
            matches!(self.standing, Standing::Live(_)) && !self.committed && !self.skips_touch;
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
