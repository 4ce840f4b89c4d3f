//! `cargo xtask test`: prepares what the tests need, then runs all of them.

use anyhow::Result;

use crate::step::{self, Steps, cargo};

/// Runs all tests of the workspace, doctests too. `args` are handed to `cargo test`.
pub(crate) fn run(steps: &mut Steps, args: &[&str]) -> Result<()> {
    println!("Builds every crate and program with all features, then runs the tests and doctests.");
    // Cargo builds a crate's programs for its integration tests, so this builds those as well.
    let test = ["test", "--workspace", "--all-features"].as_slice();
    steps.run("build the tests", || step::run(cargo(&[test, &["--no-run"]].concat())))?;
    steps.run("run the tests", || step::run(cargo(&[test, args].concat())))
}
