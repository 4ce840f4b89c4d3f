//! `cargo xtask examples`: builds and tests the example apps, a workspace of their own.

use anyhow::Result;

use crate::step::{self, Steps, cargo};

/// [`run`] as a task.
pub(crate) const TASK: &str = "examples";

/// The examples' workspace. It is built where all else is, which has built a part of what it depends on.
const WORKSPACE: (&str, &str) = ("examples/Cargo.toml", "target");

/// Checks the examples' format, and runs their tests: one build of all, with the versions of their
/// lock file. A warning in them is an error, as their manifest says.
pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    let (manifest, target) = WORKSPACE;
    steps.run("format of the examples", || {
        step::run(cargo(&["fmt", "--all", "--check", "--manifest-path", manifest]))
    })?;
    steps.run("examples", || {
        let test = ["test", "--locked", "--manifest-path", manifest, "--target-dir", target];
        step::run(cargo(&test))
    })
}
