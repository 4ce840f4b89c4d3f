//! Steps: a named piece of work that is announced, timed and listed at the end.
//!
//! Also the one place that starts other programs, so that each is shown before it runs
//! and a failure always names the command.

use std::{
    cell::Cell,
    env, fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _},
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// What has been done so far, and how long each part took.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Instant,
    done: Vec<Done>,
}

/// A line of the table.
#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    skipped: Skipped,
}

/// How much of a step was not done, for want of something that this machine lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Skipped {
    #[default]
    Nothing,
    Part,
    All,
}

thread_local! {
    /// That of the step that this thread runs. A step begins none within it.
    static SKIPPED: Cell<Skipped> = const { Cell::new(Skipped::Nothing) };
}

/// Says why the step that runs now is not done. The table says that it was skipped.
pub(crate) fn skip(why: impl fmt::Display) {
    println!("{why}");
    SKIPPED.set(Skipped::All);
}

/// Says what the step that runs now leaves out. The table says that it was skipped in part.
pub(crate) fn skip_part(what: impl fmt::Display) {
    println!("{what}");
    SKIPPED.set(SKIPPED.get().max(Skipped::Part));
}

/// A step that runs beside others, as a process of its own.
#[derive(Debug)]
struct Beside {
    name: String,
    shown: String,
    /// What it prints. A file, for a pipe would not end before the last program that it started.
    printed: File,
    /// Returns how it ended, and how long it took.
    waiting: JoinHandle<(io::Result<ExitStatus>, Duration)>,
}

impl Steps {
    /// Runs one step. Its time counts whether it succeeds or not.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        SKIPPED.set(Skipped::Nothing);
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        self.done.push(Done { name: name.to_owned(), took, skipped: SKIPPED.take() });
        result.with_context(|| format!("step `{name}` failed after {}", seconds(took)))
    }

    /// Lists a step that is not done at all, and says why.
    pub(crate) fn skip(&mut self, name: &str, why: impl fmt::Display) {
        println!("\n== {name}\n{why}");
        let took = Duration::ZERO;
        self.done.push(Done { name: name.to_owned(), took, skipped: Skipped::All });
    }

    /// Runs these tasks of this program as processes of their own, and `work` beside them. Whatever becomes
    /// of one, all others come to their end first, so that nothing goes on behind what has ended.
    pub(crate) fn beside<'a, Task: AsRef<[&'a str]>>(
        &mut self,
        tasks: impl IntoIterator<Item = Task>,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let started: Vec<_> = tasks.into_iter().map(|task| Beside::start(task.as_ref())).collect();
        let worked = work(self);
        let ended: Vec<_> = started.into_iter().map(|task| self.join(task?)).collect();
        worked?;
        ended.into_iter().collect()
    }

    /// Waits for a step that runs beside others, and prints what it printed. Its time is its own, not
    /// that of the waiting.
    fn join(&mut self, beside: Beside) -> Result<()> {
        let Beside { name, shown, mut printed, waiting } = beside;
        println!("\n== {name}, which ran beside the rest\n$ {shown}");
        let Ok((ended, took)) = waiting.join() else { bail!("nobody waits for `{shown}`") };
        let listed = format!("{name}, beside the rest");
        self.done.push(Done { name: listed, took, skipped: Skipped::Nothing });
        printed.rewind().context("could not read what was printed")?;
        io::copy(&mut printed, &mut io::stdout()).context("could not print what was printed")?;
        let status = ended.with_context(|| format!("could not wait for `{shown}`"))?;
        if !status.success() {
            bail!("step `{name}` failed after {}: `{shown}` ended with {status}", seconds(took));
        }
        Ok(())
    }

    pub(crate) fn print_table(&self) {
        let names = self.done.iter().map(|done| done.name.as_str()).chain(["total"]);
        let width = names.map(str::len).max().unwrap_or_default();
        println!();
        for Done { name, took, skipped } in &self.done {
            println!("{name:width$} {:>10}{}", seconds(*took), skipped.remark());
        }
        println!("{:width$} {:>10}", "total", seconds(self.begun.elapsed()));
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self { begun: Instant::now(), done: Vec::new() }
    }
}

impl Skipped {
    /// What the table says behind the time.
    fn remark(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Part => "  skipped in part",
            Self::All => "  skipped",
        }
    }
}

impl Beside {
    /// Starts a task of this program, and keeps what it prints for [`Steps::join`].
    fn start(task: &[&str]) -> Result<Self> {
        let mut command = Command::new(env::current_exe().context("could not find this program")?);
        command.args(task);
        Self::spawn(task.join(" "), command)
    }

