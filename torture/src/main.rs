//! The proof: does what ingle promises hold when everything goes wrong?
//!
//! Started by `cargo xtask torture`, which builds and installs what is needed. Each part is a module
//! with a `run`, which breaks something on purpose while the app or the library works, and then
//! checks what must be true all the same. `options.rs` says how long and from which seed,
//! `report.rs` what came of it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod bugs;
mod cargo;
mod crash;
mod fuzz;
mod histories;
mod inside;
mod lab;
mod lateness;
mod leak;
mod model;
mod options;
mod overload;
mod report;
mod simulation;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use tokio::{runtime::Runtime, task::JoinHandle};

use bugs::Suite;
use options::{Length, Options, Part};
use report::{Report, Section};

fn main() -> ExitCode {
    if let Some(ended) = crash::worker() {
        return ended;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    let options = match Options::parse(&args) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("torture: {wrong}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs each part that was asked for, also where one before it has found something.
fn run(options: &Options) -> Result<()> {
    println!("seed {}", options.seed);
    let runtime = Runtime::new().context("could not start the runtime")?;
    let mut report = Report::new(options);
    let mut planted = beside(&runtime, options);
    for part in &options.parts {
        println!("\n== {}", part.name());
        let section = runtime.block_on(part_of(*part, options, &mut planted));
        report.add(section.with_context(|| format!("{} did not run", part.name()))?);
    }
    report.write()?;
    ensure!(report.holds(), "{} broke what must hold: see the report", report.broken().join(", "));
    Ok(())
}

/// The build for the bugs, while histories are made in CI: those wait for half of their time.
fn beside(runtime: &Runtime, options: &Options) -> Option<JoinHandle<Result<Suite>>> {
    let is_asked = |part| options.parts.contains(&part);
    let is_beside = is_asked(Part::Histories) && is_asked(Part::Bugs);
    (is_beside && options.length == Length::Short).then(|| runtime.spawn(Suite::build()))
}

async fn part_of(
    part: Part,
    options: &Options,
    planted: &mut Option<JoinHandle<Result<Suite>>>,
) -> Result<Section> {
    match part {
        Part::Histories => histories::run(options).await,
        Part::Crash => crash::run(options).await,
        Part::Leak => leak::run(options).await,
        Part::Overload => overload::run(options).await,
        Part::Model => model::run(options).await,
        Part::Simulation => simulation::run(options).await,
        Part::Fuzz => fuzz::run(options).await,
        Part::Bugs => {
            let suite = match planted.take() {
                Some(planted) => planted.await.context("the build for the bugs panicked")?,
                None => Suite::build().await,
            };
            bugs::run(options, &suite?).await
        }
    }
}
