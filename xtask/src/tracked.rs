//! The files of this project: what git tracks, or would by `git add --all`.

use std::process::Command;

use anyhow::Result;

use crate::step::{capture, root};

/// Their paths from the root of the workspace, with `/` on every system. Links are not followed, and
/// left out.
pub(crate) fn files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    // A checkout may belong to another user than the one who runs this, as in a container.
    git.arg("-c").arg(format!("safe.directory={}", root().display()));
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let paths = capture(git)?;
    let is_there = |path: &&str| {
        // Git lists a file that was deleted and not yet committed.
        let full = root().join(path);
        full.is_file() && !full.is_symlink()
    };
    Ok(paths.split_terminator('\0').filter(is_there).map(str::to_owned).collect())
}
