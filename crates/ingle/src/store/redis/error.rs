//! What a failure means: what is wrong, what to do, and what is true afterwards.
//!
//! Decided by the codes that Redis documents for programs. What follows them only makes an explanation
//! better.

use std::{fmt, path::Path};

use redis::{RedisError, ServerError};

use crate::store::{
    Applied, Error, ErrorKind, OpenError, OpenErrorKind,
    floor::text::{one_line, shown},
};

/// What messages and metrics call this store.
pub(super) const NAME: &str = "redis";

/// Why a call brought no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There was no connection to send it on.
    NotSent(Cause),
    /// It was sent, or may have been.
    Lost(String),
    /// Redis refused it.
    Refused(ServerError),
}

impl Failure {
    pub(super) fn refusal(&self) -> Option<&ServerError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::NotSent(_) | Self::Lost(_) => None,
        }
    }

    /// The same for a caller of the store.
    pub(super) fn into_error(self, prefix: &str) -> Error {
        let (kind, applied) = match &self {
            Self::NotSent(cause) => (cause.error_kind(), Applied::No),
            Self::Lost(_) => (ErrorKind::Unavailable, Applied::Unknown),
            // It is made by a script then, when it is tried again.
            Self::Refused(refusal) if is_syntax_error(refusal) => {
                (ErrorKind::Unavailable, Applied::No)
            }
            Self::Refused(refusal) => meaning(refusal.code()),
        };
        Error::new(NAME, kind, applied).with_source(self.into_cause(prefix))
    }

    /// What happened, in words.
    pub(super) fn into_cause(self, prefix: &str) -> Cause {
        match self {
            Self::NotSent(cause) => cause,
            Self::Lost(message) => lost(&message),
            Self::Refused(refusal) => refused(&refusal, prefix),
        }
    }
}

/// What a refusal means, and whether it is proof that nothing was changed.
///
/// All that Redis looks at before it runs a script is proof. A script that fails while it runs may
/// have written before: ours do not, but that is all the library knows of an `ERR`.
fn meaning(code: &str) -> (ErrorKind, Applied) {
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

/// Whether a server does not know an option of a command, which it finds out before it does anything.
pub(super) fn is_syntax_error(refusal: &ServerError) -> bool {
    refusal.code() == "ERR" && refusal.details() == Some("syntax error")
}

/// Others kept changing what a write was about, and it was not made.
pub(super) fn contended() -> Error {
    Error::new(NAME, ErrorKind::Contended, Applied::No)
}

/// Why Redis cannot be used, or did not do something: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    kind: OpenErrorKind,
    problem: String,
    help: String,
    /// Whether it may pass by itself.
    passes: bool,
}

impl Cause {
    fn new(kind: OpenErrorKind, problem: impl Into<String>, help: impl Into<String>) -> Self {
        let passes = !matches!(
            kind,
            OpenErrorKind::Config | OpenErrorKind::Denied | OpenErrorKind::Unsupported
        );
        Self { kind, problem: problem.into(), help: help.into(), passes }
    }

