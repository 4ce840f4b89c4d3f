//! What happens in the life of sessions, told in order: to the log, and to an app that listens.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    clock::{Clock, Timestamp},
    id::{Handle, Key},
    meter::activity::{Figure, Recent},
    record::User,
};

/// Something that happened in the life of a session, after it was stored.
/// [`SessionLayer::on_event`](crate::SessionLayer::on_event) tells of each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, by the clock of the layer.
    pub at: Timestamp,
    /// What logs and people call the session. `None` where none could begin.
    pub session: Option<Handle>,
    /// The name of the user whom the session is logged in for, as far as it is known here.
    pub user: Option<String>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Its first data was stored, or its first login.
    Began,
    /// It moved to a new id. A login does so, too: this comes first then.
    Renewed {
        /// The handle that it had before. No other event names it any more.
        before: Handle,
    },
    /// A user logged in.
    LoggedIn(User),
    /// Its user has proved once more who they are.
    Reauthenticated,
    /// It ended.
    Ended {
        /// Why.
        why: EndReason,
        /// By whom.
        by: EndedBy,
    },
    /// One of its deadlines has passed. It is told by a process that knew the session and meets it
    /// again, by a request or by one who waits for its end. Most sessions expire with nobody there.
    Expired,
    /// A request was refused what it wanted of a session.
    Refused(Refusal),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// By [`Session::logout`](crate::Session::logout).
    Logout,
    /// By [`Session::destroy`](crate::Session::destroy).
    Destroyed,
    /// It was picked out of the sessions of its user, or of all sessions.
    PickedOut,
    /// All sessions of its user were ended, or all others.
    AllOfUser,
    /// All sessions of the store were ended.
    All,
    /// A newer session took its place, because the user had as many as they may have.
    OverLimit,
    /// The browser sent its id beside another one, and a user logged in with that.
    Replaced,
}

/// Who ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndedBy {
    /// A request with its own cookie.
    Itself,
    /// Another session of its user, such as from a page that lists them.
    Session(Handle),
    /// Somebody without a session: an operator of this name, or a job of the app.
    Operator(Option<String>),
    /// The store does not tell. It was found ended here.
    Unknown,
}

/// What a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no session under the id that it brought: it has expired, it ended more than a minute
    /// ago, or there never was one.
    UnknownId,
    /// The session ended, or got another id, while the request was under way
    /// ([`Error::Interrupted`](crate::Error::Interrupted)).
    Interrupted,
    /// A login: its user has as many sessions as they may have
    /// ([`Error::TooManySessions`](crate::Error::TooManySessions)).
    TooManySessions,
    /// A new session: this process begins no more in this second
    /// ([`Error::TooManyNewSessions`](crate::Error::TooManyNewSessions)).
    TooManyNewSessions,
}

/// Why a session ends, and by whom, for the call that ends it.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) why: EndReason,
    pub(crate) by: EndedBy,
    /// The session's user, as far as the caller knows.
    pub(crate) user: Option<String>,
}

impl Cause {
    pub(crate) fn new(why: EndReason, by: EndedBy, user: Option<&str>) -> Self {
        Self { why, by, user: user.map(ToOwned::to_owned) }
    }

    /// By the end of all of a user's sessions, which is found here.
    pub(crate) fn found(user: &User) -> Self {
        Self::new(EndReason::AllOfUser, EndedBy::Unknown, Some(&user.name))
    }
}

/// The app's function that is told of each event.
#[derive(Clone)]
pub(crate) struct OnEvent(Arc<dyn Fn(&Event) + Send + Sync>);

impl OnEvent {
    pub(crate) fn new(listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }
}

impl fmt::Debug for OnEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEvent")
    }
}

/// Tells of the events of each session in their order.
///
/// Whatever may change the life of a session [opens](Self::open) its key before it asks the store. So
/// what other tasks of this process then see of the change is told after it.
#[derive(Debug)]
pub(crate) struct Events {
    listener: Option<OnEvent>,
    clock: Arc<dyn Clock>,
    recent: Arc<Recent>,
    queues: Mutex<HashMap<Key, Queue>>,
}

/// What is to be told of one session, the oldest first.
#[derive(Debug, Default)]
struct Queue {
    /// `None` while it is open what there is to tell.
    slots: VecDeque<Option<Vec<Event>>>,
    /// How many slots there were before the first one.
    told: usize,
    /// Whether somebody is telling. They tell what comes meanwhile, too.
    is_telling: bool,
}

impl Events {
    pub(crate) fn new(
        listener: Option<OnEvent>,
        clock: Arc<dyn Clock>,
        recent: Arc<Recent>,
    ) -> Self {
        Self { listener, clock, recent, queues: Mutex::default() }
    }

