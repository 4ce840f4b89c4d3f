//! The page *It does not work* quotes what the code says.

const PAGE: &str = include_str!("../../../../../docs/it-does-not-work.md");

/// Where the words are.
const SOURCES: [&str; 11] = [
    include_str!("../../../../ingle/src/store/firestore/error.rs"),
    include_str!("../../../../ingle/src/store/memcached/error.rs"),
    include_str!("../../../../ingle/src/store/memory.rs"),
    include_str!("../../../../ingle/src/store/postgres/error.rs"),
    include_str!("../../../../ingle/src/store/postgres/schema.rs"),
    include_str!("../../../../ingle/src/store/redis/connect/check.rs"),
    include_str!("../../../../ingle/src/store/redis/error.rs"),
    include_str!("../../../../ingle/src/store/sqlite/error.rs"),
    include_str!("../../../../ingle/src/store/warning.rs"),
    include_str!("../../../src/doctor/app.rs"),
    include_str!("../../../src/doctor/store.rs"),
];

/// A source with its texts in one piece, and `…` where something is put in.
fn texts(source: &str) -> String {
    let mut whole = String::new();
    let mut rest = source;
    // A text goes on in the next line behind a backslash.
    while let Some((before, after)) = rest.split_once("\\\n") {
        whole.push_str(before);
        rest = after.trim_start();
    }
    whole.push_str(rest);
    let mut texts = String::new();
    let mut rest = whole.replace("\\\"", "\"");
    while let Some((before, after)) = rest.split_once('{') {
        texts.push_str(before);
        // Only names are put into texts; any other brace is code.
        let inside = after.split('}').next().unwrap_or_default();
        let is_name = inside.chars().all(|c| c.is_ascii_alphanumeric() || "_:?.0".contains(c));
        match after.split_once('}') {
            Some((_, after)) if is_name => {
                texts.push('…');
                rest = after.to_owned();
            }
            _ => rest = after.to_owned(),
        }
    }
    texts.push_str(&rest);
    texts
}

#[test]
fn each_line_that_the_page_quotes_is_in_the_code() {
    let sources: Vec<_> = SOURCES.iter().map(|source| texts(source)).collect();
    let mut n_lines = 0;
    for block in PAGE.split("```text\n").skip(1) {
        for line in block.split("\n```").next().unwrap().lines() {
            let line = line.trim_start().trim_start_matches("→ ");
            let found = sources.iter().any(|source| source.contains(line));
            assert!(found, "nothing says so any more: {line}");
            n_lines += 1;
        }
    }
    assert!(n_lines > 50, "{n_lines}");
}
