//! The cookie: the one place that reads it and the one place that writes it.
//!
//! Reading is byte-exact. A name is ours only if each byte is; nothing is decoded, folded or
//! trimmed beyond the spaces and tabs that HTTP allows. Such courtesies are how a `__Host-` cookie
//! was forged elsewhere (CVE-2020-7070, CVE-2020-8184, CVE-2022-31629, CVE-2023-23934).

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

use crate::{
    id::{Form, SessionId},
    planted::Bug,
};

/// How a browser is asked to keep the id. Checked by [`Cookie::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieConfig {
    /// The cookie's name. Default `__Host-id`, which browsers accept only from the very host, over
    /// TLS (RFC 6265bis 4.1.3.2). Firebase Hosting passes only `__session` on.
    pub name: String,
    /// Whether browsers send it over TLS only. Default true. It never depends on how a request
    /// came in (the lesson of CVE-2023-28708).
    pub secure: bool,
    /// Which requests from other sites carry it. Default [`SameSite::Lax`].
    pub same_site: SameSite,
    /// The domain whose hosts share it. Default none: the very host alone.
    pub domain: Option<String>,
    /// The path below which it is sent. Default `/`.
    pub path: String,
    /// Whether the browser keeps it when it is closed. Default false, as NIST SP 800-63B-4 5.1.1
    /// advises. If true, it is kept as long as the session can live, and 400 days at most, beyond
    /// which browsers do not keep any cookie.
    pub persistent: bool,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: "__Host-id".to_owned(),
            secure: true,
            same_site: SameSite::Lax,
            domain: None,
            path: "/".to_owned(),
            persistent: false,
        }
    }
}

impl CookieConfig {
    /// For development over plain HTTP on this machine: another name, and not Secure.
    #[must_use]
    pub fn development() -> Self {
        Self { name: "id".to_owned(), secure: false, ..Self::default() }
    }

    /// The cookie of apps that follow the tutorial *Handling sessions with Firestore*, for sessions
    /// that are shared with them or come from them ([`Ids::Plain`](crate::Ids), `Upgrade`).
    ///
    /// Without the prefix `__Host-`, another host of the domain can set it, too.
    #[must_use]
    pub fn tutorial() -> Self {
        Self { name: "session_id".to_owned(), ..Self::default() }
    }
}

/// Which requests from other sites carry the cookie (RFC 6265bis 5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None. A visitor who follows a link from elsewhere seems to have no session.
    Strict,
    /// Only those that follow a link.
    Lax,
    /// All. The app then needs its own protection against forged requests.
    None,
}

/// Browsers would not accept such a cookie, or would not keep it as it was meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is not a token of HTTP.
    #[error("the cookie's name must be 1 to 64 letters, digits or characters of !#$%&'*+-.^_`|~")]
    Name,
    /// `__Host-` promises Secure, the path `/` and no domain.
    #[error("a cookie named `__Host-…` must be Secure, with the path `/` and without a domain")]
    HostPrefix,
    /// `__Secure-` promises Secure.
    #[error("a cookie named `__Secure-…` must be Secure")]
    SecurePrefix,
    /// Browsers reject `SameSite=None` without Secure.
    #[error("a cookie with SameSite=None must be Secure")]
    SameSiteNone,
    /// The path is not one.
    #[error("the cookie's path must begin with `/` and have no `;` or control character")]
    Path,
    /// The domain is not one.
    #[error("the cookie's domain must be letters, digits, `-` and `.`, without a port")]
    Domain,
}

/// A cookie that browsers accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    config: CookieConfig,
    /// Everything behind the value but the age, which a removal cookie must repeat to be one.
    attributes: String,
}

impl Default for Cookie {
    fn default() -> Self {
        Self::unchecked(CookieConfig::default())
    }
}

/// Browsers keep no cookie longer (RFC 6265bis 5.5).
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

