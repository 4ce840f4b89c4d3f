//! `cargo xtask test`: prepares what the tests need, then runs all of them.
//!
//! What they need is installed while they are built: much of both is to wait for downloads.
//!
//! What a machine may lack, the tests do without: those that need it are skipped by their names,
//! and a line says so.

use std::{env, net::SocketAddr, process::Command, thread};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Server, axe, chromium, collector, firestore, memcached, oidc, postgres, prometheus,
    redis::{self, Edition},
};

use crate::{
    step::{self, Steps, cargo},
    tools,
};

/// The task that installs what the tests need: [`install`].
pub(crate) const TOOLS: &str = "tools";

/// The task that runs the tests of Redis on one of its other servers: [`on_edition`].
pub(crate) const EDITION: &str = "test-redis";

/// A part of the name of every test that needs Google's emulator of Firestore.
const GOOGLE: &str = "google";

/// A part of the name of every test that needs the tutorial's app.
const TUTORIAL: &str = "tutorial";

/// A part of the name of every test that reads the log by Google's published types.
const PROTOBUF: &str = "protobuf";

/// A part of the name of every test that needs a collector of OpenTelemetry.
const COLLECTOR: &str = "collector";

/// A part of the name of every test that needs Prometheus or its tool.
const PROMETHEUS: &str = "prometheus";

/// A part of the name of every test that asks a real browser.
const CHROMIUM: &str = "chromium";

/// A part of the name of every test that signs in at a provider of OpenID Connect.
const OPENID: &str = "openid";

/// A part of the name of every test that looks for faults of pages by axe.
const AXE: &str = "axe_finds";

/// A part of the name of every test that needs Redis.
const REDIS: &str = "redis";

/// A part of the name of every test that needs the newest Redis as well.
const TWO_EDITIONS: &str = "two_editions";

/// How many servers of Redis are the cluster that tests share.
const CLUSTER: usize = 3;

/// The variable of a server that no test asks for by its address.
const OTHER: &str = "INGLE_TEST_OTHER";

/// A part of the name of every test that needs PostgreSQL, and of those that need PgBouncer as well.
const POSTGRES: &str = "postgres";
const PGBOUNCER: &str = "pgbouncer";

/// The servers that tests share. They are stopped when this is dropped.
#[derive(Default)]
struct Servers {
    running: Vec<(&'static str, Server)>,
}

impl Servers {
    fn add(&mut self, variable: &'static str, server: Server) {
        println!("{} listens on {}.", server.name(), server.address());
        self.running.push((variable, server));
    }

    /// The variables of the environment that tell the tests where they are.
    fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let address = |server: &Server| SocketAddr::to_string(&server.address());
        self.running.iter().map(move |(variable, server)| (*variable, address(server)))
    }
}

/// Installs what the tests need.
pub(crate) fn install(steps: &mut Steps) -> Result<()> {
    steps.run("Firestore emulator", tools::install_hidane)?;
    steps.run("tutorial's app", tools::install_tutorial)?;
    steps.run("PostgreSQL", tools::install_postgres)?;
    steps.run("memcached", tools::install_memcached)?;
    steps.run("Redis", tools::install_redis)?;
    steps.run("other servers of Redis", tools::install_redis_editions)?;
    steps.run("Google's types", tools::install_protobuf)?;
    steps.run("OpenTelemetry's collector", tools::install_collector)?;
    steps.run("Prometheus", tools::install_prometheus)?;
    steps.run("provider of OpenID Connect", tools::install_oidc)?;
    steps.run("axe", tools::install_axe)?;
    steps.run("Chromium", tools::install_chromium)
}

/// Runs all tests of the workspace, doctests too. `args` are handed to `cargo test`.
pub(crate) fn run(steps: &mut Steps, args: &[&str]) -> Result<()> {
    build(steps)?;
    test(steps, args)
}

/// Builds the tests, and installs what they need meanwhile.
pub(crate) fn build(steps: &mut Steps) -> Result<()> {
    // What is installed by half is installed anew, so a build that fails waits for it all the same.
    steps.beside([[TOOLS]], |steps| {
        // Cargo builds a crate's programs for its integration tests, so this builds those as well.
        steps.run("build the tests", || {
            println!("Builds every crate and program with all features.");
            step::run(cargo(&[&TEST, ["--no-run"].as_slice()].concat()))
        })
    })
}

/// Starts the servers, and runs the tests that are built.
pub(crate) fn test(steps: &mut Steps, args: &[&str]) -> Result<()> {
    let mut skipped = Vec::new();
    let servers = steps.run("start the servers", || start(&mut skipped))?;
    steps.run("run the tests", || {
        let skips = skip(args, &skipped);
        if !skipped.is_empty() {
            let parts = skipped.join(", ");
            step::skip_part(format_args!("Tests with these in their names are skipped: {parts}."));
        }
        let mut test = cargo(&[&TEST, args, &skips].concat());
        test.envs(servers.variables());
        step::run_tests(with_threads(test))
    })?;
    // Who names a test wants that one.
    if args.is_empty() {
        drop(servers);
        on_editions(steps)?;
    }
    Ok(())
}

