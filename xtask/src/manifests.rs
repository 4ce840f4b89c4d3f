//! `cargo xtask manifests`: the library can be added to an app that has another crate for SQLite.
//!
//! Only one crate in a program may link the C library of SQLite, so cargo refuses an app in which two
//! versions of `libsqlite3-sys` meet. Each manifest below is an app with such a crate, and then the
//! library with its default features and all others but that for SQLite. That cargo finds versions
//! for all of it is enough: nothing is downloaded but the index, and nothing is built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    metadata::{self, LIBRARY},
    step::{self, Steps, cargo, root},
};

/// The dependency that links SQLite. The feature that turns it on is left out.
const SQLITE: &str = "dep:rusqlite";

/// What an app has already, as it stands in its manifest.
const NEIGHBOURS: [(&str, &str); 9] = [
    (
        "sqlx-0.8",
        r#"sqlx = { version = "0.8", features = ["postgres", "runtime-tokio", "sqlite"] }"#,
    ),
    (
        "sqlx-0.9",
        r#"sqlx = { version = "0.9", features = ["postgres", "runtime-tokio", "sqlite"] }"#,
    ),
    (
        "sea-orm-1",
        r#"sea-orm = { version = "1", features = ["runtime-tokio", "sqlx-postgres", "sqlx-sqlite"] }"#,
    ),
    (
        "sea-orm-2",
        r#"sea-orm = { version = "2", features = ["runtime-tokio", "sqlx-postgres", "sqlx-sqlite"] }"#,
    ),
    ("diesel-2", r#"diesel = { version = "2", features = ["postgres", "sqlite"] }"#),
    ("rusqlite-0.31", r#"rusqlite = { version = "0.31", features = ["bundled"] }"#),
    ("rusqlite-0.32", r#"rusqlite = { version = "0.32", features = ["bundled"] }"#),
    ("rusqlite-0.37", r#"rusqlite = { version = "0.37", features = ["bundled"] }"#),
    ("rusqlite-0.38", r#"rusqlite = { version = "0.38", features = ["bundled"] }"#),
];

/// A neighbour that has another version of SQLite's crate than the library.
const CONFLICT: (&str, &str) = ("conflict", r#"rusqlite = { version = "0.31" }"#);

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    steps.run("manifests beside other crates for SQLite", || {
        let (sqlite, others) = features(&metadata::load()?)?;
        let mut refused = Vec::new();
        for (name, dependency) in NEIGHBOURS {
            let app = write(name, dependency, &others)?;
            if step::run(resolve(&app)).is_err() {
                refused.push(name);
            }
        }
        if !refused.is_empty() {
            bail!("{LIBRARY} cannot be added beside {}", refused.join(", "));
        }
        // Were this no conflict, the apps above would show nothing.
        let (name, dependency) = CONFLICT;
        let app = write(name, dependency, &[sqlite])?;
        let status = resolve(&app).stderr(Stdio::null()).status();
        if status.context("could not start cargo")?.success() {
            bail!(
                "two versions of rusqlite in one app are no conflict any more: this check is blind"
            );
        }
        println!(
            "{LIBRARY} can be added beside all of {}.",
            NEIGHBOURS.map(|(name, _)| name).join(", ")
        );
        Ok(())
    })
}

/// The feature of the library that links SQLite, and all others.
fn features(metadata: &Value) -> Result<(String, Vec<String>)> {
    let package = metadata::packages(metadata)
        .iter()
        .find(|package| metadata::string(package, "name") == LIBRARY)
        .with_context(|| format!("{LIBRARY} is not in the workspace"))?;
    let (mut sqlite, others): (Vec<_>, Vec<_>) =
        metadata::features(metadata, LIBRARY).into_iter().partition(|feature| {
            let turns_on = package.get("features").map(|all| metadata::array(all, feature));
            turns_on.is_some_and(|turns_on| turns_on.iter().any(|what| what == SQLITE))
        });
    match (sqlite.pop(), sqlite.is_empty()) {
        (Some(sqlite), true) => Ok((sqlite, others)),
        _ => bail!("not exactly one feature of {LIBRARY} has `{SQLITE}`"),
    }
}

/// Writes an app with one neighbour and the library, and returns the path of its manifest.
fn write(name: &str, neighbour: &str, features: &[String]) -> Result<PathBuf> {
    let app = root().join("target/manifests").join(name);
    let wrong = || format!("could not write {}", app.display());
    fs::create_dir_all(app.join("src")).with_context(wrong)?;
    fs::write(app.join("src/lib.rs"), "").with_context(wrong)?;
    // One of an earlier run would hide what a person meets who adds the library today.
    let _ = fs::remove_file(app.join("Cargo.lock"));
    let library = root().join("crates").join(LIBRARY);
    let manifest = app.join("Cargo.toml");
    fs::write(&manifest, text(name, neighbour, &library.to_string_lossy(), features))
        .with_context(wrong)?;
    Ok(manifest)
}

fn text(name: &str, neighbour: &str, library: &str, features: &[String]) -> String {
    let name = name.replace('.', "-");
    // A path and features are written by TOML as by Rust.
    format!(
        "[workspace]\n\n[package]\nname = \"beside-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{neighbour}\n{LIBRARY} = {{ path = {library:?}, features = {features:?} }}\n"
    )
}

/// Lets cargo look for versions of all that an app needs.
fn resolve(manifest: &Path) -> Command {
    let mut resolve = cargo(&["generate-lockfile", "--quiet", "--manifest-path"]);
    resolve.arg(manifest);
    resolve
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_feature_for_sqlite_is_told_from_the_others() {
        let with =
            |features: Value| json!({ "packages": [{ "name": "ingle", "features": features }] });
        let good = with(json!({ "axum": [], "default": ["axum"], "sqlite": ["dep:rusqlite"] }));
        let (sqlite, others) = features(&good).unwrap();
        assert_eq!(
            (sqlite.as_str(), others.as_slice()),
            ("sqlite", ["axum".to_owned()].as_slice())
        );
        features(&with(json!({ "axum": [] }))).unwrap_err();
        features(&with(json!({ "a": ["dep:rusqlite"], "b": ["dep:rusqlite"] }))).unwrap_err();
    }

    #[test]
    fn a_manifest_has_the_neighbour_and_then_the_library() {
        let text = text("a-0.8", "a = \"0.8\"", "/there", &["x".to_owned(), "y".to_owned()]);
        assert!(text.contains("name = \"beside-a-0-8\"\n"), "{text}");
        let dependencies = "[dependencies]\na = \"0.8\"\n\
                            ingle = { path = \"/there\", features = [\"x\", \"y\"] }\n";
        assert!(text.ends_with(dependencies), "{text}");
    }
}
