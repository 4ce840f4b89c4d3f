use super::*;

/// The lines of a map that name what does not exist.
fn missing(map: &str, files: &[&str]) -> Vec<(usize, String)> {
    let file = |path: &str, text: &str| TextFile { path: path.to_owned(), text: text.to_owned() };
    let mut all: Vec<_> = files.iter().map(|path| file(path, "")).collect();
    all.push(file(MAP, map));
    architecture(&all).into_iter().map(|violation| (violation.line, violation.what)).collect()
}

#[test]
fn paths_of_one_machine_are_found() {
    for folder in MACHINE_FOLDERS {
        let hits = |before: &str| absolute_paths("a.md", &format!("x\n{before}/{folder}/x")).len();
        for before in ["", "see ", "\"", "file://", "(", "`", "="] {
            assert_eq!(hits(before), 1, "{before}/{folder}");
        }
        for before in ["https://example.org", "crates", "..", "~", "{root}"] {
            assert_eq!(hits(before), 0, "{before}/{folder}");
        }
    }
    assert_eq!(absolute_paths("a.md", &format!("x\n/{}/x", "home")).first().unwrap().line, 2);
}

#[test]
fn the_map_must_exist() {
    assert_eq!(architecture(&[]).len(), 1);
}

#[test]
fn a_path_that_is_gone_is_found() {
    let files = ["crates/ingle/src/store/memory.rs", "deny.toml"];
    let there = "`crates/ingle`, `crates/`, `store/memory.rs`, `deny.toml`, `crates/ingle/src/store/memory.rs`";
    assert!(missing(there, &files).is_empty());
    for gone in ["crates/other", "store/redis.rs", "y.toml", "tore/memory.rs"] {
        let expected = [(2, format!("`{gone}` does not exist"))];
        assert_eq!(missing(&format!("\nsee `{gone}`."), &files), expected);
    }
}

#[test]
fn only_paths_are_looked_up() {
    let map = "`GET /plain` `/plain` `redis://host/0` `store::Error` `a/{b}.rs` src/none.rs\n```text\n`x/y`\n```\n";
    assert!(missing(map, &[]).is_empty());
    assert_eq!(missing(&format!("{map}`x/y`"), &[]).len(), 1);
}
