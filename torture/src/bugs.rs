//! Tests of the tests: bugs are planted in the library, and its tests must find each of them.
//!
//! Each bug is a patch below `torture/bugs`, and none is in the product. `copy.rs` makes a copy of the
//! tree with all of them, which is built once; which one is active, a variable tells each run of the
//! tests. `list.rs` has the tests that should see each bug. In the short form these alone are run,
//! until the first one fails. Otherwise all tests of the library are, on the stores in memory, in a file
//! and on memcached.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::{Server, memcached};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::{Instant, timeout_at},
};

use crate::{
    cargo::patient_cargo,
    options::{Length, Options},
    report::Section,
};

mod copy;
mod list;

use list::{BUGS, Bug, Program};

/// After this long a run of tests is taken for stuck, which is no way to pass.
const RUN_MAX: Duration = Duration::from_secs(300);

/// How many of the tests that failed are named.
const NAMED_MAX: usize = 3;

/// The programs of tests, with the bugs in them, and the servers that they need.
pub(crate) struct Suite {
    programs: BTreeMap<Program, PathBuf>,
    servers: Vec<(&'static str, Server)>,
    /// The copy of the tree.
    copy: PathBuf,
    built_in: Duration,
}

/// Which tests are run.
#[derive(Clone, Copy)]
enum Tests<'a> {
    /// Those with one of these in their names, until one fails.
    Named(&'a [&'a str]),
    /// All, until one fails.
    First,
    /// All.
    All,
}

/// What came of one run of a program's tests.
#[derive(Debug, Default)]
struct Run {
    passed: usize,
    failed: BTreeSet<String>,
    /// It did not end.
    stuck: bool,
}

pub(crate) async fn run(options: &Options, suite: &Suite) -> Result<Section> {
    let begun = Instant::now();
    let all = options.length != Length::Short;
    let mut section = Section { name: "bugs", ..Section::default() };
    let mut sound = Run::default();
    // A test that fails now and then would seem to catch anything.
    for _ in 0..options.count(1, 2) {
        sound.add(suite.control(all).await?);
    }
    for failed in &sound.failed {
        section.broken.push(format!("without any bug, {failed} fails as well"));
    }
    let mut rows = String::new();
    let mut caught = 0;
    for bug in &BUGS {
        let seen = suite.seek(bug, all).await?;
        let named: Vec<_> = seen.failed.iter().map(|test| format!("`{test}`")).collect();
        let more = named.len().saturating_sub(NAMED_MAX);
        let mut catchers = named.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
        if more > 0 {
            let _ = write!(catchers, " and {more} more");
        }
        if seen.stuck {
            catchers.push_str(" (and some test did not end)");
        }
        let Bug { name, what, place, .. } = bug;
        if seen.failed.is_empty() {
            section.broken.push(format!("{name} ({what}) was caught by no test"));
        } else {
            caught += 1;
        }
        println!("{name}: {catchers}");
        let _ = writeln!(rows, "| {name} | {what} | {place} | {catchers} |");
    }
    let planted = BUGS.len();
    section.text = format!(
        "{planted} bugs were planted, one at a time, and {caught} caught. Without any, the same \
         tests passed {} times. Built in {} s, run in {} s.\n\n\
         | bug | what | planted in | caught by |\n|---|---|---|---|\n{rows}",
        sound.passed,
        suite.built_in.as_secs(),
        begun.elapsed().as_secs(),
    );
    Ok(section)
}

impl Suite {
    /// Builds the tests of the library with the bugs in it, and starts the servers.
    pub(crate) async fn build() -> Result<Self> {
        println!("Builds the tests of a copy of the library with the bugs in it.");
        let begun = Instant::now();
        let copy = copy::with_bugs()?;
        // The stores on other servers have no bugs, and take long to build.
        let mut cargo =
            patient_cargo(["test", "--package", "ingle", "--features", "memcached,metrics,sqlite"]);
        cargo.args(["--lib", "--test", "it", "--no-run"]);
        cargo.arg("--message-format=json-render-diagnostics");
        // With the dependencies that are built already.
        cargo.current_dir(&copy).env("CARGO_TARGET_DIR", copy::target());
        let built = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().await?;
        ensure!(built.status.success(), "the library could not be built with the bugs in it");
        let messages = String::from_utf8_lossy(&built.stdout);
        let mut programs = BTreeMap::new();
        for program in Program::ALL {
            let path = messages.lines().find_map(|line| executable(line, program.target()));
            let path = path.with_context(|| format!("`{}` was not built", program.target()))?;
            programs.insert(program, path);
        }
        let servers = memcached::SHARED.into_iter();
        let servers = servers
            .map(|variable| Ok((variable, Server::start(memcached::program(&[]))?)))
            .collect::<Result<_>>()?;
        Ok(Self { programs, servers, copy, built_in: begun.elapsed() })
    }

