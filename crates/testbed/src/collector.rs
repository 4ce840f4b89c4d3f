//! A collector of OpenTelemetry, which prints each span and each figure that it is sent.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Program, answer, tools};

/// What carries it, for `pip install --requirement`.
#[must_use]
pub fn requirements() -> PathBuf {
    tools::workspace().join("crates/greetings/tests/collector/requirements.txt")
}

/// The Python environment that it is installed into.
#[must_use]
pub fn environment() -> PathBuf {
    tools::folder().join("collector")
}

/// Where it is, if it is installed. The folder has the version of Python in its name.
fn agent() -> Option<PathBuf> {
    let versions = fs::read_dir(environment().join("lib")).ok()?;
    let agent = |version: &Path| version.join("site-packages/rotel/rotel-agent");
    let mut agents = versions.filter_map(|version| Some(agent(&version.ok()?.path())));
    agents.find(|agent| agent.is_file())
}

/// Whether it is there.
#[must_use]
pub fn is_installed() -> bool {
    agent().is_some()
}

/// A collector that takes OTLP over gRPC, if it is installed. What it is sent is in its log.
#[must_use]
pub fn program() -> Option<Program> {
    let agent = agent()?;
    let command = move |address: SocketAddr| {
        let mut command = Command::new(&agent);
        command.args(["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]);
        command.args(["--debug-log", "traces", "--debug-log", "metrics"]);
        command.args(["--otlp-grpc-endpoint", &address.to_string()]);
        // It takes HTTP as well, and nobody sends it that.
        command.args(["--otlp-http-endpoint", "127.0.0.1:0"]);
        command
    };
    Some(Program::new("the collector", command, |address| !answer::refuses(address)))
}
