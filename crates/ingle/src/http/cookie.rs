//! The cookie: the one place that reads it and the one place that writes it.
//!
//! Reading is byte-exact. A name is ours only if every byte is equal. Nothing is decoded, folded or
//! trimmed beyond the spaces and tabs that HTTP allows. Parsers that did more let attackers forge
//! `__Host-` cookies (CVE-2020-7070, CVE-2020-8184, CVE-2022-31629, CVE-2023-23934).

use crate::{
    engine::policy::LONGEST_USE,
    id::IdScheme,
    session::{PendingCookie, Presented},
};

/// The names of the headers, in lower case.
pub(crate) const COOKIE: &str = "cookie";
pub(crate) const SET_COOKIE: &str = "set-cookie";

/// The settings of the cookie. [`Cookie::new`] checks them.
///
/// End it with `..CookieConfig::default()`: a later version may add a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieConfig {
    /// The cookie's name. Default `__Host-id`. Browsers accept this prefix only from the very host,
    /// over TLS (RFC 6265bis 4.1.3.2). Firebase Hosting passes on only `__session`, which has no prefix.
    /// Then another host of the domain, or plain HTTP to any of them, can set the cookie. It can put a
    /// visitor who has none into a session of its own, and learns of no other session. A login still
    /// moves to a new id.
    ///
    /// Cookies do not tell ports apart: two apps on one host need different names, or each ends the
    /// other's sessions. Keep the prefix: `__Host-shop`.
    pub name: String,
    /// Whether browsers send it over TLS only. Default true. It never depends on how a request came
    /// in (the lesson of CVE-2023-28708).
    pub secure: bool,
    /// Which requests from other sites carry it. Default [`SameSite::Lax`].
    pub same_site: SameSite,
    /// The domain whose hosts share it. Default none: only the very host has it.
    ///
    /// If it changes, browsers keep the cookie from before beside the new one. That locks nobody out:
    /// of several ids the one of a live session counts.
    pub domain: Option<String>,
    /// The path below which browsers send it. Default `/`.
    pub path: String,
    /// Whether the browser keeps it when it closes. Default false, as NIST SP 800-63B-4 5.1.1
    /// advises. If true, the browser keeps it as long as the session can live, and 400 days at
    /// most, the limit of browsers for any cookie. It is sent again when a tenth of that time is
    /// gone, with a response that has to do with the session. So a visitor who comes back in time
    /// keeps it.
    pub persistent: bool,
    /// Whether an embedded page has a session of its own on each site that embeds it (CHIPS). Default
    /// false. It needs `secure` and [`SameSite::None`]: browsers reject it without the one, and send
    /// it to no embedded page without the other.
    pub partitioned: bool,
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
            partitioned: false,
        }
    }
}

impl CookieConfig {
    /// For development over plain HTTP on this machine: another name, and not Secure.
    #[must_use]
    pub fn development() -> Self {
        Self { name: "id".to_owned(), secure: false, ..Self::default() }
    }
}

/// Which requests from other sites carry the cookie (RFC 6265bis 5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None. A visitor who follows a link from elsewhere seems to have no session, and such a request
    /// begins none ([`Error::CookieWithheld`](crate::Error::CookieWithheld)).
    Strict,
    /// Only those that follow a link. A form that another site posts comes without it, and begins no
    /// session ([`Error::CookieWithheld`](crate::Error::CookieWithheld)).
    Lax,
    /// All. The app then needs its own protection against forged requests.
    None,
}

/// Browsers would not accept such a cookie, or would not keep it as intended.
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
    /// Browsers reject `Partitioned` without Secure, and an embedded page gets no cookie but with
    /// `SameSite=None`.
    #[error("a cookie that is Partitioned must be Secure, with SameSite=None")]
    Partitioned,
    /// The path is not valid.
    #[error("the cookie's path must begin with `/` and have no `;` or control character")]
    Path,
    /// The domain is not valid.
    #[error("the cookie's domain must be letters, digits, `-` and `.`, without a port")]
    Domain,
}

/// A cookie that browsers accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub(super) config: CookieConfig,
    /// All attributes but the age. A removal cookie must repeat them, or browsers keep the cookie.
    attributes: String,
}

impl Default for Cookie {
    fn default() -> Self {
        Self::unchecked(CookieConfig::default())
    }
}

impl Cookie {
    /// Makes the cookie of these settings.
    ///
    /// # Errors
    /// Browsers would reject it, or HTTP does not allow one of its parts.
    pub fn new(config: CookieConfig) -> Result<Self, CookieError> {
        let CookieConfig { name, secure, same_site, domain, path, persistent: _, partitioned } =
            &config;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
            return Err(CookieError::Name);
        }
        // Browsers compare the prefixes without regard to case.
        let prefix = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if prefix("__Host-") && !(*secure && path == "/" && domain.is_none()) {
            return Err(CookieError::HostPrefix);
        }
        if prefix("__Secure-") && !secure {
            return Err(CookieError::SecurePrefix);
        }
        if *partitioned && !(*secure && *same_site == SameSite::None) {
            return Err(CookieError::Partitioned);
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

    pub(super) fn unchecked(config: CookieConfig) -> Self {
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
        if config.partitioned {
            attributes.push_str("; Partitioned");
        }
        Self { config, attributes }
    }

    /// The cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Looks for the cookie in one of a request's Cookie headers. There may be many (RFC 6265bis
    /// 5.8.3). What cannot be an id does not count: another host of the domain could set such a
    /// value, and the visitor would be nobody.
    pub(crate) fn scan(&self, header: &[u8], ids: &dyn IdScheme, found: &mut Presented) {
        for pair in header.split(|byte| *byte == b';') {
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = pair.split_at(equals);
            if trim(name) == self.config.name.as_bytes()
                && !found.too_many
                && let Some(id) = ids.decode(trim(value.get(1..).unwrap_or_default()))
            {
                found.note(id);
            }
        }
    }

    /// The value of the Set-Cookie header that tells the browser what a request did to its session.
    /// None if there is nothing to tell.
    pub(crate) fn write(&self, pending: &PendingCookie) -> Option<String> {
        let (name, attributes) = (&self.config.name, &self.attributes);
        match pending {
            PendingCookie::Nothing => None,
            PendingCookie::Id { id, kept_for } => Some(match kept_for {
                Some(kept_for) => {
                    // Up to the next whole second: with none, browsers would forget it at once.
                    let seconds = (*kept_for).min(LONGEST_USE).as_millis().div_ceil(1000);
                    format!("{name}={}{attributes}; Max-Age={seconds}", id.as_str())
                }
                None => format!("{name}={}{attributes}", id.as_str()),
            }),
            PendingCookie::Ended { .. } => Some(self.removal()),
        }
    }

    /// Whether browsers are to keep that of every session when they close.
    pub(super) fn is_persistent(&self) -> bool {
        self.config.persistent
    }

    /// The Set-Cookie header that makes the browser forget the cookie. It repeats every attribute.
    pub(crate) fn removal(&self) -> String {
        format!("{}={}; Max-Age=0", self.config.name, self.attributes)
    }
}

/// Whether a Set-Cookie header sets the cookie with this name.
pub(crate) fn sets(header: &[u8], name: &str) -> bool {
    let pair = header.split(|byte| *byte == b';').next().unwrap_or_default();
    trim(pair.split(|byte| *byte == b'=').next().unwrap_or_default()) == name.as_bytes()
}

/// Removes the spaces and tabs around. No other character counts as space here.
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
