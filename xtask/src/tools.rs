//! What the tests need besides Rust: installed below `target/tools` once, then found there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use testbed::{
    axe, chromium, collector, firestore, memcached, oidc, postgres, prometheus, protobuf, redis,
    tools, tutorial,
};

use crate::step::{self, cargo, root};

mod editions;
mod pip;

pub(crate) use editions::install as install_redis_editions;

/// The oldest Python that all requirements of the tutorial's app run on, and what makes an
/// environment. Some systems have Python without it.
const PYTHON_FITS: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

/// The crate that makes packages for Debian, and its version.
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.8.0");

/// The crate that compares two versions of a library's API, and its version. It reads what rustdoc writes for
/// other programs, so it moves with Rust.
const SEMVER_CHECKS: (&str, &str) = ("cargo-semver-checks", "0.51.0");

/// A profile of cargo for a tool that runs for minutes: to optimize it takes longer than all that it
/// does. It stays a release in all else, so what a debug build checks ends no request of a test.
const TOOL_PROFILE: [&str; 6] = [
    "--profile",
    "tool",
    "--config",
    "profile.tool.inherits='release'",
    "--config",
    "profile.tool.opt-level=0",
];

/// Installs the emulator of Firestore that is written in Rust, for tests. One that is optimized will do.
pub(crate) fn install_hidane() -> Result<()> {
    install_program(firestore::HIDANE).map(drop)
}

/// Installs what makes a package for Debian of a crate, and returns it.
pub(crate) fn install_cargo_deb() -> Result<PathBuf> {
    install_program(CARGO_DEB)
}

/// Installs what compares two versions of a library's API, and returns it.
pub(crate) fn install_semver_checks() -> Result<PathBuf> {
    install_program(SEMVER_CHECKS)
}

/// Installs a program of crates.io in this version, not optimized.
fn install_program((name, version): (&str, &str)) -> Result<PathBuf> {
    let program = tools::folder().join("bin").join(name);
    let there = printed(Command::new(&program).arg("--version"));
    if there.is_some_and(|printed| printed.trim_end() == format!("{name} {version}")) {
        println!("{name} {version} is there.");
        return Ok(program);
    }
    println!("Builds {name} {version}, once. It takes a minute or two.");
    build(name, version, &[["--force"].as_slice(), &TOOL_PROFILE].concat())?;
    Ok(program)
}

/// Installs it as it is measured: optimized.
pub(crate) fn install_optimized_hidane() -> Result<()> {
    let (name, version) = firestore::HIDANE;
    // Cargo knows whether it is there, and by which profile it was built.
    println!("Builds {name} {version} optimized, which takes minutes, unless it is there.");
    build(name, version, &[])
}

/// Builds a program of crates.io into the folder of tools.
fn build(name: &str, version: &str, how: &[&str]) -> Result<()> {
    let folder = tools::folder();
    let install = ["install", name, "--version", version, "--locked"];
    let mut install = cargo(&[&install, how].concat());
    // A folder of its own: the build of the workspace is not waited for, and not made anew.
    let build = folder.join("build");
    install.arg("--root").arg(&folder).env("CARGO_TARGET_DIR", &build);
    step::run(install)?;
    if build.exists() {
        // Hundreds of megabytes that nothing needs any more.
        fs::remove_dir_all(&build)
            .with_context(|| format!("could not remove {}", build.display()))?;
    }
    Ok(())
}

/// Installs memcached where it is missing, as Debian's package.
pub(crate) fn install_memcached() -> Result<()> {
    let version = || printed(Command::new(memcached::NAME).arg("--version"));
    if version().is_none() {
        let package = "memcached";
        if !install_packages(&[package])? {
            bail!("{package} is not installed: on Debian, `apt-get install {package}`");
        }
    }
    let version = version().context("memcached is installed, and does not run")?;
    println!("{} is there.", version.trim_end());
    Ok(())
}

/// Installs Redis where it is missing, as Debian's package.
pub(crate) fn install_redis() -> Result<()> {
    let (package, program) = redis::PACKAGE;
    let version = || printed(Command::new(program).arg("--version"));
    if version().is_none() && !install_packages(&[package])? {
        bail!("{package} is not installed: on Debian, `apt-get install {package}`");
    }
    let version = version().context("Redis is installed, and does not run")?;
    println!("{} is there.", version.trim_end());
    Ok(())
}

/// Installs strace where it is missing and this is root on Debian or the like. Without it the torture
/// lets no disk fail, and says so.
pub(crate) fn install_strace() -> Result<()> {
    let version = || printed(Command::new("strace").arg("--version"));
    if version().is_none() && !install_packages(&["strace"])? {
        step::skip("strace is not installed: on Debian, `apt-get install strace`.");
        return Ok(());
    }
    let version = version().context("strace is installed, and does not run")?;
    println!("{} is there.", version.lines().next().unwrap_or("strace"));
    Ok(())
}

