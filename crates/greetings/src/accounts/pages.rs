//! What a browser sees: the templates, the headers that come with each, and errors as pages.
//!
//! A template escapes whatever is put in. One page has a script, a file of ours. The policy of all allows
//! no other.

use std::time::Duration;

use askama::Template;
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use ingle::Error;

use super::password::Unchecked;

pub(crate) const STYLE: &str = include_str!("../../templates/style.css");
pub(crate) const ICON: &str = include_str!("../../templates/icon.svg");
pub(crate) const SCRIPT: &str = include_str!("../../templates/live.js");

/// Nothing is loaded but our own style, icon and script, and no other site shows a page of ours in a frame. A
/// page that somebody has logged out of is not in the browser's cache.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// A page that another one leads on to. No address is taken from a query, so none leads elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    #[default]
    Home,
    Sessions,
    Live,
    Password,
}

impl Page {
    const ALL: [Self; 4] = [Self::Home, Self::Sessions, Self::Live, Self::Password];

    /// The one of this name, or the first page.
    pub(crate) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|page| page.name() == name).unwrap_or_default()
    }

    /// The one that a path is of, or the first page.
    pub(crate) fn at(path: &str) -> Self {
        let is_of = |page: &Self| *page != Self::Home && path.starts_with(page.path());
        Self::ALL.into_iter().find(is_of).unwrap_or_default()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Sessions => "sessions",
            Self::Live => "live",
            Self::Password => "password",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Sessions => "/sessions",
            Self::Live => "/live",
            Self::Password => "/password",
        }
    }

    pub(crate) fn redirect(self) -> Response {
        Redirect::to(self.path()).into_response()
    }
}

/// What the page of the login says first. It comes in the query, because there is no session to keep it
/// in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Said {
    #[default]
    Nothing,
    LogIn,
    Expired,
    Ended,
    LoggedOut,
    AllEnded,
}

impl Said {
    const ALL: [Self; 6] =
        [Self::Nothing, Self::LogIn, Self::Expired, Self::Ended, Self::LoggedOut, Self::AllEnded];

    /// The one of this name, or nothing.
    pub(crate) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|said| said.name() == name).unwrap_or_default()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::LogIn => "log-in",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::LoggedOut => "logged-out",
            Self::AllEnded => "all-ended",
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::LogIn => "Please log in to see that page.",
            Self::Expired => {
                "You were not logged in any more, so nothing was changed. Please log in again."
            }
            Self::Ended => "Your session has ended. Nothing was changed. Please log in again.",
            Self::LoggedOut => "You are logged out.",
            Self::AllEnded => "All your sessions have ended, in every browser.",
        }
    }

    /// To the login, which says this and leads on to `next`.
    pub(crate) fn redirect(self, next: Page) -> Redirect {
        let next = match next {
            Page::Home => String::new(),
            next => format!("&next={}", next.name()),
        };
        Redirect::to(&format!("/login?said={}{next}", self.name()))
    }
}

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) user: Option<String>,
    pub(crate) greeting: String,
    pub(crate) views: u64,
}

#[derive(Template, Default)]
#[template(path = "login.html")]
pub(crate) struct LoginForm {
    /// Nobody is logged in.
    pub(crate) user: Option<String>,
    pub(crate) said: Said,
    /// Empty if nothing is.
    pub(crate) wrong: String,
    pub(crate) name: String,
    pub(crate) remember: bool,
    pub(crate) next: Page,
}

#[derive(Template)]
#[template(path = "already-in.html")]
pub(crate) struct AlreadyIn {
    pub(crate) user: Option<String>,
    pub(crate) said: Said,
}

#[derive(Template)]
#[template(path = "sessions.html")]
pub(crate) struct Sessions {
    pub(crate) user: Option<String>,
    pub(crate) said: Vec<String>,
    /// None if the store cannot list them.
    pub(crate) rows: Option<Vec<Row>>,
    /// Whether there may be others than this one.
    pub(crate) has_others: bool,
}

/// A session in the list.
pub(crate) struct Row {
    pub(crate) handle: String,
    pub(crate) label: String,
    pub(crate) began: String,
    pub(crate) last_seen: String,
    pub(crate) is_current: bool,
}

#[derive(Template)]
#[template(path = "live.html")]
pub(crate) struct Live {
    pub(crate) user: Option<String>,
    pub(crate) greeting: String,
    pub(crate) views: u64,
}

#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct PasswordForm {
    pub(crate) user: Option<String>,
    pub(crate) wrong: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct ConfirmForm {
    pub(crate) user: Option<String>,
    pub(crate) next: Page,
    pub(crate) wrong: String,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    user: Option<String>,
    title: &'static str,
    text: String,
}

pub(crate) fn respond(page: impl Template) -> Response {
    respond_with(StatusCode::OK, page)
}

