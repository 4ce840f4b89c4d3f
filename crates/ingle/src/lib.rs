//! Sessions that lose nothing, for web apps that run on more than one instance.
//!
#![cfg_attr(feature = "axum", doc = include_str!("../README.md"))]
#![warn(missing_docs)]

// The way of a request, in the order in which it passes them.
mod layer;
mod cookie;
mod session;
mod change;
mod combine;
mod batch;
mod commit;
mod core;
mod guard;
pub mod store;

// What they speak of.
pub mod clock;
mod config;
pub mod data;
mod error;
mod id;
pub mod record;

// What goes on beside.
mod background;
#[cfg(feature = "axum")]
mod extract;
mod jitter;
mod meter;
mod planted;
mod sweep;
mod words;

#[cfg(test)]
mod fuzz;

#[cfg(all(any(doc, doctest), feature = "axum"))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[cfg(feature = "axum")]
pub use extract::NoSessionLayer;
#[doc(inline)]
pub use {
    config::{Lifetime, LifetimeError, LostUpdates, Outage, ServerErrors},
    cookie::{Cookie, CookieConfig, CookieError, SameSite},
    data::{InvalidValue, Limits, Reason, typed::WrongType},
    error::Error,
    id::{Ids, Key, NoRandomness, NotAKey, Tag},
    layer::{ResponseFuture, SessionLayer, SessionService},
    session::{Field, Session},
};
