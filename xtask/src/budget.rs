//! `cargo xtask budget`: what one warm request takes, in instructions and in calls of the allocator, is
//! no more than `bench/budget.txt` has. `--bless` writes that file.
//!
//! valgrind's callgrind counts them, on a processor that it makes up: its features are the same on every
//! machine with AVX2, so the C library takes the same `memcpy`, and there is no instruction for SHA-256,
//! which is therefore counted as software. The clock stands still, or a request that the machine lets
//! wait would meet the library's time limits. What is left to differ is the
//! compiler, the C library and valgrind, which the file names.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    metadata,
    step::{self, Steps, capture, cargo, root},
    tools,
};

const PROGRAM: &str = "bench-requests";
const FILE: &str = "bench/budget.txt";

/// What one run makes ready, of which one half is counted: what another run sends as well is taken off.
/// What happens at every sixteenth request only has its share.
const READY: u64 = 320;

/// By how many percent the instructions may differ from their line.
const PERCENT: u64 = 3;

/// By how many hundredths the allocations may. One for every request is a hundred; less is by chance, as
/// where a number that is drawn has fewer digits.
const HUNDREDTHS: u64 = 50;

/// What the allocator is called by. `realloc` is there for what grows.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

const HEAD: &str = "\
# What one warm request takes on the store in memory, counted by callgrind. `cargo xtask budget --bless`
# writes this file, and a person reads what it changes.
";

/// What one request of a kind takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    instructions: u64,
    /// In hundredths: what is taken for sixteen requests at once is a part of each.
    allocations: u64,
}

/// The cost of each kind, by its name.
type Costs = BTreeMap<String, Cost>;

pub(crate) fn run(steps: &mut Steps, args: &[&str]) -> Result<()> {
    let bless = match args {
        [] => false,
        ["--bless"] => true,
        _ => bail!("`cargo xtask budget` takes `--bless` and nothing else"),
    };
    let Some(costs) = count(steps)? else {
        ensure!(!bless, "nothing was counted, and {FILE} is as it was");
        steps.skip("budget", format_args!("{FILE} is not compared with anything."));
        return Ok(());
    };
    steps.run("budget", || if bless { write(&costs) } else { check(&costs) })
}

/// The lines of the file, for the benchmark's table. Empty where nothing can be counted.
pub(crate) fn lines(steps: &mut Steps) -> Result<String> {
    Ok(count(steps)?.map_or_else(String::new, |costs| text(&costs)))
}

/// Counts each kind of request, in a release. None where that cannot be: a line says why.
fn count(steps: &mut Steps) -> Result<Option<Costs>> {
    if (env::consts::ARCH, env::consts::OS) != ("x86_64", "linux") {
        let why = "Instructions are counted on Linux on x86_64 alone.";
        steps.skip("count instructions", why);
        return Ok(None);
    }
    if !steps.run("valgrind", tools::install_valgrind)? {
        return Ok(None);
    }
    let program = steps.run("build the requests", build)?;
    steps.run("count instructions", || {
        let kinds = capture(Command::new(&program))?;
        let cost = |line: &str| {
            let kind = line.split_once(' ').and_then(|(kind, n)| Some((kind, n.parse().ok()?)));
            let (kind, n_at_once) = kind.with_context(|| format!("`{line}` is no kind"))?;
            Ok((kind.to_owned(), cost(&program, kind, n_at_once)?))
        };
        kinds.lines().map(cost).collect::<Result<Costs>>().map(Some)
    })
}

fn build() -> Result<PathBuf> {
    // By itself, or it could be given features that only others need.
    step::run(cargo(&["build", "--release", "--package", PROGRAM, "--features", "still"]))?;
    let target = metadata::load()?;
    Ok(Path::new(metadata::string(&target, "target_directory")).join("release").join(PROGRAM))
}

/// What one request takes: two runs make the same ready, and one sends twice as many.
fn cost(program: &Path, kind: &str, n_at_once: u64) -> Result<Cost> {
    let [half, all] = [READY / 2, READY].map(|n_sent| profile(program, kind, n_sent));
    let cost = difference(&half?, &all?, (READY - READY / 2) * n_at_once)
        .with_context(|| format!("callgrind did not count what `{kind}` takes"))?;
    println!("{}", line(kind, &cost));
    Ok(cost)
}

/// What callgrind writes of one run.
fn profile(program: &Path, kind: &str, n_sent: u64) -> Result<String> {
    let file = tempfile::NamedTempFile::new().context("could not make a file for callgrind")?;
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(file.path());
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--compress-strings=no"]).arg(out);
    valgrind.arg(program).args([kind, &READY.to_string(), &n_sent.to_string()]);
    // Settings of valgrind, of the allocator and of the runtime that somebody has are not counted with.
    valgrind.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
    let status = valgrind.stdin(Stdio::null()).status().context("could not start valgrind")?;
    ensure!(status.success(), "`{kind}` ended with {status} below valgrind");
    fs::read_to_string(file.path()).context("could not read what callgrind wrote")
}

