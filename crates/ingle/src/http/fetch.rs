//! Where a request comes from, by what browsers say of it: `Sec-Fetch-Site`, and `Origin`.
//!
//! Two questions are answered by it. Browsers keep a Lax or a Strict cookie back from requests that
//! another site began, and yet take a cookie from the answer where it is a page. And a page of
//! another origin must not change anything in the visitor's name (`same_origin`). It believes what
//! browsers say. A program that is no browser says neither.

use super::cookie::SameSite;

/// How the page that began a request is related to this app (`Sec-Fetch-Site`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchSite {
    SameOrigin,
    SameSite,
    CrossSite,
    /// No page began it, but the visitor: an address, a bookmark.
    Visitor,
    Unknown,
}

/// The origin of the page that began a request (`Origin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin<'a> {
    /// `null`: the page has none, or its referrer policy keeps it back.
    Hidden,
    Of {
        scheme: &'a str,
        authority: &'a str,
    },
    Malformed,
}

/// What a request says of where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initiator<'a> {
    site: Option<FetchSite>,
    origin: Option<Origin<'a>>,
    host: Option<&'a str>,
}

impl<'a> Initiator<'a> {
    /// `header` returns the value of the header with a name.
    pub(super) fn of(header: impl Fn(&'static str) -> Option<&'a [u8]>) -> Self {
        let header = |name| header(name).filter(|value| !value.is_empty());
        let site = header("sec-fetch-site").map(|site| match site {
            b"same-origin" => FetchSite::SameOrigin,
            b"same-site" => FetchSite::SameSite,
            b"cross-site" => FetchSite::CrossSite,
            b"none" => FetchSite::Visitor,
            _ => FetchSite::Unknown,
        });
        let origin = header("origin").map(|origin| match str::from_utf8(origin) {
            Ok("null") => Origin::Hidden,
            Ok(origin) => match origin.split_once("://") {
                Some((scheme, authority)) => Origin::Of { scheme, authority },
                None => Origin::Malformed,
            },
            Err(_) => Origin::Malformed,
        });
        Self { site, origin, host: header("host").and_then(|host| str::from_utf8(host).ok()) }
    }

    /// Whether the app's own page began it, the visitor, or a program that is no browser. Where the
    /// browser says both `Sec-Fetch-Site` and `Origin`, both must agree.
    pub(super) fn is_same_origin(&self) -> bool {
        match (self.site, self.origin) {
            (Some(FetchSite::SameSite | FetchSite::CrossSite | FetchSite::Unknown), _) => false,
            // A page whose referrer policy is `no-referrer` hides its origin from the app, too.
            (Some(_), None | Some(Origin::Hidden)) | (None, None) => true,
            (_, Some(Origin::Of { scheme, authority })) => {
                self.host.is_some_and(|host| is_one_port(scheme, authority, host))
            }
            (None, Some(Origin::Hidden)) | (_, Some(Origin::Malformed)) => false,
        }
    }

    /// Whether a page of this origin began it: a scheme and an authority in lower case.
    pub(super) fn is_from(&self, (scheme, authority): (&str, &str)) -> bool {
        self.origin.is_some_and(|origin| origin == Origin::Of { scheme, authority })
    }

    fn is_of_another_site(&self) -> bool {
        match (self.site, self.origin, self.host) {
            (Some(FetchSite::CrossSite), ..) => true,
            (Some(FetchSite::SameOrigin | FetchSite::SameSite | FetchSite::Visitor), ..) => false,
            (_, Some(Origin::Of { authority, .. }), Some(host)) => {
                !may_be_one_site(name(authority), name(host))
            }
            _ => false,
        }
    }
}

/// Whether a browser may have the cookie and not have sent it, and would take one from the answer.
///
/// `header` returns the value of the header with a name.
pub(super) fn may_withhold<'a>(
    same_site: SameSite,
    method: &str,
    header: impl Fn(&'static str) -> Option<&'a [u8]>,
) -> bool {
    let withholds = match same_site {
        SameSite::None => false,
        SameSite::Lax => !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE"),
        SameSite::Strict => true,
    };
    // What is fetched for a page of another site can set no such cookie.
    withholds
        && header("sec-fetch-mode").is_none_or(|mode| mode == b"navigate")
        && Initiator::of(header).is_of_another_site()
}

/// Whether an origin and a Host header name one host and one port. Which scheme the app is served by,
/// it does not know behind a proxy that terminates TLS. So a Host without a port has the default port
/// of the origin's scheme.
fn is_one_port(scheme: &str, authority: &str, host: &str) -> bool {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let host = host.strip_suffix(default).unwrap_or(host);
    authority.eq_ignore_ascii_case(host)
}

/// The name of a host, without its port: cookies do not tell ports apart.
fn name(host: &str) -> &str {
    let end = if host.starts_with('[') { host.find(']') } else { host.find(':') };
    end.and_then(|end| host.get(..end)).unwrap_or(host)
}

/// Whether the last two labels are the same. Only the list of public suffixes could tell it exactly;
/// this errs by serving a request.
fn may_be_one_site(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(str::to_ascii_lowercase);
    one.rsplit('.').take(2).eq(other.rsplit('.').take(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_and_a_subdomain_are_the_same_site() {
        let cases = [
            ("app.example", "app.example", true),
            ("APP.example:8443", "app.example", true),
            ("www.app.example", "app.example:80", true),
            ("localhost:3000", "localhost:8080", true),
            ("[::1]:3000", "[::1]", true),
            ("[::1]:3000", "[::2]:3000", false),
            ("127.0.0.1:1", "localhost:1", false),
            ("app.example", "accounts.example", false),
            ("app.example.evil.test", "app.example", false),
            ("evil.test", "localhost", false),
        ];
        for (origin, host, expected) in cases {
            assert_eq!(may_be_one_site(name(origin), name(host)), expected, "{origin} {host}");
        }
    }

    #[test]
    fn an_origin_is_compared_by_its_host_and_its_port() {
        let cases = [
            ("https://app.example", "app.example", true),
            ("https://app.example", "APP.example", true),
            ("http://app.example", "app.example", true),
            ("https://app.example", "app.example:443", true),
            ("http://app.example", "app.example:80", true),
            ("https://app.example", "app.example:80", false),
            ("https://app.example", "app.example:8443", false),
            ("https://app.example:8443", "app.example", false),
            ("https://app.example:8443", "app.example:8443", true),
            ("http://[::1]:3000", "[::1]:3000", true),
            ("http://[::1]", "[::1]:80", true),
            ("http://[::1]", "[::2]", false),
            ("http://localhost:3000", "127.0.0.1:3000", false),
            ("https://app.example.evil.test", "app.example", false),
            ("https://www.app.example", "app.example", false),
            ("https://ada@app.example", "app.example", false),
            ("https://app.example/", "app.example", false),
            ("file://", "app.example", false),
            ("chrome-extension://app.example", "app.example", false),
        ];
        for (origin, host, expected) in cases {
            let header = |name: &str| match name {
                "origin" => Some(origin.as_bytes()),
                "host" => Some(host.as_bytes()),
                _ => None,
            };
            assert_eq!(Initiator::of(header).is_same_origin(), expected, "{origin} {host}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin_of_ours() {
        for origin in [&b"app.example"[..], b"://app.example", b"https//app.example", b"\xff"] {
            let header = |name: &str| match name {
                "origin" => Some(origin),
                "host" => Some(&b"app.example"[..]),
                "sec-fetch-site" => Some(&b"same-origin"[..]),
                _ => None,
            };
            assert!(!Initiator::of(header).is_same_origin(), "{origin:?}");
        }
    }
}
