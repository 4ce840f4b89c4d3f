//! Which servers the records are on, and which of them has which key.

use sha2::{Digest as _, Sha256};

use crate::{id::Key, store::OpenError};

/// The servers that a [`Memcached`](super::Memcached) store keeps its records on, and under which
/// names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemcachedConfig {
    /// The servers, as `host:port`. Which of them has a key depends on these texts: all instances
    /// must write them alike. Their order does not matter.
    pub servers: Vec<String>,
    /// What all keys begin with, before a colon. Default `ingle`.
    pub prefix: String,
}

const FORM: &str = "takes memcached://HOST[:PORT][,HOST[:PORT]…], and may end in `?prefix=NAME`";

/// memcached takes keys of 250 bytes; ours have 64 digits and a colon behind the prefix.
const PREFIX_BYTES_MAX: usize = 100;

/// The port that memcached listens on where nobody says otherwise.
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

    /// Reads what follows `memcached:` in a URL.
    pub(in crate::store) fn parse(rest: &str) -> Result<Self, OpenError> {
        let wrong = |problem| OpenError::BadUrl { scheme: "memcached", problem };
        let (servers, options) = match rest.split_once('?') {
            Some((servers, options)) => (servers, Some(options)),
            None => (rest, None),
        };
        let servers = servers.strip_prefix("//").ok_or(wrong(FORM))?;
        // One slash at the end is what many tools put there.
        let servers = servers.strip_suffix('/').unwrap_or(servers);
        let mut config = Self::new(servers.split(','));
        if let Some(options) = options {
            let prefix = options.strip_prefix("prefix=").filter(|prefix| !prefix.contains('&'));
            prefix
                .ok_or(wrong("has one option, which is `prefix=NAME`"))?
                .clone_into(&mut config.prefix);
        }
        config.addresses().map_err(wrong)?;
        Ok(config)
    }

    /// The servers, if this is a configuration at all.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, &'static str> {
        let of_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.prefix.is_empty()
            || self.prefix.len() > PREFIX_BYTES_MAX
            || !self.prefix.bytes().all(of_prefix)
        {
            return Err("has a prefix of 1 to 100 letters, digits, `-`, `_` and `.`");
        }
        if self.servers.len() > SERVERS_MAX {
            return Err("names at most 64 servers");
        }
        let mut addresses = Vec::new();
        for server in &self.servers {
            let address = Address::parse(server)?;
            if addresses.contains(&address) {
                return Err("names a server twice");
            }
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(FORM);
        }
        Ok(addresses)
    }
}

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    fn parse(server: &str) -> Result<Self, &'static str> {
        if server.is_empty() {
            return Err("names each server as HOST or HOST:PORT, with one comma between two");
        }
        if server.contains('@') {
            return Err("takes no user and no password: memcached belongs on a private network");
        }
        if server.contains('/') {
            return Err("takes no path behind the servers");
        }
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("has a `[` without a `]`")?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err("has between `[` and `]` what is not an IPv6 address");
                }
                let port = match port.strip_prefix(':') {
                    None if port.is_empty() => None,
                    Some(port) => Some(port),
                    None => return Err("has something other than a port behind a `]`"),
                };
                (host, port)
            }
            None => match server.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err("takes an IPv6 address between brackets, as [::1]:11211");
                }
                Some((host, port)) => (host, Some(port)),
                None => (server, None),
            },
        };
        let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(of_host) {
            return Err("names a host with letters, digits, `-`, `_` and `.`");
        }
        let wrong = "has a port that is not a number from 1 to 65535";
        let port = match port {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port > 0).ok_or(wrong)?
            }
            Some(_) => return Err(wrong),
            None => PORT,
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
