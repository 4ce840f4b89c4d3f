//! Why no commit was made.

use std::sync::Arc;

use crate::{
    id::NoRandomness,
    store::{self, Lookup},
};

/// Why no commit was made, for all the changes in it alike.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// There is no session under the key, and no recent mark. Nothing was changed.
    Missing,
    /// Another request ended or moved the session. Nothing was changed.
    Ended,
    /// The store failed. Nothing was changed.
    Store(Arc<store::Error>),
    /// Whether the commit was made cannot be found out any more.
    Unknown,
    /// The system gave no random bytes for an op. Nothing was changed.
    NoRandomness(Arc<NoRandomness>),
}

impl Failure {
    /// Why a load found no live record.
    pub(crate) fn of_absence(found: &Lookup) -> Self {
        match found {
            Lookup::Moved { .. } | Lookup::Ended => Self::Ended,
            Lookup::Live(_) | Lookup::Missing => Self::Missing,
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<NoRandomness> for Failure {
    fn from(error: NoRandomness) -> Self {
        Self::NoRandomness(Arc::new(error))
    }
}
