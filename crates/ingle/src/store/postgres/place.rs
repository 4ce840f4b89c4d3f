//! Which table of which database the sessions are in, and how to get there.

use std::{fmt, path::PathBuf, time::Duration};

use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

use crate::store::OpenError;

/// What the table is called where the URL names none.
const TABLE: &str = "ingle_sessions";

/// The names of indexes and functions are longer than the table's by up to this, and PostgreSQL cuts
/// names off at 63 bytes.
const NAME_BYTES_MAX: usize = 63 - "_to_sweep".len();

/// How many connections, where the URL does not say. Each syncs its own commits, and those of several
/// are synced together: with 16 there are about half as many commits again as with 8. Each is a process
/// of the server's too: of 100 of them, PostgreSQL's own default, 6 instances have enough.
const POOL: usize = 16;

/// Beyond this a pooler serves better.
const POOL_MAX: usize = 128;

/// How long it may take to connect, where the URL does not say.
const CONNECT_TIME: Duration = Duration::from_secs(5);

const FORM: &str = "takes postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE; in a name or a \
                    password, write `%` and two hexadecimal digits for each of `@`, `:`, `/`, `?`, \
                    `#`, `&` and `%`";
const OPTIONS: &str = "takes, after `?`, `table`, `pool`, `pooler`, `sslmode`, `sslrootcert`, and \
                       of libpq's parameters `host`, `port`, `user`, `password`, `dbname`, \
                       `application_name`, `options`, `connect_timeout`, `keepalives…`, \
                       `tcp_user_timeout`, `target_session_attrs`, `channel_binding` and \
                       `load_balance_hosts`; one of those given is neither, or has a wrong value";

/// Where a [`Postgres`](super::Postgres) store keeps its table. Its `Debug` shows no password.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(super) connect: Config,
    pub(super) security: Security,
    /// The names of a schema, if the table is in a certain one, and of the table.
    pub(super) table: (Option<String>, String),
    pub(super) pool: usize,
    /// Whether connections go through a pooler that hands the server's out by transaction.
    pub(super) pooled: bool,
}

/// What is asked of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// None at all.
    Plain,
    /// Encryption, if the server offers it. Nobody's identity is checked.
    Prefer,
    /// Encryption. Nobody's identity is checked.
    Require,
    /// Encryption, and a certificate for the host's name that comes from one of those who are
    /// trusted: the system's, or those of a file.
    Verify(Option<PathBuf>),
}

impl PostgresConfig {
    /// Reads a URL, `postgres://…` or `postgresql://…`.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once(':').ok_or(OpenError::NoScheme)?;
        match scheme {
            "postgres" | "postgresql" => Self::parse_rest(rest),
            _ => Err(OpenError::UnknownScheme { scheme: scheme.to_owned() }),
        }
    }

    /// Reads what follows the colon of the scheme.
    pub(in crate::store) fn parse_rest(rest: &str) -> Result<Self, OpenError> {
        Self::read(rest).map_err(|problem| OpenError::BadUrl { scheme: "postgres", problem })
    }

    fn read(rest: &str) -> Result<Self, &'static str> {
        if !rest.starts_with("//") || rest.contains(['#', '\0']) {
            return Err(FORM);
        }
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        // A second `@` is one of a password's.
        if place.matches('@').count() > 1 {
            return Err(FORM);
        }
        let mut read = Options::default();
        let theirs = read.take(options)?;
        let mut connect: Config =
            format!("postgres:{place}?{theirs}").parse().map_err(|_| match place {
                // An error of the client names the parameter, or what it takes for one.
                _ if theirs.is_empty() => FORM,
                _ => OPTIONS,
            })?;
        let security = read.security()?;
        connect.ssl_mode(match security {
            Security::Plain => SslMode::Disable,
            Security::Prefer => SslMode::Prefer,
            Security::Require | Security::Verify(_) => SslMode::Require,
        });
        if connect.get_hosts().is_empty() || connect.get_user().is_none_or(str::is_empty) {
            return Err(FORM);
        }
        if connect.get_dbname().is_none_or(str::is_empty) {
            return Err("names a database: postgres://USER@HOST/DATABASE");
        }
        let mut config = Self {
            connect,
            security,
            table: read.table.unwrap_or((None, TABLE.to_owned())),
            pool: read.pool.unwrap_or(POOL),
            pooled: read.pooled,
        };
        config.set_defaults();
        Ok(config)
    }

    /// What the client library leaves to chance or to hours.
    fn set_defaults(&mut self) {
        let connect = &mut self.connect;
        if connect.get_connect_timeout().is_none() {
            connect.connect_timeout(CONNECT_TIME);
        }
        if connect.get_tcp_user_timeout().is_none() {
            connect.tcp_user_timeout(super::pool::ANSWER_TIME);
        }
        if connect.get_keepalives_idle() > Duration::from_secs(3600) {
            connect.keepalives_idle(Duration::from_secs(30));
        }
        if connect.get_application_name().is_none() {
            connect.application_name("ingle");
        }
        // A server that only reads is of no use, and of several hosts another one may do.
        connect.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if !self.pooled {
            // What the URL says comes later, and so counts.
            let own = super::pool::SETTINGS;
            let options = match connect.get_options() {
                Some(options) => format!("{own} {options}"),
                None => own.to_owned(),
            };
            connect.options(options);
        }
    }

    /// How long it may take to connect to all the hosts in turn, logging in included.
    pub(super) fn connect_time(&self) -> Duration {
        let hosts = u32::try_from(self.connect.get_hosts().len()).unwrap_or(1);
        let each = self.connect.get_connect_timeout().copied().unwrap_or(CONNECT_TIME);
        each.saturating_mul(hosts.max(1))
    }

    /// The table as SQL names it.
    pub(super) fn table_sql(&self) -> String {
        let (schema, table) = &self.table;
        schema.as_ref().map_or(format!("\"{table}\""), |schema| format!("\"{schema}\".\"{table}\""))
    }

    /// The table as people name it.
    pub(super) fn table_shown(&self) -> String {
        self.table_sql().replace('"', "")
    }

    /// The hosts, as people write them.
    pub(super) fn hosts(&self) -> String {
        let ports = self.connect.get_ports();
        let hosts = self.connect.get_hosts().iter().enumerate().map(|(place, host)| match host {
            Host::Tcp(host) => {
                let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
                let bracketed = host.contains(':').then(|| format!("[{host}]"));
                format!("{}:{port}", bracketed.as_deref().unwrap_or(host))
            }
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        hosts.collect::<Vec<_>>().join(",")
    }

    pub(super) fn database(&self) -> &str {
        self.connect.get_dbname().unwrap_or_default()
    }

    pub(super) fn user(&self) -> &str {
        self.connect.get_user().unwrap_or_default()
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.hosts())
            .field("database", &self.database())
            .field("user", &self.user())
            .field("table", &self.table_shown())
            .field("security", &self.security)
            .field("pool", &self.pool)
            .field("pooled", &self.pooled)
            .finish_non_exhaustive()
    }
}

