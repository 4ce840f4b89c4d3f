use super::*;

fn lengths(text: &str) -> Vec<(String, usize, usize)> {
    let source = Source::new("crates/a/src/b.rs", text);
    let functions = functions(&tokens(&source.code)).into_iter();
    functions.map(|function| (function.name.to_owned(), function.line, function.n_lines)).collect()
}

#[test]
fn a_function_ends_at_its_own_brace() {
    let text = "fn one() {\n    if true {\n    }\n}\n\nfn two() {}\n";
    assert_eq!(lengths(text), [("one".to_owned(), 1, 4), ("two".to_owned(), 6, 1)]);
}

#[test]
fn braces_in_strings_comments_and_chars_do_not_count() {
    for line in [
        "let a = \"}\";",
        "let a = \"\\\"}\";",
        "let a = r#\"\"}\"#;",
        "let a = br##\"\"# }\"##;",
        "let a = b\"}\";",
        "let a = '}';",
        "let a = b'}';",
        "let a = ('\\'','}');",
        "let a = ('\\\\', '}');",
        "let a = '\\u{7d}';",
        "// }",
        "/* } /* } */ } */",
        "let a: &'static str = f::<'_>('}');",
        "let r#type = '}';",
    ] {
        let text = format!("fn f() {{\n    {line}\n}}\nfn g() {{}}\n");
        assert_eq!(lengths(&text), [("f".to_owned(), 1, 3), ("g".to_owned(), 4, 1)], "{line}");
    }
}

#[test]
fn what_has_no_body_is_no_function() {
    for text in
        ["trait T {\n    fn f(&self) -> [u8; 3];\n}", "type F = fn(u8) -> u8;", "// fn f() {}"]
    {
        assert_eq!(lengths(&format!("{text}\nmod m {{}}\n")), [], "{text}");
    }
}

#[test]
fn brackets_in_a_signature_are_no_body() {
    for signature in ["fn f(a: A<{ 3 }>)", "fn f() -> [u8; { 3 }]", "fn f() -> [u8; 3]"] {
        assert_eq!(lengths(&format!("{signature} {{\n}}\n")), [("f".to_owned(), 1, 2)]);
    }
}

#[test]
fn inner_functions_and_long_signatures_are_measured() {
    let text = "fn outer<F>(\n    a: [u8; { 3 }],\n) -> u8\nwhere\n    F: Fn(u8),\n{\n    fn inner() {\n    }\n}\n";
    assert_eq!(lengths(text), [("outer".to_owned(), 1, 9), ("inner".to_owned(), 7, 2)]);
}

#[test]
fn the_three_views_share_out_the_text() {
    let source = Source::new("a.rs", "let a = \"x\"; // é y\nb");
    assert_eq!(source.code, "let a =    ;       \nb");
    assert_eq!(source.uncommented, "let a = \"x\";       \nb");
    assert_eq!(source.comments, "             // é y\n ");
}

#[test]
fn inline_tests_are_found_behind_their_attributes() {
    let start = |text| Source::new("a.rs", text).tests_from;
    assert_eq!(start("fn a() {}\n#[cfg(test)]\nmod tests {}\n"), 2);
    assert_eq!(start("fn a() {}\n#[cfg(test)]\n#[expect(x, reason = \"[\")]\nmod t {}\n"), 2);
}

#[test]
fn a_test_module_in_its_own_file_hides_nothing() {
    let start = |text| Source::new("a.rs", text).tests_from;
    assert_eq!(start("#[cfg(test)]\nmod tests;\nfn a() {}\n"), 4);
    assert_eq!(start("#[cfg(test)]\nuse a;\nmod b { }\n"), 4);
    assert_eq!(
        start("// #[cfg(test)] mod tests {\nconst A: &str = \"#[cfg(test)] mod a {\";\n"),
        3
    );
}

#[test]
fn test_files_are_known_by_their_name() {
    for (path, is_test) in [
        ("crates/a/src/b/tests.rs", true),
        ("crates/a/tests/it/main.rs", true),
        ("crates/a/src/b.rs", false),
        ("crates/a/src/contests.rs", false),
    ] {
        assert_eq!(Source::new(path, "").is_test(), is_test, "{path}");
    }
}
