//! What the stores stand on: URLs, texts of causes, and TLS.
//!
//! It knows no store. `__server` and `__tls` are features for this crate alone: the stores' features
//! turn on what they need.

#[allow(dead_code, reason = "a store on a server of its own does not care where the app runs")]
pub(super) mod platform;
#[cfg(feature = "__tls")]
pub(super) mod provider;
#[allow(dead_code, reason = "the stores on this machine have no connections")]
pub(super) mod pulse;
#[allow(dead_code, reason = "the store in memory has no causes to tell")]
pub(super) mod text;
#[cfg(feature = "__tls")]
#[allow(
    dead_code,
    reason = "Firestore's client has its own TLS, and needs the system's roots and help alone"
)]
pub(super) mod tls;
#[cfg(feature = "__server")]
#[allow(dead_code, reason = "no single store needs every part of a URL")]
pub(super) mod url;
