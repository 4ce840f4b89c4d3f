//! Google's published types of log entries, in Python, with which each line of JSON is read.

use std::{path::PathBuf, process::Command};

use crate::tools;

const FOLDER: &str = "crates/greetings/tests/protobuf";

/// What the script needs, for `pip install --requirement`.
#[must_use]
pub fn requirements() -> PathBuf {
    tools::workspace().join(FOLDER).join("requirements.txt")
}

/// The Python environment with all of that.
#[must_use]
pub fn environment() -> PathBuf {
    tools::folder().join("protobuf")
}

/// The script that reads lines of a log from its stdin, and fails at one that is not as Google's types
/// have it.
#[must_use]
pub fn reader() -> Command {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(tools::workspace().join(FOLDER).join("read_log.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
