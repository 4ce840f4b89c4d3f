//! `cargo xtask tidy`: the rules of the house that the compiler does not know.
//!
//! Looks at every file that git tracks or would track, and at the dependencies. Each rule is a
//! function from text to violations, so that its tests need no files: [`rules`] reads Rust,
//! [`rings`] the direction of imports, [`house`] all other text, [`claims`] the page of requirements, [`graph`] the dependencies. All violations are printed, not the first.

mod claims;
mod graph;
mod house;
mod rings;
mod rules;
mod source;

use std::{fmt, fs};

use anyhow::{Context as _, Result, bail};

use crate::{metadata, step::root, tracked};

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    line: usize,
    what: String,
    rule: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, rule } = self;
        write!(f, "{path}:{line}: {what} ({rule})")
    }
}

/// A file's path from the root of the workspace, with `/` on every system, and its text.
struct TextFile {
    path: String,
    text: String,
}

pub(crate) fn run() -> Result<()> {
    let files = text_files()?;
    let mut violations = check_files(&files)?;
    violations.extend(check_dependencies(&files)?);
    violations.sort();
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => println!("{} files, no violation.", files.len()),
        n => bail!("violations of the rules: {n}"),
    }
    Ok(())
}

fn check_files(files: &[TextFile]) -> Result<Vec<Violation>> {
    let rust: Vec<_> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| source::Source::new(&file.path, &file.text))
        .collect();
    let mut violations: Vec<_> = rust.iter().flat_map(rules::check).collect();
    violations.extend(rules::feature_budget(&rust));
    violations.extend(files.iter().flat_map(|file| house::absolute_paths(&file.path, &file.text)));
    violations.extend(house::architecture(files));
    violations.extend(claims::check(files, &rust));
    violations.extend(rings::check(&rust)?);
    Ok(violations)
}

fn check_dependencies(files: &[TextFile]) -> Result<Vec<Violation>> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| &*file.text);
    let policy = graph::Policy::parse(text("deny.toml").context("deny.toml is missing")?)?;
    Ok(graph::check(&metadata::load()?, &policy, text("Cargo.lock").unwrap_or_default()))
}

/// Every text file that is committed, or would be by `git add --all`.
fn text_files() -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    for path in tracked::files()? {
        let bytes =
            fs::read(root().join(&path)).with_context(|| format!("could not read {path}"))?;
        // What is not UTF-8 is no text.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path, text });
        }
    }
    Ok(files)
}
