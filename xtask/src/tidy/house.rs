//! The rules about every text file, and about the map of the project.

use super::{TextFile, Violation};

/// Folders at the root of somebody's machine. Spelled without slashes: this file is checked too.
const MACHINE_FOLDERS: [&str; 3] = ["work", "root", "home"];

/// The map of the project.
const MAP: &str = "ARCHITECTURE.md";

/// Finds paths that exist on one machine only.
pub(super) fn absolute_paths(path: &str, text: &str) -> Vec<Violation> {
    let folders = MACHINE_FOLDERS.map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        for folder in folders.iter().filter(|folder| starts_a_path(content, folder)) {
            found.push(Violation {
                path: path.to_owned(),
                line,
                what: format!("a path below `{folder}`"),
                rule: "no path of one machine in a committed file",
            });
        }
    }
    found
}

/// Whether a folder stands where a path begins, and not in the middle of one.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.~*})>".contains(c))
    })
}

/// Checks that each path which the map names in backticks exists.
///
/// A name may leave out leading folders, as `store/memory.rs` does for the library's own.
pub(super) fn architecture(files: &[TextFile]) -> Vec<Violation> {
    let violation = |line, what| Violation {
        path: MAP.to_owned(),
        line,
        what,
        rule: "the map shows what is there",
    };
    let Some(map) = files.iter().find(|file| file.path == MAP) else {
        return vec![violation(1, "is missing".to_owned())];
    };
    let named = paths_in(&map.text).into_iter();
    named
        .filter(|(_, name)| !files.iter().any(|file| leads_to(&file.path, name)))
        .map(|(line, name)| violation(line, format!("`{name}` does not exist")))
        .collect()
}

/// The path-like names in backticks, each with its line. Drawings in code blocks are left out.
fn paths_in(markdown: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut drawing = false;
    for (line, content) in (1..).zip(markdown.lines()) {
        if content.trim_start().starts_with("```") {
            drawing = !drawing;
        } else if !drawing {
            let names = content.split('`').skip(1).step_by(2);
            found.extend(names.filter(|name| is_path(name)).map(|name| (line, name)));
        }
    }
    found
}

/// `src/lib.rs`, `crates/`, `README.md`; not a URL, a route, a command or a name in code.
fn is_path(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
    let file = [".rs", ".md", ".toml"].iter().any(|end| name.ends_with(end));
    plain && !name.starts_with('/') && (name.contains('/') || file)
}

/// Whether a name is a file's path or one of its folders, with or without what comes before.
fn leads_to(file: &str, name: &str) -> bool {
    format!("/{file}/").contains(&format!("/{}/", name.trim_end_matches('/')))
}

#[cfg(test)]
mod tests;
