//! Where the servers are, and as whom the store logs in: from a URL, from an app's client, or by hand.
//!
//! It knows no connection.

use std::{fmt, path::PathBuf};

use redis::{Client, ConnectionAddr};

use super::error;
use crate::store::{
    OpenError,
    floor::{
        text::is_tidy,
        url::{StoreUrl, Wrong, ends_a_line},
    },
};

/// Where a [`Redis`](super::Redis) store keeps its records, and how it gets there.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Host and port of the server; of a cluster, of some of its servers. Empty where there is a
    /// [`socket`](Self::socket).
    pub servers: Vec<(String, u16)>,
    /// The Unix socket of the server. Default none.
    pub socket: Option<PathBuf>,
    /// Whether to speak TLS. Default no.
    pub tls: bool,
    /// A file of certificates, in PEM: the server's own, or those of the authorities that may vouch for it.
    /// Default those that the machine trusts.
    pub cacert: Option<PathBuf>,
    /// A file with the app's own certificate, in PEM, for a server that asks for one. Default none.
    pub cert: Option<PathBuf>,
    /// A file with the key of [`cert`](Self::cert), in PEM.
    pub key: Option<PathBuf>,
    /// Whether the server's certificate is checked. Default yes. Without the check, anyone between app
    /// and server can read and change all sessions; the log warns of it.
    pub verify: bool,
    /// The user's name. Default the server's `default`.
    pub user: Option<String>,
    /// The password. Default none.
    pub password: Option<String>,
    /// The number of the database. Default 0.
    pub database: u32,
    /// What the names of all keys begin with: 1 to 100 letters, digits and `-_.:/`. Default `ingle`.
    pub prefix: String,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "secret");
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers)
            .field("socket", &self.socket)
            .field("tls", &self.tls)
            .field("cacert", &self.cacert)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("verify", &self.verify)
            .field("user", &self.user)
            .field("password", &password)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .finish()
    }
}

const PORT: u16 = 6379;
const PREFIX: &str = "ingle";
const PREFIX_BYTES_MAX: usize = 100;

const FORM: &str = "must look like redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX], \
                    where `rediss:` stands for TLS; write other signs in a password as %XX";
const SOCKET_FORM: &str = "must look like redis+unix:///PATH[?db=DATABASE][&prefix=PREFIX]; write other \
                           signs in a password as %XX";
const DATABASE: &str = "names the database by its number, as in redis://HOST/2";
const NO_PASSWORD: &str = "names a user without a password; write USER:PASSWORD@HOST, or :PASSWORD@HOST \
                           for the default user";

