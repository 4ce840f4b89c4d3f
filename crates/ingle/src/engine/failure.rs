//! Why no commit was made.

use std::sync::Arc;

use crate::{
    id::NoRandomness,
    store::{self, Lookup},
};

/// Why no commit was made, as far as all the changes in it are concerned.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// There is no session under the key, and none ended there lately. Nothing was changed.
    Missing,
    /// The session was ended or moved by another request. Nothing was changed.
    Ended,
    /// The store failed. Nothing was changed.
    Store(Arc<store::Error>),
    /// It cannot be found out any more whether the commit was made.
    Unknown,
    /// No op could be drawn. Nothing was changed.
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
