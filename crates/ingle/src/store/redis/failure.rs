//! What can go wrong with Redis, in words that say what to do, and what is true afterwards.
//!
//! Decided by the codes that Redis documents for programs. What follows them only makes an
//! explanation better.

use redis::ServerError;

use super::NAME;
use crate::store::{Applied, Error, ErrorKind};

/// Redis cannot be used, or a call of it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// Something in the configuration is wrong.
    #[error("the configuration {0}")]
    Config(&'static str),
    /// Nobody listens there, or the host is not known.
    #[error(
        "no Redis server can be reached at {server} ({message}); see that it runs with \
         `redis-cli -h HOST -p PORT ping`"
    )]
    Unreachable {
        /// Where it should be.
        server: String,
        /// What happened.
        message: String,
    },
    /// It takes connections and says nothing.
    #[error(
        "the Redis server at {server} does not answer in time; if it expects TLS, write \
         `rediss:` for `redis:`, else see what it does with `redis-cli --latency`"
    )]
    Silent {
        /// Where it is.
        server: String,
    },
    /// TLS could not be agreed on.
    #[error(
        "no TLS connection to {server} could be made ({message}); a server without TLS is \
         `redis:` instead of `rediss:`, and one whose certificate is your own needs \
         `?cacert=FILE`"
    )]
    Tls {
        /// Where it is.
        server: String,
        /// What happened.
        message: String,
    },
    /// The file of certificates is of no use.
    #[error(
        "`cacert` names a file without usable certificates ({message}); it must hold them in PEM"
    )]
    Cacert {
        /// What is wrong.
        message: String,
    },
    /// What answers is no Redis server, or none without TLS.
    #[error(
        "what answers at {server} is not a Redis server ({message}); if it expects TLS, write \
         `rediss:` for `redis:`, else see the port"
    )]
    NotRedis {
        /// Where it is.
        server: String,
        /// What happened.
        message: String,
    },
    /// The server wants a password.
    #[error(
        "the Redis server at {server} wants a password, and none is given; write \
         redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST for its default user"
    )]
    NoPassword {
        /// Where it is.
        server: String,
    },
    /// The server does not accept the user or the password.
    #[error(
        "the Redis server at {server} does not accept this user and password; `ACL LIST` shows an \
         administrator which users there are, and a `%` or `@` in a password is written as %25 or \
         %40"
    )]
    WrongPassword {
        /// Where it is.
        server: String,
    },
    /// The database's number is too high, or a cluster has no such thing.
    #[error(
        "the Redis server at {server} has no database {database} ({message}); write another \
         number, or none for 0"
    )]
    NoDatabase {
        /// Where it is.
        server: String,
        /// The number.
        database: u32,
        /// What it says.
        message: String,
    },
    /// The server is too old.
    #[error(
        "the server at {server} is {version}, and sessions need Redis 7.0 or later, or Valkey; \
         an older one can stop a script half way"
    )]
    TooOld {
        /// Where it is.
        server: String,
        /// Its name and version.
        version: String,
    },
    /// The server is a replica.
    #[error(
        "the Redis server at {server} is a replica, which takes no commits and may lag behind; \
         name its master, which `redis-cli -h HOST info replication` shows"
    )]
    Replica {
        /// Where it is.
        server: String,
    },
    /// The server is a sentinel.
    #[error(
        "the server at {server} is a Sentinel, which keeps no data; name the master, which \
         `SENTINEL get-master-addr-by-name NAME` shows"
    )]
    Sentinel {
        /// Where it is.
        server: String,
    },
    /// Several servers are named, and they are no cluster.
    #[error("the Redis server at {server} is not part of a cluster, so name no other beside it")]
    NoCluster {
        /// Where it is.
        server: String,
    },
    /// The cluster does not say where the records are.
    #[error(
        "the cluster that {server} is part of has no server for some of its slots; \
         `redis-cli --cluster check HOST:PORT` shows which"
    )]
    NotCovered {
        /// Who was asked.
        server: String,
    },
    /// The user may not do this.
    #[error(
        "the user may not do this in Redis ({message}); run `ACL SETUSER USER ~{prefix}:* \
         +@hash +@sortedset +del +pexpire +scan +eval +evalsha +ping +select +asking \
         +cluster|slots +config|get`"
    )]
    Denied {
        /// What the names of all keys begin with.
        prefix: String,
        /// What Redis says.
        message: String,
    },
    /// There is no memory left.
    #[error(
        "Redis has no memory left for this; raise `maxmemory`, since a policy that evicts would \
         end sessions"
    )]
    Full,
    /// The server is not ready for this at the moment.
    #[error("Redis cannot do this now ({message})")]
    NotNow {
        /// What Redis says.
        message: String,
    },
    /// Under the name of a record or a list is something else.
    #[error("a key of the sessions holds something else in Redis ({message})")]
    WrongType {
        /// What Redis says.
        message: String,
    },
    /// The connection ended, or no answer came in time, after a command was sent.
    #[error("the connection to Redis gave no answer ({message})")]
    Lost {
        /// What happened.
        message: String,
    },
    /// Anything else.
    #[error("Redis says {code}: {message}")]
    Other {
        /// The code.
        code: String,
        /// What it says.
        message: String,
    },
}