impl Cookie {
    /// The cookie of these settings.
    ///
    /// # Errors
    /// Browsers would reject it, or one of its parts is not what HTTP allows.
    pub fn new(config: CookieConfig) -> Result<Self, CookieError> {
        let CookieConfig { name, secure, same_site, domain, path, persistent: _ } = &config;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
            return Err(CookieError::Name);
        }
        // Browsers look for the prefixes without regard to case.
        let prefix = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if prefix("__Host-") && !(*secure && path == "/" && domain.is_none()) {
            return Err(CookieError::HostPrefix);
        }
        if prefix("__Secure-") && !secure {
            return Err(CookieError::SecurePrefix);
        }
        if *same_site == SameSite::None && !secure {
            return Err(CookieError::SameSiteNone);
        }
        let printable = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b';';
        if !path.starts_with('/') || path.len() > 1024 || !path.bytes().all(printable) {
            return Err(CookieError::Path);
        }
        let in_domain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if domain.as_ref().is_some_and(|domain| domain.is_empty() || !domain.bytes().all(in_domain))
        {
            return Err(CookieError::Domain);
        }
        Ok(Self::unchecked(config))
    }

    fn unchecked(config: CookieConfig) -> Self {
        let mut attributes = format!("; Path={}", config.path);
        if let Some(domain) = &config.domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if config.secure {
            attributes.push_str("; Secure");
        }
        attributes.push_str("; HttpOnly");
        attributes.push_str(match config.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        Self { config, attributes }
    }

    /// The cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The cookie of the tutorial's apps, as far as TLS is concerned like this one.
    pub(crate) fn tutorial(&self) -> Self {
        Self::unchecked(CookieConfig { secure: self.config.secure, ..CookieConfig::tutorial() })
    }

    /// Finds the id in a request's Cookie headers, of which there may be many (RFC 6265bis 5.8.3).
    pub(crate) fn read(&self, form: Form, headers: &HeaderMap) -> Presented {
        let mut value = None;
        let headers = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        for pair in headers.flat_map(|header| header.split(|byte| *byte == b';')) {
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
            let (name, found) = pair.split_at(equals);
            if trim(name) != self.config.name.as_bytes() {
                continue;
            }
            if Bug::FirstCookieWins.is_planted() && value.is_some() {
                continue;
            }
            let found = trim(found.get(1..).unwrap_or_default());
            // Which of two different values is ours, nobody can tell: another host of the domain
            // may have set one ("cookie tossing").
            if value.is_some_and(|value| value != found) {
                return Presented::Ambiguous;
            }
            value = Some(found);
        }
        match value.and_then(|value| SessionId::decode(form, value)) {
            Some(id) => Presented::Id(id),
            None => Presented::Nothing,
        }
    }

    /// Tells the browser what a request made of its session.
    pub(crate) fn write(&self, news: News<'_>, absolute: Duration, headers: &mut HeaderMap) {
        let (name, attributes) = (&self.config.name, &self.attributes);
        let cookie = match news {
            News::Nothing => return,
            News::Begun(id) if self.config.persistent => {
                let seconds = absolute.min(MAX_AGE).as_secs();
                format!("{name}={}{attributes}; Max-Age={seconds}", id.encode())
            }
            News::Begun(id) => format!("{name}={}{attributes}", id.encode()),
            News::Ended => format!("{name}={attributes}; Max-Age=0"),
        };
        // Every part was checked when the cookie was made, so this cannot fail.
        let Ok(mut cookie) = HeaderValue::try_from(cookie) else { return };
        cookie.set_sensitive(true);
        self.replace(cookie, headers);
    }

    /// Puts our cookie in the place of any other of its name: a response that sets a cookie twice
    /// leaves it to the browser which one counts (RFC 6265bis 4.1.1).
    fn replace(&self, cookie: HeaderValue, headers: &mut HeaderMap) {
        let is_ours = |other: &HeaderValue| {
            let pair = other.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            trim(name) == self.config.name.as_bytes()
        };
        let others: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|other| !is_ours(other)).cloned().collect();
        headers.insert(SET_COOKIE, cookie);
        for other in others {
            headers.append(SET_COOKIE, other);
        }
    }
}

/// What a request's cookies say.
#[derive(Debug)]
pub(crate) enum Presented {
    /// No id that could be one of ours.
    Nothing,
    /// A well-formed id, which may or may not have been issued.
    Id(SessionId),
    /// Two different values.
    Ambiguous,
}

/// What a browser is to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News<'a> {
    Nothing,
    /// The session has this id from now on.
    Begun(&'a SessionId),
    /// The session has ended.
    Ended,
}

/// Without the spaces and tabs around; no other character counts as space here.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The characters of a token (RFC 9110 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
