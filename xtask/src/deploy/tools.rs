//! What the tests of the deployment need: Python's packages below `target/tools`, and Debian's.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Result;

use crate::{step::root, tools};

/// Linters, and what reads the files of compose, each in its version.
const REQUIREMENTS: &str = "xtask/src/deploy/requirements.txt";

/// Where their environment is.
fn environment() -> PathBuf {
    testbed::tools::folder().join("deploy")
}

/// Installs the linters. False where there is no Python for them.
pub(super) fn install_linters() -> Result<bool> {
    let shellcheck = runs("shellcheck", "--version") || tools::install_packages(&["shellcheck"])?;
    if !shellcheck {
        println!("shellcheck is not installed: on Debian, `apt-get install shellcheck`.");
    }
    install_python()
}

/// Installs what comes from Python. False where there is none for it.
pub(super) fn install_python() -> Result<bool> {
    tools::install_python(&environment(), &root().join(REQUIREMENTS))
}

/// A program of the environment.
pub(super) fn python_program(name: &str) -> Command {
    let mut command = Command::new(environment().join("bin").join(name));
    command.current_dir(root());
    command
}

pub(super) fn has_gcloud() -> bool {
    runs("gcloud", "--version")
}

/// Whether a program is there.
pub(super) fn runs(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
