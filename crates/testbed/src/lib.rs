//! The servers that the tests run against, as processes on free ports of this machine.
//!
//! For tests and `xtask` alone. A kind of server is a [`Program`]: how it is started, and how one
//! sees that it answers. [`Server`] does the rest, the same for all kinds: it starts, pauses, kills,
//! restarts and stops. Each kind has its module, which knows what has to be installed for it; what
//! is installed below [`tools::folder`], and the servers that many tests share, come from
//! `cargo xtask test`.
//!
//! Beside the servers there is one of each that talks to them: an HTTP client ([`http`]), a load
//! generator ([`load`]), and a proxy that stands before a server ([`proxy`]).
//!
//! Waiting for a server blocks the thread. What only tests call panics where it fails, and says what to do; what
//! `xtask` calls returns the error.

#![expect(clippy::panic, reason = "in a test to panic is to fail")]

mod answer;
pub mod axe;
pub mod chromium;
pub mod collector;
pub mod firestore;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod front;
pub mod google;
pub mod http;
pub mod load;
pub mod memcached;
pub mod oidc;
mod port;
pub mod postgres;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod preload;
mod process;
mod program;
pub mod prometheus;
pub mod protobuf;
pub mod proxy;
pub mod redis;
mod server;
mod shared;
pub mod tls;
pub mod token;
pub mod tools;
pub mod tutorial;

pub use program::Program;
pub use server::Server;
