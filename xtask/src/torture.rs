//! `cargo xtask torture`: prepares what the torture needs, then runs it.
//!
//! The crate `torture` does it, and says what can be asked of it; it takes the programs that it
//! tortures from where cargo put its own.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    metadata,
    step::{self, Steps, cargo},
    tools,
};

/// Runs the torture, with these arguments.
pub(crate) fn run(steps: &mut Steps, args: &[&str]) -> Result<()> {
    let short = args.contains(&"--short");
    steps.run("Firestore emulator", || {
        if short { tools::install_hidane() } else { tools::install_optimized_hidane() }
    })?;
    // Where it cannot be installed, a line says so, and its store is left out.
    steps.run("PostgreSQL", tools::install_postgres)?;
    steps.run("memcached", tools::install_memcached)?;
    steps.run("Redis", tools::install_redis)?;
    steps.run("other servers of Redis", tools::install_redis_editions)?;
    steps.run("strace", tools::install_strace)?;
    if short {
        return as_tested(steps, args);
    }
    // As it is deployed, so by itself: beside other crates it could be given features of theirs.
    steps.run("build greetings", || {
        step::run(cargo(&["build", "--release", "--package", "greetings", "--all-features"]))
    })?;
    steps.run("torture", || {
        let torture = ["run", "--release", "--package", "torture", "--"];
        step::run(cargo(&[&torture, args].concat()))
    })
}

/// The programs as the tests have them, which CI has built by then: a release would take longer to
/// build than all of it takes to run.
fn as_tested(steps: &mut Steps, args: &[&str]) -> Result<()> {
    steps.run("build the torture", || {
        // The same crates with the same features as for the tests, or they would be built again.
        step::run(cargo(&["build", "--workspace", "--all-features", "--bins", "--tests"]))
    })?;
    let target = metadata::load()?;
    let program = Path::new(metadata::string(&target, "target_directory")).join("debug/torture");
    steps.run("torture", || {
        let mut torture = Command::new(program);
        torture.args(args).current_dir(step::root());
        step::run(torture)
    })
}
