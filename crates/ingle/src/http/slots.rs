//! The sessions of one request, each in a slot of its own.

use std::any::TypeId;

use super::{
    door::{Door, HeaderChange},
    response::ErrorResponse,
};
use crate::session::Session;

/// Names one session of a request: the one without a name, or one with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(TypeId);

/// Stands for the session without a name.
struct Unnamed;

impl Slot {
    pub(super) fn unnamed() -> Self {
        Self(TypeId::of::<Unnamed>())
    }

    pub(super) fn named<N: 'static>() -> Self {
        Self(TypeId::of::<N>())
    }
}

/// What the extensions of a request hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// Most requests have one.
    first: Option<Taken>,
    others: Vec<Taken>,
}

/// A slot that is taken, with the door that its session came in by.
#[derive(Clone, Debug)]
struct Taken {
    slot: Slot,
    door: Door,
    session: Session,
}

impl Slots {
    /// Puts a session into a slot, with the door that it came in by. False if the slot or the door's
    /// cookie is taken, because then nobody could say which session a handler gets.
    pub(super) fn put(&mut self, slot: Slot, door: &Door, session: &Session) -> bool {
        let shares =
            |other: &Taken| other.slot == slot || other.door.cookie_name() == door.cookie_name();
        if self.taken().any(shares) {
            return false;
        }
        let taken = Taken { slot, door: door.clone(), session: session.clone() };
        match self.first {
            None => self.first = Some(taken),
            Some(_) => self.others.push(taken),
        }
        true
    }

    fn taken(&self) -> impl Iterator<Item = &Taken> {
        self.first.iter().chain(&self.others)
    }

    /// Whether a layer is around the one that was the last to put its session here.
    pub(super) fn has_outer(&self) -> bool {
        !self.others.is_empty()
    }

    /// The answer to a request whose sessions would share a slot or a cookie.
    pub(super) fn refuse() -> ErrorResponse {
        tracing::error!(
            "two session layers with one name or one cookie are around one handler; remove one, or \
             give it a name, a cookie and a namespace of its own"
        );
        ErrorResponse::UNSERVABLE
    }

    #[allow(dead_code, reason = "only the extractors of frameworks ask")]
    pub(super) fn get(&self, slot: Slot) -> Option<&Session> {
        self.taken().find(|taken| taken.slot == slot).map(|taken| &taken.session)
    }
}

/// What the layers within say of their sessions, in the extensions of a response: where a layer around
/// them answers in its place, the browser must learn their ids all the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(pub(super) Vec<HeaderChange>);
