//! The command through its built program, on every store.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test to panic is to fail"
)]

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
};

mod commands;
mod complete;
mod console;
mod damage;
mod cost;
mod doctor;
mod editor;
mod examples;
mod lost;
mod place;
mod terminal;
mod wrong;

use place::Place;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ingle");

/// The program without the environment of those who run the tests.
fn program(place: &Place) -> Command {
    let mut program = Command::new(PROGRAM);
    for name in [
        "EDITOR",
        "INGLE_OPERATOR",
        "NO_COLOR",
        "RUST_LOG",
        "VISUAL",
        "FIRESTORE_EMULATOR_HOST",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GCE_METADATA_HOST",
        "GAE_SERVICE",
        "K_SERVICE",
        "KUBERNETES_SERVICE_HOST",
    ] {
        program.env_remove(name);
    }
    program.env("INGLE_STORE", &place.url).env("USER", "ada").env("TERM", "xterm");
    program.envs(place.environment.iter().map(|(name, value)| (name, value)));
    // The sessions of a place are those of an app that sets no namespace.
    program.env("INGLE_NAMESPACE", "");
    // However busy the machine is.
    program.env("INGLE_TIMEOUT", "2m").stdin(Stdio::null());
    program
}

/// How the program ended, and what it said.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn ok(self) -> Self {
        self.with(0)
    }

    #[track_caller]
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Its stdout as lines of JSON.
    fn lines(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Its stdout as one JSON document.
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The handles of lines of JSON, in order.
    fn handles(&self) -> Vec<String> {
        let mut handles: Vec<_> =
            self.lines().iter().map(|line| line["handle"].as_str().unwrap().to_owned()).collect();
        handles.sort();
        handles
    }
}

/// Runs the program to its end.
fn run<S: AsRef<OsStr>>(place: &Place, arguments: &[S]) -> Ended {
    Ended::of(program(place).args(arguments).output().unwrap())
}
