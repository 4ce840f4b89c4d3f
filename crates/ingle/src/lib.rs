#![doc = include_str!("../docs/crate.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

// The rings, from the outside in: each knows those behind it and none before it.
mod http;
mod session;
mod engine;
pub mod store;
pub mod record;

#[cfg(feature = "testing")]
pub mod testing;

// What the rings work with.
pub mod clock;
pub mod data;
mod id;

// What all rings use.
mod deadline;
mod detach;
mod jitter;
mod meter;
mod words;

#[cfg(test)]
mod fuzz;

#[cfg(all(any(doc, doctest), feature = "axum"))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

/// The README's example is a test, too.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[doc(inline)]
pub use crate::{
    data::{InvalidValue, Limits, Reason, typed::WrongType},
    engine::events::{EndReason, EndedBy, Event, EventKind, Refusal},
    engine::policy::{
        Lifetime, LifetimeError, OnLostUpdate, OnOutage, OnServerError, OnUserLimit, OnWrongType,
    },
    engine::watch::SessionEnd,
    http::*,
    id::{Handle, HandlePrefix, Key, NoRandomness, NotAHandle, NotAHandlePrefix, NotAKey},
    meter::activity::{Activity, ActivityMinute},
    record::User,
    session::{
        AuditAct, AuditField, AuditLine, AuditOutcome, AuditPage, DamagedSession, Error, Field,
        HandlerOutcome, Label, ListOptions, Login, LoginTicket, Operator, Session, SessionInfo,
        SessionPage, Sessions, StoredSession,
    },
};
