//! The HTTP client of the tests, the benchmark and the torture.
//!
//! hyper speaks HTTP/1.1. What is added is how a visitor uses it: a [`Browser`] has one kept
//! connection and its cookies, and sends nothing a second time. It knows the page that all apps here
//! have, and nothing of what a test wants to see on it.
//!
//! Two things cannot be asked of hyper, and read answers by `wire`: bytes that no client should
//! send ([`raw`]), and requests as many as a machine can send ([`load`](crate::load)).

mod answer;
mod browser;
mod connection;
pub mod raw;
pub(crate) mod wire;

use std::{net::SocketAddr, thread, time::Duration};

pub use answer::Answer;
pub(crate) use answer::views as answer_views;
pub use browser::Browser;
pub use connection::{Connection, NoAnswer};
use tokio::{runtime, time::timeout};

/// One GET from a thread that waits for it. None if there is no answer in time.
///
/// It has a runtime of its own, so it can be called from a task, too; that blocks the task's thread.
#[must_use]
pub fn get_blocking(address: SocketAddr, path: &str, patience: Duration) -> Option<Answer> {
    let get = || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let get = async { Browser::new(address).try_send("GET", path).await };
        runtime.block_on(async { timeout(patience, get).await }).ok()?.ok()
    };
    thread::scope(|scope| scope.spawn(get).join().ok().flatten())
}

/// The HTTP status of a GET, or none if there is no answer in time.
#[must_use]
pub fn status(address: SocketAddr, path: &str, patience: Duration) -> Option<u16> {
    get_blocking(address, path, patience).map(|answer| answer.status)
}

#[cfg(test)]
mod tests;