impl RedisConfig {
    /// One server, or any one of a cluster, without TLS or a password.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { servers: vec![(host.into(), port)], ..Self::nowhere() }
    }

    /// One server by its Unix socket, without a password.
    #[must_use]
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self { socket: Some(socket.into()), ..Self::nowhere() }
    }

    fn nowhere() -> Self {
        Self {
            servers: Vec::new(),
            socket: None,
            tls: false,
            cacert: None,
            cert: None,
            key: None,
            verify: true,
            user: None,
            password: None,
            database: 0,
            prefix: PREFIX.to_owned(),
        }
    }

    /// Reads a URL, in one of the forms that [`open`](crate::store::open()) takes.
    ///
    /// # Errors
    /// [`Config`](crate::store::OpenErrorKind::Config): the URL is wrong. The text says what, and has no
    /// password.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let read = |url: &str| {
            let config = match url.split_once(':').map(|(scheme, _)| scheme) {
                Some("redis" | "valkey") => Self::of_hosts(url, false)?,
                Some("rediss" | "valkeys") => Self::of_hosts(url, true)?,
                Some("redis+unix" | "valkey+unix" | "unix") => Self::of_socket(url)?,
                _ => return Err(FORM.into()),
            };
            config.check()?;
            Ok::<_, Wrong>(config)
        };
        read(url.trim()).map_err(|problem| error::url(&problem))
    }

    /// The server of an app's client, as the same user and in the same database.
    ///
    /// # Errors
    /// [`Config`](crate::store::OpenErrorKind::Config): the client has certificates of its own, which
    /// cannot be read from it; its address is of an unknown kind; or its database's number is negative.
    pub fn from_client(client: &Client) -> Result<Self, OpenError> {
        let info = client.get_connection_info();
        let mut config = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Self::new(host, *port),
            ConnectionAddr::TcpTls { host, port, insecure, tls_params: None } => {
                Self { tls: true, verify: !insecure, ..Self::new(host, *port) }
            }
            ConnectionAddr::TcpTls { .. } => return Err(error::client_certificates()),
            ConnectionAddr::Unix(path) => Self::unix(path),
            _ => return Err(error::config("the client has an address of an unknown kind")),
        };
        let settings = info.redis_settings();
        config.user = settings.username().map(str::to_owned);
        config.password = settings.password().map(str::to_owned);
        let database = u32::try_from(settings.db());
        config.database =
            database.map_err(|_| error::config("the client's database has no usable number"))?;
        Ok(config)
    }

    fn of_hosts(url: &str, tls: bool) -> Result<Self, Wrong> {
        // As the crate `redis` writes it.
        if url.ends_with("#insecure") {
            return Err("ends in `#insecure`, for which `?verify=none` is written here".into());
        }
        let mut url = StoreUrl::parse(url, FORM)?;
        let hosts = std::mem::take(&mut url.hosts).into_iter();
        let servers = hosts.map(|(host, port)| (host, port.unwrap_or(PORT))).collect();
        let mut config = Self { servers, tls, ..Self::nowhere() };
        config.database = match url.path.as_slice() {
            [] => 0,
            [number] => number.parse().map_err(|_| DATABASE)?,
            _ => return Err(DATABASE.into()),
        };
        let mut file = |option| url.take(option).map(PathBuf::from);
        (config.cacert, config.cert, config.key) = (file("cacert"), file("cert"), file("key"));
        config.verify = match url.take("verify").as_deref() {
            None => true,
            Some("none") => false,
            Some(_) => return Err("has one value for `verify`, which is `none`".into()),
        };
        let options = "has these options: `prefix` and, with `rediss:`, `cacert`, `cert` with `key`, and \
                       `verify=none`";
        config.rest(url, options)
    }

    /// A socket's URL. `unix:/PATH` is an older form of it. Database and user are options, as the clients
    /// of most languages have them.
    fn of_socket(url: &str) -> Result<Self, Wrong> {
        let (scheme, rest) = url.split_once(':').ok_or(SOCKET_FORM)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (userinfo, path) = rest.split_at(rest.find('/').ok_or(SOCKET_FORM)?);
        if !(userinfo.is_empty() || userinfo.ends_with('@')) {
            return Err(SOCKET_FORM.into());
        }
        // A socket has no host, but a URL of a server must.
        let mut url =
            StoreUrl::parse(&format!("{scheme}://{userinfo}localhost{path}"), SOCKET_FORM)?;
        if url.path.is_empty() {
            return Err(SOCKET_FORM.into());
        }
        let mut config = Self::unix(format!("/{}", url.path.join("/")));
        if let Some(number) = url.take("db") {
            config.database =
                number.parse().map_err(|_| "names the database by its number, as in ?db=2")?;
        }
        url.user = url.user.take().or_else(|| url.take("user"));
        url.password = url.password.take().or_else(|| url.take("pass"));
        config.rest(url, "has four options: `db`, `user`, `pass` and `prefix`")
    }

    /// What all forms have.
    fn rest(mut self, mut url: StoreUrl, options: &'static str) -> Result<Self, Wrong> {
        if url.user.is_some() && url.password.is_none() {
            return Err(NO_PASSWORD.into());
        }
        if let Some(prefix) = url.take("prefix") {
            self.prefix = prefix;
        }
        url.no_more(options)?;
        (self.user, self.password) = (url.user, url.password);
        Ok(self)
    }

    /// Checks what a URL cannot be trusted with, nor a caller.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let no_host = |(host, port): &(String, u16)| host.is_empty() || *port == 0;
        if !self.servers.iter().all(|(host, _)| is_tidy(host)) {
            return Err("names a host with a blank or a line end around it");
        }
        let paths = [&self.socket, &self.cacert, &self.cert, &self.key];
        if !paths.into_iter().flatten().all(|path| is_tidy(&path.to_string_lossy())) {
            return Err("names a file with a blank or a line end around its path");
        }
        if [&self.user, &self.password].into_iter().flatten().any(|text| ends_a_line(text)) {
            return Err(
                "has a user or a password that ends in a line end, as the content of a file does",
            );
        }
        if self.socket.is_none() && (self.servers.is_empty() || self.servers.iter().any(no_host)) {
            return Err("names no server; write redis://HOST[:PORT], with a port from 1 to 65535");
        }
        if self.socket.is_some() && (self.tls || !self.servers.is_empty()) {
            return Err("names a socket, beside which there can be no host and no TLS");
        }
        let files = [&self.cacert, &self.cert, &self.key];
        if !self.tls && (files.iter().any(|file| file.is_some()) || !self.verify) {
            return Err("has no TLS; `cacert`, `cert`, `key` and `verify` go with `rediss:`");
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err("has one of `cert` and `key`; name both");
        }
        if self.cacert.is_some() && !self.verify {
            return Err("has both `cacert` and `verify=none`; choose one");
        }
        // A brace would move the records to other partitions, and other signs mean something in the
        // pattern that a list is made with.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if self.prefix.is_empty()
            || self.prefix.len() > PREFIX_BYTES_MAX
            || !self.prefix.bytes().all(allowed)
        {
            return Err("takes a prefix of at most 100 letters, digits and `-_.:/`");
        }
        Ok(())
    }
}
