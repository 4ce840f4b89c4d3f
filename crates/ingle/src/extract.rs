//! The session as an argument of axum's handlers, and errors as their responses.

use axum_core::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{Error, Session};

/// A handler asks for a [`Session`], and no [`SessionLayer`](crate::SessionLayer) is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no session layer is around this handler; add `.layer(SessionLayer::new(store))` to the router"
)]
pub struct NoSessionLayer;

impl IntoResponse for NoSessionLayer {
    /// 500, with a sentence that says which line is missing: it is met before an app is released.
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = NoSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSessionLayer> {
        parts.extensions.get::<Self>().cloned().ok_or(NoSessionLayer)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let cause = std::error::Error::source(&self);
        match self {
            // Each request of an outage brings one; the outage itself is logged once, as an error.
            Self::Unavailable(_) => tracing::debug!(error = %self, cause, "no session was served"),
            _ if self.status().is_server_error() => {
                tracing::error!(error = %self, cause, "no session was served");
            }
            _ => {}
        }
        self.to_response::<Body>()
    }
}
