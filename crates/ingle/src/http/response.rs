//! Errors as responses: what a browser is told of an error.

use http::{HeaderValue, Response, StatusCode, header};

use crate::session::Error;

/// A response that tells a browser no more of an error than it may know: a status, a fixed text,
/// and when to try again if that may help (ASVS 5.0 16.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorResponse {
    /// The HTTP status: 400, 401, 403, 409, 413, 500 or 503.
    pub status: u16,
    /// The body, `text/plain; charset=utf-8`.
    pub body: &'static str,
    /// The value of the header Retry-After, in seconds, where trying again may help.
    pub retry_after: Option<u32>,
}

/// What a visitor is told whose request another site has begun.
pub(super) const OF_ANOTHER_SITE: &str =
    "This came from another site. Please try again on this one.\n";

impl Error {
    /// The response to this error. It tells the browser no more than it must.
    #[must_use]
    pub fn response(&self) -> ErrorResponse {
        let (status, body) = match self {
            Self::Interrupted => (409, "This session was ended by another request.\n"),
            Self::LostUpdate { .. } => {
                (409, "This session was changed by another request. Please try again.\n")
            }
            Self::Unavailable(_) | Self::NoRandomness(_) => {
                (503, "Sessions are not available right now. Please try again later.\n")
            }
            Self::TooManyNewSessions => {
                (503, "There are too many visitors right now. Please try again later.\n")
            }
            Self::OutcomeUnknown => (
                503,
                "It is not known whether the change was stored. Please look before you try again.\n",
            ),
            Self::TooManyCookies => {
                (400, "This browser has too many cookies for this site. Please delete them.\n")
            }
            Self::CookieWithheld => (403, OF_ANOTHER_SITE),
            Self::NotLoggedIn => (401, "Please log in.\n"),
            Self::NotFresh => (401, "Please enter your password again.\n"),
            Self::TooManySessions => {
                (409, "You are logged in on too many devices. Please log out on one of them.\n")
            }
            Self::AlreadyLoggedIn => (409, "This browser is logged in already.\n"),
            Self::TooLarge(_) => (413, "This session has no room for that.\n"),
            Self::WrongType(_)
            | Self::InvalidValue(_)
            | Self::Damaged(_)
            | Self::Unsupported(_)
            | Self::ResponseSent => {
                return ErrorResponse::UNSERVABLE;
            }
        };
        let may_help =
            matches!(self, Self::Unavailable(_) | Self::NoRandomness(_) | Self::TooManyNewSessions);
        ErrorResponse { status, body, retry_after: may_help.then_some(1) }
    }

    /// The HTTP status of [`response`](Self::response).
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.response().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Logs what the response to this error does not tell.
    pub(super) fn log(&self) {
        let cause = std::error::Error::source(self);
        // Each request of an outage or of a flood brings one. These are logged by themselves, once.
        let is_logged = matches!(self, Self::Unavailable(_) | Self::TooManyNewSessions);
        if self.status().is_server_error() && !is_logged {
            tracing::error!(error = %self, cause, "no session was served");
        } else {
            tracing::debug!(error = %self, cause, "no session was served");
        }
    }
}

/// Whether a header is one that CORS needs on every response, errors too.
pub(super) fn is_cors(name: &str) -> bool {
    name.starts_with("access-control-")
}

impl ErrorResponse {
    /// What a browser is told when the app is wrong.
    pub(super) const UNSERVABLE: Self =
        Self { status: 500, body: "This session cannot be served.\n", retry_after: None };

    /// The response, with a body made of the text.
    pub fn into_http<B: From<&'static str>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