pub(crate) fn respond_with(status: StatusCode, page: impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, HEADERS, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page was not rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A form that may be sent again later: 429.
pub(crate) fn too_many<T: Template>(wait: Duration, form: impl FnOnce(String) -> T) -> Response {
    let seconds = wait.as_millis().div_ceil(1000);
    let wrong = format!(
        "There were too many attempts with this name. Please try again in {seconds} second{}.",
        if seconds == 1 { "" } else { "s" }
    );
    let mut response = respond_with(StatusCode::TOO_MANY_REQUESTS, form(wrong));
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// Why a page could not be made.
pub(crate) enum Problem {
    Session(Error),
    Unchecked(Unchecked),
    /// The password is another one now, and other sessions may be alive.
    OthersMayLive(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<Unchecked> for Problem {
    fn from(unchecked: Unchecked) -> Self {
        Self::Unchecked(unchecked)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            // The session layer makes it a page: see `refusal`.
            Self::Session(error) => error.into_response(),
            Self::Unchecked(Unchecked::Busy) => {
                let text = "Too many people are logging in right now, so nothing was changed. \
                            Please try again in a moment.";
                let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "Please wait", text);
                response.headers_mut().insert(header::RETRY_AFTER, 1_u32.into());
                response
            }
            Self::Unchecked(unchecked) => {
                match unchecked {
                    Unchecked::File(error) => tracing::error!(%error, "the accounts were not used"),
                    Unchecked::Hash(error) => tracing::error!(%error, "a password was not hashed"),
                    Unchecked::Busy => {}
                }
                let text = "The accounts of this app cannot be used right now, so nothing was \
                            changed. Please tell who runs it.";
                problem(StatusCode::INTERNAL_SERVER_ERROR, "This did not work", text)
            }
            Self::OthersMayLive(error) => {
                tracing::error!(%error, "after a change of the password, not all sessions ended");
                let text = "Your password was changed, but your other sessions may still be alive. \
                            Please end them on the page “Your sessions”.";
                problem(error.status(), "Not all of it worked", text)
            }
        }
    }
}

/// An error of the session as a page. One of a session that has ended leads to the login.
pub(crate) fn refusal(error: &Error) -> axum::http::Response<Bytes> {
    if matches!(error, Error::Interrupted | Error::NotLoggedIn) {
        return bytes(Said::Ended.redirect(Page::Home).into_response(), Bytes::new());
    }
    let response = error.response();
    let page = ProblemPage {
        user: None,
        title: match response.status {
            503 => "Please wait",
            _ => "This did not work",
        },
        text: response.body.trim_end().to_owned(),
    };
    let html = page.render().unwrap_or_else(|_| response.body.to_owned());
    let mut page = (error.status(), HEADERS, Html(())).into_response();
    if let Some(seconds) = response.retry_after {
        page.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    bytes(page, html.into())
}

fn problem(status: StatusCode, title: &'static str, text: &str) -> Response {
    respond_with(status, ProblemPage { user: None, title, text: text.to_owned() })
}

fn bytes(response: Response, body: Bytes) -> axum::http::Response<Bytes> {
    response.map(|_: Body| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_leads_to_a_page_of_ours_alone() {
        for page in Page::ALL {
            assert_eq!(Page::of(page.name()), page);
        }
        for said in Said::ALL {
            assert_eq!(Said::of(said.name()), said);
        }
        for name in ["", "https://evil.example", "//evil.example", "/sessions", "Sessions"] {
            assert_eq!(Page::of(name), Page::Home);
        }
        assert_eq!(Said::of("<script>"), Said::Nothing);
        assert_eq!(Page::at("/sessions/end-all"), Page::Sessions);
        assert_eq!(Page::at("/password"), Page::Password);
        assert_eq!(Page::at("/elsewhere"), Page::Home);
    }

    #[test]
    fn an_error_is_a_page_and_one_of_an_ended_session_leads_to_the_login() {
        for error in [Error::Interrupted, Error::NotLoggedIn] {
            let answer = refusal(&error);
            assert_eq!(answer.status(), StatusCode::SEE_OTHER);
            assert_eq!(answer.headers()[header::LOCATION], "/login?said=ended");
        }
        let answer = refusal(&Error::OutcomeUnknown);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let html = String::from_utf8(answer.into_body().into()).unwrap();
        assert!(html.contains("It is not known whether the change was stored."), "{html}");
    }

    #[tokio::test]
    async fn what_was_done_in_part_says_which_part() {
        let answer = Problem::OthersMayLive(Error::OutcomeUnknown).into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.extensions().get::<Error>().is_none(), "nothing else takes its place");
        let html = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let html = String::from_utf8(html.into()).unwrap();
        assert!(html.contains("Your password was changed, but"), "{html}");
        let busy = Problem::Unchecked(Unchecked::Busy).into_response();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn whatever_a_page_shows_is_text() {
        let evil = "\"><script>'&";
        let escaped = "&#34;&#62;&#60;script&#62;&#39;&#38;";
        let row = || Row {
            handle: evil.to_owned(),
            label: evil.to_owned(),
            began: String::new(),
            last_seen: String::new(),
            is_current: false,
        };
        let user = || Some(evil.to_owned());
        let text = || evil.to_owned();
        let pages = [
            Home { user: user(), greeting: text(), views: 1 }.render(),
            LoginForm { name: text(), wrong: text(), ..LoginForm::default() }.render(),
            AlreadyIn { user: user(), said: Said::Ended }.render(),
            Sessions {
                user: user(),
                said: vec![text()],
                rows: Some(vec![row()]),
                has_others: true,
            }
            .render(),
            Live { user: user(), greeting: text(), views: 1 }.render(),
            PasswordForm { user: user(), wrong: text() }.render(),
            ConfirmForm { user: user(), next: Page::Password, wrong: text() }.render(),
            ProblemPage { user: user(), title: "", text: text() }.render(),
        ];
        for page in pages {
            let page = page.unwrap();
            let page = page.replace("<script type=\"module\" src=\"/live.js\"></script>", "");
            assert!(page.contains(escaped) && !page.contains("<script"), "{page}");
        }
    }
}
