//! What there is in the model: a store, requests on their way, and two clients.
//!
//! A session has one life here, since a create never uses a key twice. Data is the list of the
//! changes that were made to it, so that a change that is lost or made twice can be seen.

/// How many ops a record remembers here; in the library it is 16.
pub(crate) const RING: usize = 2;

/// How often a client sends one write.
pub(crate) const SENDS_MAX: u8 = 2;

/// Both clients begin with the record under the first key; each has one key of its own to renew to.
pub(crate) const KEYS: usize = 3;

/// What a client is asked to do, and the bit that it has in a [`Changes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Change(pub(crate) u8);

/// A set of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Changes(u16);

impl Changes {
    pub(crate) fn add(&mut self, change: Change) {
        self.0 |= 1 << change.0;
    }

    pub(crate) fn has(self, change: Change) -> bool {
        self.0 & (1 << change.0) != 0
    }
}

/// The name of a commit: its change, and a number that differs only where an error is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Op(pub(crate) Change, pub(crate) u8);

/// What a store keeps under a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) counter: u8,
    /// The last commits, the oldest first.
    pub(crate) ring: Vec<Op>,
    pub(crate) data: Vec<Change>,
}

impl Record {
    pub(crate) fn first() -> Self {
        Self { counter: 1, ring: Vec::new(), data: Vec::new() }
    }

    /// The record that a commit makes of this one.
    pub(crate) fn after(&self, op: Op) -> Self {
        let mut after = self.clone();
        after.counter += 1;
        after.ring.push(op);
        if after.ring.len() > RING {
            after.ring.remove(0);
        }
        after.data.push(op.0);
        after
    }

    pub(crate) fn times(&self, change: Change) -> usize {
        self.data.iter().filter(|made| **made == change).count()
    }
}

/// A request to the store. A renew is a write under another key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Write {
    Put { from: usize, to: usize, base: Record, record: Record },
    Destroy { key: usize, change: Change },
}

/// A request on its way. It may arrive at any time or never, and more than once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) client: usize,
    /// Whether the client still waits for the answer.
    pub(crate) awaited: bool,
    pub(crate) write: Write,
}

/// What the store says to a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Made,
    /// With the newer record, where the store gives it along.
    Conflict(Option<Record>),
    Gone,
    /// A failure that is proof that nothing was done.
    NotDone,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    Replace,
    Renew,
    Destroy,
}

/// What a client reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Made(How),
    /// Surely not done, and never will be.
    Refused,
    Unknown(Why),
}

/// By what a client knows that its change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Answered,
    AnsweredAfterDoubt,
    FoundInTheRing,
}

/// Why a client cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    Gone,
    BeyondTheRing,
    WentBack,
    Deadline,
}

/// A write that a client is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) base: Record,
    pub(crate) record: Record,
    pub(crate) op: Op,
    pub(crate) in_doubt: bool,
    pub(crate) sends: u8,
}

/// Which load of a look for the op this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Look {
    /// Under the new key of a renew that may have been made.
    Ahead,
    /// Under the key that was written from.
    Behind,
    /// Under the new key again: the renew may have been made between the two.
    AheadAgain,
}

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    /// It loads the record to run its change on. `Some` once the store has read it.
    Loads(Option<Option<Record>>),
    /// It has sent a write.
    Waits {
        attempt: Attempt,
        answers: Vec<Answer>,
    },
    /// It loads to find out what became of a write.
    Looks {
        attempt: Attempt,
        look: Look,
        told: Option<Record>,
        answer: Option<Option<Record>>,
    },
    /// The record is as it was: it sends the same write again, or its time is over.
    Unmoved {
        attempt: Attempt,
        refused: bool,
    },
    /// The record moved on: it runs its change again, or its time is over.
    Moved {
        newer: Record,
        op: Op,
    },
    /// It has sent a destroy.
    Destroys {
        change: Change,
        in_doubt: bool,
        sends: u8,
        answers: Vec<Answer>,
    },
    /// The destroy failed: it sends another one, or its time is over.
    DestroyFailed {
        change: Change,
        in_doubt: bool,
        sends: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    /// The key that it knows the session by; `None` once it was told that there is none.
    pub(crate) key: Option<usize>,
    /// What it last knew of the record.
    pub(crate) hint: Option<Record>,
    pub(crate) phase: Phase,
    /// What came of its tasks, as far as they are done.
    pub(crate) outcomes: Vec<Outcome>,
}

/// One state of everything, with what only an onlooker knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) records: [Option<Record>; KEYS],
    /// Requests on their way, in order of their contents, so that equal states are equal.
    pub(crate) net: Vec<Sent>,
    pub(crate) clients: [Client; 2],
    /// How many more requests may arrive twice, and how many may be turned away.
    pub(crate) doubles: u8,
    pub(crate) refusals: u8,
    /// What the store may go back to, once.
    pub(crate) past: Option<Vec<Record>>,
    /// Which changes were ever made.
    pub(crate) made: Changes,
    /// Which of them the store itself has lost when it went back.
    pub(crate) excused: Changes,
    /// Which keys are known to be dead: of what was destroyed, or renewed away.
    pub(crate) dead: [bool; KEYS],
}

impl State {
    pub(crate) fn client(&self, client: usize) -> &Client {
        #[expect(clippy::indexing_slicing, reason = "there are two clients")]
        &self.clients[client]
    }

    /// All records of the session that there are.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().flatten()
    }
}
