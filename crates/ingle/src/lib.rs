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

// What an app names is here. What adapters, operators' tools and logs name has a module each.
#[doc(inline)]
pub use crate::{
    data::{InvalidValue, Limits, Reason, typed::WrongType},
    engine::policy::{
        Lifetime, LifetimeError, OnLostUpdate, OnOutage, OnServerError, OnUserLimit, OnWrongType,
    },
    engine::watch::SessionEnd,
    http::{
        Cookie, CookieConfig, CookieError, CrossOrigin, ErrorResponse, Named, NoSessionLayer,
        NotAnOrigin, SameOriginLayer, SameSite, SessionLayer, SessionName, UserRejection,
    },
    id::{Handle, NotAHandle},
    record::User,
    session::{
        Error, Field, Label, ListOptions, Login, LoginTicket, Session, SessionInfo, SessionPage,
        Sessions, StoredSession,
    },
};

#[cfg(feature = "actix")]
pub use crate::http::actix;

/// What an adapter for another web framework works with: a [`Door`](adapter::Door), which needs no HTTP types of any version.
pub mod adapter {
    #[doc(inline)]
    pub use crate::{
        http::{Door, Finished, HeaderChange, InFlight, NewSession},
        session::HandlerOutcome,
    };
}

/// What happens to sessions, as [`SessionLayer::on_event`] and the log tell it.
pub mod event {
    #[doc(inline)]
    pub use crate::engine::events::{EndReason, EndedBy, Event, EventKind, Refusal};
}

/// What the tools of operators work with: who changes a session, what the audit log says of it, and what an
/// instance did in the last hour.
///
/// [`Sessions::operated_by`] is where it begins.
pub mod operator {
    #[doc(inline)]
    pub use crate::{
        id::{HandlePrefix, NotAHandlePrefix},
        meter::activity::{Activity, ActivityMinute},
        session::{
            AuditAct, AuditField, AuditLine, AuditOutcome, AuditPage, DamagedSession, Operator,
        },
    };
}

/// The services, futures and bodies that the layers make. They are named where a type must be written out.
pub mod service {
    #[doc(inline)]
    pub use crate::http::{
        ResponseBody, ResponseFuture, SameOriginFuture, SameOriginService, SessionService,
    };
}
