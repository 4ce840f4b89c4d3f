//! Where a request comes from, as far as it decides whether the browser sent the cookie with it.
//!
//! Browsers keep a Lax or a Strict cookie back from requests that another site began, and yet take a
//! cookie from the answer where it is a page. It believes what browsers say (`Sec-Fetch-Site`, or
//! `Origin` where that is missing). A program that is no browser says neither.

use super::cookie::SameSite;

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
        && is_of_another_site(header)
}

fn is_of_another_site<'a>(header: impl Fn(&'static str) -> Option<&'a [u8]>) -> bool {
    match header("sec-fetch-site") {
        Some(b"cross-site") => return true,
        Some(b"same-origin" | b"same-site" | b"none") => return false,
        _ => {}
    }
    let origin = header("origin").and_then(|origin| str::from_utf8(origin).ok());
    let origin = origin.and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = header("host").and_then(|host| str::from_utf8(host).ok());
    match (origin, host) {
        (Some(origin), Some(host)) => !may_be_one_site(name(origin), name(host)),
        _ => false,
    }
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
}
