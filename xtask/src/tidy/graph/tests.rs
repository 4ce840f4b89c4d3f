use serde_json::json;

use super::*;

const DENY: &str = "
[licenses]
allow = [
    \"MIT\", # a comment with ] and \"ISC\"
    \"Apache-2.0\",
    \"Apache-2.0 WITH LLVM-exception\",
]

[bans]
wildcards = \"deny\"
deny = [\"cookie\", \"openssl-sys\"]
";

fn wrong(package: &Value) -> Vec<String> {
    let policy = Policy::parse(DENY).unwrap();
    let found = check(&json!({ "packages": [package] }), &policy, "").into_iter();
    found.map(|violation| violation.what).collect()
}

#[test]
fn the_policy_is_read_from_the_file() {
    let policy = Policy::parse(DENY).unwrap();
    assert_eq!(policy.licenses, ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]);
    assert_eq!(policy.banned, ["cookie", "openssl-sys"]);
}

#[test]
fn a_policy_without_its_lists_is_an_error() {
    assert!(Policy::parse("").is_err());
    assert!(Policy::parse(&DENY.replace("[bans]", "[other]")).is_err());
    assert!(Policy::parse(&DENY.replace("allow = [", "allowed = [")).is_err());
}

#[test]
fn licence_expressions_are_understood() {
    let policy = Policy::parse(DENY).unwrap();
    for good in [
        "MIT",
        "MIT OR GPL-3.0-only",
        "GPL-3.0-only OR MIT",
        "MIT/Apache-2.0",
        "MIT AND Apache-2.0",
        "(MIT OR ISC) AND Apache-2.0",
        "Apache-2.0 WITH LLVM-exception OR ISC",
        "GPL-3.0-only AND ISC OR MIT",
    ] {
        assert!(is_allowed(good, &policy.licenses), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "(MIT OR ISC) AND GPL-3.0-only",
        "MIT WITH LLVM-exception",
        "MIT OR",
        "(MIT",
        "MIT)",
        "MIT MIT",
    ] {
        assert!(!is_allowed(bad, &policy.licenses), "{bad}");
    }
}

#[test]
fn each_rule_about_a_package_speaks() {
    let [registry, _] = CRATES_IO;
    let package = |name: &str, license: Option<&str>, source: Option<&str>| json!({ "name": name, "version": "1.0.0", "license": license, "source": source });
    assert!(wrong(&package("a", Some("MIT"), Some(registry))).is_empty());
    assert!(wrong(&package("a", Some("MIT"), None)).is_empty());
    assert_eq!(wrong(&package("a", None, None)), ["a 1.0.0 has the licence ``"]);
    assert_eq!(wrong(&package("cookie", Some("MIT"), Some(registry))), ["cookie 1.0.0 is used"]);
    let elsewhere = "git+https://example.org/a";
    assert_eq!(
        wrong(&package("a", Some("MIT"), Some(elsewhere))),
        [format!("a 1.0.0 comes from {elsewhere}")]
    );
}

#[test]
fn our_own_packages_ask_for_versions() {
    let package = json!({ "name": "a", "version": "1.0.0", "license": "MIT", "source": null, "dependencies": [
        { "name": "b", "req": "^1" },
        { "name": "c", "req": "*" },
        { "name": "d", "req": "*", "path": "../d" },
    ] });
    assert_eq!(wrong(&package), ["a takes any version of c"]);
}

#[test]
fn a_place_is_the_line_in_the_lock_file() {
    let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
    assert_eq!(line_in_lock(lock, "a", "2.0.0"), 6);
    assert_eq!(line_in_lock(lock, "absent", "1.0.0"), 1);
}
