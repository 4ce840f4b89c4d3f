//! The benchmark: measures on this machine, in one run, and writes the result into the document.
//!
//! Started by `cargo xtask bench`, which builds and installs what is measured. Each comparison is a
//! module with a `run`, and has a section in `docs/benchmarks.md`; `options.rs` names them. What
//! comparisons share is beside it: `place.rs` starts the stores, `contestant.rs` and `app.rs` start
//! what is measured, `testbed::load` asks it, `trips.rs` counts what it asks of its server, `usage.rs` sees what it uses, `slice.rs` is both for a slice of time, `spread.rs` sums
//! up repeats, `machine.rs` says where all of that was, and `document.rs` writes it down. `paper.rs`
//! reckons on from there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod app;
mod contestant;
mod document;
mod facts;
mod machine;
mod options;
mod paper;
mod place;
mod requests;
mod scale;
mod slice;
mod spread;
mod stores;
mod trips;
mod tutorial;
mod usage;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use options::{Comparison, Options};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| ["help", "-h", "--help"].contains(&arg.as_str())) {
        print!("{}", options::USAGE);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(&args) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("bench: {wrong}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    if options.check {
        return ExitCode::SUCCESS;
    }
    match in_runtime(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    for comparison in &options.comparisons {
        match comparison {
            Comparison::Stores => stores::run(options).await?,
            Comparison::Tutorial => tutorial::run().await?,
            Comparison::Scale => scale::run(options).await?,
            Comparison::Requests => requests::run()?,
        }
    }
    Ok(())
}

/// Servers are started and stopped on this thread, which waits for them; all that is measured runs
/// on the threads of the runtime.
fn in_runtime(comparison: impl Future<Output = Result<()>>) -> Result<()> {
    Runtime::new().context("could not start the runtime")?.block_on(comparison)
}
