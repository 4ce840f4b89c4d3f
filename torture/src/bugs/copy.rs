//! The copy of the tree that has the bugs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::list::BUGS;
use crate::cargo::workspace;

/// The module that says which bug is active, and where it goes.
const SWITCH: (&str, &str) = ("torture/bugs/planted.rs", "crates/ingle/src/planted.rs");

/// Where Cargo builds for the workspace.
pub(super) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Makes the copy, and plants every bug in it.
pub(super) fn with_bugs() -> Result<PathBuf> {
    let copy = target().join("torture").join("planted");
    remove(&copy)?;
    for path in tracked()? {
        let (from, to) = (workspace().join(&path), copy.join(&path));
        // Git lists a file that was deleted and not yet committed.
        if !from.exists() {
            continue;
        }
        let folder = to.parent().unwrap_or(&copy);
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        // What a link leads to, since the link itself may lead out of the copy.
        fs::copy(&from, &to).with_context(|| format!("could not copy {path}"))?;
    }
    let (from, to) = SWITCH;
    fs::copy(workspace().join(from), copy.join(to))
        .context("could not copy the switch of the bugs")?;
    let root = copy.join("crates/ingle/src/lib.rs");
    let library = fs::read_to_string(&root).context("the library has no root")?;
    fs::write(&root, library + "\nmod planted;\n").context("could not plant the switch")?;
    for bug in &BUGS {
        plant(&copy, bug.name)?;
    }
    Ok(copy)
}

/// Applies the patch of a bug.
fn plant(copy: &Path, bug: &str) -> Result<()> {
    let patch = workspace().join(format!("torture/bugs/{bug}.patch"));
    let mut git = Command::new("git");
    git.args(["apply", "--whitespace=nowarn"]).arg(&patch).current_dir(copy);
    // The copy is in no repository, also where the folder around it is in one.
    git.env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy));
    let done = output(&mut git)?;
    ensure!(
        done.status.success(),
        "{} does not apply any more; make it anew: {}",
        patch.display(),
        String::from_utf8_lossy(&done.stderr).trim_end()
    );
    Ok(())
}

/// The files of the project, by their paths from its root.
fn tracked() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    // A checkout may belong to another user than the one who runs this, as in a container.
    git.arg("-c").arg(format!("safe.directory={}", workspace().display()));
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = output(git.current_dir(workspace()))?;
    ensure!(listed.status.success(), "git could not list the files of the project");
    let listed = String::from_utf8(listed.stdout).context("a file's name is no text")?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().context("could not run git")
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("could not remove {}", folder.display()))?;
    }
    Ok(())
}
