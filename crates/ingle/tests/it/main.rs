//! The tests of `ingle` from outside, in one program.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and starts the tasks that it needs"
)]

mod activity;
mod hostile_input;
#[cfg(feature = "actix")]
mod actix;
mod answers;
mod bounds;
mod broken;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod certificates;
mod chromium;
mod clock;
mod concurrent_handles;
mod events;
mod common;
mod crashes;
mod id_collision;
mod faulty;
#[cfg(feature = "firestore")]
mod firestore;
mod flow;
mod log;
mod store_client;
mod layers;
mod left;
mod marks;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(any(feature = "firestore", feature = "postgres", feature = "redis"))]
mod batching;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "firestore")]
mod plain_ids;
mod new_sessions;
mod other_sites;
mod persistent_cookie;
#[cfg(feature = "postgres")]
mod postgres;
mod races;
mod reads;
mod releases;
#[cfg(feature = "redis")]
mod redis;
mod same_origin;
mod secrets;
mod several_ids;
#[cfg(all(feature = "firestore", feature = "memcached", feature = "postgres", feature = "redis"))]
mod stopped;
mod stores;
mod tickets;
mod use_and_touch;
mod users;
mod store_rejects_data;
