//! The app of the Firestore tutorial, in Python: what `greetings` is measured by.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{Program, Server, answer, http, tools};

/// The app's folder in the workspace.
const APP: &str = "crates/greetings/tests/tutorial";

/// What the app needs, each in one version, for `pip install --requirement`.
#[must_use]
pub fn requirements() -> PathBuf {
    tools::workspace().join(APP).join("requirements.txt")
}

/// The Python environment with all of that.
#[must_use]
pub fn environment() -> PathBuf {
    tools::folder().join("tutorial")
}

/// Starts the app on the Firestore at an address, with so many processes and threads in each.
///
/// The name of a test that calls this has `tutorial` in it: where there is no Python,
/// `cargo xtask test` skips it by that.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start(
    firestore: SocketAddr,
    project: &str,
    collection: &str,
    workers: u32,
    threads: u32,
) -> Server {
    match program(firestore, project, collection, workers, threads).and_then(Server::start) {
        Ok(server) => server,
        Err(error) => panic!("could not start the tutorial's app: {error:#}"),
    }
}

/// # Errors
///
/// If it is not installed.
pub fn program(
    firestore: SocketAddr,
    project: &str,
    collection: &str,
    workers: u32,
    threads: u32,
) -> Result<Program> {
    let gunicorn = tools::installed("tutorial/bin/gunicorn")?;
    let folder = tools::workspace().join(APP);
    let environment = [
        ("FIRESTORE_EMULATOR_HOST", firestore.to_string()),
        ("GOOGLE_CLOUD_PROJECT", project.to_owned()),
        ("COLLECTION", collection.to_owned()),
    ];
    let command = move |address: SocketAddr| {
        let mut command = gunicorn_in(&folder, &gunicorn);
        command.envs(environment.clone()).arg("--bind").arg(address.to_string());
        command.arg("--workers").arg(workers.to_string());
        command.arg("--threads").arg(threads.to_string());
        command.arg("app:app");
        command
    };
    Ok(Program::new("the tutorial's app", command, answers))
}

/// A gunicorn that writes no file into a folder that is not ours, and not into the app's.
fn gunicorn_in(folder: &Path, gunicorn: &Path) -> Command {
    let mut command = Command::new(gunicorn);
    command.current_dir(folder).arg("--no-control-socket");
    command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("GUNICORN_CMD_ARGS");
    command
}

/// Asks for a page that it does not have: its only page would store a session.
fn answers(address: SocketAddr) -> bool {
    http::status(address, "/does-not-exist", answer::PATIENCE) == Some(404)
}
