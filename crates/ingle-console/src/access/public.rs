//! A console that others reach: the address under which they open it, and how it knows them.

use std::{fmt, str::FromStr};

#[cfg(feature = "oidc")]
use ingle::SessionLayer;
use url::{Host, Url};

use super::{InvalidAccess, Proxy};
#[cfg(feature = "oidc")]
use crate::{
    operators,
    provider::{Iap, Oidc},
};

/// The address under which people open a console that others reach, such as
/// `https://console.example`.
///
/// It says which host is answered, and where a provider sends people back to. No header of a request is
/// asked for either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    url: Url,
    path: String,
}

impl PublicUrl {
    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The values of the Host header that mean it.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let host = self.url.host_str().unwrap_or_default();
        match (self.url.port(), self.url.port_or_known_default()) {
            (None, Some(port)) => vec![host.to_owned(), format!("{host}:{port}")],
            (port, _) => vec![format!("{host}:{}", port.unwrap_or_default())],
        }
    }

    /// The path that it is at, without a slash at the end.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The whole address of a page.
    #[cfg(feature = "oidc")]
    pub(crate) fn to(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin(), self.path)
    }

    #[cfg(feature = "oidc")]
    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The port, if it is not the usual one.
    #[cfg(feature = "oidc")]
    pub(crate) fn port(&self) -> Option<u16> {
        self.url.port()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// Reads one: `https://`, or `http://` on a loopback host, with a path or none.
impl FromStr for PublicUrl {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, InvalidAccess> {
        let wrong = |what: &str| {
            let text =
                format!("the public URL {what}: it takes one such as https://console.example");
            Err(InvalidAccess::new(text))
        };
        let Ok(url) = Url::parse(text) else { return wrong("is no URL") };
        if !is_safe(&url) {
            return wrong("is not https");
        }
        let is_bare = url.username().is_empty() && url.password().is_none();
        if !is_bare || url.query().is_some() || url.fragment().is_some() {
            return wrong("has more than a host, a port and a path");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if path.contains("//") || path.contains(['{', '}', '*']) {
            return wrong("has a path with an empty part");
        }
        Ok(Self { url, path })
    }
}

/// Whether what is sent to an address is read by nobody on the way: it is https, or stays on this machine.
pub(crate) fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// How a console that others reach knows who asks. There is no other way, and none without a check.
#[derive(Debug)]
#[non_exhaustive]
pub enum Identity {
    /// A provider of OpenID Connect signs people in, and the console keeps a session of each.
    #[cfg(feature = "oidc")]
    Oidc(Box<Oidc>),
    /// Google's Identity-Aware Proxy signs a header of each request.
    #[cfg(feature = "oidc")]
    Iap(Box<Iap>),
    /// A proxy on a named address names who asks in a header of each request.
    Proxy(Proxy),
}

#[cfg(feature = "oidc")]
impl From<Oidc> for Identity {
    fn from(oidc: Oidc) -> Self {
        Self::Oidc(Box::new(oidc))
    }
}

#[cfg(feature = "oidc")]
impl From<Iap> for Identity {
    fn from(iap: Iap) -> Self {
        Self::Iap(Box::new(iap))
    }
}

impl From<Proxy> for Identity {
    fn from(proxy: Proxy) -> Self {
        Self::Proxy(proxy)
    }
}

/// What a console that others reach needs: its address, and how it knows who asks.
#[derive(Debug)]
pub struct Public {
    pub(crate) url: PublicUrl,
    pub(crate) identity: Identity,
    #[cfg(feature = "oidc")]
    pub(crate) operators: SessionLayer,
}

impl Public {
    /// A console at this address, for whom `identity` knows.
    ///
    /// # Errors
    /// No cookie can have the address.
    pub fn new(url: PublicUrl, identity: impl Into<Identity>) -> Result<Self, InvalidAccess> {
        let identity = identity.into();
        #[cfg(feature = "oidc")]
        let operators = operators::layer(operators::public_cookie(&url))?;
        Ok(Self {
            url,
            identity,
            #[cfg(feature = "oidc")]
            operators,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PublicUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_address_is_of_https_or_of_this_machine() {
        for text in [
            "https://console.example",
            "https://console.example:8443/ops/console/",
            "http://localhost:8080",
            "http://console.localhost",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
        ] {
            assert!(text.parse::<PublicUrl>().is_ok(), "{text}");
        }
        for text in [
            "",
            "console.example",
            "http://console.example",
            "http://127.0.0.1.example",
            "http://localhost.example",
            "http://10.0.0.1",
            "ftp://console.example",
            "https://ada@console.example",
            "https://console.example/?a=b",
            "https://console.example/#a",
            "https://console.example/a//b",
            "https://console.example//",
            "https://console.example/*",
        ] {
            let is_refused = text.parse::<PublicUrl>().is_err();
            assert_eq!(is_refused, !text.ends_with("example//"), "{text}");
        }
    }

    #[test]
    fn it_says_which_hosts_are_answered() {
        assert_eq!(
            url("https://Console.example/a/").hosts(),
            ["console.example", "console.example:443"]
        );
        assert_eq!(url("https://console.example:8443").hosts(), ["console.example:8443"]);
        assert_eq!(url("http://[::1]:3000").hosts(), ["[::1]:3000"]);
        assert_eq!(url("https://console.example/a/").path(), "/a");
        assert_eq!(url("https://console.example").path(), "");
        assert_eq!(url("https://console.example:443/a").origin(), "https://console.example");
    }
}
