//! `cargo xtask deploy-test`: all ways to deploy the app, as far as one machine can try them.
//!
//! Each part is a module, and can be run alone by its name. A tool that is missing is installed where that
//! is possible; where not, a line says what is skipped. Google itself is not asked: `gcloud` talks to the
//! fake in `testbed::google`.

use anyhow::{Result, bail};

use crate::step::Steps;

mod commands;
mod compose;
mod containers;
mod freezes;
mod google;
mod image;
mod lint;
mod production;
mod systemd;
mod tools;
mod visit;

/// A part by its name, and what it runs.
type Part = (&'static str, fn(&mut Steps) -> Result<()>);

const PARTS: [Part; 9] = [
    ("lint", lint::run),
    ("commands", commands::run),
    ("cloud-run", google::on_cloud_run),
    ("app-engine", google::on_app_engine),
    ("freezes", freezes::run),
    ("image", image::run),
    ("production", production::run),
    ("compose", compose::run),
    ("systemd", systemd::run),
];

/// Runs these parts, or all.
pub(crate) fn run(steps: &mut Steps, names: &[&str]) -> Result<()> {
    let known = PARTS.map(|(name, _)| name);
    if let Some(wrong) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no part {wrong} of the deployment's tests, only {}", known.join(", "));
    }
    let wanted = PARTS.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
    wanted.map(|(_, part)| part).try_for_each(|part| part(steps))
}

/// What needs no server, no build and no container.
pub(crate) fn short(steps: &mut Steps) -> Result<()> {
    lint::run(steps)?;
    commands::run(steps)
}
