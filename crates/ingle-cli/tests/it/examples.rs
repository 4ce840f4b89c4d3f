//! Each help has examples, and each runs as it is printed.

use std::{path::Path, process::Command};

use crate::{Ended, PROGRAM, commands::on_each_store, place::Place, program, run};

/// The commands that have help of their own.
const COMMANDS: [&[&str]; 22] = [
    &[],
    &["sessions"],
    &["sessions", "list"],
    &["sessions", "show"],
    &["sessions", "set"],
    &["sessions", "unset"],
    &["sessions", "edit"],
    &["sessions", "end"],
    &["sessions", "watch"],
    &["users"],
    &["users", "list"],
    &["users", "end"],
    &["console"],
    &["audit"],
    &["sweep"],
    &["stats"],
    &["export"],
    &["doctor"],
    &["cost"],
    &["migrate"],
    &["completions"],
    &["man"],
];

on_each_store! {
    each_help_has_examples_that_run_as_printed
    the_examples_of_the_page_for_operators_run_one_after_the_other
}

async fn each_help_has_examples_that_run_as_printed(place: Place) {
    let mut n_examples = 0;
    for command in COMMANDS {
        let help = run(&place, &[command, &["--help"]].concat()).ok().stdout;
        let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  $ ")).collect();
        assert!(!examples.is_empty(), "{command:?}: {help}");
        for example in examples {
            // Each on sessions of its own, since some end them.
            run_as_printed(&place.another().filled().await, example);
            n_examples += 1;
        }
    }
    assert!(n_examples > 25, "{n_examples}");
}

fn run_as_printed(place: &Place, example: &str) {
    if example.starts_with("ingle console ") {
        return crate::console::starts_as_printed(place, example);
    }
    let folder = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    // A pipe fails where any part of it does.
    shell.args(["-c", &format!("set -e\n{example}")]);
    shell.env("PATH", path).env("INGLE_STORE", &place.url).current_dir(place.folder());
    shell.envs(place.environment.iter().map(|(name, value)| (name, value)));
    // However busy the machine is.
    shell.env("INGLE_TIMEOUT", "2m");
    let ended = Ended::of(shell.output().unwrap());
    // The servers that tests share keep nothing on a disk, and the doctor says so.
    let is_told = example.starts_with("ingle doctor") && ended.stdout.contains("append-only file");
    let code = i32::from(is_told);
    assert!(ended.code == code && !ended.stderr.contains("ingle: error"), "{example}: {ended:?}");
}

async fn the_examples_of_the_page_for_operators_run_one_after_the_other(place: Place) {
    let page = include_str!("../../../../docs/cli.md");
    let examples: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(examples.len() > 5, "{examples:?}");
    for example in examples {
        run_as_printed(&place, example);
    }
}

#[tokio::test]
async fn no_command_is_without_help_and_no_help_without_its_command() {
    let place = Place::sqlite().filled().await;
    let mut found = 1;
    for command in COMMANDS {
        let help = run(&place, &[command, &["--help"]].concat()).ok().stdout;
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let named = commands.take_while(|line| line.starts_with("  "));
        found += named.filter(|line| !line.trim_start().starts_with("help ")).count();
    }
    assert_eq!(found, COMMANDS.len(), "each command is looked at above");
}

#[test]
fn a_manual_and_completions_come_from_the_options() {
    let place = Place::sqlite();
    let mut without = program(&place);
    without.env_remove("INGLE_STORE").args(["completions", "bash"]);
    let completions = Ended::of(without.output().unwrap()).ok().stdout;
    assert!(completions.contains("INGLE_COMPLETE"), "{completions}");
    let folder = place.folder();
    run(&place, &["man", "--output", folder.to_str().unwrap()]).ok();
    let page = std::fs::read_to_string(folder.join("ingle-sessions-end.1")).unwrap();
    assert!(page.contains("\\-\\-confirm"), "{page}");
}
