//! What can go wrong with memcached, in words that say what to do, and what is true afterwards.

use super::{NAME, wire::Fault};
use crate::store::{Applied, Error, ErrorKind};

/// memcached cannot be used, or a call of it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemcachedError {
    /// The configuration is wrong.
    #[error("the configuration {0}")]
    Config(&'static str),
    /// There is no connection.
    #[error(
        "no memcached can be reached at `{server}` ({message}); start one there, as with `memcached \
         -l ADDRESS -p PORT`, or mend the address"
    )]
    NoConnection {
        /// Where it should be.
        server: String,
        /// What happened.
        message: String,
    },
    /// There is a connection and no answer.
    #[error(
        "what listens at `{server}` gives no answer ({message}); look whether memcached hangs \
         there, or speaks TLS, which this store does not"
    )]
    NoAnswer {
        /// Where it should be.
        server: String,
        /// What happened.
        message: &'static str,
    },
    /// Something else answers.
    #[error(
        "what answers at `{server}` is not memcached; the port that memcached listens on is its \
         option `-p`, usually 11211"
    )]
    NotMemcached {
        /// Where it should be.
        server: String,
    },
    /// It cannot do what is needed.
    #[error(
        "memcached {version} at `{server}` lacks meta commands that this store needs; install \
         memcached 1.6.18 or later"
    )]
    TooOld {
        /// Where it is.
        server: String,
        /// What it says that it is.
        version: String,
    },
    /// It wants a user and a password.
    #[error(
        "memcached at `{server}` wants a user and a password, which this store does not send; start \
         it without `-Y` and `-S`, on a private network"
    )]
    NeedsPassword {
        /// Where it is.
        server: String,
    },
    /// Its items have no cas token.
    #[error(
        "memcached at `{server}` gives no cas tokens, without which changes would be lost; start it \
         without `-C` (`--disable-cas`)"
    )]
    NoCas {
        /// Where it is.
        server: String,
    },
    /// It has no connection left.
    #[error(
        "memcached at `{server}` has no connection left; start it with a higher limit, as with \
         `-c 4096`"
    )]
    TooManyConnections {
        /// Where it is.
        server: String,
    },
    /// It has no memory for an item of this size. What was under the key is then gone, too.
    #[error(
        "memcached at `{server}` has no memory for an item of this size; start it with more, as \
         with `-m 1024`, and without `-M`"
    )]
    OutOfMemory {
        /// Where it is.
        server: String,
    },
    /// An item is too large.
    #[error(
        "a record of {bytes} bytes does not fit into an item of memcached at `{server}`, which has \
         {max}; start it with a higher limit, as with `-I 2m`"
    )]
    TooLarge {
        /// Where it is.
        server: String,
        /// How large the item would be.
        bytes: usize,
        /// How large one may be.
        max: usize,
    },
    /// An answer belongs to no question of this connection, which was closed.
    #[error("memcached at `{server}` gave an answer that belongs to another question")]
    Garbled {
        /// Where it is.
        server: String,
    },
    /// Anything else that it says.
    #[error("memcached at `{server}` says: {message}")]
    Said {
        /// Where it is.
        server: String,
        /// Its words.
        message: String,
    },
}

/// Why a call was not answered, and how far it came.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: MemcachedError,
    pub(super) kind: ErrorKind,
    pub(super) happened: Applied,
}

impl Failed {
    /// A call that nothing was sent of.
    pub(super) fn unsent(error: MemcachedError) -> Self {
        Self { error, kind: ErrorKind::Unavailable, happened: Applied::No }
    }

    /// A call that may have been sent, and may yet be answered to nobody.
    pub(super) fn unanswered(server: &str, message: &'static str) -> Self {
        let error = MemcachedError::NoAnswer { server: server.to_owned(), message };
        Self { error, kind: ErrorKind::Unavailable, happened: Applied::Unknown }
    }

    /// What a fault on a connection means for a call that was sent on it.
    ///
    /// Proof that nothing was done are memcached's own refusals of this command. Other errors of a
    /// server may come from what stands before it.
    pub(super) fn of(fault: Fault, server: &str) -> Self {
        let name = server.to_owned();
        let (error, kind, happened) = match fault {
            Fault::Lost => {
                return Self::unanswered(server, "the connection was lost");
            }
            Fault::Garbled => {
                (MemcachedError::Garbled { server: name }, ErrorKind::Unavailable, Applied::Unknown)
            }
            Fault::Said(said) => return Self::said(said, name),
        };
        Self { error, kind, happened }
    }

    fn said(said: String, server: String) -> Self {
        let (error, kind, happened) = if said.starts_with("SERVER_ERROR object too large") {
            (MemcachedError::Said { server, message: said }, ErrorKind::TooLarge, Applied::No)
        } else if said.starts_with("SERVER_ERROR out of memory") {
            (MemcachedError::OutOfMemory { server }, ErrorKind::Unavailable, Applied::No)
        } else if said.starts_with("ERROR Too many open connections") {
            (MemcachedError::TooManyConnections { server }, ErrorKind::Unavailable, Applied::No)
        } else if said.starts_with("CLIENT_ERROR unauthenticated") {
            (MemcachedError::NeedsPassword { server }, ErrorKind::Refused, Applied::No)
        } else if said.starts_with("SERVER_ERROR") {
            (
                MemcachedError::Said { server, message: said },
                ErrorKind::Unavailable,
                Applied::Unknown,
            )
        } else {
            (MemcachedError::Said { server, message: said }, ErrorKind::Refused, Applied::No)
        };
        Self { error, kind, happened }
    }

    /// The same failure of a call beside the write itself, which has not been made by it.
    pub(super) fn beside(self) -> Error {
        Self { happened: Applied::No, ..self }.into()
    }

    /// The same failure at a moment at which the write may have been made already.
    pub(super) fn after(self) -> Error {
        Self { happened: Applied::Unknown, ..self }.into()
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::new(NAME, failed.kind, failed.happened).with_source(failed.error)
    }
}

/// What stands under a key is not a record that this version can read.
///
/// Only the place is told: an item's content may be anyone's secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("an item is not JSON of a session: line {line}, column {column}")]
    NotASession { line: usize, column: usize },
    #[error("an item has another key than it was written under")]
    OtherKey,
    #[error("an item has format {0}, and this version of ingle reads up to {FORMAT}", FORMAT = crate::record::FORMAT)]
    Format(u16),
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(NAME, ErrorKind::Corrupt, Applied::No).with_source(unreadable)
    }
}