    /// The same tests without any bug: what fails there would catch anything.
    async fn control(&self, all: bool) -> Result<Run> {
        let mut sound = Run::default();
        for program in Program::ALL {
            let of_program = BUGS.iter().filter(|bug| bug.program == program);
            let tests: Vec<&str> = of_program.flat_map(|bug| bug.tests).copied().collect();
            let tests = if all { Tests::All } else { Tests::Named(&tests) };
            sound.add(self.run(program, tests, None).await?);
        }
        ensure!(!sound.stuck, "the tests do not end, without any bug");
        Ok(sound)
    }

    /// The tests that fail when a bug is active.
    async fn seek(&self, bug: &Bug, all: bool) -> Result<Run> {
        let mut seen = Run::default();
        if all {
            for program in Program::ALL {
                seen.add(self.run(program, Tests::All, Some(bug)).await?);
            }
            return Ok(seen);
        }
        seen.add(self.run(bug.program, Tests::Named(bug.tests), Some(bug)).await?);
        for program in Program::ALL {
            if seen.failed.is_empty() {
                seen.add(self.run(program, Tests::First, Some(bug)).await?);
            }
        }
        Ok(seen)
    }

    async fn run(&self, program: Program, tests: Tests<'_>, bug: Option<&Bug>) -> Result<Run> {
        let path = self.programs.get(&program).context("it was built")?;
        let mut command = Command::new(path);
        // Where Cargo runs them.
        command.current_dir(self.copy.join("crates/ingle"));
        command.envs(self.servers.iter().map(|(name, at)| (*name, at.address().to_string())));
        match bug {
            Some(bug) => command.env("INGLE_PLANTED", bug.name),
            None => command.env_remove("INGLE_PLANTED"),
        };
        if let Tests::Named(parts) = tests {
            command.args(parts);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = command.kill_on_drop(true).spawn().context("could not run the tests")?;
        let output = running.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let (mut run, until) = (Run::default(), Instant::now() + RUN_MAX);
        loop {
            match timeout_at(until, lines.next_line()).await {
                Ok(line) => match line? {
                    Some(line) => run.note(&line),
                    None => break,
                },
                Err(_) => {
                    run.stuck = true;
                    break;
                }
            }
            // With no bug, all that fail are of interest.
            if bug.is_some() && !run.failed.is_empty() && !matches!(tests, Tests::All) {
                break;
            }
        }
        running.kill().await.context("could not end the tests")?;
        if run.passed == 0 && run.failed.is_empty() && !run.stuck {
            bail!("there are no such tests in `{}`", program.target());
        }
        Ok(run)
    }
}

impl Run {
    /// Reads a line as `test NAME ... ok`.
    fn note(&mut self, line: &str) {
        let verdict = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        match verdict {
            Some((_, "ok")) => self.passed += 1,
            Some((test, "FAILED")) => _ = self.failed.insert(test.to_owned()),
            _ => {}
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.stuck |= other.stuck;
    }
}

/// The program of tests of the library that a message of Cargo's tells of, if it is this target's.
fn executable(message: &str, target: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let of_library = message.get("manifest_path")?.as_str()?.ends_with("crates/ingle/Cargo.toml");
    let is_it = message.get("target")?.get("name")?.as_str()? == target;
    let path = message.get("executable")?.as_str()?;
    (of_library && is_it).then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verdicts_are_read() {
        let mut run = Run::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test a::d ... ignored",
            "test result: FAILED. 1 passed; 1 failed",
            "---- a::c stdout ----",
        ] {
            run.note(line);
        }
        assert_eq!(
            (run.passed, run.failed.into_iter().collect::<Vec<_>>()),
            (1, vec!["a::c".into()])
        );
    }

    #[test]
    fn each_bug_of_the_list_has_its_place_once() {
        let numbers = BUGS.iter().map(|bug| bug.name[1..].parse().unwrap());
        assert_eq!(numbers.collect::<Vec<usize>>(), (1..=BUGS.len()).collect::<Vec<_>>());
    }

    #[test]
    fn the_library_s_tests_are_found_among_the_messages() {
        let message = |manifest: &str, name: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}",
                    "target":{{"name":"{name}"}},"executable":"somewhere"}}"#
            )
        };
        let found = |manifest, name| executable(&message(manifest, name), "it").is_some();
        assert!(found("x/crates/ingle/Cargo.toml", "it"));
        assert!(!found("x/crates/greetings/Cargo.toml", "it"));
        assert!(!found("x/crates/ingle/Cargo.toml", "ingle"));
        assert!(executable(r#"{"reason":"build-finished"}"#, "it").is_none());
    }
}
