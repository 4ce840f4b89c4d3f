//! `cargo xtask book`: the pages of `docs` as one book, in which every link leads somewhere.
//!
//! mdBook renders them; `xtask/book` is its library as a program. Links are checked here, without a
//! network: those from one file of the project to another, and to a heading, in every page of
//! Markdown. A page of the book links to nothing outside of the book, as it is read without the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result, bail};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::{
    step::{self, Steps, cargo, root},
    tracked,
};

/// The folder of the book's pages, and its table of contents.
const PAGES: &str = "docs/";
const CONTENTS: &str = "docs/SUMMARY.md";

/// The program that renders, and the folder that it is built in.
pub(crate) const RENDERER: &str = "xtask/book/Cargo.toml";
const TARGET: &str = "target/book-renderer";

/// What is of interest in a page.
#[derive(Debug, Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

pub(crate) fn run(steps: &mut Steps) -> Result<()> {
    steps.run("links", check)?;
    steps.run("book", || {
        step::run(cargo(&[
            "run",
            "--quiet",
            "--manifest-path",
            RENDERER,
            "--target-dir",
            TARGET,
            ".",
        ]))?;
        println!("The book begins at target/book/index.html.");
        Ok(())
    })
}

fn check() -> Result<()> {
    let files: BTreeSet<String> = tracked::files()?.into_iter().collect();
    let mut pages = BTreeMap::new();
    for path in files.iter().filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(root().join(path));
        pages.insert(path.clone(), read(&text.with_context(|| format!("could not read {path}"))?));
    }
    let problems = problems(&pages, &files);
    if !problems.is_empty() {
        bail!("links that lead nowhere, or pages that none leads to:\n{}", problems.join("\n"));
    }
    let links: usize = pages.values().map(|page| page.links.len()).sum();
    println!(
        "{} pages, {links} links, and every one within the project leads somewhere.",
        pages.len()
    );
    Ok(())
}

/// The links and headings of a page.
fn read(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                if let Some(heading) = heading.take() {
                    add_anchor(&mut page.anchors, &heading);
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = heading.as_mut() {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    page
}

/// A heading's anchor, as mdBook and others make it: the second of the same text ends in `-1`.
fn add_anchor(anchors: &mut BTreeSet<String>, heading: &str) {
    let letters = heading.trim().chars().filter_map(|c| match c {
        _ if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
        _ if c.is_whitespace() => Some('-'),
        _ => None,
    });
    let anchor: String = letters.collect();
    let mut names = std::iter::once(anchor.clone()).chain((1..).map(|n| format!("{anchor}-{n}")));
    if let Some(name) = names.find(|name| !anchors.contains(name)) {
        anchors.insert(name);
    }
}

fn problems(pages: &BTreeMap<String, Page>, files: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, page) in pages {
        let wrong =
            page.links.iter().filter_map(|link| Some((link, problem(path, link, pages, files)?)));
        problems.extend(wrong.map(|(link, what)| format!("{path}: `{link}` {what}")));
    }
    let listed: BTreeSet<String> = pages
        .get(CONTENTS)
        .into_iter()
        .flat_map(|contents| &contents.links)
        .filter_map(|link| target(CONTENTS, link))
        .collect();
    let is_unlisted =
        |path: &&String| path.starts_with(PAGES) && *path != CONTENTS && !listed.contains(*path);
    problems.extend(
        pages.keys().filter(is_unlisted).map(|path| format!("{path}: is not in {CONTENTS}")),
    );
    problems
}

/// What is wrong with a link, if it leads to another place of this project.
fn problem(
    from: &str,
    link: &str,
    pages: &BTreeMap<String, Page>,
    files: &BTreeSet<String>,
) -> Option<&'static str> {
    // Items of Rust are checked by rustdoc, and other sites by nobody.
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
    if is_elsewhere || (!from.starts_with(PAGES) && link.contains("::")) {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, a)| (path, Some(a)));
    let to = if path.is_empty() { Some(from.to_owned()) } else { target(from, path) };
    let Some(to) = to else { return Some("leads out of the project") };
    if from.starts_with(PAGES) && !to.starts_with(PAGES) {
        return Some("leads out of the book");
    }
    let inside = format!("{}/", to.trim_end_matches('/'));
    let is_folder =
        || files.range(inside.clone()..).next().is_some_and(|file| file.starts_with(&inside));
    if !files.contains(&to) && (from.starts_with(PAGES) || !is_folder()) {
        return Some("leads to no file");
    }
    let known = |anchor| pages.get(&to).is_some_and(|page| page.anchors.contains(anchor));
    anchor.is_some_and(|anchor| !known(anchor)).then_some("leads to no heading of that page")
}

/// The path from the root that a link on a page means. None above the root.
fn target(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
        let pages = files.iter().filter(|(path, _)| path.ends_with(".md"));
        let pages = pages.map(|(path, text)| ((*path).to_owned(), read(text))).collect();
        problems(&pages, &files.iter().map(|(path, _)| (*path).to_owned()).collect())
    }

    #[test]
    fn links_to_pages_headings_and_other_files_are_followed() {
        let good = [
            (
                "README.md",
                "[a](docs/a.md#a--b-is-c) [code](src) <https://elsewhere.example> [T](crate::T)",
            ),
            ("docs/SUMMARY.md", "- [a](a.md)\n- [b](b/c.md)\n"),
            (
                "docs/a.md",
                "# A & `B` is c?\n\n# Same\n# Same\n[x](#same-1) ![y](./y.svg) [z](b/c.md)",
            ),
            ("docs/b/c.md", "[up](../a.md)\n\n```\n[not](a-link.md)\n```\n"),
            ("docs/y.svg", ""),
            ("src/main.rs", ""),
        ];
        assert_eq!(problems_of(&good), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let summary = ("docs/SUMMARY.md", "- [a](a.md)\n");
        for (link, what) in [
            ("b.md", "leads to no file"),
            ("#b", "leads to no heading of that page"),
            ("a.md#b", "leads to no heading of that page"),
            ("../README.md", "leads out of the book"),
            ("../../a.md", "leads out of the project"),
            ("crate::T", "leads to no file"),
        ] {
            let page = format!("# A\n[x]({link})");
            let found = problems_of(&[("README.md", ""), summary, ("docs/a.md", &page)]);
            assert_eq!(found, [format!("docs/a.md: `{link}` {what}")]);
        }
    }

    #[test]
    fn a_link_by_reference_is_a_link() {
        let found = problems_of(&[("README.md", "See [this].\n\n[this]: gone.md\n")]);
        assert_eq!(found, ["README.md: `gone.md` leads to no file"]);
    }

    #[test]
    fn a_page_that_the_table_of_contents_lacks_is_found() {
        let found = problems_of(&[("docs/SUMMARY.md", ""), ("docs/a.md", "# A\n")]);
        assert_eq!(found, ["docs/a.md: is not in docs/SUMMARY.md"]);
    }
}
