//! Which servers the records are on, and which of them has which key.
//!
//! It knows no connection.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::error;
use crate::{
    id::Key,
    store::{
        OpenError,
        floor::url::{StoreUrl, Wrong},
    },
};

/// The servers that a [`Memcached`](super::Memcached) store keeps its records on, and under which
/// names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemcachedConfig {
    /// The servers, as `host:port`. Which of them has a key depends on these texts: all instances
    /// must write them alike. Their order does not matter.
    pub servers: Vec<String>,
    /// What all keys begin with, before a colon: 1 to 100 letters, digits and `-_.`. Default `ingle`.
    pub prefix: String,
}

const FORM: &str = "takes memcached://HOST[:PORT][,HOST[:PORT]…], and may end in `?prefix=NAME`; a port \
                    is a number from 1 to 65535, and an IPv6 address stands between `[` and `]`";

/// memcached takes keys of 250 bytes; those of this store have 64 digits and a colon behind the prefix.
const PREFIX_BYTES_MAX: usize = 100;

/// The port that memcached listens on by default.
const PORT: u16 = 11211;

/// More servers than anyone shares sessions between; each is asked when the store is opened.
const SERVERS_MAX: usize = 64;

impl MemcachedConfig {
    /// One server or several, as `host:port`, with the usual prefix.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let servers = servers.into_iter().map(Into::into).collect();
        Self { servers, prefix: "ingle".to_owned() }
    }

    /// Reads a URL, in one of the forms that [`open`](crate::store::open) takes.
    ///
    /// # Errors
    /// [`Config`](crate::store::OpenErrorKind::Config): the URL is wrong. The text says what, and has no
    /// password.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let read = |url: &str| {
            let mut url = parse(url)?;
            let servers = addresses(&url)?;
            let mut config = Self::new(servers.iter().map(ToString::to_string));
            if let Some(prefix) = url.take("prefix") {
                config.prefix = prefix;
            }
            url.no_more("has one option, which is `prefix=NAME`")?;
            config.addresses()?;
            Ok::<_, Wrong>(config)
        };
        read(url).map_err(|problem| error::url(&problem))
    }

    /// The servers, if this is a configuration at all.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, Wrong> {
        let of_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.prefix.is_empty()
            || self.prefix.len() > PREFIX_BYTES_MAX
            || !self.prefix.bytes().all(of_prefix)
        {
            return Err("has a prefix of 1 to 100 letters, digits, `-`, `_` and `.`".into());
        }
        let mut url = parse(&format!("memcached://{}", self.servers.join(",")))?;
        if !url.take_rest().is_empty() {
            return Err("names servers as HOST or HOST:PORT, without options".into());
        }
        addresses(&url)
    }
}

fn parse(url: &str) -> Result<StoreUrl, Wrong> {
    let url = url.trim();
    if url.starts_with("memcached://") { StoreUrl::parse(url, FORM) } else { Err(FORM.into()) }
}

fn addresses(url: &StoreUrl) -> Result<Vec<Address>, Wrong> {
    if url.user.is_some() || url.password.is_some() {
        return Err("takes no user and no password: memcached belongs on a private network".into());
    }
    if !url.path.is_empty() {
        return Err("takes no path behind the servers".into());
    }
    if url.hosts.len() > SERVERS_MAX {
        return Err("names at most 64 servers".into());
    }
    let mut addresses = Vec::new();
    for (host, port) in &url.hosts {
        let address = Address::new(host, *port)?;
        if addresses.contains(&address) {
            return Err("names a server twice".into());
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    fn new(host: &str, port: Option<u16>) -> Result<Self, Wrong> {
        let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if host.len() > 253 || !host.bytes().all(of_host) {
            return Err("names a host with letters, digits, `-`, `_` and `.`".into());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port: port.unwrap_or(PORT) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// How much a server is entitled to a key; the one with the highest claim has it.
///
/// This is rendezvous hashing. Each server's claim depends on that server alone, so one that is
/// added takes exactly the keys on which its claim is the highest, one in n, and no other key moves.
/// It needs no ring and no weights as ketama does, which only serves clients that must agree with
/// those of other languages.
pub(super) fn claim(server: &str, key: &Key) -> u64 {
    let hash = Sha256::new().chain_update(server).chain_update([0]).chain_update(key.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
