//! Which table of which database the sessions are in, and how to get there.

use std::{fmt, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::Config;

use super::{
    error::{NAME, Names},
    link::Source,
    stream::Stream,
};
use crate::store::{
    BoxError, OpenError, OpenErrorKind,
    floor::{
        text::is_tidy,
        tls::Trust,
        url::{StoreUrl, Wrong, ends_a_line},
    },
};

/// What the table is called where nothing else is said.
const TABLE: &str = "ingle_sessions";

/// The names of indexes and functions are longer than the table's by up to this, and PostgreSQL cuts
/// names off at 63 bytes.
const NAME_BYTES_MAX: usize = 63 - "_to_sweep".len();

/// How many connections, where nothing else is said. Each syncs its own commits, and those of several
/// are synced together: with 16 there are about half as many commits again as with 8. Each is a process
/// of the server's too: of 100 of them, PostgreSQL's own default, 6 instances have enough.
pub(super) const POOL: usize = 16;

/// Beyond this a pooler serves better.
pub(super) const POOL_MAX: usize = 128;

/// How long it may take to connect, where nothing else is said.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(5);

/// PostgreSQL's own port.
const PORT: u16 = 5432;

const FORM: &str = "takes postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE; in a name or a \
                    password, write `%` and two hexadecimal digits for each of `@`, `:`, `/`, `?`, \
                    `#`, `&` and `%`";
const OPTIONS: &str = "takes, after `?`, `table`, `pool`, `pooler`, `sslmode`, `sslrootcert`, \
                       `sslcert`, `sslkey`, and of libpq's parameters `host`, `port`, `user`, \
                       `password`, `dbname`, `application_name`, `options`, `connect_timeout`, \
                       `keepalives…`, `tcp_user_timeout`, `target_session_attrs`, \
                       `channel_binding` and `load_balance_hosts`; one of those given is none of these";

/// The parameters that the driver reads as libpq does.
const LIBPQ: [&str; 9] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "tcp_user_timeout",
];

/// Where a [`Postgres`](super::Postgres) store keeps its table, and how to get there.
///
/// ```
/// use ingle::store::{PostgresConfig, PostgresTls};
///
/// let mut config = PostgresConfig::new("db.example", 5432, "app", "shop");
/// config.password = Some("…".to_owned());
/// config.tls = PostgresTls::VerifyFull { roots: None };
/// config.pool = 4;
/// ```
///
/// Its `Debug` shows no password.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// The servers and their ports, tried one after another: the first that takes writes is used. A
    /// host that begins with `/` is the folder of a Unix socket.
    pub hosts: Vec<(String, u16)>,
    /// Who logs in.
    pub user: String,
    /// The password, where the server asks for one. None by default; for one that changes, see
    /// [`with_passwords`](Self::with_passwords).
    pub password: Option<String>,
    /// The database.
    pub database: String,
    /// The table, `TABLE` or `SCHEMA.TABLE`, each name at most 54 of the letters a to z, digits and
    /// `_`, no digit first. `ingle_sessions` by default.
    pub table: String,
    /// How many connections the store uses at most, 1 to 128. 16 by default.
    pub pool: usize,
    /// Whether there is a pooler in between that hands the server's connections out by transaction, as
    /// PgBouncer does in that mode: nothing is prepared on a connection then, and no settings are
    /// sent. No by default.
    pub pooler: bool,
    /// What is asked of TLS. [`PostgresTls::Prefer`] by default.
    pub tls: PostgresTls,
    /// A PEM file with the app's own certificate, for a server that asks for one. None by default.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the key of that certificate.
    pub certificate_key: Option<PathBuf>,
    /// How long it may take to connect to each host and to log in. 5 seconds by default.
    pub connect_timeout: Duration,
    /// What `pg_stat_activity` shows. `ingle` by default.
    pub application_name: String,
    /// What else a URL says of libpq's parameters.
    pub(super) libpq: Config,
    pub(super) passwords: Option<Passwords>,
    pub(super) streams: Option<Streams>,
    /// A pool of the app's own, in the place of all that says how to connect.
    pub(super) source: Option<Arc<dyn Source>>,
}

/// What is asked of TLS, as `sslmode` in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostgresTls {
    /// `disable`: none at all.
    Disable,
    /// `prefer`: encryption, if the server offers it and the program has cryptography for it. Nobody's
    /// identity is checked, of which the log warns unless the server is on this machine.
    Prefer,
    /// `require`: encryption. Nobody's identity is checked, of which the log warns unless the server is on
    /// this machine.
    Require,
    /// `verify-full`: encryption, and a certificate for the host's name that is trusted itself, or signed by
    /// an authority that is.
    VerifyFull {
        /// A PEM file with the certificates that are trusted: the server's own, or those of authorities.
        /// Where there is none, those of the authorities that the system trusts.
        roots: Option<PathBuf>,
    },
}

