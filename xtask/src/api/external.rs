//! Which crates of others a public API names, and whether they are at 1.0.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::metadata::{array, packages, string};

/// The crates that a library can name, each with its versions: one where the library depends on it
/// itself, and else all that are anywhere below it.
pub(super) struct Crates(BTreeMap<String, BTreeSet<String>>);

impl Crates {
    pub(super) fn of(library: &str, metadata: &Value) -> Self {
        let versions: BTreeMap<&str, &str> = packages(metadata)
            .iter()
            .map(|package| (string(package, "id"), string(package, "version")))
            .collect();
        let nodes = metadata.get("resolve").map(|resolve| array(resolve, "nodes"));
        let nodes: BTreeMap<&str, &[Value]> = nodes
            .unwrap_or_default()
            .iter()
            .map(|node| (string(node, "id"), array(node, "deps")))
            .collect();
        let own = packages(metadata).iter().find(|package| string(package, "name") == library);
        let own = own.map(|package| string(package, "id")).unwrap_or_default();
        let direct = dependencies(&nodes, own);
        let mut seen = BTreeSet::from([own]);
        let mut crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut next = direct.clone();
        while let Some((name, id)) = next.pop() {
            if direct.iter().all(|(own, other)| *own != name || *other == id) {
                let version = versions.get(id).copied().unwrap_or_default();
                crates.entry(name.to_owned()).or_default().insert(version.to_owned());
            }
            if seen.insert(id) {
                next.extend(dependencies(&nodes, id));
            }
        }
        Self(crates)
    }

    /// The crates in a line of the API that have a version below 1.0, and that version.
    pub(super) fn unstable(&self, line: &str) -> BTreeSet<(String, String)> {
        let versions = |name| self.0.get(name).into_iter().flatten().map(move |v| (name, v));
        first_segments(line)
            .into_iter()
            .flat_map(versions)
            .filter(|(_, version)| version.starts_with("0."))
            .map(|(name, version)| (name.to_owned(), version.clone()))
            .collect()
    }
}

/// What a package depends on when it is used: the name in its code, and the package.
fn dependencies<'a>(nodes: &BTreeMap<&str, &'a [Value]>, id: &str) -> Vec<(&'a str, &'a str)> {
    let is_used = |dependency: &&Value| {
        array(dependency, "dep_kinds")
            .iter()
            .any(|kind| kind.get("kind").is_some_and(Value::is_null))
    };
    let dependencies = nodes.get(id).copied().unwrap_or_default().iter().filter(is_used);
    dependencies.map(|dependency| (string(dependency, "name"), string(dependency, "pkg"))).collect()
}

/// What the library hands on of other crates, as lines. The list names these by their new path.
pub(super) fn reexports(json: &Value) -> Vec<String> {
    let items =
        json.get("index").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
    let is_public = |item: &&Value| string(item, "visibility") == "public";
    let source =
        |item: &Value| item.get("inner")?.get("use")?.get("source")?.as_str().map(str::to_owned);
    // A crate that is handed on as a whole has no `::` in its source.
    items.filter(is_public).filter_map(source).map(|source| format!("pub use {source}::")).collect()
}

/// The first names of all paths in a line of Rust.
fn first_segments(line: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_name) {
        let before = rest.get(..start).unwrap_or_default();
        let from = rest.get(start..).unwrap_or_default();
        let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        if after.starts_with("::") && !before.ends_with("::") {
            found.insert(name);
        }
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata() -> Value {
        let package = |name: &str, version: &str| json!({ "id": format!("{name} {version}"), "name": name, "version": version });
        let dependency = |name: &str, id: &str, kind: Value| json!({ "name": name, "pkg": id, "dep_kinds": [{ "kind": kind }] });
        json!({
            "packages": [
                package("ingle", "0.1.0"), package("http", "1.2.0"), package("http", "0.2.0"),
                package("tonic", "0.14.0"), package("prost", "0.13.0"), package("tried", "0.3.0"),
            ],
            "resolve": { "nodes": [
                { "id": "ingle 0.1.0", "deps": [
                    dependency("http", "http 1.2.0", Value::Null),
                    dependency("tonic", "tonic 0.14.0", Value::Null),
                    dependency("tried", "tried 0.3.0", json!("dev")),
                ] },
                { "id": "tonic 0.14.0", "deps": [
                    dependency("http", "http 0.2.0", Value::Null),
                    dependency("prost", "prost 0.13.0", Value::Null),
                ] },
            ] },
        })
    }

    fn unstable(line: &str) -> Vec<String> {
        let found = Crates::of("ingle", &metadata()).unstable(line);
        found.into_iter().map(|(name, version)| format!("{name} {version}")).collect()
    }

    #[test]
    fn a_crate_below_one_is_found_wherever_a_line_names_it() {
        let line = "impl core::convert::From<tonic::status::Status> for ingle::E";
        assert_eq!(unstable(line), ["tonic 0.14.0"]);
        assert_eq!(unstable("pub fn ingle::f(&self) -> &prost::Message"), ["prost 0.13.0"]);
        assert!(unstable("pub fn ingle::tonic::f(Tonic::Item, tonic: u8)").is_empty());
    }

    #[test]
    fn the_version_that_the_library_uses_counts_and_not_another_below_it() {
        assert!(unstable("pub fn ingle::f(http::HeaderMap)").is_empty());
    }

    #[test]
    fn what_only_tests_use_is_no_crate_of_the_library() {
        assert!(unstable("pub fn ingle::f(tried::A)").is_empty());
    }

    #[test]
    fn what_is_handed_on_is_found() {
        let with = |visibility: &str| {
            let item =
                json!({ "visibility": visibility, "inner": { "use": { "source": "tonic" } } });
            reexports(&json!({ "index": { "1": item } }))
        };
        assert_eq!(unstable(&with("public").concat()), ["tonic 0.14.0"]);
        assert!(with("default").is_empty());
    }
}
