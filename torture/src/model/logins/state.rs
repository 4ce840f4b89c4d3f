//! What there is in the model: the user's record, sessions, their index, and who works on them.

/// The name of a session in the store. The first is the one that there is in the beginning, and
/// each actor has two of its own: one to store a session under, and one to try again with.
pub(crate) type Key = usize;

pub(crate) const FIRST: Key = 0;

/// The first key that belongs to an actor.
pub(crate) fn key_of(actor: usize) -> Key {
    1 + 2 * actor
}

/// Whose key it is. The first one is nobody's.
pub(crate) fn owner_of(key: Key) -> Option<usize> {
    Some(key.checked_sub(1)? / 2)
}

/// A set of sessions or of actors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Set(u16);

impl Set {
    pub(crate) fn add(&mut self, member: usize) {
        self.0 |= 1 << member;
    }

    pub(crate) fn has(self, member: usize) -> bool {
        self.0 & (1 << member) != 0
    }
}

/// The record that is kept of the user. One that is not there says what an empty one says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) generation: u8,
    /// Where there is a limit: those that are held are in the order in which they were.
    pub(crate) places: Vec<Place>,
}

/// The place of one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) key: Key,
    /// Where renews are about to move the session.
    pub(crate) moves_to: Vec<Key>,
    pub(crate) state: PlaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PlaceState {
    Reserved,
    Held,
    Ending,
}

impl Place {
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        std::iter::once(&self.key).chain(&self.moves_to).copied()
    }

    pub(crate) fn is_of(&self, key: Key) -> bool {
        self.keys().any(|own| own == key)
    }
}

/// What a session's record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) generation: u8,
    /// Only the onlooker knows this: which generation it was when the password was checked.
    pub(crate) proved: u8,
    /// Whether it has a ticket that can be redeemed.
    pub(crate) ticket: bool,
    /// The actors whose commits it has.
    pub(crate) ops: Set,
}

/// What is under a session's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Session {
    Missing,
    Live(Record),
    Moved(Key),
    Ended,
}

impl Session {
    pub(crate) fn live(&self) -> Option<&Record> {
        match self {
            Self::Live(record) => Some(record),
            _ => None,
        }
    }
}

/// What an actor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A browser without a cookie logs in.
    Login,
    /// The same, with a ticket that was taken before the password was checked.
    LoginWithTicket,
    EndAll,
    /// The session that there is in the beginning gets a new id.
    Renew,
    /// The ticket in that session is redeemed.
    Redeem,
}

impl Task {
    pub(crate) fn is_login(self) -> bool {
        matches!(self, Self::Login | Self::LoginWithTicket)
    }
}

/// What an actor reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The browser has the cookie of this session, which is of this generation.
    Has(Key, u8),
    /// All sessions of a generation before this one have ended.
    EndedAll(u8),
    /// The value of the ticket was returned.
    Redeemed,
    /// There was no such ticket.
    NoTicket,
    /// The session has ended, or an end of all came between.
    Interrupted,
    /// The user has as many sessions as they may have.
    TooMany,
    /// Surely not done: the store did not answer, or there was no more time.
    Refused,
    Unknown,
}

/// A change of the user's record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Update {
    /// A place is asked for. The sessions of some places are known to have ended, and one is to end.
    Reserve { gone: Vec<Place>, oldest: Option<Place> },
    /// The session is stored, and its place is held.
    Hold,
    /// The place is given back, and then the task ends like this.
    Leave(Outcome),
    /// All sessions are to end.
    Advance,
}

/// What a change of the user's record returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    /// A place is reserved, and these are to end before it is used.
    Reserved(Vec<Place>),
    /// All of these are taken.
    Full(Vec<Place>),
    IsHeld(bool),
    IsLeft,
    Advanced(u8),
}

/// Which call of an update is next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Load,
    /// A write, which the store makes where nobody has written since the load. It is in doubt if it was
    /// sent before.
    Write {
        is_newest: bool,
        in_doubt: bool,
    },
    /// A load that finds out what became of a write. This is what it returned, if it was made.
    Look {
        is_newest: bool,
        said: Option<Said>,
    },
}