/// Why a call brought no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There was no connection to send it on.
    NotSent(RedisError),
    /// It was sent, or may have been.
    Lost(String),
    /// Redis refused it.
    Refused(ServerError),
}

impl Failure {
    /// The same for a caller of the store.
    pub(super) fn told(self, prefix: &str) -> Error {
        let (kind, happened, error) = match self {
            Self::NotSent(error) => (kind_of_connecting(&error), Applied::No, error),
            Self::Lost(message) => {
                (ErrorKind::Unavailable, Applied::Unknown, RedisError::Lost { message })
            }
            Self::Refused(refusal) => {
                let (kind, happened) = judged(refusal.code());
                (kind, happened, explained(&refusal, prefix))
            }
        };
        Error::new(NAME, kind, happened).with_source(error)
    }

    /// The same for whoever opens the store.
    pub(super) fn explained(self, prefix: &str) -> RedisError {
        match self {
            Self::NotSent(error) => error,
            Self::Lost(message) => RedisError::Lost { message },
            Self::Refused(refusal) => explained(&refusal, prefix),
        }
    }
}

fn kind_of_connecting(error: &RedisError) -> ErrorKind {
    match error {
        RedisError::NoPassword { .. }
        | RedisError::WrongPassword { .. }
        | RedisError::NoDatabase { .. }
        | RedisError::TooOld { .. }
        | RedisError::Cacert { .. }
        | RedisError::Denied { .. } => ErrorKind::Refused,
        // A replica is one until a failover ends, and what cannot be reached may come back.
        _ => ErrorKind::Unavailable,
    }
}

/// What a refusal means, and whether it is proof that nothing was changed.
///
/// All that Redis looks at before it runs a script is proof. A script that fails while it runs may
/// have written before: ours do not, but that is all the library knows of an `ERR`.
fn judged(code: &str) -> (ErrorKind, Applied) {
    match code {
        "NOPERM" | "NOAUTH" | "WRONGPASS" | "OOM" | "CROSSSLOT" => {
            (ErrorKind::Refused, Applied::No)
        }
        "WRONGTYPE" => (ErrorKind::Corrupt, Applied::No),
        "TRYAGAIN" => (ErrorKind::Contended, Applied::No),
        "READONLY" | "LOADING" | "BUSY" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS"
        | "CLUSTERDOWN" | "MOVED" | "ASK" | "NOSCRIPT" => (ErrorKind::Unavailable, Applied::No),
        _ => (ErrorKind::Refused, Applied::Unknown),
    }
}

pub(super) fn explained(refusal: &ServerError, prefix: &str) -> RedisError {
    let message = one_line(&redacted(refusal.details().unwrap_or_default(), prefix));
    match refusal.code() {
        "NOPERM" => RedisError::Denied { prefix: prefix.to_owned(), message },
        // So says Redis 7.0 of a command within a script.
        "ERR" if message.starts_with("The user executing the script can't") => {
            RedisError::Denied { prefix: prefix.to_owned(), message }
        }
        "OOM" => RedisError::Full,
        "WRONGTYPE" => RedisError::WrongType { message },
        code @ ("READONLY" | "LOADING" | "BUSY" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS"
        | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" | "NOSCRIPT") => {
            RedisError::NotNow { message: format!("{code}: {message}") }
        }
        code => RedisError::Other { code: code.to_owned(), message },
    }
}

/// A message without the names of keys.
fn redacted(message: &str, prefix: &str) -> String {
    let start = format!("{prefix}:");
    let word = |word: &str| {
        if word.contains(&start) { "…".to_owned() } else { word.to_owned() }
    };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
