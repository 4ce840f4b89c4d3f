//! Podman and buildah without a registry: what would be pulled is made here, of Debian's packages.
//!
//! Their images are below `target/deploy`, so no image of a person who runs the tests is replaced.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{tools::runs, visit::wait_until_ready};
use crate::{
    step::{self, capture, root},
    tools,
};

/// Debian's packages: what runs containers and joins them in networks, and what makes the files of an
/// image.
const PACKAGES: [&str; 7] =
    ["podman", "buildah", "runc", "mmdebstrap", "netavark", "aardvark-dns", "catatonit"];

/// Those of them that are found by `PATH`.
const PROGRAMS: [&str; 4] = ["podman", "buildah", "runc", "mmdebstrap"];

/// Where those are that podman calls.
const HELPERS: [&str; 3] =
    ["/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns", "/usr/bin/catatonit"];

/// The version of Debian that images are made of.
const DEBIAN: &str = "bookworm";

/// What works within a container and without systemd, too: the limits of others, and no crun.
const CONFIGURATION: &str = "\
[containers]
default_ulimits = [\"nofile=1024:4096\", \"nproc=4096:8192\"]
[engine]
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
runtime = \"runc\"
[network]
network_backend = \"netavark\"
";

/// What there is to run containers with.
#[derive(Debug)]
pub(super) struct Containers {
    folder: PathBuf,
}

/// A container that runs, or did. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Container<'a> {
    containers: &'a Containers,
    id: String,
}

impl Containers {
    /// None where they cannot be had, and then a line says so.
    pub(super) fn install() -> Result<Option<Self>> {
        let is_there = || {
            PROGRAMS.into_iter().all(|program| runs(program, "--version"))
                && HELPERS.into_iter().all(|helper| Path::new(helper).exists())
        };
        if !tools::is_root() {
            step::skip("Containers are run by root alone here.");
            return Ok(None);
        }
        if !(is_there() || tools::install_packages(&PACKAGES)? && is_there()) {
            let packages = PACKAGES.join(", ");
            step::skip(format_args!("Containers need Debian's packages {packages}."));
            return Ok(None);
        }
        let folder = root().join("target/deploy");
        fs::create_dir_all(&folder).context("could not make a folder for containers")?;
        let networks = format!("network_config_dir = \"{}/networks\"\n", folder.display());
        fs::write(folder.join("containers.conf"), CONFIGURATION.to_owned() + &networks)?;
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/images\"\nrunroot = \"{0}/run\"\n",
            folder.display()
        );
        fs::write(folder.join("storage.conf"), storage)?;
        Ok(Some(Self { folder }))
    }

    /// Where what is built for containers stays.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a program that calls podman or buildah use what is here.
    pub(super) fn set(&self, mut command: Command) -> Command {
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"));
        command.current_dir(root()).stdin(Stdio::null());
        command
    }

    pub(super) fn podman(&self, arguments: &[&str]) -> Command {
        let mut podman = self.set(Command::new("podman"));
        podman.args(arguments);
        podman
    }

    /// Builds an image of a folder with a `Dockerfile`. What it begins with must be here.
    pub(super) fn build(&self, image: &str, folder: &str, options: &[String]) -> Result<()> {
        let mut buildah = self.set(Command::new("buildah"));
        // With chroot and the network of this machine, it works within a container, too.
        buildah.args(["build", "--isolation=chroot", "--network=host", "--pull-never"]);
        // Each file has the same time, and so has the image.
        buildah.arg("--timestamp=0");
        buildah.args(options).args(["--tag", image, folder]);
        step::run(buildah)?;
        // The image that had the name before.
        said(self.podman(&["image", "prune", "--force"]), "an old image is left").map(drop)
    }

    /// Makes an image of Debian with these packages, unless it is there.
    pub(super) fn debian(&self, name: &str, packages: &[&str]) -> Result<()> {
        let image = format!("localhost/debian:{name}");
        let mut exists = self.podman(&["image", "exists", &image]);
        if exists.status().context("could not ask podman")?.success() {
            println!("{image} is there.");
            return Ok(());
        }
        println!("Makes {image} of Debian's {}, once.", packages.join(", "));
        let files = self.folder.join(format!("{name}.tar"));
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=minbase"]);
        make.arg(format!("--include={}", packages.join(","))).arg(DEBIAN).arg(&files);
        step::run(make)?;
        let mut import = self.podman(&["import", "--quiet"]);
        import.arg(&files).arg(image);
        step::run(import)?;
        fs::remove_file(&files).context("could not remove the files of the image")
    }

    /// Makes what our files call `image`, of `xtask/src/deploy/images/NAME`.
    pub(super) fn stand_in(&self, image: &str, name: &str, options: &[String]) -> Result<()> {
        self.build(image, &format!("xtask/src/deploy/images/{name}"), options)
    }

    /// Starts a container.
    pub(super) fn start(
        &self,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> Result<Container<'_>> {
        let run = [&["run", "--detach"], options, &[image], arguments].concat();
        println!("$ podman {}", run.join(" "));
        self.container(&run)
    }

    /// Takes a file out of an image.
    pub(super) fn take(&self, image: &str, from: &str, file: &Path) -> Result<()> {
        let container = self.container(&["create", image])?;
        let mut copy = self.podman(&["cp"]);
        copy.arg(format!("{}:{from}", container.id)).arg(file);
        said(copy, "the file could not be copied").map(drop)
    }

    fn container(&self, arguments: &[&str]) -> Result<Container<'_>> {
        let id = capture(self.podman(arguments))?.trim_end().to_owned();
        Ok(Container { containers: self, id })
    }
}

