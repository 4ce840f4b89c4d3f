//! The image that the `Dockerfile` makes: the same each time, and it needs no right.

use std::{env, fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};

use super::{
    containers::Containers,
    visit::{Visitors, free_address},
};
use crate::step::{Steps, capture, root};

/// What the image is called here.
pub(super) const IMAGE: &str = "localhost/greetings:latest";
const AGAIN: &str = "localhost/greetings:again";

/// What an image with Rust has that a build needs, but for Rust itself.
const PACKAGES: [&str; 5] = ["ca-certificates", "g++", "gcc", "libc6-dev", "make"];

/// Where Rust and what cargo has loaded are in a build: those of this machine are put there.
const RUST: &str = "/usr/local/rustup";
const REGISTRY: &str = "/usr/local/cargo/registry";

/// Set to build another release than the one of the `Dockerfile`, in less time.
const PROFILE: &str = "CARGO_PROFILE_RELEASE_";

/// What the app has after SIGTERM until podman sends SIGKILL, whose code is 137. It is the one thing here
/// that a machine may be too slow for: platforms give ten.
const SECONDS_TO_STOP: u32 = 1;

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    let Some(containers) = prepare(steps)? else { return Ok(()) };
    steps.run("image, built once more from nothing", || {
        let folder = tempfile::tempdir_in(containers.folder());
        build(&containers, AGAIN, folder.context("could not make a folder")?.path())?;
        let (one, two) = (digest(&containers, IMAGE)?, digest(&containers, AGAIN)?);
        ensure!(one == two, "two builds of the same sources gave {one} and {two}");
        println!("Both are {one}.");
        Ok(())
    })?;
    steps.run("image, without any right", || serves_and_stops(&containers))
}

/// Builds the image, which takes minutes where not all is there from the last time. None where no
/// container can be run.
pub(super) fn prepare(steps: &mut Steps) -> Result<Option<Containers>> {
    let Some(containers) = steps.run("containers", Containers::install)? else { return Ok(None) };
    steps.run("image", || {
        containers.debian("rust", &PACKAGES)?;
        let file = fs::read_to_string(root().join("Dockerfile")).context("could not read it")?;
        let from = file.lines().find_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
        let profile = env::vars().filter(|(name, _)| name.starts_with(PROFILE));
        let profile: Vec<_> =
            profile.map(|(name, value)| format!("--env={name}={value}")).collect();
        containers.stand_in(from.context("the Dockerfile has no FROM")?, "rust", &profile)?;
        let folder = containers.folder().join("build");
        fs::create_dir_all(&folder).context("could not make a folder for the build")?;
        build(&containers, IMAGE, &folder)
    })?;
    Ok(Some(containers))
}

/// Builds the image with this folder for what cargo builds. Whether there is something from the last time
/// in it must make no difference to the image.
fn build(containers: &Containers, image: &str, target: &Path) -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]).current_dir(root());
    let rust = capture(rustc)?;
    let home = env::home_dir().context("there is no home")?.join(".cargo");
    let cargo = env::var_os("CARGO_HOME").map_or(home, Into::into);
    let options = [
        "--no-cache".to_owned(),
        format!("--volume={}:{RUST}:ro", rust.trim_end()),
        format!("--volume={}:{REGISTRY}", cargo.join("registry").display()),
        format!("--volume={}:/src/target", target.display()),
    ];
    containers.build(image, ".", &options)
}

fn digest(containers: &Containers, image: &str) -> Result<String> {
    let inspect = ["image", "inspect", "--format", "{{.Digest}}", image];
    Ok(capture(containers.podman(&inspect))?.trim_end().to_owned())
}

/// It has no right, nothing that it could write to, and a user that it was not made for.
fn serves_and_stops(containers: &Containers) -> Result<()> {
    let address = free_address()?;
    let port = format!("--env=PORT={}", address.port());
    let no_rights = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"];
    let options = [
        &no_rights[..],
        &["--network=host", "--user=12345:12345", &port, "--env=INGLE_STORE=memory:"],
    ]
    .concat();
    let app = containers.start(IMAGE, &options, &["--insecure-http"])?;
    app.wait_until_ready(address)?;
    Visitors::begin(address, 1)?;
    let asked = Instant::now();
    let code = app.stop(SECONDS_TO_STOP)?;
    ensure!(code == "0", "{SECONDS_TO_STOP} s after SIGTERM it has not ended well: {code}");
    println!("It served the page, and ended with 0; podman took {:?} to see it.", asked.elapsed());
    Ok(())
}
