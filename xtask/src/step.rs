//! Steps: a named piece of work that is announced, timed and listed at the end.
//!
//! Also the one place that starts other programs, so that each is shown before it runs
//! and a failure always names the command.

use std::{
    env,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// What has been done so far, and how long each part took.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs one step. Its time counts whether it succeeds or not.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        self.done.push((name.to_owned(), took));
        result.with_context(|| format!("step `{name}` failed after {}", seconds(took)))
    }

    pub(crate) fn print_table(&self) {
        let names = self.done.iter().map(|(name, _)| name.as_str()).chain(["total"]);
        let width = names.map(str::len).max().unwrap_or_default();
        let total = self.done.iter().map(|(_, took)| *took).sum();
        println!();
        for (name, took) in &self.done {
            println!("{name:width$} {:>10}", seconds(*took));
        }
        println!("{:width$} {:>10}", "total", seconds(total));
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// A cargo command in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    // What cargo tells this program of itself would be news to the build scripts of others, and
    // would have them built again after each cargo that a person runs.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    if env::var_os("CI").is_some() {
        // CI builds once and throws away: files for the next build are only cost.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs a command to its end; what it prints goes straight to the terminal.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed to its standard output.
pub(crate) fn capture(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let Output { status, stdout, .. } = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    String::from_utf8(stdout).with_context(|| format!("`{shown}` printed text that is not UTF-8"))
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
