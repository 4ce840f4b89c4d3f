//! What can go wrong with PostgreSQL, in words that say what to do, and what is true afterwards.
//!
//! Decided by SQLSTATEs, never by messages. A server's message about a value may quote it, and its
//! details hold whole rows, so neither is told.

use std::{error::Error as StdError, io, path::PathBuf};

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::{NAME, place::PostgresConfig};
use crate::store::{Applied, Error, ErrorKind};

/// The PostgreSQL store cannot be used, or a call of it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// Nothing answers there.
    #[error(
        "PostgreSQL does not answer at `{hosts}` ({message}); see whether it runs and listens there"
    )]
    NoAnswer {
        /// Where it should be.
        hosts: String,
        /// What happened.
        message: String,
    },
    /// The server speaks no TLS.
    #[error(
        "the server at `{hosts}` offers no TLS; set `ssl = on` there, or, if nobody can listen in \
         between, connect with `sslmode=disable`"
    )]
    NoTls {
        /// Which server.
        hosts: String,
    },
    /// The server's certificate is not one that is trusted, or TLS failed otherwise.
    #[error(
        "TLS with `{hosts}` failed ({message}); name the file of the authority that signed its \
         certificate with `sslrootcert=FILE`, and the host as the certificate does"
    )]
    BadTls {
        /// Which server.
        hosts: String,
        /// What rustls says.
        message: String,
    },
    /// TLS cannot be used on this side.
    #[error("TLS cannot be set up: {message}")]
    Tls {
        /// What rustls says.
        message: String,
    },
    /// The file of trusted authorities cannot be used.
    #[error(
        "`sslrootcert` names `{file}`, which is of no use ({message})", file = file.display()
    )]
    RootFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no list of trusted authorities; install one (the package \
         `ca-certificates`), or name a file with `sslrootcert=FILE`"
    )]
    NoRoots,
    /// The server does not take the user or the password.
    #[error(
        "the server does not let user `{user}` in ({message}); see the user and the password in \
         the URL, and the server's `pg_hba.conf`"
    )]
    Login {
        /// The user.
        user: String,
        /// What the server says.
        message: String,
    },
    /// There is no password in the URL, and the server asks for one.
    #[error(
        "the server asks user `{user}` for a password, and the URL has none: \
         postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    NoPassword {
        /// The user.
        user: String,
    },
    /// There is no such database.
    #[error("there is no database `{database}`; run `createdb {database}`, or name another one")]
    NoDatabase {
        /// Its name.
        database: String,
    },
    /// There is no such table.
    #[error(
        "database `{database}` has no table `{table}`; have it made by `ingle::store::migrate` (in \
         greetings: the option `--migrate`), or by `psql` with the library's `schema.sql`"
    )]
    NoTable {
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
    /// There is one, of another program.
    #[error(
        "the table `{table}` of database `{database}` is another program's, and was left as it is; \
         name another one with `table=NAME`"
    )]
    Foreign {
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
    /// A newer version of this library made the table.
    #[error(
        "the table `{table}` of database `{database}` has schema {schema}, this version of ingle \
         knows up to {newest}, and it was left as it is; run the version that made it"
    )]
    Newer {
        /// The database.
        database: String,
        /// The table.
        table: String,
        /// The version of its schema.
        schema: u32,
        /// The newest that this library knows.
        newest: u32,
    },
    /// The user may not do what the store does.
    #[error(
        "user `{user}` lacks a right ({message}); as the owner of the table run `GRANT SELECT, \
         INSERT, UPDATE, DELETE ON {table} TO {user}`, and where the schema is not everybody's \
         `GRANT USAGE ON SCHEMA … TO {user}`"
    )]
    Denied {
        /// The user.
        user: String,
        /// The table.
        table: String,
        /// What is lacking.
        message: String,
    },
    /// The user may not make the table.
    #[error(
        "user `{user}` may not make the table `{table}` ({message}); have the table made by who \
         owns the schema, or run `GRANT CREATE ON SCHEMA … TO {user}`"
    )]
    MayNotCreate {
        /// The user.
        user: String,
        /// The table.
        table: String,
        /// What the server says.
        message: String,
    },
    /// The server only reads: it is a standby, or set so.
    #[error(
        "the server at `{hosts}` only reads, as a standby does; name the primary, or all of them: \
         postgres://USER@HOST1,HOST2/DATABASE"
    )]
    ReadOnly {
        /// Which server.
        hosts: String,
    },
    /// The server is older than what the store is written for.
    #[error(
        "the server at `{hosts}` is PostgreSQL {version}, and the store needs {oldest} or later"
    )]
    TooOld {
        /// Which server.
        hosts: String,
        /// Its version.
        version: i32,
        /// The oldest that will do.
        oldest: i32,
    },
    /// The database keeps text in a way that cannot hold all of it.
    #[error(
        "database `{database}` has the encoding {encoding}, which cannot hold every text; make one \
         by `createdb --encoding=UTF8 --template=template0 NAME`"
    )]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        encoding: String,
    },
    /// There is a pooler in between that the URL does not tell of.
    #[error(
        "there is a pooler in between that does not know the connection's settings or statements \
         ({message}); add `pooler=transaction` to the URL's options"
    )]
    Pooler {
        /// What it says.
        message: String,
    },
    /// The server has no connection to give.
    #[error(
        "the server has no connection left ({message}); make `pool` smaller in the URL, raise \
         `max_connections` there, or put a pooler in between"
    )]
    TooManyConnections {
        /// What the server says.
        message: String,
    },
    /// Anything else.
    #[error("PostgreSQL says {code}: {message}")]
    Other {
        /// The SQLSTATE.
        code: String,
        /// What the server says.
        message: String,
    },
}

