//! The URL of a store on a server: `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PATH][?OPTIONS]`.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

/// What a URL says, with everything decoded. Its `Debug` shows no password.
pub(in crate::store) struct StoreUrl {
    #[allow(dead_code, reason = "as below")]
    pub(in crate::store) scheme: String,
    pub(in crate::store) user: Option<String>,
    pub(in crate::store) password: Option<String>,
    /// At least one, but for a URL that [may name none](Self::parse_hostless).
    pub(in crate::store) hosts: Vec<(String, Option<u16>)>,
    /// What stands between the slashes behind the hosts; empty where nothing does.
    pub(in crate::store) path: Vec<String>,
    options: Vec<(String, String)>,
}

const BAD_PERCENT: &str = "has a `%` that is not followed by two hexadecimal digits of UTF-8";

#[allow(dead_code, reason = "no store uses all of them, and a program may be built with one store")]
impl StoreUrl {
    /// Reads a URL. Blanks and line ends around it are no part of it: mounted secrets end in them.
    ///
    /// `form` is what is told of a URL that does not look like one at all.
    pub(in crate::store) fn parse(url: &str, form: &'static str) -> Result<Self, &'static str> {
        let url = Self::parse_hostless(url, form)?;
        if url.hosts.is_empty() { Err(form) } else { Ok(url) }
    }

    /// The same for a URL that may name no host: `postgres:///DATABASE?host=/run/postgresql`.
    pub(in crate::store) fn parse_hostless(
        url: &str,
        form: &'static str,
    ) -> Result<Self, &'static str> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or(form)?;
        if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(form);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        // A second `@` is most likely one of a password's, which must be written as %40.
        if userinfo.is_some_and(|userinfo| userinfo.contains('@')) {
            return Err(form);
        }
        let (user, password) = match userinfo.map(|text| text.split_once(':').unwrap_or((text, "")))
        {
            Some((user, password)) => (some(decoded(user)?), some(decoded(password)?)),
            None => (None, None),
        };
        let hosts = match hosts {
            "" => Vec::new(),
            hosts => {
                let hosts = hosts.split(',').map(|host| self::host(host).ok_or(form));
                hosts.collect::<Result<_, _>>()?
            }
        };
        // The library splits what is behind the hosts, whichever host that is.
        let behind = Url::parse(&format!("{scheme}://host{behind}")).map_err(|_| form)?;
        let path = behind.path_segments().into_iter().flatten().map(decoded);
        let path: Vec<String> = path.collect::<Result<_, _>>()?;
        let options = behind.query().into_iter().flat_map(|query| query.split('&'));
        let options = options.filter(|option| !option.is_empty()).map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        let options = options.collect::<Result<_, &'static str>>()?;
        let path = if path.iter().all(String::is_empty) { Vec::new() } else { path };
        Ok(Self { scheme: scheme.to_owned(), user, password, hosts, path, options })
    }

    /// Takes the value of an option, the first one of its name.
    pub(in crate::store) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.options.iter().position(|(other, _)| other == name)?;
        Some(self.options.swap_remove(place).1)
    }

    /// Refuses what [`take`](Self::take) has left: options that nobody knows, and second ones.
    pub(in crate::store) fn no_more(&self, options: &'static str) -> Result<(), &'static str> {
        if self.options.is_empty() { Ok(()) } else { Err(options) }
    }

    /// Takes the options that are left.
    pub(in crate::store) fn take_rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.options)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUrl").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let mut escapes = text.split('%').skip(1);
    let is_escape = |text: &str| {
        text.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if !escapes.all(is_escape) {
        return Err(BAD_PERCENT);
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| BAD_PERCENT)?;
    Ok(text.into_owned())
}

/// `HOST`, `HOST:PORT`, or `[IPv6]:PORT`.
fn host(text: &str) -> Option<(String, Option<u16>)> {
    let url = Url::parse(&format!("store://{text}")).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // A port is digits and nothing else, and there is nothing before or behind.
    let expected = match url.port() {
        Some(port) => format!(":{port}"),
        None => String::new(),
    };
    let is_whole = text.ends_with(&expected) && !text.contains('@') && !text.ends_with(':');
    is_whole.then(|| (host.to_owned(), url.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "takes …";

    #[test]
    fn each_part_is_found_and_decoded() {
        let mut url =
            StoreUrl::parse("redis://us%40er:p%3Aw:d@a.example:1,[::1]:2,c/3?x=%2Fy&z\n", FORM)
                .unwrap();
        assert_eq!(url.user.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_deref(), Some("p:w:d"));
        let hosts: Vec<_> = url.hosts.iter().map(|(host, port)| (host.as_str(), *port)).collect();
        assert_eq!(hosts, [("a.example", Some(1)), ("::1", Some(2)), ("c", None)]);
        assert_eq!(url.path, ["3"]);
        assert_eq!(url.take("x").as_deref(), Some("/y"));
        assert!(url.no_more("takes no such option").is_err());
        assert_eq!(url.take_rest(), [("z".to_owned(), String::new())]);
        assert!(!format!("{url:?}").contains("p:w"));
    }

    #[test]
    fn a_host_can_be_named_elsewhere() {
        let url = StoreUrl::parse_hostless("postgres://u@/d?host=/run", FORM).unwrap();
        assert_eq!((url.scheme.as_str(), url.hosts.len()), ("postgres", 0));
        assert!(StoreUrl::parse("postgres://u@/d?host=/run", FORM).is_err());
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for wrong in [
            "",
            "redis:",
            "redis://",
            "redis://a,",
            "redis://a:b",
            "redis://a:99999",
            "redis://a b",
            "redis://u@v@a",
            "redis://a#b",
            "redis://%zz@a",
            "redis://a/%ff",
            "redis://a\u{0}",
            "redis://[::1",
            "redis://a:",
        ] {
            assert!(StoreUrl::parse(wrong, FORM).is_err(), "{wrong:?}");
        }
    }
}