    fn spawn(name: String, mut command: Command) -> Result<Self> {
        println!("\n== {name}, beside the rest: what it prints is shown when it has ended");
        let printed = tempfile::tempfile().context("could not make a file for what is printed")?;
        let copy = || printed.try_clone().context("could not share the file for what is printed");
        command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
        let shown = shown(&command);
        let begun = Instant::now();
        let mut process = command.spawn().with_context(|| format!("could not start `{shown}`"))?;
        let waiting = thread::spawn(move || (process.wait(), begun.elapsed()));
        Ok(Self { name, shown, printed, waiting })
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
    command
}

/// A git command in a repository.
pub(crate) fn git(repository: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    // A checkout may belong to another user than the one who runs this, as in a container.
    command.arg("-c").arg(format!("safe.directory={}", repository.display()));
    command.args(args).current_dir(repository);
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

/// Runs tests to their end, as [`run`] does. What failing tests said is a part of the error, which is the last
/// that is printed: before it comes all that ran beside them.
pub(crate) fn run_tests(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    println!("$ {shown}");
    let start = || format!("could not start `{shown}`");
    let mut tests = command.stdout(Stdio::piped()).spawn().with_context(start)?;
    let mut failures = Failures::default();
    for line in tests.stdout.take().into_iter().flat_map(|told| BufReader::new(told).split(b'\n')) {
        let line = line.with_context(|| format!("could not read what `{shown}` prints"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        failures.add(&line);
    }
    let status = tests.wait().with_context(|| format!("could not wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}{failures}");
    }
    Ok(())
}

/// What the runner of Rust's tests prints of those that failed: it comes after all tests of a program.
#[derive(Debug, Default)]
struct Failures {
    is_told: bool,
    lines: Vec<String>,
}

impl Failures {
    fn add(&mut self, line: &str) {
        self.is_told = line == "failures:" || self.is_told && !line.starts_with("test result:");
        if self.is_told {
            self.lines.push(line.to_owned());
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Steps::default().join(Beside::spawn("a name".to_owned(), command)?)
    }

    #[test]
    fn a_step_beside_others_that_fails_is_named() {
        assert!(shell("echo; echo >&2").is_ok());
        let error = shell("exit 3").expect_err("it fails").to_string();
        assert!(error.starts_with("step `a name` failed after "), "{error}");
        assert!(error.ends_with("`sh -c exit 3` ended with exit status: 3"), "{error}");
    }

    #[test]
    fn what_failing_tests_said_is_told_at_the_end() {
        let told = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nwhy\n\n\n\
                    failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed\n\nrunning 0 tests\n\n\
                    test result: ok.";
        let mut tests = Command::new("sh");
        tests.args(["-c", "printf %s \"$1\"; exit 101", "sh", told]);
        let error = run_tests(tests).expect_err("a test failed").to_string();
        let (_, said) = error.split_once("ended with exit status: 101\n").expect("how it ended");
        assert_eq!(said, "failures:\n\n---- b stdout ----\nwhy\n\n\nfailures:\n    b\n");
        assert!(run_tests(Command::new("true")).is_ok());
    }

    #[test]
    fn the_table_knows_what_was_skipped() {
        let mut steps = Steps::default();
        skip("No step runs yet.");
        steps.run("done", || Ok(())).unwrap();
        let in_part = || {
            skip_part("A half is left out.");
            Ok(())
        };
        steps.run("half", in_part).unwrap();
        let not_done = || {
            skip("There is nothing to do it with.");
            in_part()
        };
        steps.run("not done", not_done).unwrap();
        steps.skip("not begun", "There is no need.");
        let remarks: Vec<_> = steps.done.iter().map(|done| done.skipped.remark().trim()).collect();
        assert_eq!(remarks, ["", "skipped in part", "skipped", "skipped"]);
    }

    #[test]
    fn what_runs_beside_work_is_waited_for_though_both_fail() {
        // This program is that of the tests, which lists them, and has no such option.
        let mut steps = Steps::default();
        let tasks = [["--list"], ["--no-such-option"], ["--list"]];
        let ended = steps.beside(tasks, |_| bail!("the work failed"));
        assert_eq!(ended.expect_err("it fails").to_string(), "the work failed");
        let names: Vec<_> = steps.done.iter().map(|done| done.name.as_str()).collect();
        let listed = "--list, beside the rest";
        assert_eq!(names, [listed, "--no-such-option, beside the rest", listed]);
        let error = steps.beside(tasks, |_| Ok(())).expect_err("a task fails").to_string();
        assert!(error.starts_with("step `--no-such-option` failed"), "{error}");
        assert_eq!(steps.done.len(), 6);
    }
}
