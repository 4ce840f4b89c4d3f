//! Inputs made of valid ones, for all that reads what others wrote.
//!
//! The targets are tests of the library and of the app whose names begin with `fuzz_`, each beside
//! what it tests; `crates/ingle/src/fuzz.rs` is how they are driven. Here they only get more time than a plain
//! `cargo test` gives them.

use std::{num::NonZeroUsize, process::Stdio, thread};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo::cargo,
    options::{Length, Options},
    report::Section,
};

pub(crate) async fn run(options: &Options) -> Result<Section> {
    let seconds = options.count(5, 30);
    // The whole workspace, so that its crates have the features that they were built with.
    let mut tests = cargo(["test", "--workspace", "--lib", "--bins", "--all-features"]);
    if options.length != Length::Short {
        // CI has built the tests as they are by default, and to build them takes longer than to run.
        tests.arg("--release");
    }
    // As many at once as there are processors, so that each has a whole one for its time.
    let at_once = thread::available_parallelism().map_or(1, NonZeroUsize::get).to_string();
    tests.args(["fuzz_", "--", "--nocapture", "--test-threads", &at_once]);
    tests.env("ARBTEST_BUDGET_MS", (seconds * 1000).to_string());
    tests.stdin(Stdio::null()).stderr(Stdio::piped());
    let output = tests.output().await.context("could not run cargo")?;
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let targets: Vec<(&str, &str)> = said
        .lines()
        .filter_map(|line| line.split_once("fuzz target ")?.1.split_once(": "))
        .collect();
    ensure!(!targets.is_empty(), "no fuzz target ran:\n{said}\n{wrong}");
    let mut section = Section { name: "fuzz", ..Section::default() };
    section.text = format!("{seconds} s for each target.\n\n| target | inputs |\n|---|---|\n");
    for (name, inputs) in &targets {
        section.text.push_str(&format!("| {name} | {inputs} |\n"));
    }
    if !output.status.success() {
        section
            .broken
            .push(format!("a target failed; the seed says which input:\n{said}\n{wrong}"));
    }
    Ok(section)
}
