//! A proxy in front that says who asks, in a header: believed from named addresses alone.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::{Grant, InvalidAccess, RoleTable};

/// A longer name is none.
const NAME_CHARS_MAX: usize = 255;

/// Headers that anybody can send through any proxy, or that name something else.
const NEVER: [&str; 8] = [
    "authorization",
    "cookie",
    "forwarded",
    "host",
    "origin",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-goog-authenticated-user-email",
];

/// A proxy in front that signs people in, such as oauth2-proxy, and names them in a header.
///
/// The header counts in requests whose peer, which is the other end of the connection, has one of the named
/// addresses. A request from elsewhere is answered 403, and the log says so. So is one with the header
/// twice, or without it.
///
/// Every process on a named address can name anybody. Name as few addresses as you can, and let the proxy
/// take the header away from what people send.
#[derive(Clone, Debug)]
pub struct Proxy {
    header: HeaderName,
    from: Vec<IpNet>,
    table: RoleTable,
}

/// Why a request of a proxy is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOfProxy {
    /// It is from another address.
    OtherPeer,
    /// The header is missing, is there twice, or has no name in it.
    NoName,
}

impl Proxy {
    /// One that names people in `header`, from these addresses or ranges, such as `10.0.0.7` and
    /// `10.8.0.0/16`.
    ///
    /// # Errors
    /// The header is none, or one that whoever asks can set. There is no address, or one is none, or it
    /// names every address there is.
    pub fn new<A: AsRef<str>>(
        header: &str,
        from: impl IntoIterator<Item = A>,
        table: RoleTable,
    ) -> Result<Self, InvalidAccess> {
        let Ok(header) = header.parse::<HeaderName>() else {
            return Err(InvalidAccess::new(format!("{header:?} is no name of a header")));
        };
        if NEVER.contains(&header.as_str()) {
            let help = match header.as_str() {
                "x-goog-authenticated-user-email" => "IAP signs another one, which is checked",
                _ => "take one that your proxy sets and that nothing else uses",
            };
            let text = format!("the header {header} can be set by whoever asks: {help}");
            return Err(InvalidAccess::new(text));
        }
        let from: Vec<IpNet> =
            from.into_iter().map(|text| range(text.as_ref())).collect::<Result<_, _>>()?;
        if from.is_empty() {
            let text =
                "the proxy has no address: name the one that it connects from, such as 10.0.0.7";
            return Err(InvalidAccess::new(text));
        }
        Ok(Self { header, from, table })
    }

    /// Who asks. The role is none for somebody who has none.
    pub(crate) fn who(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<(String, Option<Grant>), NotOfProxy> {
        // An address of IPv4 that came in on a socket of IPv6 is the same one.
        let peer = peer.to_canonical();
        if !self.from.iter().any(|range| range.contains(&peer)) {
            return Err(NotOfProxy::OtherPeer);
        }
        let mut named = headers.get_all(&self.header).iter();
        let (Some(name), None) = (named.next(), named.next()) else {
            return Err(NotOfProxy::NoName);
        };
        let name = std::str::from_utf8(name.as_bytes()).map_err(|_| NotOfProxy::NoName)?.trim();
        if !is_name(name) {
            return Err(NotOfProxy::NoName);
        }
        let role = self.table.role([name]);
        let grant = role.map(|role| Grant::new(name, role).at(format!("proxy {peer}")));
        Ok((name.to_owned(), grant))
    }
}

/// Whether a text that somebody else wrote can be a name in the audit log.
pub(crate) fn is_name(text: &str) -> bool {
    let is_short = text.chars().count() <= NAME_CHARS_MAX;
    !text.is_empty() && is_short && !text.chars().any(char::is_control)
}

/// The networks that are for private use are no wider (RFC 1918, RFC 4193).
const PREFIX_MIN_V4: u8 = 8;
const PREFIX_MIN_V6: u8 = 7;

fn range(text: &str) -> Result<IpNet, InvalidAccess> {
    let read = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(range) = read else {
        let text = format!("{text:?} is no address and no range, such as 10.0.0.7 or 10.8.0.0/16");
        return Err(InvalidAccess::new(text));
    };
    // An address of IPv4 that is written as one of IPv6 is compared as what it is.
    let range = match (range, range.addr().to_canonical()) {
        (IpNet::V6(_), address @ IpAddr::V4(_)) => {
            let prefix = range.prefix_len().saturating_sub(128 - 32);
            IpNet::new(address, prefix).unwrap_or(range)
        }
        _ => range,
    };
    let shortest = if range.addr().is_ipv4() { PREFIX_MIN_V4 } else { PREFIX_MIN_V6 };
    if range.prefix_len() < shortest {
        let text = format!(
            "{range} is too many addresses, so that strangers could name themselves; a range begins at \
             /{shortest}"
        );
        return Err(InvalidAccess::new(text));
    }
    Ok(range.trunc())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::Role;

    fn table() -> RoleTable {
        RoleTable::new([(Role::Operator, "ada@example.com")]).unwrap()
    }

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-auth-email", HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_name_counts_from_a_named_address_alone() {
        let proxy =
            Proxy::new("X-Auth-Email", ["10.8.3.4/16", "192.0.2.7", "2001:db8::/32"], table());
        let proxy = proxy.unwrap();
        let named = headers(&[b"ada@example.com"]);
        for (peer, counts) in [
            ("10.8.0.1", true),
            ("10.8.255.255", true),
            ("::ffff:10.8.0.1", true),
            ("10.9.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("127.0.0.1", false),
            ("2001:db8::9", true),
            ("2001:db9::9", false),
        ] {
            let who = proxy.who(peer.parse().unwrap(), &named);
            assert_eq!(who.is_ok(), counts, "{peer}");
            let role = who.ok().and_then(|(_, grant)| grant).map(|grant| grant.role);
            assert_eq!(role, counts.then_some(Role::Operator), "{peer}");
        }
    }

    #[test]
    fn one_header_with_one_name_says_who_it_is() {
        let proxy = Proxy::new("x-auth-email", ["10.0.0.1"], table()).unwrap();
        let peer = "10.0.0.1".parse().unwrap();
        let long = [b'a'; 256];
        for values in [
            &[][..],
            &[&b""[..]],
            &[&b" "[..]],
            &[&b"\xff\xfe"[..]],
            &[&b"a\tb"[..]],
            &[&long[..]],
            &[&b"ada@example.com"[..], &b"ada@example.com"[..]],
            &[&b"ada@example.com"[..], &b"eve@example.com"[..]],
        ] {
            assert_eq!(proxy.who(peer, &headers(values)), Err(NotOfProxy::NoName), "{values:?}");
        }
        for stranger in ["eve@example.com", "ada@example.com, eve@example.com", "ADA@example.com"] {
            let (name, grant) = proxy.who(peer, &headers(&[stranger.as_bytes()])).unwrap();
            assert_eq!((&*name, grant), (stranger, None));
        }
    }

    #[test]
    fn a_header_that_anybody_can_set_and_a_range_of_everybody_cannot_be_named() {
        for header in ["", "a b", "Host", "X-Forwarded-For", "X-Goog-Authenticated-User-Email"] {
            assert!(Proxy::new(header, ["10.0.0.1"], table()).is_err(), "{header}");
        }
        for from in [
            &[][..],
            &["0.0.0.0/0"],
            &["::/0"],
            &["128.0.0.0/1"],
            &["::ffff:0:0/96"],
            &["proxy.example"],
            &["10.0.0.1", ""],
        ] {
            assert!(Proxy::new("x-auth-email", from, table()).is_err(), "{from:?}");
        }
    }
}
