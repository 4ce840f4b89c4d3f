//! Emulators of Firestore: hidane, which is quick, and Google's, which is the measure.
//!
//! Both keep documents in memory alone, and lose them when they are killed.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Result;

use crate::{Program, Server, answer, http, shared, tools};

/// The crate, and the version that the tests are written for.
pub const HIDANE: (&str, &str) = ("hidane", "0.6.0");

/// Holds the address of the hidane that tests share.
pub const SHARED_HIDANE: &str = "INGLE_TEST_HIDANE";

/// Holds the address of Google's emulator that tests share.
pub const SHARED_GOOGLE: &str = "INGLE_TEST_FIRESTORE_EMULATOR";

/// What an installation of `gcloud` holds where it has the emulator.
const GOOGLE_JAR: &str = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar";

/// The hidane that tests share.
///
/// # Panics
///
/// If none was started.
#[must_use]
#[track_caller]
pub fn hidane() -> SocketAddr {
    shared::address(SHARED_HIDANE)
}

/// The emulator of Google that tests share. The name of a test that calls this has `google` in it:
/// where the emulator is not installed, `cargo xtask test` skips it by that.
///
/// # Panics
///
/// If none was started.
#[must_use]
#[track_caller]
pub fn google() -> SocketAddr {
    shared::address(SHARED_GOOGLE)
}

/// A hidane of one's own.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start_hidane() -> Server {
    match hidane_program().and_then(Server::start) {
        Ok(server) => server,
        Err(error) => panic!("could not start hidane: {error:#}"),
    }
}

/// An emulator of Google of one's own. It takes seconds to start, and the memory of a JVM.
///
/// # Panics
///
/// If it is not installed or does not start.
#[must_use]
#[track_caller]
pub fn start_google() -> Server {
    let Some(program) = google_program() else {
        panic!(
            "Google's emulator is not installed: \
             install Java, and `gcloud components install cloud-firestore-emulator`"
        );
    };
    match Server::start(program) {
        Ok(server) => server,
        Err(error) => panic!("could not start Google's emulator: {error:#}"),
    }
}

/// The same in Datastore mode, in which no sessions can be kept.
///
/// # Panics
///
/// As [`start_google`].
#[must_use]
#[track_caller]
pub fn start_google_in_datastore_mode() -> Server {
    let started = google_program_in("datastore-mode").map(Server::start);
    match started {
        Some(Ok(server)) => server,
        Some(Err(error)) => panic!("could not start Google's emulator: {error:#}"),
        None => panic!("Google's emulator is not installed"),
    }
}

/// # Errors
///
/// If it is not installed.
pub fn hidane_program() -> Result<Program> {
    let program = tools::installed("bin/hidane")?;
    let command = move |address| {
        let mut command = Command::new(&program);
        listen(&mut command, address);
        command
    };
    Ok(Program::new("hidane", command, answers))
}

/// None where it is not installed: `gcloud` with its emulator, and Java.
#[must_use]
pub fn google_program() -> Option<Program> {
    google_program_in("firestore-native")
}

fn google_program_in(mode: &'static str) -> Option<Program> {
    let jar = google_jar()?;
    if !succeeds(Command::new("java").arg("-version")) {
        return None;
    }
    // As `gcloud emulators firestore start` does it in the end, by way of three more processes.
    let command = move |address| {
        let mut command = Command::new("java");
        command.args(["-Duser.language=en", "-Xmx1g", "-cp"]).arg(&jar);
        command.arg("com.google.cloud.datastore.emulator.firestore.CloudFirestore");
        command.arg("--database-mode").arg(mode);
        listen(&mut command, address);
        command
    };
    Some(Program::new("Google's Firestore emulator", command, answers))
}

fn listen(command: &mut Command, address: SocketAddr) {
    command.arg("--host").arg(address.ip().to_string());
    command.arg("--port").arg(address.port().to_string());
}

fn answers(address: SocketAddr) -> bool {
    http::status(address, "/", answer::PATIENCE) == Some(200)
}

/// Where `gcloud` is started from an installation it is found there. A `gcloud` that is a script
/// elsewhere has to be asked, which takes seconds.
fn google_jar() -> Option<PathBuf> {
    let gcloud = on_path("gcloud")?;
    let beside = fs::canonicalize(&gcloud).ok()?;
    let beside = beside.ancestors().nth(2)?.join(GOOGLE_JAR);
    if beside.is_file() {
        return Some(beside);
    }
    let mut info = Command::new(gcloud);
    info.args(["info", "--format=value(installation.sdk_root)"]).stdin(Stdio::null());
    let root = String::from_utf8(info.output().ok()?.stdout).ok()?;
    Some(Path::new(root.trim_end()).join(GOOGLE_JAR)).filter(|jar| jar.is_file())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