/// Installs valgrind where it is missing, as Debian's package. False where it cannot be had: a line says so.
pub(crate) fn install_valgrind() -> Result<bool> {
    let version = || printed(Command::new("valgrind").arg("--version"));
    if version().is_none()
        && let Err(error) = install_packages(&["valgrind"])
    {
        println!("valgrind could not be installed: {error:#}.");
    }
    let Some(version) = version() else {
        step::skip(
            "valgrind is not installed (on Debian, `apt-get install valgrind`): nothing is counted.",
        );
        return Ok(false);
    };
    println!("{} is there.", version.trim_end());
    Ok(true)
}

/// Makes the Python environment of the tutorial's app. False if there is no Python for it.
pub(crate) fn install_tutorial() -> Result<bool> {
    let is_there = install_python(&tutorial::environment(), &tutorial::requirements())?;
    if !is_there {
        println!("Tests that need the tutorial's app are skipped.");
    }
    Ok(is_there)
}

/// Whether [`install_tutorial`] found a Python, which is there still.
pub(crate) fn tutorial_is_installed() -> bool {
    tutorial::environment().join("bin/python").is_file()
}

/// Makes the Python environment with Google's types of log entries.
pub(crate) fn install_protobuf() -> Result<()> {
    if !install_python(&protobuf::environment(), &protobuf::requirements())? {
        println!("Tests that read the log by Google's types are skipped.");
    }
    Ok(())
}

/// Whether [`install_protobuf`] found a Python, which is there still.
pub(crate) fn protobuf_is_installed() -> bool {
    protobuf::environment().join("bin/python").is_file()
}

/// Installs a collector of OpenTelemetry.
pub(crate) fn install_collector() -> Result<()> {
    if !install_python(&collector::environment(), &collector::requirements())? {
        println!("Tests that send traces to a collector are skipped.");
    }
    Ok(())
}

/// Unpacks Prometheus from Debian's package, where there is Debian or the like: two programs that need
/// no more than the C library. Nothing of the system is changed, and no service is started.
pub(crate) fn install_prometheus() -> Result<()> {
    let (package, folder) = (prometheus::PACKAGE, prometheus::folder());
    if prometheus::is_installed() {
        println!("Prometheus is there.");
        return Ok(());
    }
    println!("Unpacks Debian's package {package} into {}, once.", folder.display());
    let downloads = tempfile::tempdir().context("could not make a folder for the package")?;
    let unpacked = || -> Result<()> {
        let mut download = Command::new("apt-get");
        download.args(["download", "--quiet", package]).current_dir(&downloads);
        step::run(download)?;
        for file in fs::read_dir(&downloads).context("could not list the package")? {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(file.context("could not list the package")?.path());
            unpack.arg(&folder);
            step::run(unpack)?;
        }
        Ok(())
    };
    if let Err(error) = unpacked() {
        println!("Prometheus could not be unpacked ({error:#}): tests that need it are skipped.");
    }
    Ok(())
}

/// Installs the provider of OpenID Connect, where Node is, by the versions and hashes of its lock file.
/// Nothing of a package is run then.
pub(crate) fn install_oidc() -> Result<()> {
    if oidc::is_installed() {
        println!("oidc-provider is there.");
        return Ok(());
    }
    if !is_node_there() {
        println!("Node is not installed: tests that sign in at a provider are skipped.");
        return Ok(());
    }
    let folder = oidc::folder();
    println!("Installs oidc-provider into {}, once.", folder.display());
    fs::create_dir_all(&folder).context("could not make the folder of oidc-provider")?;
    let copy = |name: &str| {
        let copied = fs::copy(oidc::files().join(name), folder.join(name));
        copied.map(drop).with_context(|| format!("could not copy {name}"))
    };
    let [manifest, lock, provider] = oidc::FILES;
    // Last comes the provider itself, so where it is, all is there.
    if folder.join(provider).exists() {
        fs::remove_file(folder.join(provider)).context("could not remove an old oidc-provider")?;
    }
    copy(manifest)?;
    copy(lock)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    if let Err(error) = step::run(npm) {
        println!("It could not be installed ({error:#}): tests that need it are skipped.");
        return Ok(());
    }
    copy(provider)
}

fn is_node_there() -> bool {
    ["node", "npm"].iter().all(|name| printed(Command::new(name).arg("--version")).is_some())
}

/// Makes the Python environment of a peer of the benchmark, where there is Python.
pub(crate) fn install_flask_session() -> Result<()> {
    let requirements = root().join("bench/peers/flask-session/requirements.txt");
    install_python(&tools::folder().join("flask-session"), &requirements).map(drop)
}

