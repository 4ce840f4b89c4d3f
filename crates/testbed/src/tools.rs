//! Where the programs are that the project installs for its tests.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// Holds the folder, where it is not the usual one.
const VARIABLE: &str = "INGLE_TEST_TOOLS";

/// The folder of all tools: `target/tools` of the workspace, or what `INGLE_TEST_TOOLS` says. Tests
/// run in several folders, so what is relative is so to the workspace.
#[must_use]
pub fn folder() -> PathBuf {
    workspace().join(env::var_os(VARIABLE).unwrap_or_else(|| "target/tools".into()))
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}

/// A tool that `cargo xtask test` installs at this place below [`folder`].
pub(crate) fn installed(place: &str) -> Result<PathBuf> {
    let path = folder().join(place);
    if !path.is_file() {
        bail!("{} does not exist: run `cargo xtask test`, which installs it", path.display());
    }
    Ok(path)
}
