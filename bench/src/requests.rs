//! What runs on each request, without a network: writes down what `bench/benches/requests.rs` printed.
//!
//! The benchmark is one of divan's, which prints a tree. The middle of its times is taken, and how
//! many pieces of memory each request took from the heap.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};

use crate::{
    contestant::workspace,
    document, machine,
    spread::{tenth, thousands},
};

/// Where `cargo xtask bench` put what was timed, and what was counted where there is valgrind.
const TIMES: &str = "target/bench/requests.txt";
const INSTRUCTIONS: &str = "target/bench/instructions.txt";

/// Requests of one session that are under way at once, in the row that has more than one.
const TOGETHER: i64 = 32;

/// The names in the benchmark, and what they are to people.
const NAMES: [(&str, &str); 12] = [
    ("no_layer", "the handler alone, with no layer"),
    ("no_cookie", "a request without a cookie, session not touched"),
    ("untouched", "a request with a cookie, session not touched"),
    ("read", "reads a field"),
    ("update", "`update`, warm"),
    ("update_cold", "`update`, cold"),
    ("insert", "`insert`, warm"),
    ("read_4_kib", "reads a field of 4 KiB of data"),
    ("update_4_kib", "`update`, warm, 4 KiB of data"),
    ("read_60_kib", "reads a field of 60 KiB of data"),
    ("update_60_kib", "`update`, warm, 60 KiB of data"),
    ("update_together", "32 `update`s of one session at once, all of them"),
];

/// The steps of a request: each is a difference of two kinds of requests.
const STEPS: [(&str, &str, &str); 6] = [
    ("to put a session around a handler", "no_cookie", "no_layer"),
    ("to read the cookie and to make the key", "untouched", "no_cookie"),
    ("to load the record and to read a field of it", "read", "untouched"),
    ("to take a turn, run the closure on the hint, plan, encode and commit", "update", "untouched"),
    ("the same without a hint: one load more", "update_cold", "untouched"),
    ("the same as edits: no closure, and the commit before the response", "insert", "untouched"),
];

/// The medians of one kind of request.
#[derive(Clone, Debug, Default, PartialEq)]
struct Measured {
    name: String,
    nanoseconds: f64,
    /// None without valgrind.
    instructions: Option<i64>,
    /// Pieces of memory that were taken from the heap, and their bytes.
    allocations: f64,
    bytes: String,
}

pub(crate) fn run() -> Result<()> {
    let read = |file: &str| {
        let text = fs::read_to_string(workspace().join(file));
        text.with_context(|| format!("could not read {file}: run `cargo xtask bench requests`"))
    };
    let mut measured = parsed(&read(TIMES)?);
    ensure!(!measured.is_empty(), "{TIMES} is not what the benchmark prints");
    count(&mut measured, &read(INSTRUCTIONS)?);
    document::write("requests", &text(&measured))
}

/// Adds the instructions, of lines that begin with a kind and the number for one request.
fn count(measured: &mut [Measured], counted: &str) {
    for line in counted.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
        if let Some(one) = measured.iter_mut().find(|one| one.name == name) {
            one.instructions = number.parse().ok();
        }
    }
}

/// The part of a line between two bars, where the median is.
fn median(line: &str) -> Option<&str> {
    line.split('│').nth(2).map(str::trim)
}

fn parsed(printed: &str) -> Vec<Measured> {
    let mut all: Vec<Measured> = Vec::new();
    let mut lines = printed.lines();
    while let Some(line) = lines.next() {
        let line = inner(line);
        let head = line.strip_prefix("├─ ").or_else(|| line.strip_prefix("╰─ "));
        if let Some((name, nanoseconds)) =
            head.and_then(|head| Some((head.split(' ').next()?, nanoseconds(median(head)?)?)))
        {
            all.push(Measured { name: name.to_owned(), nanoseconds, ..Measured::default() });
        } else if line.starts_with("alloc:")
            && let Some(last) = all.last_mut()
        {
            let [count, bytes] =
                [(); 2].map(|()| lines.next().map(inner).and_then(median).unwrap_or_default());
            last.allocations = count.parse().unwrap_or(f64::NAN);
            bytes.clone_into(&mut last.bytes);
        }
    }
    all
}

/// A line without the branches of the tree that pass it.
fn inner(line: &str) -> &str {
    line.trim_start_matches(['│', ' '])
}

fn nanoseconds(time: &str) -> Option<f64> {
    let (number, unit) = time.split_once(' ')?;
    let unit = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}