    /// Takes a place in the order of a session's events.
    pub(crate) fn open(&self, key: Key) -> Opening<'_> {
        let mut queues = self.queues();
        let queue = queues.entry(key).or_default();
        queue.slots.push_back(None);
        let slot = queue.told + queue.slots.len() - 1;
        Opening { events: self, key, slot, noted: Vec::new(), before: None }
    }

    /// The same for a move to another key. What is told of the session under its old key comes after it.
    pub(crate) fn open_move(&self, from: Key, to: Key) -> Opening<'_> {
        let before = self.open(from);
        let mut opening = self.open(to);
        opening.before = Some(Box::new(before));
        opening
    }

    /// Tells of an event of the session under `key`.
    pub(crate) fn tell(&self, key: Key, user: Option<&str>, kind: EventKind) {
        self.open(key).note(user, kind);
    }

    /// Tells of what belongs to no session.
    pub(crate) fn tell_of_none(&self, kind: EventKind) {
        self.deliver(&Event { at: self.clock.now(), session: None, user: None, kind });
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Key, Queue>> {
        // No code of the app runs while this is locked.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles what a slot has to tell, and tells all that nothing stands before.
    fn settle(&self, key: &Key, slot: usize, noted: Vec<Event>) {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(key) else { return };
        if let Some(settled) = queue.slots.get_mut(slot - queue.told) {
            *settled = Some(noted);
        }
        if std::mem::replace(&mut queue.is_telling, true) {
            return;
        }
        loop {
            let Some(queue) = queues.get_mut(key) else { return };
            let Some(Some(first)) = queue.slots.front_mut().map(Option::take) else {
                queue.is_telling = false;
                if queue.slots.is_empty() {
                    queues.remove(key);
                }
                return;
            };
            queue.slots.pop_front();
            queue.told += 1;
            drop(queues);
            first.iter().for_each(|event| self.deliver(event));
            queues = self.queues();
        }
    }

    fn deliver(&self, event: &Event) {
        log(event);
        match event.kind {
            EventKind::Began => self.recent.count(Figure::Began),
            EventKind::Ended { .. } | EventKind::Expired => self.recent.count(Figure::Ended),
            _ => {}
        }
        if let Some(OnEvent(listener)) = &self.listener {
            // The request that it runs in has nothing to do with it.
            if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
                tracing::error!("the app's `on_event` panicked; the session is not affected");
            }
        }
    }
}

/// A place in the order of a session's events. What was noted is told when it is dropped.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    events: &'a Events,
    key: Key,
    slot: usize,
    noted: Vec<Event>,
    /// The place under the key that it moves from, which is dropped after this one.
    before: Option<Box<Self>>,
}

impl Opening<'_> {
    pub(crate) fn note(&mut self, user: Option<&str>, kind: EventKind) {
        let (at, session) = (self.events.clock.now(), Some(self.key.handle()));
        self.noted.push(Event { at, session, user: user.map(ToOwned::to_owned), kind });
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let noted = std::mem::take(&mut self.noted);
        self.events.settle(&self.key, self.slot, noted);
    }
}

/// What filters of the log know these lines by.
const TARGET: &str = "ingle::events";

/// The line of the log. ASVS 5.0 16.3 asks for the beginnings and the ends of sessions, and for ids that
/// nobody has. It names no user, who may be known by an address.
fn log(event: &Event) {
    let Event { session: Some(session), kind, .. } = event else { return };
    match kind {
        EventKind::Began => tracing::info!(target: TARGET, %session, "a session began"),
        EventKind::Renewed { before } => {
            tracing::info!(target: TARGET, %session, %before, "a session was renewed");
        }
        EventKind::LoggedIn(_) => tracing::info!(target: TARGET, %session, "a user logged in"),
        EventKind::Reauthenticated => {
            tracing::info!(target: TARGET, %session, "a user proved again who they are")
        }
        EventKind::Ended { why, by } => {
            tracing::info!(target: TARGET, %session, ?why, ?by, "a session was ended")
        }
        EventKind::Expired => tracing::info!(target: TARGET, %session, "a session had expired"),
        EventKind::Refused(Refusal::UnknownId) => {
            tracing::info!(target: TARGET, %session, "there is no session under an id that was presented");
        }
        EventKind::Refused(Refusal::Interrupted) => {
            tracing::info!(target: TARGET, %session, "a session ended under a request");
        }
        EventKind::Refused(why) => {
            tracing::info!(target: TARGET, %session, ?why, "a request was refused")
        }
    }
}

#[cfg(test)]
mod tests;
