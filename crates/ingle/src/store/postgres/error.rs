//! What can go wrong with PostgreSQL, in words that say what to do, and what is true afterwards.
//!
//! Decided by SQLSTATEs, never by messages. A server's message about a value may quote it, and its
//! details hold whole rows, so neither is told.

use std::{error::Error as StdError, fmt, io};

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::{
    Applied, BoxError, Error, ErrorKind, OpenError, OpenErrorKind,
    floor::{
        text::{cause, one_line, root_cause, shell_word},
        tls::{self, Trust},
    },
};

/// What messages and metrics call this store.
pub(super) const NAME: &str = "postgres";

/// What messages call the server and what is on it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The first server, if the app did not connect by itself.
    pub(super) server: Option<(String, u16)>,
    pub(super) hosts: String,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) table: String,
    /// Whose certificates are taken, if any.
    pub(super) trust: Option<Trust>,
}

impl Names {
    /// What a person begins a command to the server with.
    fn command_line(&self) -> String {
        let database = shell_word(&self.database);
        match &self.server {
            Some((host, port)) => format!("psql -h {} -p {port} -d {database}", shell_word(host)),
            None => format!("psql -d {database}"),
        }
    }

    /// What sets a setting that is `off` back, by where it was set.
    pub(super) fn set_back(&self, name: &str, source: &str) -> String {
        let (user, database) = (quoted(&self.user), quoted(&self.database));
        let statements = match source {
            "client" => return format!("take `{name}` out of the URL's `options`"),
            "command line" | "environment variable" => {
                return format!(
                    "take `{name}` out of the command that starts the server, and start it again"
                );
            }
            "database" => vec![format!("ALTER DATABASE {database} RESET {name}")],
            "user" => vec![format!("ALTER ROLE {user} RESET {name}")],
            "database user" => {
                vec![format!("ALTER ROLE {user} IN DATABASE {database} RESET {name}")]
            }
            _ => {
                let set = format!("ALTER SYSTEM SET {name} = on");
                vec![set, "SELECT pg_reload_conf()".to_owned()]
            }
        };
        let mut command = self.command_line();
        for statement in statements {
            command.push_str(&format!(" -c {}", shell_word(&statement)));
        }
        format!("as an administrator run `{command}`")
    }
}

/// A name in quotes, as SQL takes any.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name as SQL takes it: in quotes, unless it is as most are.
fn in_sql(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins_plainly = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if begins_plainly && name.chars().all(is_plain) { name.to_owned() } else { quoted(name) }
}

/// What is wrong, and what to do: the cause of a failed call, or the error of an opening.
#[derive(Debug)]
pub(super) struct Problem {
    kind: OpenErrorKind,
    problem: String,
    help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

impl StdError for Problem {}

impl From<Problem> for OpenError {
    fn from(Problem { kind, problem, help }: Problem) -> Self {
        Self::new(NAME, kind, problem, help)
    }
}

impl Problem {
    fn new(kind: OpenErrorKind, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kind, problem: problem.into(), help: help.into() }
    }

    /// Nothing answers there.
    pub(super) fn no_answer(names: &Names, message: &str) -> Self {
        Self::new(
            OpenErrorKind::Unreachable,
            format!("PostgreSQL does not answer at `{}` ({message})", names.hosts),
            "see whether it runs and listens there",
        )
    }

    fn not_given(what: &str, message: &str) -> Self {
        Self::new(OpenErrorKind::Unreachable, format!("the app gave no {what} ({message})"), "")
    }

    fn no_tls(names: &Names) -> Self {
        Self::new(
            OpenErrorKind::Tls,
            format!("the server at `{}` offers no TLS", names.hosts),
            "set `ssl = on` there, or, if nobody can listen in between, connect with \
             `sslmode=disable`",
        )
    }

    fn bad_tls(names: &Names, error: &rustls::Error) -> Self {
        let help = names.trust.as_ref().and_then(|trust| tls::help(error, trust, "sslrootcert"));
        Self::new(
            OpenErrorKind::Tls,
            format!("TLS with `{}` failed ({})", names.hosts, one_line(&error.to_string())),
            help.unwrap_or_else(|| "see the TLS settings of the server".to_owned()),
        )
    }

