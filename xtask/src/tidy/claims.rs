//! The rule about the page of requirements: what it says to be shown by a test, a test shows.

use super::{
    TextFile, Violation,
    source::{Source, functions, tokens},
};

/// A row for each requirement.
const PAGE: &str = "docs/security.md";

/// How many requirements there are.
const REQUIREMENTS: usize = 62;

/// What a row can say of its requirement.
const MET: &str = "met";
const OTHERWISE: [&str; 2] = ["not applicable", "open"];

/// The suite that each store runs. It is in the library, for all who write a store.
const SUITE: &str = "/conformance/";

/// Checks that each requirement has one row with one of the three words, that a row which says `met`
/// names a test, and that each test which is named exists.
pub(super) fn check(files: &[TextFile], rust: &[Source]) -> Vec<Violation> {
    let violation = |line, what| Violation {
        path: PAGE.to_owned(),
        line,
        what,
        rule: "what is said to be shown is shown by a test",
    };
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![violation(1, "is missing".to_owned())];
    };
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for (line, row) in (1..).zip(page.text.lines()) {
        for name in tests_in(row).filter(|name| !rust.iter().any(|source| has_test(source, name))) {
            found.push(violation(line, format!("there is no test `{name}`")));
        }
        let Some((number, state)) = requirement(row) else { continue };
        if seen.contains(&number) {
            found.push(violation(line, format!("R{number} has another row")));
        }
        seen.push(number);
        if state == MET && tests_in(row).next().is_none() {
            found.push(violation(line, format!("R{number} is said to be met, and by no test")));
        } else if state != MET && !OTHERWISE.contains(&state) {
            found.push(violation(
                line,
                format!("R{number} is neither met, not applicable nor open"),
            ));
        }
    }
    let missing = (1..=REQUIREMENTS).filter(|number| !seen.contains(number));
    found.extend(missing.map(|number| violation(1, format!("R{number} has no row"))));
    found
}

/// The number of the requirement that a row of the table is about, and what it says of it.
fn requirement(row: &str) -> Option<(usize, &str)> {
    let mut cells = row.split('|').skip(1).map(str::trim);
    let number = cells.next()?.strip_prefix('R')?.parse().ok()?;
    Some((number, cells.nth(1).unwrap_or_default()))
}

/// The names of tests in backticks: the crate, the modules and the function, all in lower case.
fn tests_in(line: &str) -> impl Iterator<Item = &str> {
    let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
    let names = line.split('`').skip(1).step_by(2);
    names.filter(move |name| name.contains("::") && name.chars().all(of_name))
}

/// Whether a file has the test: it is named after the test's crate and modules, in any order.
fn has_test(source: &Source, name: &str) -> bool {
    let Some((modules, function)) = name.rsplit_once("::") else { return false };
    let in_path = |module: &str| {
        let mut parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
        module == "tests" || parts.any(|part| part.replace('-', "_") == module)
    };
    // Of the hundreds of files, few have such a path, and the others are not read.
    modules.split("::").all(in_path)
        && functions(&tokens(&source.code)).iter().any(|found| {
            found.name == function
                && (source.path.contains(SUITE) || !source.is_product(found.line))
        })
}

#[cfg(test)]
mod tests;