/// How a statement failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Before there was a connection to send it on.
    Unserved(Unserved),
    /// The same, with the client's reason.
    NotConnected(tokio_postgres::Error),
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
            Self::Unserved(_) | Self::Silent => None,
        }
    }

    /// The server's code, if the server said anything.
    pub(super) fn code(&self) -> Option<&SqlState> {
        self.error()?.code()
    }

    /// Whether the statement may have done its work.
    fn happened(&self) -> Applied {
        match self {
            Self::Unserved(_) | Self::NotConnected(_) | Self::NotPrepared(_) => Applied::No,
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
    pub(super) fn of_read(&self, config: &PostgresConfig) -> Error {
        Error::new(NAME, self.kind(), Applied::No).with_source(self.explain(config))
    }

    /// What it means for the caller of a write.
    pub(super) fn of_call(&self, config: &PostgresConfig) -> Error {
        Error::new(NAME, self.kind(), self.applied()).with_source(self.explain(config))
    }

    /// What it means for a person.
    pub(super) fn explain(&self, config: &PostgresConfig) -> PostgresError {
        let hosts = config.hosts();
        let no_answer = |message: String| PostgresError::NoAnswer { hosts: hosts.clone(), message };
        let error = match self {
            Self::Unserved(unserved) => return no_answer(unserved.to_string()),
            Self::Silent => return no_answer("a statement had no answer in time".to_owned()),
            Self::NotConnected(error) | Self::NotPrepared(error) | Self::Sent(error) => error,
        };
        if let Some(answer) = error.as_db_error() {
            return match (self, class(answer.code())) {
                // Some poolers say so of settings that they do not know.
                (Self::NotConnected(_), "0A") => {
                    PostgresError::Pooler { message: one_line(answer.message()) }
                }
                _ => said(answer, config),
            };
        }
        if let Some(tls) = cause::<rustls::Error>(error) {
            return PostgresError::BadTls { hosts, message: one_line(&tls.to_string()) };
        }
        match cause::<io::Error>(error) {
            // The client's own check of what kind of server it is.
            Some(io) if io.kind() == io::ErrorKind::PermissionDenied => {
                PostgresError::ReadOnly { hosts }
            }
            Some(io) => no_answer(one_line(&io.to_string())),
            None => match root(error).as_str() {
                "server does not support TLS" => PostgresError::NoTls { hosts },
                "password missing" => PostgresError::NoPassword { user: config.user().to_owned() },
                message => no_answer(message.to_owned()),
            },
        }
    }
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
fn said(answer: &DbError, config: &PostgresConfig) -> PostgresError {
    let code = answer.code().code();
    let message = one_line(answer.message());
    let (user, table) = (config.user().to_owned(), config.table_shown());
    let database = config.database().to_owned();
    match (class(answer.code()), code) {
        ("28", _) => PostgresError::Login { user, message },
        (_, "3D000") => PostgresError::NoDatabase { database },
        (_, "3F000" | "42P01") => PostgresError::NoTable { database, table },
        (_, "42501") => PostgresError::Denied { user, table, message },
        (_, "25006") => PostgresError::ReadOnly { hosts: config.hosts() },
        (_, "26000" | "42P05") => PostgresError::Pooler { message },
        // PgBouncer says both of what it does not know, and of a database.
        (_, "08P01") if message.contains("startup parameter") => PostgresError::Pooler { message },
        (_, "08P01") if message.contains("database") && message.ends_with("does not exist") => {
            PostgresError::NoDatabase { database }
        }
        (_, "08P01") if message.contains("authentication") => {
            PostgresError::Login { user, message }
        }
        (_, "53300") => PostgresError::TooManyConnections { message },
        // These can quote what was written.
        ("22" | "23" | "P0", _) => {
            let message = "it does not take this value".to_owned();
            PostgresError::Other { code: code.to_owned(), message }
        }
        _ => PostgresError::Other { code: code.to_owned(), message },
    }
}

/// The cause of this type, if there is one.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An `io::Error` names what it is made of only so.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost cause, which says most.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    one_line(&root.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