    fn login(names: &Names, message: &str) -> Self {
        Self::new(
            OpenErrorKind::Denied,
            format!("the server does not let user `{}` in ({message})", names.user),
            "see the user and the password in the URL, and the server's `pg_hba.conf`",
        )
    }

    fn no_password(names: &Names) -> Self {
        Self::new(
            OpenErrorKind::Denied,
            format!("the server asks user `{}` for a password, and there is none", names.user),
            "write it into the URL: postgres://USER:PASSWORD@HOST/DATABASE",
        )
    }

    fn no_database(names: &Names) -> Self {
        let database = &names.database;
        let at = |(host, port): &(String, u16)| format!("-h {} -p {port} ", shell_word(host));
        let at = names.server.as_ref().map(at).unwrap_or_default();
        Self::new(
            OpenErrorKind::Missing,
            format!("there is no database `{database}`"),
            format!("run `createdb {at}{}`, or name another one", shell_word(database)),
        )
    }

    pub(super) fn no_table(names: &Names) -> Self {
        Self::new(
            OpenErrorKind::Missing,
            format!("database `{}` has no table `{}`", names.database, names.table),
            "run `ingle migrate` with the same URL, or have the app call `ingle::store::migrate` (in \
             greetings: the option `--migrate`)",
        )
    }

    pub(super) fn no_schema(names: &Names) -> Self {
        Self::new(
            OpenErrorKind::Missing,
            format!("there is no such schema as the one of `{}`", names.table),
            "run `CREATE SCHEMA` for it",
        )
    }

    pub(super) fn foreign(names: &Names) -> Self {
        let Names { table, database, .. } = names;
        Self::new(
            OpenErrorKind::Foreign,
            format!(
                "the table `{table}` of database `{database}` is another program's, and was left \
                 as it is"
            ),
            "name another one with `table=NAME`",
        )
    }

    pub(super) fn newer(names: &Names, schema: u32, newest: u32) -> Self {
        let Names { table, database, .. } = names;
        Self::new(
            OpenErrorKind::Foreign,
            format!(
                "the table `{table}` of database `{database}` has schema {schema}, this version of \
                 ingle knows up to {newest}, and it was left as it is"
            ),
            "run the version that made it",
        )
    }

    pub(super) fn denied(names: &Names, message: &str) -> Self {
        let Names { user, table, .. } = names;
        let to = in_sql(user);
        Self::new(
            OpenErrorKind::Denied,
            format!("user `{user}` lacks a right ({message})"),
            format!(
                "as the owner of the table run `GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO \
                 {to}`, and where the schema is not everybody's `GRANT USAGE ON SCHEMA … TO {to}`"
            ),
        )
    }

    /// The user may not even enter the database.
    fn not_let_in(names: &Names, message: &str) -> Self {
        let Names { user, database, .. } = names;
        Self::new(
            OpenErrorKind::Denied,
            format!("user `{user}` may not use the database `{database}` ({message})"),
            format!(
                "as its owner run `GRANT CONNECT ON DATABASE {} TO {}`",
                in_sql(database),
                in_sql(user)
            ),
        )
    }

    pub(super) fn may_not_create(names: &Names, message: &str) -> Self {
        let Names { user, table, .. } = names;
        Self::new(
            OpenErrorKind::Denied,
            format!("user `{user}` may not make the table `{table}` ({message})"),
            format!(
                "have the table made by who owns the schema, or run `GRANT CREATE ON SCHEMA … TO \
                 {}`",
                in_sql(user)
            ),
        )
    }

    pub(super) fn read_only(names: &Names) -> Self {
        Self::new(
            OpenErrorKind::Unsupported,
            format!("the server at `{}` only reads, as a standby does", names.hosts),
            "name the primary, or all of them: postgres://USER@HOST1,HOST2/DATABASE; or take back \
             `default_transaction_read_only`, which the user, the database or the server has",
        )
    }

    pub(super) fn too_old(names: &Names, version: i32, oldest: i32) -> Self {
        let hosts = &names.hosts;
        Self::new(
            OpenErrorKind::Unsupported,
            format!("the server at `{hosts}` is PostgreSQL {version}"),
            format!("the store needs {oldest} or later"),
        )
    }

