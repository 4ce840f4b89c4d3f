//! `cargo xtask api`: the library's public API is the one that is written down.
//!
//! The list is made from what rustdoc writes for other programs, and kept beside the library, so that
//! each change of the API is seen in the change that makes it. `--bless` writes it. The same list is
//! searched for types of crates that are not at 1.0: a release of such a crate would be a breaking
//! change of the library.
//!
//! rustdoc's format for programs is not stable. It changes with Rust's releases, and `public-api` in
//! this crate's manifest is the version that reads the one of [`RUST`]: both move together.

mod external;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    metadata::{self, LIBRARY},
    step::{self, Steps, cargo, root},
};

const LIST: &str = "crates/ingle/public-api.txt";

/// The version of rustdoc's format that is read here, and the Rust that writes it.
const FORMAT: u64 = 57;
const RUST: &str = "1.95";

/// Crates below 1.0 whose traits the library implements, since that is what they are there for; and
/// one that a feature is named after, whose documentation takes it out of the promise.
const ALLOWED: [&str; 5] = [
    "axum_core",
    "deadpool_postgres",
    // In a condition that nobody can name: when a body can be moved.
    "pin_project_lite",
    "tower_layer",
    "tower_service",
];

/// Set for this program where cargo starts it in the place of rustdoc.
const AS_RUSTDOC: &str = "XTASK_AS_RUSTDOC";

/// What the compiler implements by itself. Where it does so without a condition, no line says it.
const AUTO_TRAITS: [&str; 7] = [
    "core::marker::Freeze",
    "core::marker::UnsafeUnpin",
    "core::panic::unwind_safe::RefUnwindSafe",
    "core::panic::unwind_safe::UnwindSafe",
    "core::marker::Send",
    "core::marker::Sync",
    "core::marker::Unpin",
];

/// How many of these, from the first, are no promise to anybody.
const NOT_PROMISED: usize = 4;

pub(crate) fn run(steps: &mut Steps, args: &[&str]) -> Result<()> {
    let bless = match args {
        [] => false,
        ["--bless"] => true,
        _ => bail!("`cargo xtask api` takes `--bless` and nothing else"),
    };
    let json = steps.run("document the API", document)?;
    steps.run("public API", || {
        let lines = lines(&json)?;
        if bless {
            write(&lines)?
        } else {
            compare(&lines)?
        };
        external_types(&json, &lines)
    })
}

/// Lets rustdoc write the library's API as JSON, and returns the file.
fn document() -> Result<PathBuf> {
    let mut rustdoc = cargo(&["rustdoc", "--package", LIBRARY, "--lib", "--all-features", "--"]);
    rustdoc.args(["-Z", "unstable-options", "--output-format", "json"]);
    // rustdoc alone is told that unstable options may be used. Were cargo told, it would build all
    // dependencies anew, as some are other with an unstable compiler.
    rustdoc.env("RUSTDOC", env::current_exe()?).env(AS_RUSTDOC, "1");
    step::run(rustdoc)?;
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    Ok(root().join(folder).join("doc").join(LIBRARY).with_extension("json"))
}

