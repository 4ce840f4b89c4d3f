//! Asks for a page as a browser does: with the cookies that it got, and through redirects.
//!
//! It keeps what a browser would refuse, too, since that is what is to be told. Cookies are read by its own
//! few lines: a library that hides which attributes came is of no use here.

use std::time::{Duration, SystemTime};

use ingle::clock::{Clock as _, SystemClock, Timestamp};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_ENCODING, COOKIE, HeaderMap, LOCATION, SET_COOKIE},
    redirect::Policy,
};

use crate::web;

/// No page takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Where pages end that lead to each other in a circle.
const REDIRECTS_MAX: usize = 5;

/// How much of a page is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A visitor.
#[derive(Clone)]
pub(super) struct Browser {
    client: Client,
    cookies: Vec<SetCookie>,
}

/// A cookie as an answer set it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SetCookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) domain: Option<String>,
    pub(super) path: Option<String>,
    pub(super) is_secure: bool,
    pub(super) is_http_only: bool,
    pub(super) same_site: Option<String>,
    /// It is told to be forgotten.
    pub(super) is_removal: bool,
}

/// What came of one visit.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What it says, unless it is what was asked for, or is coded.
    pub(super) body: String,
    /// All that were set on the way.
    pub(super) cookies: Vec<SetCookie>,
    /// When the last request was made, and when it was answered.
    pub(super) asked: Timestamp,
    pub(super) answered: Timestamp,
}

impl Browser {
    /// A visitor who was never at this page.
    pub(super) fn new(url: &Url) -> Result<Self, reqwest::Error> {
        let client = web::client(url).redirect(Policy::none()).timeout(PATIENCE);
        let client = client.user_agent(concat!("ingle-doctor/", env!("CARGO_PKG_VERSION")));
        Ok(Self { client: client.build()?, cookies: Vec::new() })
    }

    /// Asks for a page.
    pub(super) async fn visit(&mut self, url: &Url) -> Result<Page, reqwest::Error> {
        let (mut url, mut set) = (url.clone(), Vec::new());
        let mut left = REDIRECTS_MAX;
        loop {
            let mut request = self.client.get(url.clone());
            if !self.cookies.is_empty() {
                let pairs =
                    self.cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value));
                request = request.header(COOKIE, pairs.collect::<Vec<_>>().join("; "));
            }
            let asked = SystemClock.now();
            let answer = request.send().await?;
            let answered = SystemClock.now();
            for cookie in set_by(answer.headers()) {
                self.keep(&cookie);
                set.push(cookie);
            }
            match redirect(&answer, &url) {
                Some(next) if left > 0 => (url, left) = (next, left - 1),
                _ => {
                    let (status, headers) = (answer.status(), answer.headers().clone());
                    let body = if status.is_success() { String::new() } else { text(answer).await };
                    return Ok(Page { url, status, headers, body, cookies: set, asked, answered });
                }
            }
        }
    }

    fn keep(&mut self, cookie: &SetCookie) {
        self.cookies.retain(|other| other.name != cookie.name);
        if !cookie.is_removal {
            self.cookies.push(cookie.clone());
        }
    }
}

/// Where an answer leads, if that is a page of the same host.
fn redirect(answer: &Response, url: &Url) -> Option<Url> {
    let next = leads_to(answer.status(), answer.headers(), url)?;
    (next.host() == url.host()).then_some(next)
}

fn leads_to(status: StatusCode, headers: &HeaderMap, url: &Url) -> Option<Url> {
    let location = headers.get(LOCATION).filter(|_| status.is_redirection())?;
    url.join(location.to_str().ok()?).ok()
}

impl Page {
    /// Where it leads, although it is the last that was asked for.
    pub(super) fn leads_to(&self) -> Option<Url> {
        leads_to(self.status, &self.headers, &self.url)
    }
}

