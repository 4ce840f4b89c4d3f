//! An app that is measured: its processes, and the proxy before its server.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Program, Server, http, proxy::Proxy};

/// How long one question may take whether a process answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) processes: Vec<Server>,
    /// Counts what all processes ask of their server.
    pub(crate) proxy: Proxy,
}

impl App {
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(Server::address).collect()
    }
}

/// The program `greetings` on a store, with some variables of the environment.
pub(crate) fn greetings(store: String, variables: Vec<(&'static str, String)>) -> Result<Program> {
    let program = beside("greetings")?;
    let command = move |address| bare(&program, address, &store, &variables);
    Ok(Program::new("greetings", command, lives))
}

/// The same, or `greetings-actix`, with the routes below `/lab/`.
pub(crate) fn in_lab(
    name: &'static str,
    store: String,
    variables: Vec<(&'static str, String)>,
) -> Result<Program> {
    let program = beside(name)?;
    let command = move |address| {
        let mut command = bare(&program, address, &store, &variables);
        command.arg("--lab");
        command
    };
    Ok(Program::new(name, command, lives))
}

/// Makes what the store must find.
pub(crate) fn migrate(store: &str) -> Result<()> {
    let output = Command::new(beside("greetings")?).args(["--migrate", "--store", store]).output();
    let output = output.context("could not run greetings")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`greetings --migrate` failed: {said}");
    Ok(())
}

fn bare(
    program: &Path,
    address: SocketAddr,
    store: &str,
    variables: &[(&'static str, String)],
) -> Command {
    let mut command = Command::new(program);
    for name in ["PORT", "INGLE_STORE"] {
        command.env_remove(name);
    }
    // Its peers write no line for a request either.
    command.env("RUST_LOG", "warn");
    command.envs(variables.iter().cloned()).arg("--store").arg(store);
    command.arg("--listen").arg(address.to_string());
    command
}

/// Asks for what touches no session.
fn lives(address: SocketAddr) -> bool {
    http::status(address, "/healthz", PATIENCE) == Some(200)
}

/// A program of the workspace: cargo puts all of them into one folder.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("could not find this program's file")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "{name} is not built: run `cargo xtask bench`, which builds it");
    Ok(path)
}
