//! What can go wrong with memcached: what is wrong, what to do, and what is true afterwards.

use std::fmt;

use super::wire::Fault;
use crate::{
    data::Limits,
    store::{
        Applied, Error, ErrorKind, OpenError, OpenErrorKind, Warning,
        floor::text::{one_line, root_cause},
    },
};

/// What messages and metrics call this store.
pub(super) const NAME: &str = "memcached";

/// Why memcached cannot be used, or did not do something: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    kind: OpenErrorKind,
    problem: String,
    help: &'static str,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

impl std::error::Error for Cause {}

impl From<Cause> for OpenError {
    fn from(cause: Cause) -> Self {
        Self::new(NAME, cause.kind, cause.problem, cause.help)
    }
}

/// The configuration is wrong.
pub(super) fn config(problem: &str) -> Cause {
    let problem = format!("the configuration {problem}");
    Cause { kind: OpenErrorKind::Config, problem, help: "" }
}

/// The URL is wrong.
pub(super) fn url(problem: &str) -> OpenError {
    OpenError::new(NAME, OpenErrorKind::Config, format!("the URL {problem}"), "")
}

/// The operating system gives no random bytes for the key of a test item.
pub(super) fn no_randomness(cause: &dyn std::error::Error) -> Cause {
    let problem = format!("the system gave no random bytes: {}", one_line(&cause.to_string()));
    Cause { kind: OpenErrorKind::Failed, problem, help: "" }
}

/// There is no connection.
pub(super) fn no_connection(server: &str, cause: &(dyn std::error::Error + 'static)) -> Cause {
    let problem = format!("no memcached can be reached at `{server}` ({})", root_cause(cause));
    let help = "start one there, as with `memcached -l ADDRESS -p PORT`, or correct the address";
    Cause { kind: OpenErrorKind::Unreachable, problem, help }
}

/// There is a connection and no answer.
pub(super) fn no_answer(server: &str, message: &str) -> Cause {
    let problem = format!("what listens at `{server}` gives no answer ({message})");
    let help = "see whether memcached hangs there, or speaks TLS, which this store does not";
    Cause { kind: OpenErrorKind::Unreachable, problem, help }
}

/// Something else answers.
pub(super) fn not_memcached(server: &str) -> Cause {
    let problem = format!("what answers at `{server}` is not memcached");
    let help = "the port that memcached listens on is its option `-p`, usually 11211";
    Cause { kind: OpenErrorKind::Foreign, problem, help }
}

/// It cannot do what is needed.
pub(super) fn too_old(server: &str, version: &str) -> Cause {
    let problem =
        format!("memcached {version} at `{server}` lacks meta commands that this store needs");
    Cause { kind: OpenErrorKind::Unsupported, problem, help: "install memcached 1.6.18 or later" }
}

/// It wants a user and a password.
fn needs_password(server: &str) -> Cause {
    let problem = format!(
        "memcached at `{server}` wants a user and a password, which this store does not send"
    );
    let help = "start it without `-Y` and `-S`, on a private network";
    Cause { kind: OpenErrorKind::Denied, problem, help }
}

/// Its items have no cas token.
pub(super) fn no_cas(server: &str) -> Cause {
    let problem =
        format!("memcached at `{server}` gives no cas tokens, without which changes would be lost");
    let help = "start it without `-C` (`--disable-cas`)";
    Cause { kind: OpenErrorKind::Unsupported, problem, help }
}

/// It has no connection left.
fn too_many_connections(server: &str) -> Cause {
    let problem = format!("memcached at `{server}` has no connection left");
    let help = "start it with a higher limit, as with `-c 4096`";
    Cause { kind: OpenErrorKind::Unreachable, problem, help }
}

/// It has no memory for an item of this size. What was under the key is then gone, too.
fn out_of_memory(server: &str) -> Cause {
    let problem = format!("memcached at `{server}` has no memory for an item of this size");
    let help = "start it with more, as with `-m 1024`, and without `-M`";
    Cause { kind: OpenErrorKind::Failed, problem, help }
}

/// It throws items out.
pub(super) fn evicts(server: &str, evictions: u64) -> Warning {
    let problem = format!(
        "memcached at `{server}` has evicted {evictions} items for lack of memory, which ends sessions early"
    );
    let help = "start it with more, as with `-m 1024`, which in Debian is a line of `/etc/memcached.conf` and \
                then `systemctl restart memcached`; its restart ends all sessions";
    Warning::new("eviction", problem, help)
}

/// Its items are smaller than a session may be.
pub(super) fn small_items(server: &str, max: usize) -> Warning {
    let problem = format!(
        "memcached at `{server}` takes items of up to {max} bytes, and a session may have {} of data",
        Limits::default().bytes_max
    );
    let help = "start it with a higher limit, as with `-I 2m`, which in Debian is a line of \
                `/etc/memcached.conf` and then `systemctl restart memcached`; its restart ends all sessions";
    Warning::new("size", problem, help)
}

/// An item of so many bytes does not fit where there may be `max`.
fn too_large(server: &str, bytes: usize, max: usize) -> Cause {
    let problem = format!(
        "a record of {bytes} bytes does not fit into an item of memcached at `{server}`, which has \
         {max}"
    );
    let help = "start it with a higher limit, as with `-I 2m`";
    Cause { kind: OpenErrorKind::Failed, problem, help }
}

/// An answer belongs to no question of this connection, which was closed.
fn garbled(server: &str) -> Cause {
    let problem =
        format!("memcached at `{server}` gave an answer that belongs to another question");
    Cause { kind: OpenErrorKind::Failed, problem, help: "" }
}

/// Anything else that it says.
fn said(server: &str, message: &str) -> Cause {
    let problem = format!("memcached at `{server}` says: {message}");
    Cause { kind: OpenErrorKind::Failed, problem, help: "" }
}

/// Why a call was not answered, and how far it came.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) kind: ErrorKind,
    pub(super) applied: Applied,
    /// What came is no answer of the memcached that this store knows.
    pub(super) is_unknown_answer: bool,
}

