//! Which keys of which servers the sessions are.

use std::{fmt, io::Write as _, path::PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{
    id::{Digits, Key},
    store::OpenError,
};

/// Where a [`Redis`](super::Redis) store keeps its records, and how it gets there.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Host and port of the server; of a cluster, of some of its servers.
    pub servers: Vec<(String, u16)>,
    /// Whether to speak TLS. Default no.
    pub tls: bool,
    /// A file of certificates, in PEM, of those who may vouch for the server. Default those that the
    /// machine trusts.
    pub cacert: Option<PathBuf>,
    /// The user's name. Default the server's `default`.
    pub user: Option<String>,
    /// The password. Default none.
    pub password: Option<String>,
    /// The number of the database. Default 0.
    pub database: u32,
    /// What the names of all keys begin with. Default `ingle`.
    pub prefix: String,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "secret");
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers)
            .field("tls", &self.tls)
            .field("cacert", &self.cacert)
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

const FORM: &str = "takes redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX], where \
                    `rediss:` stands for TLS; write other signs in a password as %XX";

impl RedisConfig {
    /// One server, or any one of a cluster, without TLS or a password.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            servers: vec![(host.into(), port)],
            tls: false,
            cacert: None,
            user: None,
            password: None,
            database: 0,
            prefix: PREFIX.to_owned(),
        }
    }

    /// Reads what follows `redis:` or `rediss:` in a URL.
    pub(in crate::store) fn parse(scheme: &'static str, rest: &str) -> Result<Self, OpenError> {
        let wrong = |problem| OpenError::BadUrl { scheme, problem };
        let rest = rest.strip_prefix("//").ok_or(wrong(FORM))?;
        if rest.contains('#') || rest.contains(char::is_whitespace) {
            return Err(wrong(FORM));
        }
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let mut config = Self { tls: scheme == "rediss", ..Self::new("", PORT) };
        config.servers = hosts.split(',').map(server).collect::<Result<_, _>>().map_err(wrong)?;
        if let Some(credentials) = credentials {
            config.credentials(credentials).map_err(wrong)?;
        }
        if !database.is_empty() {
            let number = database.parse();
            config.database = number
                .map_err(|_| wrong("names the database by its number, as in redis://HOST/2"))?;
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.option(option).map_err(wrong)?;
        }
        config.check().map_err(wrong)?;
        Ok(config)
    }

    fn credentials(&mut self, text: &str) -> Result<(), &'static str> {
        let (user, password) = text.split_once(':').ok_or(
            "names a user without a password: it takes USER:PASSWORD@HOST, or :PASSWORD@HOST for \
             the default user",
        )?;
        let decoded = |text| {
            percent_decoded(text)
                .ok_or("has a `%` that is not followed by two hexadecimal digits of UTF-8")
        };
        self.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        self.password = Some(decoded(password)?);
        if self.user.is_none() && self.password.as_deref() == Some("") {
            self.password = None;
        }
        Ok(())
    }

    fn option(&mut self, option: &str) -> Result<(), &'static str> {
        let unknown = "has two options, which are `prefix` and, with `rediss:`, `cacert`";
        let (name, value) = option.split_once('=').ok_or(unknown)?;
        let value = percent_decoded(value).ok_or("has an option with a wrong `%`")?;
        match name {
            "prefix" => self.prefix = value,
            "cacert" if self.tls => self.cacert = Some(value.into()),
            "cacert" => return Err("has no TLS: `cacert` goes with `rediss:`"),
            _ => return Err(unknown),
        }
        Ok(())
    }

    /// Checks what a URL cannot be trusted with, nor a caller.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.servers.is_empty() || self.servers.iter().any(|(host, _)| host.is_empty()) {
            return Err("names no host: the form is redis://HOST[:PORT]");
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

/// A host and its port, where `[::1]` is a host as well.
fn server(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("has a `[` and no `]` in its host")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(FORM),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(
            "has a port that is no number from 1 to 65535; a `:`, `/` or `@` in a password is \
             written as %3A, %2F or %40",
        )?,
    };
    Ok((host.to_owned(), port))
}

/// Reads `%XX`, as RFC 3986 2.1 has it.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// One of 256 parts of all keys, which a cluster keeps together: what it takes for the place of a
/// key is the text between its braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition(pub(super) u8);

impl Partition {
    pub(super) fn of(key: &Key) -> Self {
        Self(key.as_bytes().first().copied().unwrap_or_default())
    }

    /// The partition of a user's list.
    pub(super) fn of_user(name: &str) -> Self {
        Self(Sha256::digest(name).first().copied().unwrap_or_default())
    }
}

/// The names of things in Redis.
#[derive(Clone, Debug)]
pub(super) struct Place {
    prefix: String,
}

impl Place {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The name of a record's hash, such as `ingle:{7f}:7f…`.
    pub(super) fn record(&self, key: &Key) -> String {
        let mut name = Vec::with_capacity(self.prefix.len() + 70);
        self.push_record(&mut name, key);
        String::from_utf8(name).unwrap_or_default()
    }

    /// Adds the name of a record's hash.
    pub(super) fn push_record(&self, text: &mut Vec<u8>, key: &Key) {
        text.extend_from_slice(self.prefix.as_bytes());
        text.extend_from_slice(b":{");
        text.extend_from_slice(Digits::of([Partition::of(key).0]).as_bytes());
        text.extend_from_slice(b"}:");
        // A vector takes all that is written.
        let _ = write!(text, "{key}");
    }

    /// The key of a record's hash, if it is one.
    pub(super) fn key(&self, name: &[u8]) -> Option<Key> {
        let name = std::str::from_utf8(name).ok()?;
        let key: Key = name.strip_prefix(self.prefix.as_str())?.get(6..)?.parse().ok()?;
        (self.record(&key) == name).then_some(key)
    }

    /// A pattern that fits the names of all records.
    pub(super) fn records(&self) -> String {
        format!("{}:{{??}}:*", self.prefix)
    }

    /// The name of a user's list, such as `ingle:user:{3c}:mary`.
    pub(super) fn user(&self, name: &str) -> String {
        format!("{}:user:{{{:02x}}}:{name}", self.prefix, Partition::of_user(name).0)
    }
}
