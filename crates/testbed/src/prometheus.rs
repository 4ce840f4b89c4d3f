//! Prometheus, and its tool that checks rules and texts of metrics.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Program, answer, http, tools};

/// Debian's package, which is unpacked below the folder of tools.
pub const PACKAGE: &str = "prometheus";

/// The folder that it is unpacked into.
#[must_use]
pub fn folder() -> PathBuf {
    tools::folder().join(PACKAGE)
}

/// Whether both programs are there.
#[must_use]
pub fn is_installed() -> bool {
    [server(), promtool()].iter().all(|program| program.is_file())
}

fn server() -> PathBuf {
    folder().join("usr/bin/prometheus")
}

/// The tool.
#[must_use]
pub fn promtool() -> PathBuf {
    folder().join("usr/bin/promtool")
}

/// The files for Prometheus that the project ships.
#[must_use]
pub fn files() -> PathBuf {
    tools::workspace().join("deploy/prometheus")
}

/// A server that asks an app each second, and knows the rules that the project ships.
///
/// # Errors
///
/// Its configuration could not be written.
pub fn program(app: SocketAddr) -> Result<Program> {
    let folder = TempDir::new().context("could not make a folder for Prometheus")?;
    let rules = files().join("alerts.yml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n\
         - job_name: greetings\n  static_configs: [{{targets: ['{app}']}}]\n",
        rules.display()
    );
    fs::write(folder.path().join("prometheus.yml"), config)
        .context("could not write the configuration of Prometheus")?;
    let command = move |address: SocketAddr| {
        let mut command = Command::new(server());
        command.arg(option("config.file", &folder.path().join("prometheus.yml")));
        command.arg(option("storage.tsdb.path", &folder.path().join("data")));
        command.arg(format!("--web.listen-address={address}"));
        command
    };
    Ok(Program::new("Prometheus", command, answers))
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn answers(address: SocketAddr) -> bool {
    http::status(address, "/-/ready", answer::PATIENCE) == Some(200)
}
