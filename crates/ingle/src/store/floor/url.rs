//! The URL of a store on a server: `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PATH][?OPTIONS]`.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;
use url::Url;

use super::text::similar;

/// What is wrong with a URL, as the end of a sentence that begins with it. It quotes nothing of the URL but
/// names of options that exist, because any other part may be a password's.
pub(in crate::store) type Wrong = Cow<'static, str>;

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
    /// The options that were asked for.
    known: Vec<&'static str>,
}

const BAD_PERCENT: &str = "has a `%` that is not followed by two hexadecimal digits of UTF-8";
const BAD_PORT: &str = "has a port that is not a number from 1 to 65535";
const BARE_IPV6: &str = "has several colons in a host; write an IPv6 address between `[` and `]`";
const LINE_END: &str =
    "has a user or a password that ends in a line end, which is written as `%0A` or `%0D`";

#[allow(dead_code, reason = "no store uses all of them, and a program may be built with one store")]
impl StoreUrl {
    /// Reads a URL. Blanks and line ends around it are no part of it: mounted secrets end in them.
    ///
    /// `form` is what is told of a URL that does not look like one at all.
    pub(in crate::store) fn parse(url: &str, form: &'static str) -> Result<Self, Wrong> {
        let url = Self::parse_hostless(url, form)?;
        if url.hosts.is_empty() { Err(format!("names no host; it {form}").into()) } else { Ok(url) }
    }

    /// The same for a URL that may name no host: `postgres:///DATABASE?host=/run/postgresql`.
    pub(in crate::store) fn parse_hostless(url: &str, form: &'static str) -> Result<Self, Wrong> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or(form)?;
        if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(form.into());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        // A second `@` is most likely one of a password's, which must be written as %40.
        if userinfo.is_some_and(|userinfo| userinfo.contains('@')) {
            return Err(form.into());
        }
        let (user, password) = match userinfo.map(|text| text.split_once(':').unwrap_or((text, "")))
        {
            Some((user, password)) => (some(decoded(user)?), some(decoded(password)?)),
            None => (None, None),
        };
        if [&user, &password].into_iter().flatten().any(|text| ends_a_line(text)) {
            return Err(LINE_END.into());
        }
        let hosts = match hosts {
            "" => Vec::new(),
            hosts => {
                let hosts = hosts.split(',').map(|host| self::host(host, form));
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
        let options = options.collect::<Result<_, Wrong>>()?;
        let path = if path.iter().all(String::is_empty) { Vec::new() } else { path };
        let (scheme, known) = (scheme.to_owned(), Vec::new());
        Ok(Self { scheme, user, password, hosts, path, options, known })
    }

    /// Takes the value of an option, the first one of its name.
    pub(in crate::store) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let place = self.options.iter().position(|(other, _)| other == name)?;
        Some(self.options.remove(place).1)
    }

    /// Refuses what [`take`](Self::take) has left: second ones, and options that nobody knows. `options` is
    /// what is told of those that resemble none.
    pub(in crate::store) fn no_more(&self, options: &'static str) -> Result<(), Wrong> {
        let Some((left, _)) = self.options.first() else { return Ok(()) };
        Err(match similar(left, &self.known) {
            Some(known) if known == left => format!("has the option `{known}` twice").into(),
            Some(known) => {
                format!("has an option that does not exist; did you mean `{known}`?").into()
            }
            None => options.into(),
        })
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

/// As the content of a file does that somebody wrote by hand.
pub(in crate::store) fn ends_a_line(text: &str) -> bool {
    text.ends_with(['\n', '\r'])
}

fn decoded(text: &str) -> Result<String, Wrong> {
    let mut escapes = text.split('%').skip(1);
    let is_escape = |text: &str| {
        text.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if !escapes.all(is_escape) {
        return Err(BAD_PERCENT.into());
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| BAD_PERCENT)?;
    Ok(text.into_owned())
}

/// `HOST`, `HOST:PORT`, or `[IPv6]:PORT`.
fn host(text: &str, form: &'static str) -> Result<(String, Option<u16>), Wrong> {
    let (name, port) = match text.find(']') {
        Some(end) if text.starts_with('[') => {
            let (name, behind) = text.split_at(end + 1);
            let port = behind.strip_prefix(':');
            if !(port.is_some() || behind.is_empty()) {
                return Err(form.into());
            }
            (name, port)
        }
        _ => text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if name.contains(':') && !name.starts_with('[') {
        return Err(BARE_IPV6.into());
    }
    // Digits alone; the standard library would take a sign, too.
    let number = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)?;
        digits.parse().ok().filter(|port| *port != 0)
    };
    let port = port.map(|port| number(port).ok_or(BAD_PORT)).transpose()?;
    if name.is_empty() {
        return Err(format!("names no host; it {form}").into());
    }
    let url = Url::parse(&format!("store://{name}")).map_err(|_| form)?;
    // Nothing else is there, such as another user.
    let host = url.host_str().filter(|host| !host.is_empty() && !name.contains('@')).ok_or(form)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host.to_owned(), port))
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
        assert_eq!(url.no_more("takes no such option").unwrap_err(), "takes no such option");
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
    fn an_option_that_is_wrong_is_told_by_the_one_that_exists() {
        let why = |options: &str| {
            let mut url = StoreUrl::parse(&format!("redis://h?{options}"), FORM).unwrap();
            let taken = [url.take("prefix"), url.take("cacert")];
            url.no_more("has two options").map(|()| taken).map_err(Wrong::into_owned)
        };
        assert_eq!(why("cacert=b&prefix=a"), Ok([Some("a".into()), Some("b".into())]));
        for (options, expected) in [
            ("prefix=a&prefix=b", "has the option `prefix` twice"),
            ("prefix=a&cacert=b&prefix=a", "has the option `prefix` twice"),
            ("prefx=a", "has an option that does not exist; did you mean `prefix`?"),
            ("Prefix=a", "has an option that does not exist; did you mean `prefix`?"),
            ("ca_cert=a", "has an option that does not exist; did you mean `cacert`?"),
            ("s3cret=a", "has two options"),
            ("ids=plain", "has two options"),
        ] {
            assert_eq!(why(options), Err(expected.to_owned()), "{options}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_host_is_told() {
        let why = |url: &str| StoreUrl::parse(url, FORM).unwrap_err();
        for url in [
            "redis://a:0",
            "redis://a:65536",
            "redis://a:-1",
            "redis://a:+1",
            "redis://a:",
            "redis://a:b",
        ] {
            assert_eq!(why(url), BAD_PORT, "{url}");
        }
        for url in ["redis://::1", "redis://::1:6379", "redis://fe80::1,b"] {
            assert_eq!(why(url), BARE_IPV6, "{url}");
        }
        for url in ["redis://", "redis:///0", "redis://u:p@", "redis://:1", "redis://a,"] {
            assert_eq!(why(url), format!("names no host; it {FORM}"), "{url}");
        }
        for url in ["redis://u%0A@a", "redis://u:p%0D@a", "redis://:p%0D%0A@a"] {
            assert_eq!(why(url), LINE_END, "{url}");
        }
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
