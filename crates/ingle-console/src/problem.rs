//! What went wrong, as a page. The page is made by the gate, which knows where the console is mounted.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ingle::Error;
use ingle_operator::{sentence, shortened};

/// A request that is not answered as asked. Its texts never hold an id or data of a session.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, title, text: text.into() }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "This cannot be read", text)
    }

    pub(crate) fn no_session() -> Self {
        let text = "No live session has this handle. It has ended, or a login or a renewal moved it to \
                    another handle.";
        Self::new(StatusCode::NOT_FOUND, "This session is not there", text)
    }

    /// It is known who asks, and nobody gave them a role.
    pub(crate) fn no_role(name: &str) -> Self {
        let name = shortened(name, 80);
        tracing::warn!(operator = %name, "somebody without a role was refused");
        let text = format!(
            "You are {name}, and have no role in this console. Ask whoever runs it for one."
        );
        Self::new(StatusCode::FORBIDDEN, "You have no role here", text)
    }

    /// A change was stored, and something failed after it.
    pub(crate) fn stored(status: StatusCode, text: &'static str) -> Self {
        Self::new(status, "Saved, but not shown", text)
    }

    /// What an answer without a page means.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let (title, text) = match status {
            StatusCode::NOT_FOUND => {
                ("There is no such page", "The address leads nowhere in this console.")
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                ("This cannot be done here", "The page takes no request of this kind.")
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("This is too large", "Nothing was changed. A form may have 1 MiB.")
            }
            _ => return None,
        };
        Some(Self::new(status, title, text))
    }
}

impl From<getrandom::Error> for Problem {
    fn from(_: getrandom::Error) -> Self {
        let text = "The operating system gave no random bytes. Nothing was changed.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Please wait", text)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = error.status();
        match error {
            Error::Interrupted => Self::new(
                StatusCode::CONFLICT,
                "The session has moved on",
                "It was renewed, or it ended, while this was done. Nothing was changed. Look for it \
                 again by its user or its data.",
            ),
            Error::Unavailable(_) => Self::new(
                status,
                "The store does not answer",
                "Nothing was changed. The sessions are as they were. Try again in a moment.",
            ),
            Error::OutcomeUnknown => Self::new(
                status,
                "It is not known whether this was stored",
                "The store did not say. The change was made once or not at all. Look at the session \
                 before you try again.",
            ),
            Error::Damaged(_) => Self::new(
                status,
                "This session cannot be read",
                "Its record is damaged, or a newer version of ingle wrote it. Nothing was changed. The \
                 command `ingle sessions show` says how to look at it, and `ingle sessions end` ends it.",
            ),
            Error::Unsupported(_) => Self::new(
                StatusCode::NOT_IMPLEMENTED,
                "This store has no lists",
                "It cannot say which sessions it holds, so the console can show none of them.",
            ),
            Error::InvalidValue(error) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Not stored", unchanged(&error))
            }
            Error::TooLarge(error) => Self::new(status, "Not stored", unchanged(&error)),
            error => Self::new(status, "This did not work", unchanged(&error)),
        }
    }
}

fn unchanged(error: &impl std::fmt::Display) -> String {
    format!("{} Nothing was changed.", sentence(error))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}