    pub(super) fn encoding(names: &Names, encoding: &str) -> Self {
        let database = &names.database;
        Self::new(
            OpenErrorKind::Unsupported,
            format!(
                "database `{database}` has the encoding {encoding}, which cannot hold every text"
            ),
            "make one by `createdb --encoding=UTF8 --template=template0 NAME`",
        )
    }

    fn pooler(message: &str) -> Self {
        Self::new(
            OpenErrorKind::Config,
            format!(
                "there is a pooler in between that does not know the connection's settings or \
                 statements ({message})"
            ),
            "add `pooler=transaction` to the URL's options",
        )
    }

    fn too_many_connections(message: &str) -> Self {
        Self::new(
            OpenErrorKind::Unreachable,
            format!("the server has no connection left ({message})"),
            "make `pool` smaller in the URL, raise `max_connections` there, or put a pooler in \
             between",
        )
    }

    pub(super) fn other(code: &str, message: &str) -> Self {
        Self::new(OpenErrorKind::Failed, format!("PostgreSQL says {code}: {message}"), "")
    }
}

/// How a statement failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Before there was a connection to send it on.
    Unserved(Unserved),
    /// The same, with the client's reason.
    NotConnected(tokio_postgres::Error),
    /// The same: the app was asked for this, and gave none.
    NotGiven(&'static str, BoxError),
    /// When it was parsed and planned, before it was run.
    NotPrepared(tokio_postgres::Error),
    /// After it was sent.
    Sent(tokio_postgres::Error),
    /// No answer came.
    Silent,
}

/// A call that nothing was sent of.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unserved {
    #[error("too many wait for a connection already; this call was not made")]
    TooManyWait,
    #[error("there was no connection in time")]
    NoConnectionInTime,
}

impl From<Unserved> for Failure {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sent(error)
    }
}

impl Failure {
    fn error(&self) -> Option<&tokio_postgres::Error> {
        match self {
            Self::NotConnected(error) | Self::NotPrepared(error) | Self::Sent(error) => Some(error),
            Self::Unserved(_) | Self::NotGiven(..) | Self::Silent => None,
        }
    }

    /// The server's code, if the server said anything.
    pub(super) fn code(&self) -> Option<&SqlState> {
        self.error()?.code()
    }

    /// Whether the statement may have done its work.
    fn applied(&self) -> Applied {
        match self {
            Self::Unserved(_)
            | Self::NotConnected(_)
            | Self::NotGiven(..)
            | Self::NotPrepared(_) => Applied::No,
            Self::Silent => Applied::Unknown,
            Self::Sent(error) => error.as_db_error().map_or(Applied::Unknown, after),
        }
    }

    fn kind(&self) -> ErrorKind {
        let Some(code) = self.code() else { return ErrorKind::Unavailable };
        match (class(code), code.code()) {
            (_, "40001" | "40P01" | "55P03") => ErrorKind::Contended,
            (_, "54000") => ErrorKind::TooLarge,
            (_, "XX001" | "XX002") => ErrorKind::Corrupt,
            ("0A" | "22" | "23" | "25" | "26" | "28" | "3D" | "3F" | "42" | "P0", _) => {
                ErrorKind::Refused
            }
            _ => ErrorKind::Unavailable,
        }
    }

    /// Whether the server took the statement back for what it was to write, or for others in its way.
    pub(super) fn is_refusal(&self) -> bool {
        let blames =
            matches!(self.kind(), ErrorKind::Refused | ErrorKind::TooLarge | ErrorKind::Contended);
        blames && matches!(self, Self::Sent(_)) && self.applied() == Applied::No
    }

    /// What it means for the caller of what changes no record.
    pub(super) fn of_read(&self, names: &Names) -> Error {
        Error::new(NAME, self.kind(), Applied::No).with_source(self.explain(names))
    }

    /// What it means for the caller of a write.
    pub(super) fn of_write(&self, names: &Names) -> Error {
        Error::new(NAME, self.kind(), self.applied()).with_source(self.explain(names))
    }

