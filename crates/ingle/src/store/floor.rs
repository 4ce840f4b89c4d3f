//! What the stores stand on: URLs, texts of causes, batches of calls, and TLS.
//!
//! It knows no store.

#[cfg(any(feature = "firestore", feature = "redis"))]
pub(super) mod batch;
#[cfg(any(feature = "firestore", feature = "postgres", feature = "redis"))]
pub(super) mod provider;
#[cfg(any(feature = "firestore", feature = "memcached", feature = "postgres", feature = "redis"))]
pub(super) mod text;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) mod tls;
#[cfg(any(feature = "firestore", feature = "memcached", feature = "postgres", feature = "redis"))]
#[allow(dead_code, reason = "no single store needs every part of a URL")]
pub(super) mod url;
