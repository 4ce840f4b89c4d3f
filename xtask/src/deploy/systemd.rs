//! The package for Debian, on a machine with systemd that is a container: the service comes back, an
//! upgrade and a reboot lose no view, and a purge leaves the sessions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::http;

use super::{
    containers::{Container, Containers},
    image::{self, IMAGE},
    visit::{Visitors, free_address, wait_until, wait_until_ready},
};
use crate::{
    step::{self, Steps, root},
    tools,
};

/// What a machine with Debian has, and a minimal one not.
const PACKAGES: [&str; 3] = ["systemd", "systemd-sysv", "dbus"];

const MACHINE: &str = "localhost/machine:latest";

/// The program, its package and its service.
const NAME: &str = "greetings";

/// Where the package is on the machine, and what installs it.
const PACKAGE: &str = "/greetings.deb";
const INSTALL: [&str; 3] = ["dpkg", "--install", PACKAGE];

/// What `systemd-analyze security` may say at most, in tenths.
const EXPOSURE: &str = "--threshold=20";

const VISITORS: usize = 8;

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    let Some(containers) = image::prepare(steps)? else { return Ok(()) };
    let cargo_deb = steps.run("cargo-deb", tools::install_cargo_deb)?;
    let package = steps.run("package for Debian", || make(&containers, &cargo_deb))?;
    steps.run("machine with systemd", || {
        containers.debian("systemd", &PACKAGES)?;
        containers.stand_in(MACHINE, "systemd", &[])
    })?;
    steps.run("package on a machine with systemd", || lives(&containers, &package))
}

/// Packs the program of the image, which is built already.
fn make(containers: &Containers, cargo_deb: &Path) -> Result<PathBuf> {
    let folder = containers.folder().join("package");
    let built = folder.join("release");
    fs::create_dir_all(&built).context("could not make a folder for the package")?;
    containers.take(IMAGE, &format!("/{NAME}"), &built.join(NAME))?;
    let package = folder.join("greetings.deb");
    let mut deb = Command::new(cargo_deb);
    deb.args(["--no-build", "--fast", "--package", NAME, "--output"]).arg(&package);
    deb.env("CARGO_TARGET_DIR", &folder).current_dir(root());
    step::run(deb)?;
    Ok(package)
}

fn lives(containers: &Containers, package: &Path) -> Result<()> {
    let address = free_address()?;
    let port = format!("--publish={address}:80");
    // Systemd is given the machine that it believes to have.
    let machine = containers.start(MACHINE, &["--systemd=always", "--privileged", &port], &[])?;
    wait_until_booted(&machine)?;
    machine.put(package, PACKAGE)?;
    machine.exec(&INSTALL)?;
    wait_until_ready(address)?;
    println!("It runs as soon as it is installed.");
    let mut visitors = Visitors::begin(address, VISITORS)?;

    println!("It is killed.");
    visitors.during(|| {
        machine.exec(&["systemctl", "kill", "--signal=KILL", NAME])?;
        wait_until("systemd has started it again", || Ok(shown(&machine, "NRestarts")? != "0"))?;
        wait_until_ready(address)
    })?;
    println!("The package is installed once more.");
    let before = shown(&machine, "MainPID")?;
    visitors.during(|| {
        machine.exec(&INSTALL)?;
        wait_until_ready(address)
    })?;
    ensure!(shown(&machine, "MainPID")? != before, "the old program runs still");

    println!("The machine is started anew.");
    machine.restart()?;
    wait_until_ready(address)?;
    visitors.find_their_views()?;

    let rated = machine.exec(&["systemd-analyze", "security", EXPOSURE, NAME])?;
    println!("{}", rated.lines().last().unwrap_or_default());

    println!("The package is purged, and installed again.");
    machine.exec(&["dpkg", "--purge", NAME])?;
    let status = http::status(address, "/ready", Duration::from_secs(1));
    ensure!(status.is_none(), "it answers still, with {status:?}");
    machine.exec(&INSTALL)?;
    wait_until_ready(address)?;
    visitors.find_their_views()
}

fn wait_until_booted(machine: &Container<'_>) -> Result<()> {
    let running = ["systemctl", "is-system-running"];
    // Until it is, the command fails.
    wait_until("the machine has booted", || Ok(machine.exec(&running).is_ok()))
}

/// A property of the service.
fn shown(machine: &Container<'_>, property: &str) -> Result<String> {
    let property = format!("--property={property}");
    let shown = machine.exec(&["systemctl", "show", &property, "--value", NAME])?;
    Ok(shown.trim().to_owned())
}