type Given<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
pub(super) type Passwords = Arc<dyn Fn() -> Given<String> + Send + Sync>;
pub(super) type Streams = Arc<dyn Fn() -> Given<Stream> + Send + Sync>;

impl PostgresConfig {
    /// A database on a server, with the defaults that each field names.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        port: u16,
        user: impl Into<String>,
        database: impl Into<String>,
    ) -> Self {
        Self::on(vec![(host.into(), port)], user.into(), database.into())
    }

    pub(super) fn on(hosts: Vec<(String, u16)>, user: String, database: String) -> Self {
        Self {
            hosts,
            user,
            password: None,
            database,
            table: TABLE.to_owned(),
            pool: POOL,
            pooler: false,
            tls: PostgresTls::Prefer,
            certificate: None,
            certificate_key: None,
            connect_timeout: CONNECT_TIME,
            application_name: "ingle".to_owned(),
            libpq: Config::new(),
            passwords: None,
            streams: None,
            source: None,
        }
    }

    /// Reads a URL, `postgres://…` or `postgresql://…`. The page of
    /// [`Postgres`](super::Postgres) has all that it can say.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let config = Self::read(url).map_err(|problem| wrong(&problem))?;
        config.check()?;
        Ok(config)
    }

    /// Asks for the password each time that a connection is made: for tokens that expire, as those of
    /// a cloud's IAM do. A connection that is open stays open when its token expires.
    ///
    /// ```
    /// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # fn config() -> Result<ingle::store::PostgresConfig, ingle::store::OpenError> {
    /// let url = "postgres://app@db.example/shop?sslmode=verify-full";
    /// let config = ingle::store::PostgresConfig::parse(url)?
    ///     .with_passwords(|| async { Ok(fetch_token().await?) });
    /// # Ok(config)
    /// # }
    /// ```
    #[must_use]
    pub fn with_passwords<F, R>(mut self, password: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.passwords = Some(Arc::new(move || Box::pin(password())));
        self
    }

    /// Has the app make the stream of each connection, such as through a tunnel or a cloud's connector.
    /// The store speaks PostgreSQL's protocol on it, and TLS within as [`tls`](Self::tls) says: that is
    /// [`PostgresTls::Disable`] for a stream that is encrypted already. Of [`hosts`](Self::hosts) only
    /// the first one's name counts then, for its certificate.
    ///
    /// ```
    /// # fn config() -> ingle::store::PostgresConfig {
    /// use ingle::store::{PostgresConfig, PostgresTls};
    ///
    /// let mut config = PostgresConfig::new("db.example", 5432, "app", "shop");
    /// config.tls = PostgresTls::Disable;
    /// config.with_streams(|| async { Ok(tokio::net::TcpStream::connect("127.0.0.1:7000").await?) })
    /// # }
    /// ```
    #[must_use]
    pub fn with_streams<F, R, S>(mut self, stream: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<S, BoxError>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.streams = Some(Arc::new(move || {
            let stream = stream();
            Box::pin(async move { Ok(Stream::new(stream.await?)) })
        }));
        self
    }

    fn read(url: &str) -> Result<Self, Wrong> {
        let mut url = StoreUrl::parse_hostless(url, FORM)?;
        if !matches!(url.scheme.as_str(), "postgres" | "postgresql") {
            return Err(FORM.into());
        }
        let user = url.take("user").or(url.user.take()).ok_or(FORM)?;
        let hosts = hosts(&mut url)?;
        let database = match (url.take("dbname"), url.path.as_slice()) {
            (Some(name), _) => name,
            (None, [name]) => name.clone(),
            (None, []) => String::new(),
            (None, _) => return Err(FORM.into()),
        };
        let mut config = Self::on(hosts, user, database);
        config.password = url.take("password").or(url.password.take());
        if let Some(table) = url.take("table") {
            config.table = table;
        }
        if let Some(pool) = url.take("pool") {
            config.pool = pool.parse().map_err(|_| POOL_RANGE)?;
        }
        config.pooler = match url.take("pooler").as_deref() {
            None => false,
            Some("transaction") => true,
            Some(_) => return Err("takes `pooler=transaction`, or no `pooler` at all".into()),
        };
        if url
            .take("target_session_attrs")
            .is_some_and(|attrs| attrs != "read-write" && attrs != "any")
        {
            return Err(
                "takes no `target_session_attrs` but `read-write`: sessions are written".into()
            );
        }
        config.read_tls(&mut url)?;
        config.read_libpq(&mut url)?;
        url.no_more(OPTIONS)?;
        Ok(config)
    }

    fn read_tls(&mut self, url: &mut StoreUrl) -> Result<(), Wrong> {
        let roots = url.take("sslrootcert").map(PathBuf::from);
        self.tls = match (url.take("sslmode").as_deref(), roots) {
            (Some("disable"), None) => PostgresTls::Disable,
            (None | Some("prefer"), None) => PostgresTls::Prefer,
            (Some("require"), None) => PostgresTls::Require,
            (Some("verify-full"), roots) => PostgresTls::VerifyFull {
                roots: roots.filter(|roots| roots.as_os_str() != "system"),
            },
            (_, Some(_)) => {
                return Err("takes `sslrootcert` with `sslmode=verify-full` alone".into());
            }
            _ => {
                let modes = "takes `sslmode` as `disable`, `prefer` (the default), `require` or \
                             `verify-full`";
                return Err(modes.into());
            }
        };
        self.certificate = url.take("sslcert").map(PathBuf::from);
        self.certificate_key = url.take("sslkey").map(PathBuf::from);
        Ok(())
    }

    /// Has the driver read what it reads as libpq does.
    fn read_libpq(&mut self, url: &mut StoreUrl) -> Result<(), Wrong> {
        let mut parameters = String::new();
        for name in LIBPQ.into_iter().chain(["options"]) {
            if let Some(value) = url.take(name) {
                let value = value.replace('\\', r"\\").replace('\'', r"\'");
                let parameter = format!("{name}='{value}' ");
                let is_good = parameter.parse::<Config>().is_ok();
                parameters.push_str(&parameter);
                if !is_good {
                    return Err(format!("has a value of `{name}` that libpq would refuse").into());
                }
            }
        }
        self.libpq = parameters.parse().map_err(|_| OPTIONS)?;
        if let Some(timeout) = self.libpq.get_connect_timeout() {
            self.connect_timeout = *timeout;
        }
        if let Some(name) = self.libpq.get_application_name() {
            name.clone_into(&mut self.application_name);
        }
        Ok(())
    }

    /// Whether all that it says can be.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let mut names = self.hosts.iter().map(|(host, _)| host).chain([&self.user, &self.database]);
        let roots = match &self.tls {
            PostgresTls::VerifyFull { roots } => roots.as_ref(),
            PostgresTls::Disable | PostgresTls::Prefer | PostgresTls::Require => None,
        };
        let files = [roots, self.certificate.as_ref(), self.certificate_key.as_ref()];
        let mut files = files.into_iter().flatten().map(|file| file.to_string_lossy());
        let problem = if !names.all(|name| is_tidy(name)) {
            "names a host, a user or a database with a blank or a line end around it, or with a \
             control character"
        } else if !files.all(|file| is_tidy(&file)) {
            "names a file with a blank or a line end around its path"
        } else if self.password.as_deref().is_some_and(ends_a_line) {
            "has a password that ends in a line end, as the content of a file does"
        } else if self.source.is_none() && (self.hosts.is_empty() || self.user.is_empty()) {
            FORM
        } else if self.source.is_none() && self.database.is_empty() {
            "names a database: postgres://USER@HOST/DATABASE"
        } else if !is_table(&self.table) {
            "takes `table` as TABLE or SCHEMA.TABLE, each at most 54 of the letters a to z, digits \
             and `_`, no digit first"
        } else if !(1..=POOL_MAX).contains(&self.pool) {
            POOL_RANGE
        } else if self.certificate.is_some() != self.certificate_key.is_some() {
            "takes `sslcert` and `sslkey` together: a certificate and its key"
        } else if self.certificate.is_some() && self.tls == PostgresTls::Disable {
            "takes `sslcert` and `sslkey` with TLS alone: `sslmode=verify-full`"
        } else {
            return Ok(());
        };
        Err(wrong(problem))
    }

    /// Whose certificates are taken, if TLS is spoken at all.
    pub(super) fn trust(&self) -> Option<Trust> {
        match &self.tls {
            PostgresTls::Disable => None,
            PostgresTls::Prefer | PostgresTls::Require => Some(Trust::Anyone),
            PostgresTls::VerifyFull { roots: None } => Some(Trust::System),
            PostgresTls::VerifyFull { roots: Some(file) } => Some(Trust::File(file.clone())),
        }
    }

    /// Whether what is sent leaves this machine, as far as the names of the hosts tell.
    pub(super) fn is_remote(&self) -> bool {
        let is_local = |host: &str| {
            let address = host.parse::<IpAddr>();
            host.starts_with('/') || host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
        };
        !self.hosts.iter().all(|(host, _)| is_local(host))
    }

    /// How long it may take to connect to all the hosts in turn, logging in included.
    pub(super) fn connect_time(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(1);
        self.connect_timeout.saturating_mul(hosts.max(1))
    }

    /// The names of a schema, if the table is in a certain one, and of the table.
    pub(super) fn schema_and_table(&self) -> (Option<&str>, &str) {
        match self.table.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, &self.table),
        }
    }

    /// The table as SQL names it.
    pub(super) fn table_sql(&self) -> String {
        match self.schema_and_table() {
            (Some(schema), table) => format!("\"{schema}\".\"{table}\""),
            (None, table) => format!("\"{table}\""),
        }
    }

    /// What messages call the server and what is on it.
    pub(super) fn names(&self) -> Names {
        let table = self.table.clone();
        if self.source.is_some() {
            let [hosts, user, database] =
                ["the app's pool", "of the app's pool", "of the app's pool"].map(str::to_owned);
            return Names { server: None, hosts, user, database, table, trust: None };
        }
        let hosts = self.hosts.iter().map(|(host, port)| match host {
            folder if folder.starts_with('/') => folder.clone(),
            address if address.contains(':') => format!("[{address}]:{port}"),
            name => format!("{name}:{port}"),
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let (user, database) = (self.user.clone(), self.database.clone());
        let server = self.hosts.first().cloned();
        Names { server, hosts, user, database, table, trust: self.trust() }
    }
}

const BAD_PORT: &str = "takes `port` as a number from 1 to 65535";

const POOL_RANGE: &str =
    "takes `pool`, how many connections there are at most, as a number from 1 to 128";

fn wrong(problem: &str) -> OpenError {
    OpenError::new(NAME, OpenErrorKind::Config, format!("its URL {problem}"), "")
}

/// The hosts, of the parameters of libpq or else of the URL's authority.
fn hosts(url: &mut StoreUrl) -> Result<Vec<(String, u16)>, Wrong> {
    let port = match url.take("port") {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BAD_PORT)?,
        None => PORT,
    };
    if let Some(hosts) = url.take("host") {
        return Ok(hosts.split(',').map(|host| (host.to_owned(), port)).collect());
    }
    let decoded = |(host, at): &(String, Option<u16>)| {
        let host = percent_decode_str(host).decode_utf8().map_err(|_| FORM)?;
        Ok((host.into_owned(), at.unwrap_or(port)))
    };
    url.hosts.iter().map(decoded).collect()
}