impl Container<'_> {
    /// Returns when the app in it can be used at this address.
    pub(super) fn wait_until_ready(&self, address: SocketAddr) -> Result<()> {
        let ready = wait_until_ready(address);
        ready.with_context(|| format!("it has printed:\n{}", self.log().unwrap_or_default()))
    }

    /// Waits for its end, and returns its exit code.
    pub(super) fn code(&self) -> Result<String> {
        let code = capture(self.podman("wait", &[]))?;
        Ok(code.trim_end().to_owned())
    }

    /// Sends SIGTERM, and after so many seconds SIGKILL. Returns its exit code.
    pub(super) fn stop(&self, seconds: u32) -> Result<String> {
        let stopped = self.podman("stop", &[&format!("--time={seconds}")]);
        said(stopped, "it could not be stopped")?;
        self.code()
    }

    pub(super) fn restart(&self) -> Result<()> {
        said(self.podman("restart", &[]), "it could not be restarted").map(drop)
    }

    /// What it has printed.
    pub(super) fn log(&self) -> Result<String> {
        said(self.podman("logs", &[]), "its log could not be read")
    }

    /// Runs a command in it that must go well, and returns what it printed.
    pub(super) fn exec(&self, command: &[&str]) -> Result<String> {
        let mut exec = self.podman("exec", &[]);
        exec.args(command);
        said(exec, &format!("`{}` failed", command.join(" ")))
    }

    /// Puts a file into it.
    pub(super) fn put(&self, file: &Path, to: &str) -> Result<()> {
        let mut copy = self.containers.podman(&["cp"]);
        copy.arg(file).arg(format!("{}:{to}", self.id));
        said(copy, "the file could not be copied").map(drop)
    }

    fn podman(&self, task: &str, options: &[&str]) -> Command {
        let mut podman = self.containers.podman(&[task]);
        podman.args(options).arg(&self.id);
        podman
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let remove = self.podman("rm", &["--force", "--time=1", "--volumes"]);
        if let Err(error) = said(remove, "a container is left") {
            println!("{error:#}");
        }
    }
}

/// Runs a command that must go well, and returns all that it printed.
pub(super) fn said(mut command: Command, what: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("could not start {command:?}"))?;
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    if !status.success() {
        bail!("{what} ({status}):\n{said}");
    }
    Ok(said)
}
