//! The errors that a handler can branch on.

use std::sync::Arc;

use crate::{
    data::{InvalidValue, Reason, typed::WrongType},
    engine::{change::Refused, failure::Failure},
    id::NoRandomness,
    store,
};

/// Why a session could not do what it was asked.
///
/// There is a variant for each case in which a caller can do something else. As a response each is
/// a status and a short fixed text ([`ErrorResponse`](crate::ErrorResponse)). The cause is for
/// logs, and names neither ids nor data.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another request destroyed or renewed the session while this one was working on it, or the
    /// session expired. Nothing of this call was stored, and the session stays as the other request
    /// left it. Where all sessions of a user end while the user logs in, the session of the login ends too.
    #[error("the session was ended by another request")]
    Interrupted,

    /// This request had read a field, and another request changed it before this one wrote it.
    /// Nothing of this call was stored, and the other request's value stands. Try again from the
    /// read.
    #[error(
        "the field `{}` was changed by another request since this one read it",
        field.escape_debug()
    )]
    LostUpdate {
        /// The top-level field.
        field: String,
    },

    /// The store did not answer in time, another writer held the record, or the store refused, such as for
    /// want of a right. The source says which. This change was not stored, and the session is as it was. A
    /// call that ends several sessions may have ended some, and a login may have ended those that it replaces.
    #[error("the session's store is not available")]
    Unavailable(#[source] Arc<store::Error>),

    /// The store did not say whether it stored the change, and did not answer when asked again. The
    /// change was made once or not at all, never twice. Look at the data before you try again.
    #[error("it is not known whether the session's change was stored")]
    OutcomeUnknown,

    /// The data would be larger than a limit of the layer or of the store. Nothing was stored.
    #[error("the session's data is too large")]
    TooLarge(#[source] Arc<dyn std::error::Error + Send + Sync>),

    /// The data does not have the type that the app reads it as. Nothing was stored.
    #[error(transparent)]
    WrongType(#[from] WrongType),

    /// A session cannot hold the value. Nothing was stored.
    #[error(transparent)]
    InvalidValue(InvalidValue),

    /// What the store holds under this key is unreadable or another session's record. It was
    /// neither used nor changed.
    #[error("the session's record is damaged")]
    Damaged(#[source] Arc<store::Error>),

    /// The response has left, so the id of a new or renewed session can no longer reach the
    /// browser. Nothing was stored. Begin or renew a session before the response.
    #[error("the response has left, so the browser cannot learn a new session id any more")]
    ResponseSent,

    /// The request has more session cookies than are looked up, and a logout or a login must end the
    /// session of each. Nothing was ended. The visitor can delete the cookies of this site.
    #[error("the request has too many session cookies to end the sessions of all")]
    TooManyCookies,

    /// The request came from another site without the session's cookie, which the browser may have
    /// kept back (`SameSite`). A new session would take the place of the one that the visitor may
    /// have. Nothing was stored. See [the guide](crate::guide#logins-that-come-back-from-another-site)
    /// for what to do.
    #[error("a request from another site may lack its cookie, so no session begins in its place")]
    CookieWithheld,

    /// Nobody is logged in.
    #[error("nobody is logged in")]
    NotLoggedIn,

    /// The user proved who they are too long ago for what is asked. Ask for the password again, and
    /// call [`reauthenticate`](crate::Session::reauthenticate).
    #[error("the user must prove again who they are")]
    NotFresh,

    /// The user has as many sessions as the layer [allows](crate::SessionLayer::sessions_per_user).
    /// Nobody was logged in.
    #[error("the user has as many sessions as they may have")]
    TooManySessions,

    /// The session is logged in for somebody who would act in another's name, which takes a session of
    /// its own. Nothing was changed. See [`impersonate`](crate::Session::impersonate).
    #[error("the session is logged in already; to act in another's name takes one of its own")]
    AlreadyLoggedIn,

    /// The session's store cannot do this. Nothing was changed.
    #[error("{0}")]
    Unsupported(&'static str),

    /// As many sessions have begun in this second as
    /// [`new_sessions_per_second`](crate::SessionLayer::new_sessions_per_second) lets one process
    /// begin. Nothing was stored, and sessions that there are go on. Try again later.
    #[error("this process begins no more sessions in this second, as its limit says")]
    TooManyNewSessions,

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
    /// Lets a closure's panic go on in the request that it belongs to.
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::LostUpdate { field } => Self::LostUpdate { field },
            Refused::WrongType(error) => error.into(),
            Refused::Invalid(error) => error.into(),
            Refused::Panicked(panic) => std::panic::resume_unwind(panic),
        }
    }
}
