//! The tutorial's app, on axum.

use std::process::ExitCode;

fn main() -> ExitCode {
    greetings::on_axum()
}