/// What each of so many requests took. None if that is not in what callgrind wrote.
fn difference(half: &str, all: &str, n_requests: u64) -> Option<Cost> {
    let instructions = instructions(all)?.checked_sub(instructions(half)?)?;
    let allocations = allocations(all).checked_sub(allocations(half))?;
    let each = |all: u64| (all + n_requests / 2) / n_requests;
    let cost = Cost { instructions: each(instructions), allocations: each(allocations * 100) };
    (cost.instructions > 0 && cost.allocations > 0).then_some(cost)
}

fn instructions(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("summary: "))?.trim().parse().ok()
}

/// How often the allocator was called. A line with the name of what is called stands above each count.
fn allocations(profile: &str) -> u64 {
    let mut called = "";
    let mut sum = 0;
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=")
            && ALLOCATORS.contains(&called)
        {
            let number = calls.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            sum += number.unwrap_or_default();
        }
    }
    sum
}

fn line(kind: &str, cost: &Cost) -> String {
    let Cost { instructions, allocations } = cost;
    format!("{kind:16} {instructions:>9} {:>6}.{:02}", allocations / 100, allocations % 100)
}

fn text(costs: &Costs) -> String {
    costs.iter().map(|(kind, cost)| line(kind, cost) + "\n").collect()
}

/// What decides about the numbers beside the code.
fn counted_by() -> Result<String> {
    let printed = |program, arg| {
        let mut command = Command::new(program);
        command.arg(arg);
        capture(command)
    };
    let rust = printed("rustc", "--version")?;
    let rust = rust.split(' ').nth(1).unwrap_or_default().to_owned();
    let libc = printed("getconf", "GNU_LIBC_VERSION")?;
    let valgrind = printed("valgrind", "--version")?;
    Ok(format!("Rust {rust}, {}, {}", libc.trim(), valgrind.trim().replace('-', " ")))
}

fn write(costs: &Costs) -> Result<()> {
    let columns = "# kind       instructions allocations\n";
    let text = format!("{HEAD}# It was counted with {}.\n{columns}{}", counted_by()?, text(costs));
    fs::write(root().join(FILE), text).with_context(|| format!("could not write {FILE}"))?;
    println!(
        "{FILE} is written. Read with `git diff` what changes, and say why where you commit it."
    );
    Ok(())
}

fn check(costs: &Costs) -> Result<()> {
    let text = fs::read_to_string(root().join(FILE));
    let text = text.with_context(|| format!("could not read {FILE}"))?;
    let (wrong, lower): (Vec<_>, Vec<_>) =
        compared(&read(&text)?, costs).into_iter().partition(Difference::is_wrong);
    let listed =
        |found: &[Difference]| -> String { found.iter().map(|one| format!("\n- {one}")).collect() };
    if !lower.is_empty() {
        println!("Less than {FILE} has. `cargo xtask budget --bless` lowers it:{}", listed(&lower));
    }
    if !wrong.is_empty() {
        let counted_by = counted_by()?;
        let other = !text.contains(&counted_by);
        let other = other.then(|| format!("\nThe file was not written with {counted_by}."));
        bail!(
            "warm requests are not within {FILE}. If that is meant, `cargo xtask budget --bless` \
             writes it, and the commit says why.{}{}",
            listed(&wrong),
            other.unwrap_or_default()
        );
    }
    println!("All {} kinds of requests are within {FILE}.", costs.len());
    Ok(())
}

/// The lines of a budget: a kind, its instructions, its allocations.
fn read(text: &str) -> Result<Costs> {
    let mut costs = Costs::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let mut number = || words.next()?.parse::<f64>().ok();
        let (Some(instructions), Some(allocations)) = (number(), number()) else {
            bail!("{FILE} has a line that is none: `{line}`");
        };
        let hundredths = (allocations * 100.0).round() as u64;
        let cost = Cost { instructions: instructions as u64, allocations: hundredths };
        ensure!(costs.insert(kind.to_owned(), cost).is_none(), "{FILE} has `{kind}` twice");
    }
    Ok(costs)
}

/// How a request differs from its line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Difference {
    Instructions {
        kind: String,
        budget: u64,
        counted: u64,
    },
    Allocations {
        kind: String,
        budget: u64,
        counted: u64,
    },
    /// It has no line.
    New(String),
    /// It has a line, and there is no such kind.
    Unknown(String),
}

impl Difference {
    /// Whether it is more than the budget allows, or none of it.
    fn is_wrong(&self) -> bool {
        match self {
            Self::Instructions { budget, counted, .. }
            | Self::Allocations { budget, counted, .. } => counted > budget,
            Self::New(_) | Self::Unknown(_) => true,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions { kind, budget, counted } => {
                let percent = 100.0 * (*counted as f64 / *budget as f64 - 1.0);
                write!(
                    f,
                    "{kind}: {counted} instructions, and {budget} in its line ({percent:+.1} %)"
                )
            }
            Self::Allocations { kind, budget, counted } => {
                let [budget, counted] = [budget, counted].map(|number| *number as f64 / 100.0);
                write!(f, "{kind}: {counted} allocations, and {budget} in its line")
            }
            Self::New(kind) => write!(f, "{kind}: it has no line"),
            Self::Unknown(kind) => {
                write!(f, "{kind}: there is a line, and no such kind of request")
            }
        }
    }
}