    /// What it means for a person.
    pub(super) fn explain(&self, names: &Names) -> Problem {
        let error = match self {
            Self::Unserved(unserved) => return Problem::no_answer(names, &unserved.to_string()),
            Self::Silent => {
                return Problem::no_answer(names, "a statement had no answer in time");
            }
            Self::NotGiven(what, error) => {
                return Problem::not_given(what, &root_cause(error.as_ref()));
            }
            Self::NotConnected(error) | Self::NotPrepared(error) | Self::Sent(error) => error,
        };
        if let Some(answer) = error.as_db_error() {
            return match (self, class(answer.code())) {
                // Some poolers say so of settings that they do not know.
                (Self::NotConnected(_), "0A") => Problem::pooler(&one_line(answer.message())),
                (Self::NotConnected(_), "42") => {
                    Problem::not_let_in(names, &one_line(answer.message()))
                }
                _ => said(answer, names),
            };
        }
        if let Some(tls) = cause::<rustls::Error>(error) {
            return Problem::bad_tls(names, tls);
        }
        match cause::<io::Error>(error) {
            // The client's own check of what kind of server it is.
            Some(io) if io.kind() == io::ErrorKind::PermissionDenied => Problem::read_only(names),
            Some(io) => Problem::no_answer(names, &one_line(&io.to_string())),
            None => match root_cause(error).as_str() {
                "server does not support TLS" => Problem::no_tls(names),
                "password missing" => Problem::no_password(names),
                message => Problem::no_answer(names, message),
            },
        }
    }
}

/// What keeps the store from being opened, met later.
pub(super) fn unfit(problem: Problem) -> Error {
    let kind = match problem.kind {
        OpenErrorKind::Unreachable => ErrorKind::Unavailable,
        _ => ErrorKind::Refused,
    };
    Error::new(NAME, kind, Applied::No).with_source(problem)
}

/// A server that would refuse every commit.
pub(super) fn read_only(names: &Names) -> Error {
    Error::new(NAME, ErrorKind::Refused, Applied::No).with_source(Problem::read_only(names))
}

/// Others kept taking the key and leaving it.
pub(super) fn contended() -> Error {
    Error::new(NAME, ErrorKind::Contended, Applied::No)
}

/// Whether a statement may have done its work that was answered by an error. An error (not the end
/// of the connection) takes back the statement's transaction, if it is one of the database's own:
/// these come while a statement runs, and what can fail afterwards ends the connection.
fn after(answer: &DbError) -> Applied {
    let is_error = match answer.parsed_severity() {
        Some(severity) => severity == Severity::Error,
        None => answer.severity() == "ERROR",
    };
    let before_commit = match (class(answer.code()), answer.code().code()) {
        (_, "40001" | "40002" | "40P01" | "57014") => true,
        (class, _) => matches!(
            class,
            "0A" | "21"
                | "22"
                | "23"
                | "25"
                | "26"
                | "28"
                | "2F"
                | "39"
                | "3D"
                | "3F"
                | "42"
                | "53"
                | "54"
                | "55"
                | "P0"
        ),
    };
    if is_error && before_commit { Applied::No } else { Applied::Unknown }
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// What an answer of the server's means for a person.
fn said(answer: &DbError, names: &Names) -> Problem {
    let code = answer.code().code();
    let message = one_line(answer.message());
    match (class(answer.code()), code) {
        ("28", _) => Problem::login(names, &message),
        (_, "3D000") => Problem::no_database(names),
        (_, "3F000" | "42P01") => Problem::no_table(names),
        (_, "42501") => Problem::denied(names, &message),
        (_, "25006") => Problem::read_only(names),
        (_, "26000" | "42P05") => Problem::pooler(&message),
        // PgBouncer says both of what it does not know, and of a database.
        (_, "08P01") if message.contains("startup parameter") => Problem::pooler(&message),
        (_, "08P01") if message.contains("database") && message.ends_with("does not exist") => {
            Problem::no_database(names)
        }
        (_, "08P01") if message.contains("authentication") => Problem::login(names, &message),
        (_, "53300") => Problem::too_many_connections(&message),
        // These can quote what was written.
        ("22" | "23" | "P0", _) => Problem::other(code, "it does not take this value"),
        _ => Problem::other(code, &message),
    }
}