impl Failure {
    fn new(cause: Cause, kind: ErrorKind, applied: Applied) -> Self {
        Self { cause, kind, applied, is_unknown_answer: false }
    }

    /// A call that nothing was sent of.
    pub(super) fn unsent(cause: Cause) -> Self {
        Self::new(cause, ErrorKind::Unavailable, Applied::No)
    }

    /// An item that is too large to be sent.
    pub(super) fn too_large(server: &str, bytes: usize, max: usize) -> Self {
        Self::new(too_large(server, bytes, max), ErrorKind::TooLarge, Applied::No)
    }

    /// A call that may have been sent, and may yet be answered to nobody.
    pub(super) fn unanswered(server: &str, message: &str) -> Self {
        Self::new(no_answer(server, message), ErrorKind::Unavailable, Applied::Unknown)
    }

    /// What a fault on a connection means for a call that was sent on it.
    ///
    /// Proof that nothing was done are memcached's own refusals of this command. Other errors of a
    /// server may come from what stands before it.
    pub(super) fn of(fault: Fault, server: &str) -> Self {
        use Applied::{No, Unknown};
        use ErrorKind::{Refused, TooLarge, Unavailable};
        let message = match fault {
            Fault::Lost => return Self::unanswered(server, "the connection was lost"),
            Fault::Garbled => {
                let failure = Self::new(garbled(server), Unavailable, Unknown);
                return Self { is_unknown_answer: true, ..failure };
            }
            Fault::Said(message) => message,
        };
        let begins = |words| message.starts_with(words);
        if begins("SERVER_ERROR out of memory") {
            return Self::new(out_of_memory(server), Unavailable, No);
        } else if begins("ERROR Too many open connections") {
            return Self::new(too_many_connections(server), Unavailable, No);
        } else if begins("CLIENT_ERROR unauthenticated") {
            return Self::new(needs_password(server), Refused, No);
        }
        let (kind, applied) = if begins("SERVER_ERROR object too large") {
            (TooLarge, No)
        } else if begins("SERVER_ERROR") {
            (Unavailable, Unknown)
        } else {
            (Refused, No)
        };
        Self { is_unknown_answer: true, ..Self::new(said(server, &message), kind, applied) }
    }

    /// The same failure of a call beside the write itself, which has not been made by it.
    pub(super) fn beside(self) -> Error {
        Self { applied: Applied::No, ..self }.into()
    }

    /// The same failure at a moment at which the write may have been made already.
    pub(super) fn after(self) -> Error {
        Self { applied: Applied::Unknown, ..self }.into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(NAME, failure.kind, failure.applied).with_source(failure.cause)
    }
}

/// Others kept changing the item.
pub(super) fn contended() -> Error {
    Error::new(NAME, ErrorKind::Contended, Applied::No)
}

/// What stands under a key is not an item that this version can read.
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
