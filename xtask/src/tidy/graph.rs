//! The rules about dependencies: their licences, where they come from, and which are banned.
//!
//! `deny.toml` says what is allowed. It is read here as it is read by cargo-deny, so the two
//! cannot disagree and nothing has to be installed.

use std::iter::Peekable;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Violation;
use crate::metadata::{array, packages, string};

/// The two names of the registry that everybody uses.
const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

/// What `deny.toml` allows and bans.
#[derive(Debug)]
pub(super) struct Policy {
    licenses: Vec<String>,
    banned: Vec<String>,
}

impl Policy {
    /// # Errors
    ///
    /// If one of the two lists is not there: an empty policy would pass in silence.
    pub(super) fn parse(deny: &str) -> Result<Self> {
        let licenses = list(deny, "[licenses]", "allow");
        let banned = list(deny, "[bans]", "deny");
        if licenses.is_empty() || banned.is_empty() {
            bail!("deny.toml has no list `allow` below [licenses], or no list `deny` below [bans]");
        }
        Ok(Self { licenses, banned })
    }
}

/// The texts of the list `name = [ … ]` in one table. Knows as much of TOML as our file needs.
fn list(toml: &str, table: &str, name: &str) -> Vec<String> {
    let start = format!("{name} = [");
    let lines = toml.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let table = lines.skip_while(|line| *line != table).skip(1).take_while(|line| !is_header(line));
    let from_list: String = table.skip_while(|line| !line.starts_with(&start)).collect();
    let items = from_list.split(']').next().unwrap_or_default();
    items.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `[table]` or `[[table]]`, and not the end of a list.
fn is_header(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

/// Checks every package of `cargo metadata`; places are lines of the lock file.
pub(super) fn check(metadata: &Value, policy: &Policy, lock: &str) -> Vec<Violation> {
    packages(metadata).iter().flat_map(|package| check_package(package, policy, lock)).collect()
}

fn check_package(package: &Value, policy: &Policy, lock: &str) -> Vec<Violation> {
    let (name, version) = (string(package, "name"), string(package, "version"));
    let mut found = Vec::new();
    let mut violation = |what: String, rule| {
        let line = line_in_lock(lock, name, version);
        found.push(Violation { path: "Cargo.lock".to_owned(), line, what, rule });
    };
    let license = string(package, "license");
    if !is_allowed(license, &policy.licenses) {
        let what = format!("{name} {version} has the licence `{license}`");
        violation(what, "licences are those that deny.toml allows");
    }
    if policy.banned.iter().any(|banned| banned == name) {
        violation(format!("{name} {version} is used"), "deny.toml bans it");
    }
    // A package without a source is a path, so it is one of ours.
    match package.get("source").and_then(Value::as_str) {
        Some(source) if !CRATES_IO.contains(&source) => {
            let what = format!("{name} {version} comes from {source}");
            violation(what, "dependencies come from crates.io");
        }
        Some(_) => {}
        None => {
            for dependency in wildcards(package) {
                let what = format!("{name} takes any version of {dependency}");
                violation(what, "dependencies have a version");
            }
        }
    }
    found
}

/// The dependencies that one of our packages takes in any version. Paths need none.
fn wildcards(package: &Value) -> impl Iterator<Item = &str> {
    array(package, "dependencies")
        .iter()
        .filter(|dependency| {
            string(dependency, "req") == "*" && string(dependency, "path").is_empty()
        })
        .map(|dependency| string(dependency, "name"))
}

fn line_in_lock(lock: &str, name: &str, version: &str) -> usize {
    let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
    let before = lock.split_once(&entry).map_or("", |(before, _)| before);
    before.lines().count().saturating_add(1)
}

/// Whether a licence expression can be met with allowed licences alone.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    // Older packages write `MIT/Apache-2.0` where they mean a choice.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed).unwrap_or(false) && words.next().is_none()
}

/// `A OR B`, or nothing if it does not read like an expression.
fn any<'a>(
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
    allowed: &[String],
) -> Option<bool> {
    let mut met = all(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed)?;
    }
    Some(met)
}

/// `A AND B`, which binds closer.
fn all<'a>(
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
    allowed: &[String],
) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Some(met)
}

/// One licence, one with an exception, or an expression in parentheses.
fn one<'a>(
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
    allowed: &[String],
) -> Option<bool> {
    let mut name = words.next()?.to_owned();
    if name == "(" {
        let met = any(words, allowed)?;
        return words.next_if_eq(&")").map(|_| met);
    }
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next()?);
    }
    Some(allowed.contains(&name))
}

#[cfg(test)]
mod tests;