/// Runs the tests of Redis on its other servers, on all at once: where one waits, another goes on.
fn on_editions(steps: &mut Steps) -> Result<()> {
    let (there, missing): (Vec<_>, Vec<_>) =
        Edition::ALL.into_iter().partition(|edition| edition.is_installed());
    for edition in missing {
        let name = edition.name;
        let why = format!("{name} is not installed: its tests are left out.");
        steps.skip(&format!("run the tests of Redis on {name}"), why);
    }
    steps.beside(there.into_iter().map(|edition| [EDITION, edition.name]), |_| Ok(()))
}

/// Runs the tests of Redis on the server of this name.
pub(crate) fn on_edition(steps: &mut Steps, name: &str) -> Result<()> {
    let edition = Edition::ALL.into_iter().find(|edition| edition.name == name);
    let edition = edition.with_context(|| {
        let names = Edition::ALL.map(|edition| format!("`{}`", edition.name));
        format!("there is no `{name}`: there are {}", names.join(", "))
    })?;
    ensure!(edition.is_installed(), "{name} is not installed: `cargo xtask {TOOLS}` does so");
    steps.run(&format!("run the tests of Redis on {}", edition.name), || {
        let mut servers = Servers::default();
        servers.add(redis::SHARED, Server::start(edition.program(&[])?)?);
        for (number, server) in edition.start_cluster(CLUSTER, &[])?.into_iter().enumerate() {
            servers.add(if number == 0 { redis::SHARED_CLUSTER } else { OTHER }, server);
        }
        let missing = (!redis::NEW_REDIS.is_installed()).then_some(TWO_EDITIONS);
        let skips = skip(&[], missing.as_slice());
        let mut test = cargo(&[&TEST, ["--tests", REDIS].as_slice(), &skips].concat());
        test.envs(servers.variables()).env(redis::SERVER, edition.path());
        step::run_tests(with_threads(test))
    })
}

fn with_threads(mut test: Command) -> Command {
    if env::var_os(THREADS).is_none() {
        test.env(THREADS, threads().to_string());
    }
    test
}

const TEST: [&str; 3] = ["test", "--workspace", "--all-features"];

/// The variable that says how many tests run at once.
const THREADS: &str = "RUST_TEST_THREADS";

/// As many as Rust would take, but no fewer than eight: nearly all that a test does is to wait.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).max(8)
}

/// Starts the servers that tests share, and adds to `skipped` what cannot be tested without one.
fn start(skipped: &mut Vec<&str>) -> Result<Servers> {
    if !tools::tutorial_is_installed() {
        skipped.push(TUTORIAL);
    }
    if !chromium::is_installed() {
        skipped.push(CHROMIUM);
    }
    if !oidc::is_installed() {
        skipped.push(OPENID);
    }
    if !axe::is_installed() {
        skipped.push(AXE);
    }
    if !tools::protobuf_is_installed() {
        skipped.push(PROTOBUF);
    }
    if !collector::is_installed() {
        skipped.push(COLLECTOR);
    }
    if !prometheus::is_installed() {
        skipped.push(PROMETHEUS);
    }
    let mut servers = Servers::default();
    servers.add(firestore::SHARED_HIDANE, Server::start(firestore::hidane_program()?)?);
    for variable in memcached::SHARED {
        servers.add(variable, Server::start(memcached::program(&[]))?);
    }
    servers.add(redis::SHARED, Server::start(redis::program(&[])?)?);
    for (number, server) in redis::start_cluster(CLUSTER, &[])?.into_iter().enumerate() {
        // One is enough to find the others.
        servers.add(if number == 0 { redis::SHARED_CLUSTER } else { OTHER }, server);
    }
    if !redis::NEW_REDIS.is_installed() {
        println!("{} is not installed: tests that need it are skipped.", redis::NEW_REDIS.name);
        skipped.push(TWO_EDITIONS);
    }
    if let Some(program) = firestore::google_program() {
        servers.add(firestore::SHARED_GOOGLE, Server::start(program)?);
    } else {
        println!(
            "Google's Firestore emulator is not installed: the tests run on {} alone.",
            firestore::HIDANE.0
        );
        skipped.push(GOOGLE);
    }
    start_postgres(&mut servers, skipped)?;
    Ok(servers)
}

fn start_postgres(servers: &mut Servers, skipped: &mut Vec<&str>) -> Result<()> {
    if !postgres::is_installed() {
        skipped.push(POSTGRES);
        return Ok(());
    }
    let server = Server::start(postgres::program()?)?;
    match postgres::pooler_program(server.address())? {
        Some(program) => servers.add(postgres::SHARED_POOLER, Server::start(program)?),
        None => skipped.push(PGBOUNCER),
    }
    servers.add(postgres::SHARED, server);
    Ok(())
}

/// The arguments after `args` that skip all tests with these parts in their names.
fn skip<'a>(args: &[&str], parts: &[&'a str]) -> Vec<&'a str> {
    // What follows the first `--` goes to the tests.
    let separator = (!parts.is_empty() && !args.contains(&"--")).then_some("--");
    separator.into_iter().chain(parts.iter().flat_map(|part| ["--skip", part])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_follows_what_the_user_says() {
        assert!(skip(&["a_name"], &[]).is_empty());
        assert_eq!(skip(&["a_name"], &[GOOGLE]), ["--", "--skip", "google"]);
        let both = ["--skip", "tutorial", "--skip", "google"];
        assert_eq!(skip(&["a_name", "--", "--nocapture"], &[TUTORIAL, GOOGLE]), both);
    }
}
