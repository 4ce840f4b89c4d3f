//! `cargo xtask package`: the library as it is published, built and tested from its own archive.
//!
//! Cargo builds it from nothing but the archive and the registry. Its tests need `testbed`, which is
//! not published, so they run in a copy of the workspace in which the archive has taken the library's
//! place: a file that the archive lacks is missing there, too.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    metadata,
    step::{self, Steps, cargo, root},
    tracked,
};

/// The crates that are published.
const PUBLISHED: [&str; 1] = ["ingle"];

/// The copy of the workspace.
const COPY: &str = "target/packaged";

/// What the workspace says of the profile, which the archive does not know: with the same, most of
/// what the library depends on is built already.
const PROFILE: [&str; 2] =
    [r#"profile.dev.debug="line-tables-only""#, r#"profile.dev.package."*".debug=false"#];

/// What the tests are built with: all that they can do without a server.
const FEATURES: &str = "axum,conformance";

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    let metadata = metadata::load()?;
    for name in PUBLISHED {
        let version = version(&metadata, name)?;
        steps.run(&format!("package {name}"), || {
            let mut package = cargo(&["package", "--package", name, "--target-dir", "target"]);
            // Whatever is not committed yet is meant to be tried as well.
            package.arg("--allow-dirty").args(PROFILE.iter().flat_map(|set| ["--config", set]));
            step::run(package)
        })?;
        steps.run(&format!("test {name} from its package"), || {
            copy_workspace(name)?;
            unpack(name, version)?;
            mark(version)?;
            let manifest = format!("{COPY}/Cargo.toml");
            let place = ["--package", name, "--manifest-path", &manifest, "--target-dir", "target"];
            step::run(cargo(&[["check", "--all-features"].as_slice(), &place].concat()))?;
            let test = ["test", "--no-default-features", "--features", FEATURES];
            step::run(cargo(&[test.as_slice(), &place].concat()))
        })?;
    }
    Ok(())
}

fn version<'a>(metadata: &'a Value, name: &str) -> Result<&'a str> {
    let is_it = |package: &&Value| {
        metadata::string(package, "name") == name
            && package.get("source").is_some_and(Value::is_null)
    };
    let package = metadata::packages(metadata).iter().find(is_it);
    let package = package.with_context(|| format!("{name} is not in the workspace"))?;
    Ok(metadata::string(package, "version"))
}

/// Copies what git tracks, or would, but for one crate.
fn copy_workspace(without: &str) -> Result<()> {
    let copy = root().join(COPY);
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("could not remove {COPY}"))?;
    }
    let without = format!("crates/{without}/");
    for path in tracked::files()?.iter().filter(|path| !path.starts_with(&without)) {
        let (from, to) = (root().join(path), copy.join(path));
        let folder = to.parent().unwrap_or(&copy);
        let copied = fs::create_dir_all(folder).and_then(|()| fs::copy(&from, &to));
        copied.with_context(|| format!("could not copy {path}"))?;
    }
    Ok(())
}

/// Unpacks the archive to the library's place.
fn unpack(name: &str, version: &str) -> Result<()> {
    let archive = root().join(format!("target/package/{name}-{version}.crate"));
    let crates = root().join(COPY).join("crates");
    let mut tar = Command::new("tar");
    // The archive's files are all of one old time. With it, Cargo would take what it built of an earlier
    // archive for what it builds of this one.
    tar.args(["--extract", "--touch", "--gzip", "--file"]).arg(&archive).current_dir(&crates);
    step::run(tar)?;
    let place = crates.join(name);
    let unpacked = crates.join(format!("{name}-{version}"));
    fs::rename(unpacked, &place).with_context(|| format!("could not rename to {name}"))?;
    // As it was written: the one beside it is for the registry, and lacks what is not published.
    let original = place.join("Cargo.toml.orig");
    fs::rename(original, place.join("Cargo.toml")).context("could not rename Cargo.toml.orig")
}

/// Gives the crates of the copy a version of their own. Cargo tells crates apart by name, version, and place
/// in the workspace. With the same version it would take what it built here for what it builds of the
/// checkout, and see no change there.
fn mark(version: &str) -> Result<()> {
    let manifest = root().join(COPY).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).context("could not read the copy's Cargo.toml")?;
    let marked = marked(&text, version).context("the workspace's Cargo.toml has no version")?;
    fs::write(&manifest, marked).context("could not write the copy's Cargo.toml")
}

fn marked(manifest: &str, version: &str) -> Option<String> {
    let line = format!("\nversion = \"{version}\"\n");
    let marked = format!("\nversion = \"{version}+packaged\"\n");
    manifest.contains(&line).then(|| manifest.replacen(&line, &marked, 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_version_is_the_workspaces_own() {
        let metadata = json!({ "packages": [
            { "name": "ingle", "version": "0.0.9", "source": "a registry" },
            { "name": "ingle", "version": "0.1.0", "source": null },
        ] });
        assert_eq!(version(&metadata, "ingle").unwrap(), "0.1.0");
        version(&metadata, "absent").unwrap_err();
    }

    #[test]
    fn the_copys_crates_have_another_version() {
        let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let metadata = metadata::load().unwrap();
        let version = version(&metadata, "ingle").unwrap();
        let marked = marked(&manifest, version).unwrap();
        assert_eq!(marked.replace("+packaged", ""), manifest);
        assert_eq!(super::marked("[workspace]\n", version), None);
    }
}
