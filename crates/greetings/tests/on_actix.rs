//! The tests of `greetings`, run against the same app on actix-web: with two workers or more in each
//! process, one process or two, on SQLite and on Redis.
//!
//! | not run here | why |
//! |---|---|
//! | `firestore`, `memcached`, `postgres`, a cluster of Redis | the stores know no framework; two of them are enough |
//! | `hyper` | the limits of the server that is built on hyper: actix-web has its own |
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test to panic is to fail"
)]
#![allow(dead_code, reason = "some helpers are for the stores that are left out")]

/// Makes a test of each function for each of two stores.
macro_rules! on_each_store {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::place::Place::sqlite()).await
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::redis::shared()).await
            })*
        }
    };
}

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_greetings-actix");

#[test]
fn there_are_no_accounts() {
    let line = options::line(&process::run(&["--accounts", "users"], &[]), 2);
    assert!(line.contains("this program has no accounts; greetings has"), "{line}");
}

#[cfg(feature = "otlp")]
#[path = "it/collector.rs"]
mod collector;
#[path = "it/cookies.rs"]
mod cookies;
#[path = "it/crashes.rs"]
mod crashes;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/log.rs"]
mod log;
#[path = "it/metrics.rs"]
mod metrics;
#[path = "it/options.rs"]
mod options;
#[path = "it/outages.rs"]
mod outages;
#[path = "it/place.rs"]
mod place;
#[path = "it/process.rs"]
mod process;
#[path = "it/races.rs"]
mod races;
#[path = "it/redis.rs"]
mod redis;
#[path = "it/shutdown.rs"]
mod shutdown;
#[path = "it/visits.rs"]
mod visits;
