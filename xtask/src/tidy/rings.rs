//! The rings of the library: which module may know which, and that no files know each other in a circle.
//!
//! Reads `use` items and paths, by a parser. A name that a module hands on (`pub use`) counts as known
//! from where it is defined, and to hand a name on is no knowledge. Tests may know everything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use syn::{Item, UseTree, Visibility, spanned::Spanned as _, visit::Visit};

use super::{Violation, source::Source};

const LIBRARY: &str = "crates/ingle/src/";

/// The rings from the inside out. What is in none of them is at the very inside.
const RINGS: [&[&str]; 6] =
    [&["record"], &["store"], &["engine"], &["session"], &["http"], &["testing", "lib", "fuzz"]];

/// The place of a module among the rings.
fn ring(module: &str) -> usize {
    RINGS.iter().position(|names| names.contains(&module)).map_or(0, |place| place + 1)
}

/// The path of a module from the root of the crate.
type Module = Vec<String>;

/// What one file says of others.
#[derive(Default)]
struct File {
    path: String,
    /// Names that it hands on, and what they are.
    handed_on: BTreeMap<String, Module>,
    /// Paths that it names, and on which lines.
    named: Vec<(Module, usize)>,
}

/// Every import that runs outward, and every circle.
pub(super) fn check(sources: &[Source]) -> Result<Vec<Violation>> {
    let mut files = BTreeMap::new();
    for source in sources.iter().filter(|source| source.path.starts_with(LIBRARY)) {
        if !source.is_test() {
            files.insert(module(&source.path), read(source)?);
        }
    }
    let mut edges: BTreeMap<&Module, BTreeMap<&Module, usize>> = BTreeMap::new();
    for (from, file) in &files {
        for (path, line) in &file.named {
            if let Some(to) = resolve(&files, path, 0).filter(|to| *to != from) {
                edges.entry(from).or_default().entry(to).or_insert(*line);
            }
        }
    }
    let mut found = outward(&files, &edges);
    found.extend(circles(&files, &edges));
    Ok(found)
}

/// `crates/ingle/src/store/redis.rs` is `store::redis`.
fn module(path: &str) -> Module {
    let path = path.strip_prefix(LIBRARY).unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let names = path.split('/').filter(|name| *name != "lib" && *name != "mod");
    names.map(str::to_owned).collect()
}

fn read(source: &Source) -> Result<File> {
    let parsed = syn::parse_file(&source.text)
        .with_context(|| format!("{} could not be parsed", source.path))?;
    let own = module(&source.path);
    let mut reader = Reader { own, file: File { path: source.path.clone(), ..File::default() } };
    reader.visit_file(&parsed);
    Ok(reader.file)
}

struct Reader {
    own: Module,
    file: File,
}

impl Reader {
    /// A path from the root of the crate; none for one that begins elsewhere.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => self.own.clone(),
            "super" => self.own.split_last()?.1.to_vec(),
            // Perhaps a module of this one, perhaps another crate: who resolves it finds out.
            _ => {
                rest = path;
                self.own.clone()
            }
        };
        while let Some((up, after)) = rest.split_first().filter(|(up, _)| *up == "super") {
            let _ = up;
            module.pop()?;
            rest = after;
        }
        module.extend(rest.iter().cloned());
        Some(module)
    }

    fn name(&mut self, path: &[String], line: usize) {
        if let Some(path) = self.absolute(path) {
            self.file.named.push((path, line));
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String], is_private: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (path, alias) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), is_private),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, is_private));
            }
            UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before.last().cloned().unwrap_or_default())
            }
            UseTree::Name(name) => (with(&name.ident), name.ident.to_string()),
            UseTree::Rename(name) => (with(&name.ident), name.rename.to_string()),
            UseTree::Glob(_) => (before.to_vec(), "*".to_owned()),
        };
        if is_private {
            self.name(&path, tree.span().start().line);
        } else if let Some(path) = self.absolute(&path) {
            self.file.handed_on.insert(alias, path);
        }
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        let is_private = matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &[], is_private);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if names.len() > 1 {
            self.name(&names, path.span().start().line);
        }
        syn::visit::visit_path(self, path);
    }
}

fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is there for tests or for the documentation alone.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let cfgs = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let mut tokens = cfgs.filter_map(|attribute| attribute.meta.require_list().ok());
    tokens.any(|list| matches!(list.tokens.to_string().as_str(), "test" | "doc"))
}

