//! What a server answered.

use hyper::{HeaderMap, header};
use serde_json::Value;

/// An answer that has come to its end.
///
/// What a test expects of it can be asked for in a way that panics where it is not there, and shows
/// the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// An answer without headers.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    /// Every header of this name that is text.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// 200, or 204 from a route that has nothing to show.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.status, 200 | 204)
    }

    /// Whether it says when to try again: with 503 that nothing was done.
    #[must_use]
    pub fn says_retry(&self) -> bool {
        self.headers.contains_key(header::RETRY_AFTER)
    }

    /// Whether the client is told that nothing was stored.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.status == 409 || self.status == 503 && self.says_retry()
    }

    /// Whether the server closes the connection behind it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// `name=value` of the first cookie that it sets and does not remove.
    #[must_use]
    pub fn begun(&self) -> Option<&str> {
        let kept = |cookie: &&str| !removes(cookie);
        self.all("set-cookie").into_iter().find(kept)?.split(';').next()
    }

    /// The number on the page, if it is the page.
    #[must_use]
    pub fn shown(&self) -> Option<u64> {
        views(self.body.as_bytes())
    }

    /// The one cookie that it sets, with its attributes.
    ///
    /// # Panics
    ///
    /// If it sets more than one.
    #[must_use]
    #[track_caller]
    pub fn set_cookie(&self) -> Option<&str> {
        let cookies = self.all("set-cookie");
        assert!(cookies.len() <= 1, "more than one cookie: {cookies:?}");
        cookies.first().copied()
    }

    /// The number on the page.
    ///
    /// # Panics
    ///
    /// If it is not the page.
    #[must_use]
    #[track_caller]
    pub fn views(&self) -> u64 {
        match self.shown() {
            Some(views) if self.status == 200 => views,
            _ => panic!("this is not the page: {self:?}"),
        }
    }

    /// # Panics
    ///
    /// If it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.body) {
            Ok(value) if self.status == 200 => value,
            _ => panic!("this is not JSON: {self:?}"),
        }
    }
}

/// Whether a `Set-Cookie` header makes a browser forget the cookie.
pub(super) fn removes(set_cookie: &str) -> bool {
    set_cookie.ends_with("Max-Age=0")
}

/// The number between `<body>` and what follows it on the page that all apps have.
pub(crate) fn views(body: &[u8]) -> Option<u64> {
    let number = body.trim_ascii_start().strip_prefix(b"<body>")?;
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(number.get(..digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_with_the_views() {
        assert_eq!(views(b"<body>12 views for \"Hola Mundo\"</body>"), Some(12));
        assert_eq!(views(b"ok"), None);
    }

    #[test]
    fn a_cookie_that_is_removed_begins_nothing() {
        let mut answer = Answer::new(200, "");
        for cookie in ["old=; Path=/; Max-Age=0", "id=a=; Path=/"] {
            answer.headers.append(header::SET_COOKIE, cookie.parse().unwrap());
        }
        assert_eq!(answer.begun(), Some("id=a="));
        assert_eq!(answer.all("set-cookie").len(), 2);
    }
}
