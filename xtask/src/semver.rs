//! `cargo xtask semver`: what the public API lost or changed since the newest release fits the version that
//! the library has now.
//!
//! A release is a commit with a tag such as `v1.2.0`. Until there is one, nobody depends on anything.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    metadata::LIBRARY,
    step::{self, Steps, capture, git, root},
    tools,
};

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    let Some(tag) = steps.run("newest release", || newest_release(root()))? else {
        let why = "No tag is a release's: there is no API to compare with.";
        steps.skip("the API since a release", why);
        return Ok(());
    };
    let program = steps.run("cargo-semver-checks", tools::install_semver_checks)?;
    steps.run(&format!("the API since {tag}"), || {
        let mut check = Command::new(program);
        // The name that cargo would start it by is its first argument.
        check.args(["semver-checks", "--package", LIBRARY, "--all-features"]);
        check.args(["--baseline-rev", &tag]).current_dir(root());
        step::run(check)
    })
}

/// The tag of the newest release that this commit comes after. One with a `-` is of a version before a
/// release, which promises nothing yet.
fn newest_release(repository: &Path) -> Result<Option<String>> {
    let list = ["tag", "--list", "v[0-9]*", "--sort=-version:refname", "--merged", "HEAD"];
    let tags = capture(git(repository, &list))?;
    Ok(tags.lines().find(|tag| !tag.contains('-')).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_is_the_highest_version_that_the_commit_comes_after() {
        let folder = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut git = git(folder.path(), args);
            for role in ["AUTHOR", "COMMITTER"] {
                git.env(format!("GIT_{role}_NAME"), "A");
                git.env(format!("GIT_{role}_EMAIL"), "a@example.com");
            }
            step::run(git).unwrap();
        };
        let commit = || git(&["commit", "--quiet", "--allow-empty", "--message", "a commit"]);
        let newest = || newest_release(folder.path()).unwrap();
        git(&["init", "--quiet", "--initial-branch", "main"]);
        commit();
        git(&["tag", "another"]);
        assert_eq!(newest(), None);
        git(&["tag", "v0.9.0"]);
        git(&["tag", "v0.10.0"]);
        commit();
        git(&["tag", "v0.11.0-rc.1"]);
        assert_eq!(newest().as_deref(), Some("v0.10.0"));
        git(&["checkout", "--quiet", "-b", "other"]);
        commit();
        git(&["tag", "v0.11.0"]);
        assert_eq!(newest().as_deref(), Some("v0.11.0"));
        git(&["checkout", "--quiet", "main"]);
        assert_eq!(newest().as_deref(), Some("v0.10.0"), "that one is on another branch");
    }
}
