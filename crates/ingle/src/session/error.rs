//! What a handler may have to decide about.

use std::sync::Arc;

use crate::{
    data::{InvalidValue, Reason, typed::WrongType},
    engine::{change::Refused, failure::Failure},
    id::NoRandomness,
    store,
};

/// Why a session could not do what it was asked.
///
/// A variant for each thing that a caller may do something else about. As a response each is a
/// status and a short fixed text ([`ErrorResponse`](crate::ErrorResponse)); the cause is for logs, and
/// names neither ids nor data.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session was destroyed, renewed or expired by another request while this one was working
    /// on it. Nothing of this call was stored, and the session stays as the other request left it.
    #[error("the session was ended by another request")]
    Interrupted,

    /// A field that this request had read was changed by another request before this one wrote it.
    /// Nothing of this call was stored; the other request's value stands. Try again from the read.
    #[error(
        "the field `{}` was changed by another request since this one read it",
        field.escape_debug()
    )]
    LostUpdate {
        /// The top-level field.
        field: String,
    },

    /// The store did not answer, or not in time. Nothing was stored, or nothing was to be. The
    /// session, if there is one, is as it was. Try again later.
    #[error("the session's store is not available")]
    Unavailable(#[source] Arc<store::Error>),

    /// The store did not say whether it stored the change, and cannot be asked any more. The change
    /// was made once or not at all, never twice. Look at the data before trying again.
    #[error("it is not known whether the session's change was stored")]
    OutcomeUnknown,

    /// The data would be larger than a limit of the layer or of the store. Nothing was stored.
    #[error("the session's data is too large")]
    TooLarge(#[source] Arc<dyn std::error::Error + Send + Sync>),

    /// The data is not of the type that the app reads it as. Nothing was stored.
    #[error(transparent)]
    WrongType(#[from] WrongType),

    /// The value cannot be kept in a session. Nothing was stored.
    #[error(transparent)]
    InvalidValue(InvalidValue),

    /// The store holds something that is not this session's record, or not readable. It was not
    /// used, and it was not changed.
    #[error("the session's record is damaged")]
    Damaged(#[source] Arc<store::Error>),

    /// The response has left, so the id of a new or renewed session can no longer reach the
    /// browser. Nothing was stored. Begin or renew a session before the response.
    #[error("the response has left, so the browser cannot learn a new session id any more")]
    ResponseSent,

    /// The operating system gave no random bytes for an id. Nothing was stored.
    #[error("no session id could be made")]
    NoRandomness(#[source] Arc<NoRandomness>),
}

impl From<NoRandomness> for Error {
    fn from(error: NoRandomness) -> Self {
        Self::NoRandomness(Arc::new(error))
    }
}

impl From<InvalidValue> for Error {
    fn from(error: InvalidValue) -> Self {
        match error.reason {
            Reason::TooLarge { .. } | Reason::TooManyFields { .. } => {
                Self::TooLarge(Arc::new(error))
            }
            _ => Self::InvalidValue(error),
        }
    }
}

impl From<Arc<store::Error>> for Error {
    fn from(error: Arc<store::Error>) -> Self {
        match error.kind() {
            store::ErrorKind::TooLarge => Self::TooLarge(error),
            store::ErrorKind::Unfit => {
                Self::InvalidValue(InvalidValue::new(Reason::Store(error.cause())))
            }
            store::ErrorKind::Corrupt => Self::Damaged(error),
            store::ErrorKind::Unavailable
            | store::ErrorKind::Refused
            | store::ErrorKind::Contended => Self::Unavailable(error),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Arc::new(error).into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing | Failure::Ended => Self::Interrupted,
            Failure::Store(error) => error.into(),
            Failure::Unknown => Self::OutcomeUnknown,
            Failure::NoRandomness(error) => Self::NoRandomness(error),
        }
    }
}

impl From<Refused> for Error {
    /// A closure's panic goes on in the request that it belongs to, as if nothing stood between.
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::LostUpdate { field } => Self::LostUpdate { field },
            Refused::WrongType(error) => error.into(),
            Refused::Invalid(error) => error.into(),
            Refused::Panicked(panic) => std::panic::resume_unwind(panic),
        }
    }
}
