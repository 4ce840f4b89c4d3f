//! What the stores stand on: URLs, texts of causes, batches of calls, and TLS.
//!
//! It knows no store.

#[cfg(any(feature = "firestore", feature = "redis"))]
pub(super) mod batch;
#[cfg(any(
    feature = "firestore",
    feature = "memcached",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
pub(super) mod text;
#[cfg(any(feature = "firestore", feature = "memcached", feature = "postgres", feature = "redis"))]
pub(super) mod url;
