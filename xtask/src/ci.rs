//! `cargo xtask ci`: everything that must pass before a change is merged, cheapest first.

use anyhow::{Result, bail};

use crate::{
    api, bench, book, budget, deploy, examples, manifests,
    metadata::{self, LIBRARY},
    package, providers, semver,
    step::{self, Steps, capture, cargo},
    suite, tidy, torture,
};

/// [`each_feature_alone`] as a task.
pub(crate) const FEATURES: &str = "features";

/// Crates that nobody should have to build who did not ask for them.
const NOT_BY_DEFAULT: [&str; 4] = ["tonic", "redis", "tokio-postgres", "openssl-sys"];

/// Every lint of rustdoc that stable Rust knows is an error.
const RUSTDOCFLAGS: &str = "-D warnings -D rustdoc::all";

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    steps.run("tidy", tidy::run)?;
    steps.run("format", || {
        step::run(cargo(&["fmt", "--all", "--check"]))?;
        let others = [bench::PEERS_WORKSPACE.0, book::RENDERER, providers::MANIFEST];
        others.into_iter().try_for_each(|manifest| {
            step::run(cargo(&["fmt", "--all", "--check", "--manifest-path", manifest]))
        })
    })?;
    book::run(steps)?;
    deploy::short(steps)?;
    manifests::run(steps)?;
    let everything = ["--workspace", "--all-targets"];
    steps.run("clippy, default features", || clippy(&everything, &[]))?;
    steps.run("clippy, all features", || clippy(&everything, &["--all-features"]))?;
    tests(steps)?;
    steps.run("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--all-features"]);
        doc.env("RUSTDOCFLAGS", RUSTDOCFLAGS);
        step::run(doc)
    })?;
    api::run(steps, &[])?;
    semver::run(steps)?;
    package::run(steps)?;
    steps.run("default dependencies", default_dependencies)?;
    budget::run(steps, &[])?;
    torture::run(steps, &["--short"])
}

/// The suite, and beside it what else is built for itself: where a test waits, that goes on.
fn tests(steps: &mut Steps) -> Result<()> {
    suite::build(steps)?;
    let tasks = [[examples::TASK], [providers::TASK], [FEATURES]];
    steps.beside(tasks, |steps| suite::test(steps, &[]))
}

/// Checks these with every warning an error.
fn clippy(what: &[&str], features: &[&str]) -> Result<()> {
    step::run(cargo(&[&["clippy"], what, features, &["--", "-D", "warnings"]].concat()))
}

/// The library must build with no feature and with any single one, without a warning. Clippy denies them for the
/// library alone, so that what it depends on is checked once for this and all else.
pub(crate) fn each_feature_alone(steps: &mut Steps) -> Result<()> {
    let library = ["--package", LIBRARY].as_slice();
    let none = ["--no-default-features"].as_slice();
    steps.run("no features", || {
        clippy(library, none)?;
        // The tests turn on the features for tests, so they do not tell of the library by itself.
        clippy(&[library, &["--all-targets"]].concat(), none)
    })?;
    for feature in metadata::features(&metadata::load()?, LIBRARY) {
        steps.run(&format!("feature {feature} alone"), || {
            clippy(library, &[none, &["--features", &feature]].concat())
        })?;
    }
    Ok(())
}

fn default_dependencies() -> Result<()> {
    let tree = ["tree", "--package", LIBRARY, "--edges", "normal", "--prefix", "none"];
    let unwanted = unwanted(&capture(cargo(&tree))?);
    if !unwanted.is_empty() {
        bail!("the default features of {LIBRARY} pull in {}", unwanted.join(", "));
    }
    println!("None of {} is in the default graph.", NOT_BY_DEFAULT.join(", "));
    Ok(())
}

/// Those of [`NOT_BY_DEFAULT`] that a tree names. Each line of it is `NAME vVERSION …`.
fn unwanted(tree: &str) -> Vec<&'static str> {
    let named = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    NOT_BY_DEFAULT.into_iter().filter(|name| named(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heavy_crate_in_the_default_graph_is_found() {
        let tree = "ingle v0.1.0 (somewhere)\nredis v1.0.0\ntonic v0.14.0 (*)\nredis-like v1.0.0\n";
        assert_eq!(unwanted(tree), ["tonic", "redis"]);
        assert!(unwanted("ingle v0.1.0\nredis-like v1.0.0\n").is_empty());
    }
}