/// The options that are ours, or that we read ourselves.
#[derive(Default)]
struct Options {
    table: Option<(Option<String>, String)>,
    pool: Option<usize>,
    pooled: bool,
    mode: Option<String>,
    roots: Option<PathBuf>,
}

impl Options {
    /// Takes what is ours, and returns what is the client library's.
    fn take(&mut self, options: &str) -> Result<String, &'static str> {
        let mut theirs = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or(OPTIONS)?;
            match name {
                "table" => self.table = Some(table(value)?),
                "pool" => self.pool = Some(pool(value)?),
                "pooler" if value == "transaction" => self.pooled = true,
                "pooler" => return Err("takes `pooler=transaction`, or no `pooler` at all"),
                "sslmode" => self.mode = Some(value.to_owned()),
                "sslrootcert" => self.roots = Some(decoded(value).ok_or(OPTIONS)?.into()),
                "target_session_attrs" if value == "read-write" || value == "any" => {}
                "target_session_attrs" => {
                    return Err("takes no `target_session_attrs` but `read-write`: sessions are \
                                written");
                }
                _ => theirs.push(option),
            }
        }
        Ok(theirs.join("&"))
    }

    fn security(&self) -> Result<Security, &'static str> {
        Ok(match (self.mode.as_deref(), &self.roots) {
            (Some("disable"), None) => Security::Plain,
            (None | Some("prefer"), None) => Security::Prefer,
            (Some("require"), None) => Security::Require,
            (Some("verify-full"), roots) => {
                Security::Verify(roots.clone().filter(|roots| roots.as_os_str() != "system"))
            }
            (_, Some(_)) => return Err("takes `sslrootcert` with `sslmode=verify-full` alone"),
            _ => {
                return Err("takes `sslmode` as `disable`, `prefer` (the default), `require` or \
                            `verify-full`");
            }
        })
    }
}

fn table(value: &str) -> Result<(Option<String>, String), &'static str> {
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.len() <= NAME_BYTES_MAX
            && name.bytes().all(allowed)
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    let (schema, table) = match value.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, value),
    };
    if !schema.is_none_or(is_name) || !is_name(table) {
        return Err(
            "takes `table` as TABLE or SCHEMA.TABLE, each at most 54 of the letters a to z, \
                    digits and `_`, no digit first",
        );
    }
    Ok((schema.map(str::to_owned), table.to_owned()))
}

fn pool(value: &str) -> Result<usize, &'static str> {
    let size = value.parse().ok().filter(|size| (1..=POOL_MAX).contains(size));
    size.ok_or("takes `pool`, how many connections there are at most, as a number from 1 to 128")
}

/// A value with `%` and two digits in it.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, SECRET, fuzz};

    #[test]
    fn fuzz_urls_of_postgresql() {
        let valid = [
            &format!("//app:{SECRET}@db.example:5433/shop?table=s.t&pool=4&sslmode=disable"),
            &format!("//app:{SECRET}@[::1]/shop?pooler=transaction&connect_timeout=3"),
            &format!("///shop?host=/run&user=app&password={SECRET}"),
        ];
        let words =
            ["@", ":", "/", "?", "#", "%", "%zz", "[", "]", ",", "&", "=", "\0", "é", "pool="];
        fuzz("URLs of PostgreSQL", |u| {
            let rest = fuzz::spoiled_text(u, &valid.map(String::as_str), &words)?;
            match PostgresConfig::parse_rest(&rest) {
                // What became a name of something is no password any more.
                Ok(config) if config.connect.get_password() == Some(SECRET.as_bytes()) => {
                    assert!(!format!("{config:?}").contains(SECRET), "{rest}");
                }
                Ok(_) => {}
                Err(error) => fuzz::tells_no_secret(&error),
            }
            Ok(())
        });
    }
}