    /// What a caller does about a call that this kept from being sent.
    fn error_kind(&self) -> ErrorKind {
        if self.passes { ErrorKind::Unavailable } else { ErrorKind::Refused }
    }
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

/// The URL is wrong.
pub(super) fn url(problem: &str) -> OpenError {
    config(&format!("the URL {problem}"))
}

/// A setting is wrong: the problem, and perhaps what to do, behind a semicolon.
pub(super) fn config(problem: &str) -> OpenError {
    let (problem, help) = problem.split_once("; ").unwrap_or((problem, ""));
    Cause::new(OpenErrorKind::Config, problem, help).into()
}

/// The app's client knows certificates that nobody else can know.
pub(super) fn client_certificates() -> OpenError {
    let problem = "the client has certificates of its own, which cannot be read from it";
    let help = "open the store by its URL, with `?cacert=FILE`";
    Cause::new(OpenErrorKind::Config, problem, help).into()
}

/// Nobody listens there, or the host is not known.
pub(super) fn unreachable(server: &str, message: &str) -> Cause {
    let problem = format!("no Redis server can be reached at {server} ({})", one_line(message));
    let port = server.rsplit_once(':').map_or("6379", |(_, port)| port);
    let help =
        format!("start it there, as with `redis-server --port {port}`, or correct the address");
    Cause::new(OpenErrorKind::Unreachable, problem, help)
}

/// The socket is not there, or nobody listens on it, or this user may not use it.
pub(super) fn unreachable_socket(path: &Path, message: &str) -> Cause {
    let path = shown(path);
    let problem = format!("no Redis server can be reached at {path} ({})", one_line(message));
    let help = "compare the path with `unixsocket` in the server's configuration, and `unixsocketperm` \
                with the user of this program";
    Cause::new(OpenErrorKind::Unreachable, problem, help)
}

/// It takes connections and says nothing.
pub(super) fn silent(server: &str) -> Cause {
    let problem = format!("the Redis server at {server} does not answer in time");
    let help = "if it expects TLS, write `rediss:` for `redis:`, else see what it does with \
                `redis-cli --latency`";
    Cause::new(OpenErrorKind::Unreachable, problem, help)
}

/// TLS could not be agreed on.
pub(super) fn tls(server: &str, message: &str, help: Option<String>) -> Cause {
    let problem = format!("no TLS connection to {server} could be made ({})", one_line(message));
    let plain = "a server without TLS is `redis:` instead of `rediss:`";
    Cause::new(OpenErrorKind::Tls, problem, help.unwrap_or_else(|| plain.to_owned()))
}

/// What listens is no Redis server, or none without TLS, or it closed the connection: one that is full, or takes
/// none from here, says so at once and goes, which may be too soon for us to hear it.
pub(super) fn not_redis(server: &str, message: &str) -> Cause {
    let message = one_line(message);
    let problem = format!("what listens at {server} does not answer as a Redis server ({message})");
    let help = "if it expects TLS, write `rediss:` for `redis:`, else see the port, and `maxclients` and \
                `protected-mode` there";
    Cause::new(OpenErrorKind::Foreign, problem, help)
}

/// The server wants a password.
pub(super) fn no_password(server: &str) -> Cause {
    let problem = format!("the Redis server at {server} wants a password, and none is given");
    let help = "write redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST for its default user";
    Cause::new(OpenErrorKind::Denied, problem, help)
}

/// The server does not accept the user or the password.
pub(super) fn wrong_password(server: &str) -> Cause {
    let problem = format!("the Redis server at {server} does not accept this user and password");
    let help = "`ACL LIST` shows an administrator which users there are, and a `%` or `@` in a password \
                is written as %25 or %40";
    Cause::new(OpenErrorKind::Denied, problem, help)
}

/// The database's number is too high, or a cluster has no such thing.
pub(super) fn no_database(server: &str, database: u32, message: &str) -> Cause {
    let message = one_line(message);
    let problem = format!("the Redis server at {server} has no database {database} ({message})");
    Cause::new(OpenErrorKind::Config, problem, "write another number, or none for 0")
}

/// The server does not say who it is: it knows no `HELLO`, or this user may not call it, and the same is so of
/// `INFO`.
pub(super) fn nameless(server: &str, hello: &str, info: &str) -> Cause {
    let (hello, info) = (one_line(hello), one_line(info));
    let problem = format!(
        "the Redis server at {server} does not say who it is, neither by HELLO ({hello}) nor by INFO ({info})"
    );
    let help = "run `ACL SETUSER USER +hello +info`, or name a server that knows one of them under its own name";
    Cause::new(OpenErrorKind::Denied, problem, help)
}

/// The server has as many clients as it takes.
pub(super) fn full(server: &str) -> Cause {
    let problem = format!("the Redis server at {server} has no connection left");
    let help = "raise `maxclients` there, or end some with `CLIENT KILL`";
    Cause::new(OpenErrorKind::Unreachable, problem, help)
}

/// The server takes no connection from here.
fn protected(message: &str) -> Cause {
    let problem =
        format!("the Redis server takes connections from its own machine alone ({message})");
    let help =
        "give its users a password, or set `protected-mode no` where the network is your own";
    Cause::new(OpenErrorKind::Denied, problem, help)
}

/// The server is too old.
pub(super) fn too_old(server: &str, version: &str) -> Cause {
    let problem = format!(
        "the server at {server} is {}, and sessions need Redis 7.0 or later, or Valkey",
        one_line(version)
    );
    Cause::new(OpenErrorKind::Unsupported, problem, "an older one can stop a script half way")
}

/// The server is a replica, which it is until a failover ends.
///
/// `master` is where it says that its master is, if it may be asked.
pub(super) fn replica(server: &str, master: Option<&str>) -> Cause {
    let problem = format!(
        "the Redis server at {server} is a replica, which takes no commits and may lag behind"
    );
    let help = match master {
        Some(master) => format!("name its master in its place, `{}`", one_line(master)),
        None => "name its master in its place, which `INFO replication` shows there".to_owned(),
    };
    Cause { passes: true, ..Cause::new(OpenErrorKind::Unsupported, problem, help) }
}

/// The server is a sentinel.
pub(super) fn sentinel(server: &str) -> Cause {
    let problem = format!("the server at {server} is a Sentinel, which keeps no data");
    let help = "name the master, which `SENTINEL get-master-addr-by-name NAME` shows";
    Cause::new(OpenErrorKind::Unsupported, problem, help)
}

/// Several servers are named, and they are no cluster.
pub(super) fn no_cluster(server: &str) -> Cause {
    let problem = format!("the Redis server at {server} is not part of a cluster");
    Cause::new(OpenErrorKind::Config, problem, "name no other beside it")
}

/// A socket leads to one server of a cluster, and to none of the others.
pub(super) fn socket_of_cluster(server: &str) -> Cause {
    let problem = format!("the Redis server at {server} is part of a cluster");
    let help = "name the cluster by host and port, since its servers are told of by those";
    Cause::new(OpenErrorKind::Config, problem, help)
}

/// The cluster does not say where the records are.
pub(super) fn not_covered(server: &str) -> Cause {
    let problem =
        format!("the cluster that {server} is part of has no server for some of its slots");
    let help = "`redis-cli --cluster check HOST:PORT` shows which";
    Cause::new(OpenErrorKind::Unreachable, problem, help)
}

/// The attempt to connect, or to send a command on, was given up.
pub(super) fn not_now(message: &str) -> Cause {
    let problem = format!("Redis cannot do this now ({})", one_line(message));
    Cause::new(OpenErrorKind::Failed, problem, "")
}

/// The connection ended, or no answer came in time, after a command was sent.
fn lost(message: &str) -> Cause {
    let problem = format!("the connection to Redis gave no answer ({})", one_line(message));
    Cause::new(OpenErrorKind::Unreachable, problem, "")
}

/// The user may not do this.
fn denied(prefix: &str, message: &str) -> Cause {
    let problem = format!("the user may not do this in Redis ({message})");
    let help = format!(
        "run `ACL SETUSER USER ~{prefix}:* &{prefix}:* +get +set +@sortedset +pexpire +scan +eval \
         +evalsha +publish +subscribe +select +asking +cluster|slots +config|get`"
    );
    Cause::new(OpenErrorKind::Denied, problem, help)
}

/// Whether a command is not to be had: an ACL forbids it, or the server does not know it under this name.
pub(super) fn is_forbidden(refusal: &ServerError) -> bool {
    forbids(refusal.code(), refusal.details())
}

/// The same of a refusal as the client beneath reports it.
pub(super) fn may_not(error: &RedisError) -> bool {
    error.code().is_some_and(|code| forbids(code, error.detail()))
}

fn forbids(code: &str, details: Option<&str>) -> bool {
    let unknown = details.is_some_and(|words| words.starts_with("unknown command"));
    code == "NOPERM" || (code == "ERR" && unknown)
}

/// What a refusal says.
pub(super) fn refused(refusal: &ServerError, prefix: &str) -> Cause {
    let message = one_line(&redacted(refusal.details().unwrap_or_default(), prefix));
    match refusal.code() {
        "NOPERM" => denied(prefix, &message),
        "DENIED" => protected(&message),
        // So say Redis 7.0 and those after it of a command within a script.
        "ERR"
            if message.starts_with("The user executing the script can't")
                || message.starts_with("ACL failure in script") =>
        {
            denied(prefix, &message)
        }
        "OOM" => {
            let help = "raise `maxmemory`, since a policy that evicts would end sessions";
            Cause::new(OpenErrorKind::Failed, "Redis has no memory left for this", help)
        }
        "WRONGTYPE" => {
            let problem =
                format!("a key of the sessions holds something else in Redis ({message})");
            Cause::new(OpenErrorKind::Foreign, problem, "")
        }
        code @ ("READONLY" | "LOADING" | "BUSY" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS"
        | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" | "NOSCRIPT") => {
            not_now(&format!("{code}: {message}"))
        }
        code => Cause::new(OpenErrorKind::Failed, format!("Redis says {code}: {message}"), ""),
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
