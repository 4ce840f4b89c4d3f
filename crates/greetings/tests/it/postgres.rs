//! The app on PostgreSQL: how its table is made, and what it says where there is none.

use crate::{place::Place, process::run};

/// A table of its own on the server that tests share, made by the program itself.
pub(crate) fn place() -> Place {
    let url = url();
    for _ in 0..2 {
        let made = run(&["--store", &url, "--migrate"], &[]);
        assert!(made.status.success(), "{made:?}");
        assert_eq!(made.stdout, b"greetings: the store is ready\n");
    }
    Place::elsewhere(url, Vec::new(), |place| {
        Box::pin(async { ingle::store::open(&place.url).await.expect("the store opens") })
    })
}

/// A table that nobody has made yet.
fn url() -> String {
    let server = testbed::postgres::shared();
    format!("postgres://postgres@{server}/postgres?pool=4&table=t{:032x}", fastrand::u128(..))
}

#[test]
fn without_its_table_it_says_how_to_make_it() {
    let ended = run(&["--listen", "127.0.0.1:0", "--store", &url()], &[]);
    assert_eq!(ended.status.code(), Some(3));
    let line = String::from_utf8(ended.stderr).expect("text");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("the option `--migrate`"), "{line}");
}

#[test]
fn a_wrong_url_is_one_line_without_the_password() {
    for option in ["--migrate", "--lab"] {
        let url = "postgres://u:s3cret@x@localhost/d";
        let ended = run(&["--listen", "127.0.0.1:0", option, "--store", url], &[]);
        assert_eq!(ended.status.code(), Some(2));
        let line = String::from_utf8(ended.stderr).expect("text");
        assert!(
            line.starts_with("greetings: --store: `postgres:` takes postgres://USER"),
            "{line}"
        );
        assert!(!line.contains("s3cret"), "{line}");
    }
}