/// Why a session is ended, and so what comes after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    /// A newer one takes its place, as it does with these.
    OverLimit(Vec<Key>),
    /// It is the actor's own, which was not admitted. Its task ends like this.
    NotAdmitted(Outcome),
    /// An end of all has it on a page of its list.
    Listed(Pass),
}

/// Where an end of all stands in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pass {
    pub(crate) is_first: bool,
    /// Whether this pass has found a session that was to end.
    pub(crate) found: bool,
    /// The list goes from the newest key to the oldest. All from this one on were seen.
    pub(crate) after: Key,
}

/// Where an actor stands: what its next call of the store is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// A login reads the generation: its ticket.
    ReadsGeneration,
    /// The same once more, where an error is planted.
    ReadsAgain,
    /// It counts the sessions, where an error is planted.
    Counts,
    Updates(Update, Call),
    /// All places are taken: what became of the sessions of those that are left to look at? The oldest
    /// that is held may have to end.
    LooksAtPlaces {
        left: Vec<Place>,
        oldest: Option<Place>,
        gone: Vec<Place>,
        unknown: Option<Place>,
    },
    /// Other logins are about to take all places.
    WaitsForPlaces,
    Loads,
    /// It stores, moves or changes a session that has these commits.
    Writes {
        base: Set,
        in_doubt: bool,
    },
    /// It looks what became of that.
    Looks {
        base: Set,
    },
    /// It puts the session into the index, where an error is planted.
    Indexes,
    /// It looks whether its session is admitted, where there is no limit.
    Confirms,
    Destroys {
        key: Key,
        in_doubt: bool,
        has_followed: bool,
        why: Why,
    },
    Lists(Pass),
    Done(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Actor {
    pub(crate) phase: Phase,
    /// The key that its session is to have.
    pub(crate) key: Key,
    /// The generation that it read or, for an end of all, the new one.
    pub(crate) generation: u8,
    pub(crate) proved: u8,
    pub(crate) has_place: bool,
    /// The sessions that have ended for its place.
    pub(crate) ended: Vec<Key>,
}

impl Actor {
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}

/// One state of everything, with what only an onlooker knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) account: Account,
    pub(crate) sessions: Vec<Session>,
    /// Which sessions the list of the user's sessions has.
    pub(crate) index: Set,
    pub(crate) actors: Vec<Actor>,
    /// How many more calls may fail.
    pub(crate) faults: u8,
    /// Sessions that had a place, and whose place a newer one has taken.
    pub(crate) displaced: Set,
    /// The actors whose commit has taken the ticket.
    pub(crate) takers: Set,
}

#[expect(
    clippy::indexing_slicing,
    reason = "actors and keys are the model's own numbers, and one that is wrong must end it"
)]
impl State {
    pub(crate) fn actor(&self, actor: usize) -> &Actor {
        &self.actors[actor]
    }

    pub(crate) fn actor_mut(&mut self, actor: usize) -> &mut Actor {
        &mut self.actors[actor]
    }

    pub(crate) fn session(&self, key: Key) -> Session {
        self.sessions[key]
    }

    /// Stores a session, and puts it into the index in the same step.
    pub(crate) fn store(&mut self, key: Key, record: Record) {
        self.sessions[key] = Session::Live(record);
        self.index.add(key);
    }

    pub(crate) fn set(&mut self, key: Key, session: Session) {
        self.sessions[key] = session;
    }

    /// All sessions that live, with their keys.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Key, &Record)> {
        let sessions = self.sessions.iter().enumerate();
        sessions.filter_map(|(key, session)| Some((key, session.live()?)))
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.actors.iter().filter_map(Actor::outcome)
    }

    pub(crate) fn all_done(&self) -> bool {
        self.actors.iter().all(|actor| actor.outcome().is_some())
    }

    /// Whether a browser has the cookie of this session.
    pub(crate) fn is_known(&self, key: Key) -> bool {
        let has = |outcome| matches!(outcome, Outcome::Has(own, _) if own == key);
        key == FIRST || self.outcomes().any(has)
    }
}