/// Where cargo has started this program in the place of rustdoc: how that ended.
pub(crate) fn as_rustdoc() -> Option<ExitCode> {
    env::var_os(AS_RUSTDOC)?;
    let mut rustdoc = Command::new("rustdoc");
    rustdoc.args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1");
    let ended_well = rustdoc.status().is_ok_and(|status| status.success());
    Some(if ended_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(json: &Path) -> Result<Value> {
    let text = fs::read(json).with_context(|| format!("could not read {}", json.display()))?;
    let value: Value = serde_json::from_slice(&text).context("rustdoc wrote no JSON")?;
    let format = value.get("format_version").and_then(Value::as_u64);
    if format != Some(FORMAT) {
        bail!(
            "this Rust's rustdoc writes format {}, and {FORMAT} is read here: use Rust {RUST}, or \
             move `public-api` in xtask/Cargo.toml, `FORMAT` and `RUST` to the new one",
            format.map_or_else(|| "unknown".to_owned(), |format| format.to_string())
        );
    }
    Ok(value)
}

fn lines(json: &Path) -> Result<Vec<String>> {
    read(json)?;
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build()
        .context("could not read what rustdoc wrote")?;
    let lines = api.items().map(ToString::to_string);
    Ok(lines.filter(|line| !goes_without_saying(line)).collect())
}

/// Whether a line says no more than that an auto trait is implemented, as it is for most types. That
/// one is not, or under a condition, is said: a field that is not `Send` shows as a new line.
fn goes_without_saying(line: &str) -> bool {
    let auto = AUTO_TRAITS.iter().position(|name| line.contains(&format!("{name} for ")));
    let Some(number) = auto.filter(|_| line.starts_with("impl")) else { return false };
    let is_plain = !line.contains("impl !") && !line.contains("> !") && !line.contains(" where ");
    number < NOT_PROMISED || is_plain
}

fn external_types(json: &Path, lines: &[String]) -> Result<()> {
    let crates = external::Crates::of(LIBRARY, &metadata::load()?);
    let reexports = external::reexports(&read(json)?);
    let mut wrong = Vec::new();
    for line in lines.iter().chain(&reexports) {
        let unstable = crates.unstable(line);
        let unstable = unstable.into_iter().filter(|(name, _)| !ALLOWED.contains(&name.as_str()));
        wrong.extend(unstable.map(|(name, version)| format!("{name} {version}: {line}")));
    }
    if !wrong.is_empty() {
        bail!("crates below 1.0 stand in the public API:\n{}", wrong.join("\n"));
    }
    println!("No crate below 1.0 stands in the public API but {}.", ALLOWED.join(", "));
    Ok(())
}

fn write(lines: &[String]) -> Result<()> {
    let mut text = lines.join("\n");
    text.push('\n');
    fs::write(root().join(LIST), text).with_context(|| format!("could not write {LIST}"))?;
    println!("{LIST} has {} lines.", lines.len());
    Ok(())
}

fn compare(lines: &[String]) -> Result<()> {
    let text = fs::read_to_string(root().join(LIST));
    let text = text.with_context(|| format!("could not read {LIST}"))?;
    let differences = differences(&text.lines().collect::<Vec<_>>(), lines);
    if !differences.is_empty() {
        bail!(
            "the public API is not the one in {LIST}. If that is meant, `cargo xtask api --bless` \
             writes it.\n{}",
            differences.join("\n")
        );
    }
    println!("The {} lines of {LIST} are the public API.", lines.len());
    Ok(())
}

/// The lines that only one of two lists has, with `-` or `+` before them, or that one has more often.
fn differences(old: &[&str], new: &[String]) -> Vec<String> {
    let mut missing = old.to_vec();
    let mut differences = Vec::new();
    for line in new {
        match missing.iter().position(|old| old == line) {
            Some(place) => drop(missing.remove(place)),
            None => differences.push(format!("+{line}")),
        }
    }
    missing.iter().map(|line| format!("-{line}")).chain(differences).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unusual_of_an_auto_trait_is_said() {
        let unsaid = [
            "impl core::marker::Send for a::B",
            "impl<T> core::marker::Unpin for a::B<T>",
            "impl !core::marker::Freeze for a::B",
            "impl<T> core::panic::unwind_safe::UnwindSafe for a::B<T> where T: a::C",
        ];
        for line in unsaid {
            assert!(goes_without_saying(line), "{line}");
        }
        let said = [
            "impl !core::marker::Send for a::B",
            "impl<T> !core::marker::Sync for a::B<T>",
            "impl<T> core::marker::Send for a::B<T> where T: core::marker::Send",
            "impl core::marker::Copy for a::B",
            "pub fn a::b(c: impl core::marker::Send)",
        ];
        for line in said {
            assert!(!goes_without_saying(line), "{line}");
        }
    }

    #[test]
    fn each_line_that_one_list_lacks_is_shown() {
        let new = ["a", "c", "c"].map(str::to_owned);
        assert_eq!(differences(&["a", "b", "c"], &new), ["-b", "+c"]);
        assert!(differences(&["c", "a", "c"], &new).is_empty());
    }
}