/// What comes of a text, as far as it comes.
async fn text(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    if !answer.headers().contains_key(CONTENT_ENCODING) {
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= BODY_BYTES_MAX {
                break;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn set_by(headers: &HeaderMap) -> impl Iterator<Item = SetCookie> + '_ {
    headers.get_all(SET_COOKIE).iter().filter_map(|value| SetCookie::read(value.to_str().ok()?))
}

impl SetCookie {
    /// Reads a value of `Set-Cookie` (RFC 6265 5.2).
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let mut cookie = Self {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            ..Self::default()
        };
        for part in parts {
            let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match attribute.trim().to_ascii_lowercase().as_str() {
                "secure" => cookie.is_secure = true,
                "httponly" => cookie.is_http_only = true,
                "samesite" => cookie.same_site = Some(value.to_owned()),
                "domain" => cookie.domain = Some(value.trim_start_matches('.').to_lowercase()),
                "path" => cookie.path = Some(value.to_owned()),
                "max-age" if value.parse().is_ok_and(|seconds: i64| seconds <= 0) => {
                    cookie.is_removal = true;
                }
                "expires" => {
                    let at = httpdate::parse_http_date(value);
                    cookie.is_removal |= at.is_ok_and(|at| at <= SystemTime::UNIX_EPOCH);
                }
                _ => {}
            }
        }
        Some(cookie)
    }

    /// Whether the value looks like an id of ingle's: 43 signs of base64url, or the tutorial's UUID.
    pub(super) fn is_of_session(&self) -> bool {
        let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let (value, n) = (self.value.as_bytes(), self.value.len());
        let is_id = n == 43 && value.iter().copied().all(of_base64);
        let is_uuid = n == 36
            && value.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        !self.is_removal && (is_id || is_uuid)
    }

    /// Why browsers do not keep it, or do not send it back to this page, if they do not.
    pub(super) fn refused_for(&self, url: &Url) -> Option<String> {
        let (host, path) = (url.host_str().unwrap_or_default(), url.path());
        let prefixed = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_at_root = self.path.as_deref() == Some("/");
        if prefixed("__Host-") && (!self.is_secure || !is_at_root || self.domain.is_some()) {
            return Some(
                "a name that begins with `__Host-` needs `Secure`, `Path=/` and no `Domain`"
                    .to_owned(),
            );
        }
        if let Some(domain) = &self.domain
            && host != domain
            && !host.ends_with(&format!(".{domain}"))
        {
            return Some(format!("it is for the domain `{domain}`, and the page is of `{host}`"));
        }
        if let Some(own) = &self.path
            && own.starts_with('/')
            && path != own
            && !path.starts_with(&format!("{}/", own.trim_end_matches('/')))
        {
            return Some(format!("it is for the path `{own}`, and the page is `{path}`"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdefghijABCDEFGHIJ-_0123456789x";

    #[test]
    fn a_cookie_is_read_with_what_browsers_decide_by() {
        let line = format!("__Host-id={ID}; Path=/; HttpOnly; Secure; SameSite=Lax");
        let cookie = SetCookie::read(&line).unwrap();
        assert!(cookie.is_secure && cookie.is_http_only && cookie.is_of_session());
        assert_eq!((cookie.name.as_str(), cookie.same_site.as_deref()), ("__Host-id", Some("Lax")));
        let uuid = SetCookie::read("session_id=11111111-2222-4333-8444-555555555555").unwrap();
        assert!(uuid.is_of_session());
        for other in [
            "theme=dark".to_owned(),
            format!("id={ID}; Max-Age=0"),
            format!("id={ID}; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert!(!SetCookie::read(&other).unwrap().is_of_session(), "{other}");
        }
        assert_eq!(SetCookie::read("no cookie"), None);
    }

    #[test]
    fn it_is_told_why_browsers_do_not_send_a_cookie_back() {
        let url = Url::parse("https://www.example.com/shop/cart").unwrap();
        let refused = |attributes: &str| {
            SetCookie::read(&format!("id={ID}{attributes}")).unwrap().refused_for(&url)
        };
        for kept in [
            "",
            "; Path=/",
            "; Path=/shop",
            "; Path=/shop/",
            "; Domain=example.com",
            "; Domain=.www.example.com",
        ] {
            assert_eq!(refused(kept), None, "{kept}");
        }
        assert!(refused("; Path=/sho").unwrap().contains("the path"));
        assert!(refused("; Domain=ample.com").unwrap().contains("the domain"));
        let host =
            SetCookie::read(&format!("__Host-id={ID}; Path=/; Secure; Domain=www.example.com"));
        assert!(host.unwrap().refused_for(&url).unwrap().contains("no `Domain`"));
    }
}