fn is_table(value: &str) -> bool {
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.len() <= NAME_BYTES_MAX
            && name.bytes().all(allowed)
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    let (schema, table) = value.split_once('.').unwrap_or((TABLE, value));
    is_name(schema) && is_name(table)
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Names { hosts, user, database, table, .. } = self.names();
        f.debug_struct("PostgresConfig")
            .field("hosts", &hosts)
            .field("user", &user)
            .field("database", &database)
            .field("table", &table)
            .field("pool", &self.pool)
            .field("pooler", &self.pooler)
            .field("tls", &self.tls)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, SECRET, fuzz};

    #[test]
    fn fuzz_urls_of_postgresql() {
        let valid = [
            &format!(
                "postgres://app:{SECRET}@db.example:5433/shop?table=s.t&pool=4&sslmode=disable"
            ),
            &format!("postgres://app:{SECRET}@[::1]/shop?pooler=transaction&connect_timeout=3"),
            &format!("postgres:///shop?host=/run&user=app&password={SECRET}"),
        ];
        let words =
            ["@", ":", "/", "?", "#", "%", "%zz", "[", "]", ",", "&", "=", "\0", "é", "pool="];
        fuzz("URLs of PostgreSQL", |u| {
            let url = fuzz::spoiled_text(u, &valid.map(String::as_str), &words)?;
            match PostgresConfig::parse(&url) {
                // What became a name of something is no password any more.
                Ok(config) if config.password.as_deref() == Some(SECRET) => {
                    assert!(!format!("{config:?}").contains(SECRET), "{url}");
                }
                Ok(_) => {}
                Err(error) => fuzz::tells_no_secret(&error),
            }
            Ok(())
        });
    }
}
