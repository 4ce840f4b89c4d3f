//! What a store says of itself.

use std::borrow::Cow;

#[cfg(doc)]
use super::{List, MARK_TIME, Store};

/// What a store is, the answer of [`Store::info`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The name of this kind of store in messages and metrics, such as `sqlite`.
    pub name: &'static str,
    /// What an acknowledged commit survives, as the end of a sentence: `a crash and a power loss`.
    pub durability: Cow<'static, str>,
    /// Which server it is on and how it commits there, where the store can tell and it makes a
    /// difference: ``Valkey 9.1.2, each commit is `SET … IFEQ` ``. As it was when the store was opened.
    pub server: Option<Cow<'static, str>>,
    /// Which laws it keeps only in a weaker form.
    pub capabilities: Capabilities,
    /// Which ids the sessions have whose records it holds.
    pub ids: Ids,
}

impl Info {
    /// A store that keeps every law for any number of processes, and holds the records of
    /// [hashed](Ids::Hashed) ids.
    #[must_use]
    pub fn new(name: &'static str, durability: impl Into<Cow<'static, str>>) -> Self {
        let (durability, capabilities) = (durability.into(), Capabilities::default());
        Self { name, durability, server: None, capabilities, ids: Ids::Hashed }
    }

    /// The same on this server.
    #[must_use]
    pub fn with_server(mut self, server: impl Into<Cow<'static, str>>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// The same with these capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same for sessions with these ids.
    #[must_use]
    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }
}

/// The kind of ids whose records a store holds, and so what a browser may bring.
///
/// Kinds other than [`Hashed`](Self::Hashed) are for an app that already has sessions of the form
/// in Google's tutorial *Handling sessions with Firestore*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ids {
    /// 256 random bits each. The store knows a hash of them, and an attacker who reads the store
    /// cannot make a cookie of it.
    #[default]
    Hashed,
    /// UUIDs, which name the records. An attacker who reads the store, a backup or a console can
    /// take over every session. For apps that share their sessions with an app that follows the
    /// tutorial.
    Plain,
    /// As [`Hashed`](Self::Hashed). In addition, a session with a plain id is still found, and
    /// moves to a new, safe id when its visitor next comes.
    Upgrade,
}

/// Which laws a store keeps only in a weaker form. The conformance suite reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How law 6 is kept.
    pub renew: Renew,
    /// Whether processes can share the records (law 11).
    pub shared: Shared,
    /// Whether law 10 is kept: the store has a [`List`] that lists by user.
    pub lists_by_user: bool,
    /// How law 12 is kept.
    pub marks: Marks,
}

impl Default for Capabilities {
    /// Every law, for any number of processes.
    fn default() -> Self {
        Self {
            renew: Renew::OneStep,
            shared: Shared::Processes,
            lists_by_user: true,
            marks: Marks::Kept,
        }
    }
}

impl Capabilities {
    /// The same with records that the threads of one process share.
    #[must_use]
    pub const fn in_one_process(mut self) -> Self {
        self.shared = Shared::Process;
        self
    }

    /// The same for a store that renews in two steps.
    #[must_use]
    pub const fn renewing_in_two_steps(mut self) -> Self {
        self.renew = Renew::TwoSteps;
        self
    }

    /// The same for a store without lists.
    #[must_use]
    pub const fn without_lists(mut self) -> Self {
        self.lists_by_user = false;
        self
    }

    /// The same for a store that may forget its marks.
    #[must_use]
    pub const fn forgetting_marks(mut self) -> Self {
        self.marks = Marks::MayBeForgotten;
        self
    }
}

/// How a store keeps its marks (law 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Marks {
    /// For [`MARK_TIME`], as the law says.
    Kept,
    /// As the law says, unless the store needs the memory: a cache that evicts.
    MayBeForgotten,
}

/// How a store renews (law 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renew {
    /// In one step, as the law says.
    OneStep,
    /// In two steps. The new key is there before the old one ends, so a reader may find both for a
    /// moment, and never neither.
    TwoSteps,
}

/// Who shares the records of a store (law 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// The threads of one process.
    Process,
    /// Any number of processes, on one machine or on many.
    Processes,
}
