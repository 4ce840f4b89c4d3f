//! Functions that stand before the system's own, to make fail what a test cannot break by itself:
//! a disk, the random generator.
//!
//! They are written in C and compiled by `cc`, which SQLite needs as well. They are the whole
//! process's, so a test that needs them runs itself once more, in a process with them.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Holds the path of the switch, in the process with the functions.
const VARIABLE: &str = "INGLE_TEST_SWITCH";

/// What every source begins with: what a function needs to fail, and to find out whether it must.
const PRELUDE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(void) {
    const char *path = getenv("INGLE_TEST_SWITCH");
    return path && access(path, F_OK) == 0;
}
"#;

/// Turns the functions' failures on and off. They are off at first.
#[derive(Debug)]
pub struct Switch(PathBuf);

impl Switch {
    /// From now on they fail.
    ///
    /// # Panics
    ///
    /// If the switch's file cannot be made.
    #[track_caller]
    pub fn on(&self) {
        if let Err(error) = File::create(&self.0) {
            panic!("could not make {}: {error}", self.0.display());
        }
    }

    /// From now on they work again.
    ///
    /// # Panics
    ///
    /// If they were not turned on.
    #[track_caller]
    pub fn off(&self) {
        if let Err(error) = fs::remove_file(&self.0) {
            panic!("could not remove {}: {error}", self.0.display());
        }
    }
}

/// Runs the test that calls this once more, with the functions of `source` before the system's, and
/// there does `work`. The functions ask `fails()`.
///
/// # Panics
///
/// If that fails.
#[track_caller]
pub fn with(source: &str, work: impl FnOnce(Switch)) {
    match env::var_os(VARIABLE) {
        Some(switch) => work(Switch(switch.into())),
        None => {
            if let Err(error) = again(source) {
                panic!("{error:#}");
            }
        }
    }
}

fn again(source: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = compile(source, folder.path())?;
    // The test's thread has its name.
    let thread = std::thread::current();
    let name = thread.name().context("a test's thread has a name")?;
    let output = Command::new(env::current_exe()?)
        .args(["--exact", "--nocapture", name])
        .env("LD_PRELOAD", library)
        .env(VARIABLE, folder.path().join("switch"))
        .output()?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && out.contains("1 passed"), "{out}{err}");
    Ok(())
}

/// What [`compile`] makes.
pub const LIBRARY: &str = "functions.so";

/// Makes a library of these functions in a folder, for another process that is told of it by `LD_PRELOAD`.
///
/// # Errors
///
/// If `cc` is not there, or does not take it.
pub fn compile(source: &str, folder: &Path) -> Result<PathBuf> {
    let (file, library) = (folder.join("functions.c"), folder.join(LIBRARY));
    fs::write(&file, [PRELUDE, source].concat())?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&file);
    ensure!(cc.status().context("could not run cc")?.success(), "cc could not compile");
    Ok(library)
}
