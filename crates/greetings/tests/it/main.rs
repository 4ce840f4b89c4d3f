//! Runs the built program and talks to it over HTTP, as a browser or an attacker would.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test to panic is to fail"
)]

/// Makes a test of each function for every store whose sessions outlive a process and are shared by
/// several. The function is given a place of its own there.
macro_rules! on_each_store {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::place::Place::sqlite()).await
            })*
        }
        #[cfg(feature = "firestore")]
        mod firestore_on_hidane {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::firestore::on_hidane()).await
            })*
        }
        #[cfg(feature = "memcached")]
        mod memcached {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::memcached::shared()).await
            })*
        }
        #[cfg(feature = "redis")]
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::redis::shared()).await
            })*
        }
        #[cfg(feature = "redis")]
        mod redis_cluster {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::redis::shared_cluster()).await
            })*
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(crate::postgres::shared()).await
            })*
        }
    };
}

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_greetings");

mod accounts;
#[cfg(feature = "otlp")]
mod collector;
mod cookies;
mod crashes;
#[cfg(feature = "firestore")]
mod firestore;
mod hyper;
mod limits;
mod log;
#[cfg(feature = "memcached")]
mod memcached;
mod metrics;
mod options;
#[cfg(any(feature = "firestore", feature = "memcached", feature = "postgres", feature = "redis"))]
mod outages;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
mod prometheus;
mod races;
#[cfg(feature = "redis")]
mod redis;
mod shutdown;
mod visits;
