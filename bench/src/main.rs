//! The benchmark: measures on this machine, in one run, and writes the result into the document.
//!
//! Started by `cargo xtask bench`, which builds and installs what is measured. Each comparison is a
//! module with a `run`, and has a section in `docs/benchmarks.md`. What comparisons share is beside
//! it: `app.rs` starts what is measured, `visit.rs` asks it, `testbed::calls` counts what it asks of its
//! server, `spread.rs` sums up repeats, `machine.rs` says where all of that was, and `document.rs`
//! writes it down.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod app;
mod document;
mod machine;
mod spread;
mod tutorial;
mod visit;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

const USAGE: &str = "\
Usage: cargo xtask bench NAME

Comparisons:
  tutorial  the tutorial's app and greetings, on emulators of Firestore, with many
            requests of one session at once
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["tutorial"] => in_runtime(tutorial::run()),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Servers are started and stopped on this thread, which waits for them; all that is measured runs
/// on the threads of the runtime.
fn in_runtime(comparison: impl Future<Output = Result<()>>) -> Result<()> {
    Runtime::new().context("could not start the runtime")?.block_on(comparison)
}
