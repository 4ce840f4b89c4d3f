//! The session as an argument of axum's handlers, and errors as their responses.

use std::convert::Infallible;

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use super::{
    layer::{NoSessionLayer, UserRejection},
    named::{Named, SessionName},
    slots::{Slot, Slots},
};
use crate::{
    record::User,
    session::{Error, Session},
};

impl IntoResponse for NoSessionLayer {
    /// 500, with a sentence that says which line is missing. Developers meet it before an app is
    /// released.
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}

fn session(parts: &Parts, slot: Slot) -> Option<Session> {
    parts.extensions.get::<Slots>()?.get(slot).cloned()
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = NoSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSessionLayer> {
        session(parts, Slot::unnamed()).ok_or(NoSessionLayer)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    /// `None` where no layer is around the handler.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(session(parts, Slot::unnamed()))
    }
}

impl<S: Sync, N: SessionName> FromRequestParts<S> for Named<N> {
    type Rejection = NoSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSessionLayer> {
        session(parts, Slot::named::<N>()).map(Self::new).ok_or(NoSessionLayer)
    }
}

impl<S: Sync, N: SessionName> OptionalFromRequestParts<S> for Named<N> {
    type Rejection = Infallible;

    /// `None` where no layer of this name is around the handler.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(session(parts, Slot::named::<N>()).map(Self::new))
    }
}

impl IntoResponse for UserRejection {
    /// That of the error within. [`on_error`](crate::SessionLayer::on_error) replaces it, such as by a
    /// redirect to the page of the login.
    fn into_response(self) -> Response {
        match self {
            Self::NoSessionLayer(error) => error.into_response(),
            Self::Session(error) => error.into_response(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = UserRejection;

    /// The user whom the session is logged in for, or [`Error::NotLoggedIn`].
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, UserRejection> {
        let session = session(parts, Slot::unnamed()).ok_or(NoSessionLayer)?;
        Ok(session.user().await?.ok_or(Error::NotLoggedIn)?)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for User {
    type Rejection = UserRejection;

    /// `None` if nobody is logged in.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, UserRejection> {
        let session = session(parts, Slot::unnamed()).ok_or(NoSessionLayer)?;
        Ok(session.user().await?)
    }
}

impl IntoResponse for Error {
    /// [`Error::response`], which the layer replaces by that of
    /// [`on_error`](crate::SessionLayer::on_error).
    fn into_response(self) -> Response {
        let mut response = self.response().into_http::<Body>();
        response.extensions_mut().insert(self);
        response
    }
}
