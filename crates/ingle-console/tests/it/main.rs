//! The console over HTTP, as browsers, people without one, and attackers see it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test to panic is to fail"
)]

mod api;
mod chromium;
mod edits;
mod ends;
mod firestore;
mod gate;
mod http;
mod iap;
mod lies;
mod log;
mod openid;
mod outages;
mod pages;
mod people;
mod proxy;
mod roles;
mod scene;
mod searches;
mod searching;
mod secrets;
mod sign_in;

/// Makes a test of each function for a store in memory and one in a file. The function is given a scene.
macro_rules! on_both_stores {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::scene::Scene::in_memory().await).await
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::scene::Scene::in_file().await).await
            })*
        }
    };
}
pub(crate) use on_both_stores;