/// Each request that differs: by more than [`PERCENT`] in its instructions, by an allocation, or in having a
/// line.
fn compared(budget: &Costs, counted: &Costs) -> Vec<Difference> {
    let mut found = Vec::new();
    for (kind, now) in counted {
        let kind = kind.clone();
        let Some(line) = budget.get(&kind) else {
            found.push(Difference::New(kind));
            continue;
        };
        if now.instructions.abs_diff(line.instructions) * 100 > line.instructions * PERCENT {
            let (budget, counted) = (line.instructions, now.instructions);
            found.push(Difference::Instructions { kind: kind.clone(), budget, counted });
        }
        if now.allocations.abs_diff(line.allocations) > HUNDREDTHS {
            let (budget, counted) = (line.allocations, now.allocations);
            found.push(Difference::Allocations { kind, budget, counted });
        }
    }
    let unknown = budget.keys().filter(|kind| !counted.contains_key(*kind));
    found.extend(unknown.cloned().map(Difference::Unknown));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(lines: &[(&str, u64, u64)]) -> Costs {
        let cost = |&(kind, instructions, allocations): &(&str, _, _)| {
            (kind.to_owned(), Cost { instructions, allocations })
        };
        lines.iter().map(cost).collect()
    }

    #[test]
    fn up_to_three_percent_and_less_than_an_allocation_is_no_difference() {
        let budget = costs(&[("update", 10_000, 3_600)]);
        for (instructions, allocations) in [(9_700, 3_550), (10_000, 3_600), (10_300, 3_650)] {
            let now = costs(&[("update", instructions, allocations)]);
            assert!(compared(&budget, &now).is_empty());
        }
    }

    #[test]
    fn what_has_grown_is_wrong_and_what_has_shrunk_is_told() {
        let found = |instructions, allocations| {
            let budget = costs(&[("read", 500, 100), ("update", 10_000, 3_600)]);
            let now = costs(&[("read", 500, 100), ("update", instructions, allocations)]);
            let found = compared(&budget, &now).into_iter();
            found.map(|one| (one.is_wrong(), one.to_string())).collect::<Vec<_>>()
        };
        let grown = "update: 10301 instructions, and 10000 in its line (+3.0 %)".to_owned();
        assert_eq!(found(10_301, 3_600), [(true, grown)]);
        let shrunk = "update: 9000 instructions, and 10000 in its line (-10.0 %)".to_owned();
        assert_eq!(found(9_000, 3_600), [(false, shrunk)]);
        let grown = "update: 36.97 allocations, and 36 in its line".to_owned();
        assert_eq!(found(10_000, 3_697), [(true, grown)]);
        let shrunk = "update: 35 allocations, and 36 in its line".to_owned();
        assert_eq!(found(10_000, 3_500), [(false, shrunk)]);
    }

    #[test]
    fn each_kind_has_a_line_and_each_line_a_kind() {
        let found = compared(&costs(&[("old", 1, 1)]), &costs(&[("new", 1, 1)]));
        assert_eq!(
            found,
            [Difference::New("new".to_owned()), Difference::Unknown("old".to_owned())]
        );
        assert!(found.iter().all(Difference::is_wrong));
    }

    #[test]
    fn a_budget_is_read_as_it_is_written() {
        let costs = costs(&[("read", 18_696, 2_100), ("update_together", 1_170_969, 122_206)]);
        assert_eq!(read(&format!("{HEAD}# Rust 1.0\n{}", text(&costs))).unwrap(), costs);
        assert!(read("update 1000\n").unwrap_err().to_string().contains("`update 1000`"));
        assert!(read("a 1 1\na 1 1\n").unwrap_err().to_string().ends_with("has `a` twice"));
    }

    #[test]
    fn what_callgrind_writes_is_counted_by_the_difference_of_two_runs() {
        let profile = |instructions, calls: [u64; 3]| {
            let [malloc, free, aligned] = calls;
            format!(
                "version: 1\nsummary: {instructions}\n\nfn=a\n1 5\ncfn=malloc\ncalls={malloc} 10\n2 3\n\
                 cfn=free\ncalls={free} 10\n2 3\ncfn=posix_memalign\ncalls={aligned} 3\n1 2\n"
            )
        };
        let (half, all) = (profile(5_000, [30, 9, 1]), profile(9_000, [50, 90, 2]));
        // 4,000 instructions and 21 calls, of ten requests.
        let cost = Cost { instructions: 400, allocations: 210 };
        assert_eq!(difference(&half, &all, 10), Some(cost));
        assert_eq!(difference(&all, &half, 10), None, "the second has to be more");
        assert_eq!(difference("", &all, 10), None, "there has to be a sum");
        let none = profile(5_000, [50, 0, 2]);
        assert_eq!(difference(&none, &all, 10), None, "a request takes some memory");
    }
}