/// The module that a path leads to: that which defines the name at its end.
fn resolve<'a>(
    files: &'a BTreeMap<Module, File>,
    path: &[String],
    depth: usize,
) -> Option<&'a Module> {
    let (mut at, mut rest) = (files.get_key_value(&Module::new())?, path);
    while let Some((name, after)) = rest.split_first() {
        let inner = [at.0.as_slice(), std::slice::from_ref(name)].concat();
        if let Some(found) = files.get_key_value(&inner) {
            (at, rest) = (found, after);
            continue;
        }
        if let Some(handed_on) = at.1.handed_on.get(name).filter(|_| depth < 8) {
            let further = [handed_on.as_slice(), after].concat();
            return resolve(files, &further, depth + 1).or(Some(at.0));
        }
        break;
    }
    // The root of the crate is named by nobody; a path that ends there began in another crate.
    (!at.0.is_empty()).then_some(at.0)
}

fn outward(
    files: &BTreeMap<Module, File>,
    edges: &BTreeMap<&Module, BTreeMap<&Module, usize>>,
) -> Vec<Violation> {
    let top = |module: &Module| module.first().map_or("lib", String::as_str).to_owned();
    let all =
        edges.iter().flat_map(|(from, to)| to.iter().map(move |(to, line)| (*from, *to, *line)));
    let wrong = all.filter(|(from, to, _)| ring(&top(from)) < ring(&top(to)));
    wrong
        .map(|(from, to, line)| Violation {
            path: files.get(from).map_or_else(String::new, |file| file.path.clone()),
            line,
            what: format!("knows `{}`", to.join("::")),
            rule: "each ring knows those inside of it: http, session, engine, store, record",
        })
        .collect()
}

/// A violation for each file of a circle: it reaches itself.
fn circles(
    files: &BTreeMap<Module, File>,
    edges: &BTreeMap<&Module, BTreeMap<&Module, usize>>,
) -> Vec<Violation> {
    let next = |module: &Module| edges.get(module).into_iter().flatten();
    let reaches = |from: &Module, goal: &Module| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(module) = todo.pop() {
            if module == goal {
                return true;
            }
            todo.extend(next(module).map(|(to, _)| *to).filter(|to| seen.insert(*to)));
        }
        false
    };
    let mut found = Vec::new();
    for (from, file) in files {
        for (to, line) in next(from).filter(|(to, _)| reaches(to, from)) {
            found.push(Violation {
                path: file.path.clone(),
                line: *line,
                what: format!("knows `{}`, which knows it in turn", to.join("::")),
                rule: "no files of the library know each other in a circle",
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::new(&format!("{LIBRARY}{path}"), text))
            .collect();
        let found = check(&sources).unwrap();
        found.iter().map(|found| format!("{}:{}", found.path, found.line)).collect()
    }

    #[test]
    fn an_import_that_runs_outward_is_found() {
        let engine = "//! x\nuse crate::http::Cookie;\n";
        let http = "//! x\npub struct Cookie;\nuse crate::engine::Engine;\n";
        let lib = "mod http; mod engine;";
        let files = [("lib.rs", lib), ("engine.rs", engine), ("http.rs", http)];
        let found = found(&files);
        assert!(found.contains(&format!("{LIBRARY}engine.rs:2")), "{found:?}");
    }

    #[test]
    fn a_circle_is_found_also_by_way_of_a_parent() {
        let parent = "mod a; mod b; use self::a::A; pub struct P;";
        let files = [
            ("lib.rs", "mod store;"),
            ("store.rs", parent),
            ("store/a.rs", "use super::P; pub struct A;"),
            ("store/b.rs", "use super::a::A;"),
        ];
        let found = found(&files);
        assert_eq!(found, [format!("{LIBRARY}store.rs:1"), format!("{LIBRARY}store/a.rs:1")]);
    }

    #[test]
    fn what_a_parent_hands_on_is_known_from_where_it_is() {
        let files = [
            ("lib.rs", "mod store;"),
            ("store.rs", "mod a; mod b; pub use self::{a::A, b::B}; pub trait T {}"),
            ("store/a.rs", "use super::{B, T}; pub struct A;"),
            ("store/b.rs", "#[cfg(test)] mod tests { use super::super::A; } pub struct B;"),
        ];
        assert!(found(&files).is_empty(), "{:?}", found(&files));
    }
}