/// Installs a peer of the benchmark that runs on Node, where that is there.
pub(crate) fn install_express() -> Result<()> {
    let from = root().join("bench/peers/express");
    let folder = tools::folder().join("express");
    if !is_node_there() {
        println!("Node is not installed: express-session is left out.");
        return Ok(());
    }
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let same = |name: &str| read(&folder.join(name)) == read(&from.join(name));
    // The app is copied last, so where it is, all is there.
    if same("package.json") && same("app.mjs") {
        println!("express-session is there.");
        return Ok(());
    }
    println!("Installs express-session into {}, once.", folder.display());
    fs::create_dir_all(&folder).context("could not make the folder of express-session")?;
    let copy = |name: &str| {
        let copied = fs::copy(from.join(name), folder.join(name));
        copied.map(drop).with_context(|| format!("could not copy {name}"))
    };
    copy("package.json")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&folder);
    step::run(npm)?;
    copy("app.mjs")
}

/// Makes a Python environment with what a file asks for. False if there is no Python for it.
pub(crate) fn install_python(folder: &Path, requirements: &Path) -> Result<bool> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("could not read {}", requirements.display()))?;
    // Written last, so where it is, all is there. A Python that was removed since leaves a link
    // that leads nowhere.
    let installed = folder.join("installed.txt");
    let is_there = fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted);
    if is_there && folder.join("bin/python").is_file() {
        println!("{} is there.", wanted.split_whitespace().collect::<Vec<_>>().join(", "));
        return Ok(true);
    }
    let fits = |python: &&str| printed(Command::new(python).args(["-c", PYTHON_FITS])).is_some();
    let Some(python) = ["python3", "python"].into_iter().find(fits) else {
        println!("Python 3.10 or later, with venv, is not installed.");
        return Ok(false);
    };
    println!("Installs what is needed into {}, once.", folder.display());
    let mut environment = Command::new(python);
    environment.args(["-m", "venv", "--clear"]).arg(folder);
    step::run(environment)?;
    let mut install = Command::new(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.arg("--requirement").arg(requirements);
    step::run(install)?;
    fs::write(&installed, wanted)
        .with_context(|| format!("could not write {}", installed.display()))?;
    Ok(true)
}

/// Installs PostgreSQL and PgBouncer where this is root on Debian or the like, and says what to
/// install elsewhere.
pub(crate) fn install_postgres() -> Result<()> {
    if postgres::is_installed() && postgres::pooler_is_installed() {
        println!("PostgreSQL and PgBouncer are there.");
        return Ok(());
    }
    let packages = ["postgresql", "pgbouncer"];
    if !install_packages(&packages)? {
        println!(
            "PostgreSQL or PgBouncer is not installed (Debian's packages are {}): \
             tests that need them are skipped.",
            packages.join(" and ")
        );
    }
    Ok(())
}

/// Installs Chromium and its driver where this is root on Debian or the like, and says what to install
/// elsewhere. Some hundred megabytes, so where they cannot be had the tests do without.
pub(crate) fn install_chromium() -> Result<()> {
    if chromium::is_installed() {
        println!("Chromium and its driver are there.");
        return Ok(());
    }
    let packages = chromium::PACKAGES;
    let installed = install_packages(&packages);
    if !chromium::is_installed() {
        if let Err(error) = &installed {
            println!("They could not be installed: {error:#}.");
        }
        println!(
            "Chromium or its driver is not installed (Debian's packages are {}): \
             tests that need a browser are skipped.",
            packages.join(" and ")
        );
    }
    Ok(())
}

/// The package that carries axe-core.
const AXE: pip::Package = pip::Package {
    requirement: "axe-playwright-python==0.1.8 \
                  --hash=sha256:fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8",
    file: "axe_playwright_python-0.1.8-py3-none-any.whl",
};

/// Puts axe-core, a script that looks for faults of pages, where the tests find it.
pub(crate) fn install_axe() -> Result<()> {
    if axe::is_installed() {
        println!("{} is there.", axe::NAME);
        return Ok(());
    }
    println!("Takes {} from the Python package that carries it, once.", axe::NAME);
    let folder = tools::folder().join("build-axe");
    let installed = AXE.unpack(&folder).and_then(|()| {
        // Renamed at last, so where it is, it is whole.
        fs::rename(folder.join("axe_playwright_python/axe.min.js"), axe::script())?;
        fs::remove_dir_all(&folder).context("could not remove what it was made from")
    });
    if let Err(error) = installed {
        println!("It could not be installed ({error:#}): tests that need it are skipped.");
    }
    Ok(())
}

/// Installs Debian's packages. False where this is not root on Debian or the like. A server that a
/// package brings is not started where this system keeps packages from that; should it be, it is in
/// nobody's way: the tests' servers have ports of their own.
pub(crate) fn install_packages(packages: &[&str]) -> Result<bool> {
    if !is_root() || printed(Command::new("apt-get").arg("--version")).is_none() {
        return Ok(false);
    }
    println!("Installs {} by apt-get, once.", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        // Another one may be at work.
        apt.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdin(Stdio::null());
        step::run(apt)
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // Lists of packages that are old, or none, are the usual reason to fail.
    apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))?;
    Ok(true)
}

pub(crate) fn is_root() -> bool {
    printed(Command::new("id").arg("-u")).is_some_and(|id| id.trim_end() == "0")
}

/// What a command prints, or none if it cannot be run or fails.
fn printed(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
