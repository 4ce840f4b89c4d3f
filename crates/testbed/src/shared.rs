//! Servers that many tests share, started by the command that runs the tests.

use std::{env, net::SocketAddr};

/// The address that a variable of the environment holds.
#[track_caller]
pub(crate) fn address(variable: &str) -> SocketAddr {
    let Ok(value) = env::var(variable) else {
        panic!("{variable} is not set: run `cargo xtask test`, which starts the server");
    };
    match value.parse() {
        Ok(address) => address,
        Err(_) => panic!("{variable} is `{value}`, and must be an address as 127.0.0.1:8080"),
    }
}
