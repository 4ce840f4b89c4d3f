//! How a session meets HTTP: its cookie, the headers of a response, and errors as responses.
//!
//! The only place that knows headers and statuses. The [`door`] needs no HTTP types of any version;
//! the layer and the extractors are adapters on it.

#[cfg(feature = "actix")]
pub mod actix;
mod body;
mod cookie;
mod create;
mod door;
#[cfg(feature = "axum")]
mod extract;
mod fetch;
mod layer;
mod named;
#[cfg(feature = "firestore")]
mod plain;
#[cfg(not(feature = "firestore"))]
#[path = "http/hashed.rs"]
mod plain;
mod response;
mod same_origin;
mod slots;

pub use {
    body::ResponseBody,
    cookie::{Cookie, CookieConfig, CookieError, SameSite},
    create::NewSession,
    door::{Door, Finished, HeaderChange, InFlight},
    layer::{NoSessionLayer, ResponseFuture, SessionLayer, SessionService, UserRejection},
    named::{Named, SessionName},
    response::ErrorResponse,
    same_origin::{CrossOrigin, NotAnOrigin, SameOriginFuture, SameOriginLayer, SameOriginService},
};
