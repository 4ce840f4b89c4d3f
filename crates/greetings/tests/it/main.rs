//! Runs the built program and talks to it over HTTP, as a browser or an attacker would.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test to panic is to fail"
)]

mod client;
mod cookies;
mod crashes;
mod limits;
mod options;
mod process;
mod races;
mod shutdown;
mod visits;
