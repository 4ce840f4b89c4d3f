//! The rules about Rust files: their budgets, and what must not be written where.

use super::{
    Violation,
    source::{Source, Token, find, functions, tokens},
};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const FEATURE_CFGS_MAX: usize = 30;

const LIBRARY: &str = "crates/ingle/src/";

/// Markers of unfinished work, as they are written in comments.
const UNFINISHED: [&str; 2] = ["TODO", "FIXME"];

/// Code that hides a missing piece or a failing test.
const HIDING: [(&[&str], &str); 3] = [
    (&["todo", "!"], "`todo!`"),
    (&["#", "[", "ignore"], "`#[ignore]`"),
    (&["#", "[", "should_panic"], "`#[should_panic]`"),
];

/// Writes that ask no version. They lose or double an update when an answer is lost.
const UNCONDITIONAL: [(&[&str], &str); 4] = [
    (&["do", "update"], "ON CONFLICT DO UPDATE"),
    (&["insert", "or", "replace"], "INSERT OR REPLACE"),
    (&["replace", "into"], "REPLACE INTO"),
    (&["fieldvalue", "increment"], "FieldValue.increment"),
];

/// Every rule that looks at one file.
pub(super) fn check(source: &Source) -> Vec<Violation> {
    let code = tokens(&source.code);
    let mut found = markers(source, &code);
    if in_src(&source.path) && !source.is_test() {
        found.extend(budgets(source, &code));
    }
    if let Some(module) = source.path.strip_prefix(LIBRARY) {
        if !module.starts_with("http/") {
            found.extend(cookie_headers(source, &code));
        }
        found.extend(unknown_words(source, module, &code));
        if module.starts_with("store") {
            found.extend(unconditional_writes(source));
        }
    }
    found
}

/// How often the library asks for a feature, over all its files.
pub(super) fn feature_budget(sources: &[Source]) -> Option<Violation> {
    let library = sources.iter().filter(|source| source.path.starts_with(LIBRARY));
    let n_asked: usize =
        library.map(|source| find(&tokens(&source.code), &["feature", "="]).len()).sum();
    (n_asked > FEATURE_CFGS_MAX).then(|| Violation {
        path: format!("{LIBRARY}lib.rs"),
        line: 1,
        what: format!("the library asks for a feature {n_asked} times"),
        rule: "at most 30 `cfg(feature = …)` in the library",
    })
}

/// Source that is held to the budgets: `crates/NAME/src/`, the benchmark's with its peers, and our own.
fn in_src(path: &str) -> bool {
    let mut folders = path.split('/');
    match folders.next() {
        Some("crates") => folders.nth(1) == Some("src"),
        Some("bench" | "torture" | "xtask") => match folders.next() {
            Some("src" | "benches") => true,
            Some("peers") => folders.nth(1) == Some("src"),
            Some("requests") => matches!(folders.next(), Some("src" | "benches")),
            _ => false,
        },
        _ => false,
    }
}

fn violation(source: &Source, line: usize, what: String, rule: &'static str) -> Violation {
    Violation { path: source.path.clone(), line, what, rule }
}

fn budgets(source: &Source, code: &[Token<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    let first = source.text.lines().next().unwrap_or_default();
    // A crate's root may take its text from the README instead.
    if !first.starts_with("//!") && !first.starts_with("#![doc = include_str!(") {
        let what = "does not open with `//!`".to_owned();
        found.push(violation(source, 1, what, "every module says first what it is"));
    }
    let n_lines = source.tests_from.saturating_sub(1);
    if n_lines > FILE_LINES_MAX {
        let what = format!("{n_lines} lines without tests");
        found.push(violation(source, FILE_LINES_MAX, what, "at most 600 lines in a file"));
    }
    for function in functions(code) {
        if function.n_lines > FUNCTION_LINES_MAX && source.is_product(function.line) {
            let what = format!("`{}` has {} lines", function.name, function.n_lines);
            found.push(violation(source, function.line, what, "at most 70 lines in a function"));
        }
    }
    found
}

fn markers(source: &Source, code: &[Token<'_>]) -> Vec<Violation> {
    let comments = tokens(&source.comments);
    let unfinished = UNFINISHED.iter().flat_map(|word| {
        find(&comments, &[word]).into_iter().map(move |line| (line, format!("`{word}`")))
    });
    let hiding = HIDING.iter().flat_map(|(pattern, name)| {
        find(code, pattern).into_iter().map(|line| (line, (*name).to_owned()))
    });
    unfinished
        .chain(hiding)
        .map(|(line, what)| violation(source, line, what, "finished work only"))
        .collect()
}

fn cookie_headers(source: &Source, code: &[Token<'_>]) -> Vec<Violation> {
    let constants = ["COOKIE", "SET_COOKIE"].iter().flat_map(|name| find(code, &[name]));
    let literals = (1..)
        .zip(source.uncommented.lines())
        .filter(|(_, line)| line.to_ascii_lowercase().contains("\"set-cookie\""))
        .map(|(line, _)| line);
    constants
        .chain(literals)
        .filter(|line| source.is_product(*line))
        .map(|line| {
            let what = "names a cookie header".to_owned();
            violation(source, line, what, "only the ring of HTTP reads and writes cookies")
        })
        .collect()
}

/// Words that a part of the library has no use for, since it must not know what they stand for.
const UNKNOWN: [(&str, &[&str], &str); 5] = [
    ("engine", &["cookie", "Cookie", "StatusCode"], "the engine knows no cookie and no status"),
    ("session", &["StatusCode", "HeaderValue"], "a session knows no status and no header"),
    ("store", &["SessionId", "IdScheme", "cookie", "Cookie"], "a store knows no id and no cookie"),
    ("record", &["SessionId", "IdScheme"], "a record knows no id"),
    ("data", &["SessionId", "Key"], "data knows no id and no key"),
];

fn unknown_words(source: &Source, module: &str, code: &[Token<'_>]) -> Vec<Violation> {
    let top = module.split(['/', '.']).next().unwrap_or_default();
    let rows = UNKNOWN.iter().filter(|(name, ..)| *name == top);
    let words = rows.flat_map(|(_, words, rule)| words.iter().map(move |word| (*word, *rule)));
    let found = words.flat_map(|(word, rule)| {
        find(code, &[word]).into_iter().map(move |line| (line, word, rule))
    });
    found
        .filter(|(line, ..)| source.is_product(*line))
        .map(|(line, word, rule)| violation(source, line, format!("says `{word}`"), rule))
        .collect()
}

/// Looks at words alone, so that line breaks and `ON CONFLICT (key)` make no difference.
fn unconditional_writes(source: &Source) -> Vec<Violation> {
    let text = source.uncommented.to_lowercase();
    let mut words = tokens(&text);
    words.retain(|token| token.text.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    let found = UNCONDITIONAL.iter().flat_map(|(pattern, name)| {
        find(&words, pattern).into_iter().map(move |line| (line, name))
    });
    found
        .filter(|(line, _)| source.is_product(*line))
        .map(|(line, name)| {
            let what = format!("{name} in a store");
            violation(source, line, what, "a store writes on a condition or not at all")
        })
        .collect()
}

#[cfg(test)]
mod tests;
