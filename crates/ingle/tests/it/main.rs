//! The tests of `ingle` from outside, in one program.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and starts the tasks that it needs"
)]

mod bad;
mod broken;
mod clock;
mod clones;
mod common;
mod crashes;
mod drawn;
mod faulty;
#[cfg(feature = "firestore")]
mod firestore;
mod flow;
mod guard;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(any(feature = "firestore", feature = "postgres", feature = "redis"))]
mod meeting;
mod metrics;
mod plain;
#[cfg(feature = "postgres")]
mod postgres;
mod races;
mod reads;
#[cfg(feature = "redis")]
mod redis;
mod secrets;
mod stores;
mod unfit;
