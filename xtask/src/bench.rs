//! `cargo xtask bench`: prepares what a comparison needs, then measures it.
//!
//! The crate `bench` measures; it takes the programs that are measured from where cargo put its own.

use anyhow::{Result, bail};

use crate::{
    step::{self, Steps, cargo},
    tools,
};

/// The tutorial's app and greetings, on emulators of Firestore.
pub(crate) fn tutorial(steps: &mut Steps) -> Result<()> {
    steps.run("Firestore emulator", tools::install_hidane)?;
    if !steps.run("tutorial's app", tools::install_tutorial)? {
        bail!("without Python there is nothing to compare with");
    }
    steps.run("build greetings", || {
        let greetings = ["--package", "greetings", "--features", "firestore"];
        step::run(cargo(&[["build", "--release"].as_slice(), &greetings].concat()))
    })?;
    steps.run("measure", || {
        step::run(cargo(&["run", "--release", "--package", "bench", "--", "tutorial"]))
    })
}
