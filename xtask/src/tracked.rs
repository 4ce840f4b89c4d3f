//! The files of this project: what git tracks, or would by `git add --all`.

use anyhow::Result;

use crate::step::{capture, git, root};

/// Their paths from the root of the workspace, with `/` on every system. Links are not followed, and
/// left out.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let paths = capture(git(root(), &list))?;
    let is_there = |path: &&str| {
        // Git lists a file that was deleted and not yet committed.
        let full = root().join(path);
        full.is_file() && !full.is_symlink()
    };
    Ok(paths.split_terminator('\0').filter(is_there).map(str::to_owned).collect())
}
