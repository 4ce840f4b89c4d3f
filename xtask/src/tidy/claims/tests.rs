use super::*;

/// What is wrong with a page, but for the requirements that it leaves out.
fn wrong(page: &str, sources: &[(&str, &str)]) -> Vec<(usize, String)> {
    let files = [TextFile { path: PAGE.to_owned(), text: page.to_owned() }];
    let rust: Vec<_> = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
    let found = check(&files, &rust).into_iter();
    let found = found.filter(|violation| !violation.what.ends_with("has no row"));
    found.map(|violation| (violation.line, violation.what)).collect()
}

#[test]
fn the_page_and_each_requirement_must_be_there() {
    assert_eq!(check(&[], &[]).len(), 1);
    let files = [TextFile { path: PAGE.to_owned(), text: "| R2 | x | open | y |".to_owned() }];
    assert_eq!(check(&files, &[]).len(), REQUIREMENTS - 1);
    let twice = "| R2 | x | open | y |\n| R2 | x | open | y |";
    assert_eq!(wrong(twice, &[]), [(2, "R2 has another row".to_owned())]);
}

#[test]
fn a_row_says_one_of_three_words() {
    for good in
        ["| R1 | x | open | y |", "| R1 | x | not applicable | y |", "| RFC | x | y |", "R1"]
    {
        assert!(wrong(good, &[]).is_empty(), "{good}");
    }
    assert_eq!(wrong("| R1 | x | nearly | y |", &[]).len(), 1);
    assert_eq!(wrong("| R1 | x | met | by nothing |", &[]).len(), 1);
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let sources = [
        ("crates/ingle/tests/it/flow.rs", "fn shown() {}"),
        ("crates/ingle/src/cookie/tests.rs", "fn shown() {}"),
        ("crates/ingle/src/data.rs", "fn no_test() {}\n#[cfg(test)]\nmod tests { fn beside() {} }"),
        ("crates/ingle/src/store/conformance/touch.rs", "pub async fn law_8() {}"),
    ];
    for there in [
        "ingle::flow::shown",
        "ingle::cookie::tests::shown",
        "ingle::data::tests::beside",
        "ingle::conformance::law_8",
    ] {
        assert!(wrong(&format!("| R1 | x | met | `{there}` |"), &sources).is_empty(), "{there}");
    }
    for gone in [
        "ingle::flow::gone",
        "ingle::cookies::shown",
        "greetings::flow::shown",
        "ingle::data::no_test",
    ] {
        let found = wrong(&format!("see\n`{gone}`"), &sources);
        assert_eq!(found, [(2, format!("there is no test `{gone}`"))]);
    }
    assert!(wrong("`Session::renew`, `a b::c`, `cargo`, a::b", &sources).is_empty());
}
