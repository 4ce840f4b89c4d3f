use super::*;

/// What is wrong with a file, as `LINE: WHAT`.
fn wrong(path: &str, text: &str) -> Vec<String> {
    let found = check(&Source::new(path, text)).into_iter();
    found.map(|violation| format!("{}: {}", violation.line, violation.what)).collect()
}

/// A file with a module doc, so that only the rule under test can speak.
fn wrong_code(path: &str, code: &str) -> Vec<String> {
    wrong(path, &format!("//! Doc.\n{code}"))
}

fn lines(n: usize) -> String {
    "const A: u8 = 0;\n".repeat(n)
}

#[test]
fn a_module_without_a_doc_is_found() {
    assert_eq!(wrong("crates/a/src/b.rs", "use std;\n"), ["1: does not open with `//!`"]);
    assert_eq!(wrong("xtask/src/b.rs", ""), ["1: does not open with `//!`"]);
    assert_eq!(wrong("bench/src/b.rs", ""), ["1: does not open with `//!`"]);
    assert_eq!(wrong("bench/peers/a/src/b.rs", ""), ["1: does not open with `//!`"]);
    for path in ["crates/a/src/b/tests.rs", "crates/a/tests/it/main.rs", "crates/a/build.rs"] {
        assert!(wrong(path, "use std;\n").is_empty(), "{path}");
    }
    assert!(wrong("crates/a/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n").is_empty());
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let path = "crates/a/src/b.rs";
    assert!(wrong_code(path, &lines(599)).is_empty());
    assert_eq!(wrong_code(path, &lines(600)), ["600: 601 lines without tests"]);
    let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(599), lines(600));
    assert!(wrong_code(path, &with_tests).is_empty());
    assert!(wrong("crates/a/src/b/tests.rs", &lines(700)).is_empty());
}

#[test]
fn a_long_function_is_found() {
    let path = "crates/a/src/b.rs";
    let function = |n_inner| format!("fn long() {{\n{}}}\n", lines(n_inner));
    assert!(wrong_code(path, &function(68)).is_empty());
    assert_eq!(wrong_code(path, &function(69)), ["2: `long` has 71 lines"]);
    let in_tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(69));
    assert!(wrong_code(path, &in_tests).is_empty());
}

#[test]
fn unfinished_work_is_found_in_tests_too() {
    let path = "crates/a/tests/it/main.rs";
    assert_eq!(wrong(path, "// TODO: more\n/* FIXME */\n"), ["1: `TODO`", "2: `FIXME`"]);
    assert_eq!(wrong(path, "fn a() {\n    todo!()\n}\n"), ["2: `todo!`"]);
    assert_eq!(wrong(path, "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"), ["2: `#[ignore]`"]);
    assert_eq!(wrong(path, "#[should_panic]\nfn a() {}\n"), ["1: `#[should_panic]`"]);
    assert!(wrong(path, "const A: &str = \"TODO todo! #[ignore]\"; let todo = 1;\n").is_empty());
}

#[test]
fn cookie_headers_belong_to_the_ring_of_http() {
    let code = "use http::header::{COOKIE, SET_COOKIE};\nconst A: &str = \"Set-Cookie\";\n";
    let expected = [2, 2, 3].map(|line| format!("{line}: names a cookie header"));
    assert_eq!(wrong_code("crates/ingle/src/record.rs", code), expected);
    for path in [
        "crates/ingle/src/http/cookie.rs",
        "crates/ingle/src/http/door.rs",
        "crates/greetings/src/main.rs",
    ] {
        assert!(wrong_code(path, code).is_empty(), "{path}");
    }
    assert!(
        wrong_code("crates/ingle/src/record.rs", "// COOKIE\nconst COOKIES: u8 = 0;\n").is_empty()
    );
}

#[test]
fn a_store_never_writes_without_a_condition() {
    let path = "crates/ingle/src/store/sqlite.rs";
    for code in [
        "const A: &str = \"INSERT … ON CONFLICT DO UPDATE SET a = 1\";",
        "const A: &str = \"insert … on conflict (key)\n  do\n  update set a = 1\";",
        "const A: &str = \"Insert or Replace into t\";",
        "const A: &str = \"REPLACE INTO t\";",
        "let a = FieldValue.increment(1);",
        "let a = FieldValue::increment(1);",
    ] {
        assert!(!wrong_code(path, code).is_empty(), "{code}");
        assert!(wrong_code("crates/ingle/src/session.rs", code).is_empty(), "{code}");
    }
    assert!(
        wrong_code(path, "// Never INSERT OR REPLACE.\nconst A: &str = \"UPDATE t SET a = 1\";")
            .is_empty()
    );
}

#[test]
fn the_features_are_counted_over_the_whole_library() {
    let library = |n, path| Source::new(path, &"#[cfg(any(feature = \"a\", unix))]\n".repeat(n));
    let half = library(15, "crates/ingle/src/lib.rs");
    assert_eq!(feature_budget(&[library(15, "crates/ingle/src/store.rs"), half]), None);
    let over = [library(30, "crates/ingle/src/lib.rs"), library(1, "crates/ingle/src/store.rs")];
    assert!(feature_budget(&over).unwrap().what.contains("31 times"));
    assert_eq!(feature_budget(&[library(31, "crates/other/src/lib.rs")]), None);
}