fn text(measured: &[Measured]) -> String {
    let mut text = format!(
        "Medians. Machine: {}.\n\n| | µs | more than the handler alone | instructions | heap allocations | bytes of them |\n\
         |---|---|---|---|---|---|",
        machine::processor()
    );
    let find = |name: &str| measured.iter().find(|one| one.name == name);
    let floor = find("no_layer").map_or(0.0, |one| one.nanoseconds);
    for (name, described) in NAMES {
        let Some(one) = find(name) else { continue };
        _ = write!(
            text,
            "\n| {described} | {:.2} | {:.2} | {} | {} | {} |",
            one.nanoseconds / 1e3,
            (one.nanoseconds - floor) / 1e3,
            instructions(one.instructions.map(|each| each * n_at_once(name))),
            counted(one.allocations),
            one.bytes,
        );
    }
    text.push_str("\n\n| step | µs | instructions | heap allocations |\n|---|---|---|---|");
    for (step, with, without) in STEPS {
        let (Some(with), Some(without)) = (find(with), find(without)) else { continue };
        _ = write!(
            text,
            "\n| {step} | {:.2} | {} | {} |",
            (with.nanoseconds - without.nanoseconds) / 1e3,
            instructions(with.instructions.zip(without.instructions).map(|(a, b)| a - b)),
            counted(with.allocations - without.allocations),
        );
    }
    if let Some(together) = find("update_together") {
        _ = write!(
            text,
            "\n| one of 32 that are combined, all of it | {:.2} | {} | {} |",
            together.nanoseconds / 1e3 / TOGETHER as f64,
            instructions(together.instructions),
            counted(together.allocations / TOGETHER as f64),
        );
    }
    text
}

/// How many requests a row is of.
fn n_at_once(name: &str) -> i64 {
    if name == "update_together" { TOGETHER } else { 1 }
}

fn instructions(number: Option<i64>) -> String {
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.map_or_else(|| "–".to_owned(), thousands)
}

/// Whole numbers need no fraction.
fn counted(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { tenth(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
Timer precision: 20 ns
times                fastest       │ slowest       │ median        │ mean          │ samples │ iters
╰─ request                         │               │               │               │         │
   ├─ no_layer       120 ns        │ 1.2 µs        │ 150 ns        │ 160.2 ns      │ 100     │ 100
   │                 max alloc:    │               │               │               │         │
   │                   1           │ 1             │ 1             │ 1             │         │
   │                   64 B        │ 64 B          │ 64 B          │ 64 B          │         │
   │                 alloc:        │               │               │               │         │
   │                   2           │ 2             │ 2             │ 2             │         │
   │                   128 B       │ 128 B         │ 128 B         │ 128 B         │         │
   ╰─ update         2 µs          │ 9 µs          │ 2.35 µs       │ 2.4 µs        │ 100     │ 100
                     alloc:        │               │               │               │         │
                       31          │ 33            │ 31.5          │ 31.7          │         │
                       4.1 KB      │ 4.2 KB        │ 4.1 KB        │ 4.1 KB        │         │
";

    #[test]
    fn what_divan_prints_is_read() {
        let mut measured = parsed(PRINTED);
        count(&mut measured, "update 12345 31\nno_layer 2000 1\nother 1 1\n\n");
        let [floor, update] = measured.try_into().unwrap();
        assert_eq!((floor.nanoseconds, floor.allocations, &*floor.bytes), (150.0, 2.0, "128 B"));
        assert_eq!((update.nanoseconds, update.allocations), (2350.0, 31.5));
        let text = text(&[floor, update]);
        assert!(
            text.contains("\n| `update`, warm | 2.35 | 2.20 | 12,345 | 31.5 | 4.1 KB |\n"),
            "{text}"
        );
    }

    #[test]
    fn a_step_is_a_difference() {
        let request = |name: &str, nanoseconds, instructions, allocations| Measured {
            name: name.to_owned(),
            nanoseconds,
            instructions,
            allocations,
            bytes: String::new(),
        };
        let last = |with, without| {
            let with = request("untouched", 650.0, with, 6.0);
            let text = text(&[request("no_cookie", 400.0, without, 5.0), with]);
            text.lines().last().unwrap().to_owned()
        };
        let step = "| to read the cookie and to make the key | 0.25 |";
        assert_eq!(last(Some(6_500), Some(5_000)), format!("{step} 1,500 | 1 |"));
        assert_eq!(last(Some(6_500), None), format!("{step} – | 1 |"));
    }
}
