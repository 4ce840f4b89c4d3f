//! The tutorial's app, on actix-web.

use std::process::ExitCode;

fn main() -> ExitCode {
    greetings::on_actix()
}
