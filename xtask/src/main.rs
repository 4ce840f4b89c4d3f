//! The tasks of this project, started as `cargo xtask TASK`.
//!
//! People and CI run the same code, so a check that fails in CI can be run at home.
//! Each task has its module; `step` runs, names and times what they do.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod api;
mod bench;
mod book;
mod budget;
mod ci;
mod deploy;
mod examples;
mod manifests;
mod metadata;
mod package;
mod providers;
mod semver;
mod step;
mod suite;
mod tidy;
mod tools;
mod torture;
mod tracked;

use std::{env, process::ExitCode};

use step::Steps;

const USAGE: &str = "\
Usage: cargo xtask TASK

Tasks:
  test [ARGS…]  install what the tests need, start the servers that they share, and
                run every test and doctest; ARGS go to `cargo test`
  test-redis NAME
                run the tests of Redis that are built on another server of it, such as
                'Valkey 9.1.2'
  tools         only install what the tests need
  bench [NAME] [OPTIONS]
                measure greetings beside its peers on every store, or what NAME says, and
                write it into docs/benchmarks.md; `--quick` is a look in two minutes, and
                `cargo xtask bench help` tells the rest
  budget [--bless]
                check that a warm request takes no more instructions and allocations than
                bench/budget.txt has, or write that file
  torture [PART…] [--short] [--times N] [--seed N]
                break everything around the app, and check that its promises hold; the
                report is target/torture/report.md
  deploy-test [PART…]
                try the ways to deploy the app as far as one machine can: Google's by
                a fake of it, the others in containers, and each file by the linter of
                its kind
  api [--bless] check that the public API is the one in crates/ingle/public-api.txt, or write it
  semver        check that the version of the library fits what changed since its last release
  manifests     check that the library can be added to apps with other crates for SQLite
  package       build and test the library as it is published
  providers     check that the library leaves the cryptography of TLS to the app
  examples      build and test the example apps
  features      check the library with each of its features alone
  book          build the book of docs/ into target/book, and check its links
  tidy          check the rules that the compiler does not know
  ci            everything that must pass before a change is merged
  help          print this text
";

fn main() -> ExitCode {
    if let Some(code) = api::as_rustdoc() {
        return code;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut steps = Steps::default();
    let result = match args.as_slice() {
        ["test", args @ ..] => suite::run(&mut steps, args),
        [suite::EDITION, name] => suite::on_edition(&mut steps, name),
        [suite::TOOLS] => suite::install(&mut steps),
        ["bench", args @ ..] => bench::run(&mut steps, args),
        ["budget", args @ ..] => budget::run(&mut steps, args),
        ["torture", args @ ..] => torture::run(&mut steps, args),
        ["deploy-test", args @ ..] => deploy::run(&mut steps, args),
        ["api", args @ ..] => api::run(&mut steps, args),
        ["semver"] => semver::run(&mut steps),
        ["manifests"] => manifests::run(&mut steps),
        ["package"] => package::run(&mut steps),
        [examples::TASK] => examples::run(&mut steps),
        [providers::TASK] => providers::run(&mut steps),
        [ci::FEATURES] => ci::each_feature_alone(&mut steps),
        ["book"] => book::run(&mut steps),
        ["tidy"] => steps.run("tidy", tidy::run),
        ["ci"] => ci::run(&mut steps),
        ["help" | "-h" | "--help"] => {
            eprint!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    steps.print_table();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
