//! The app on PostgreSQL: how its table is made, and what it says where there is none.

use std::{ffi::OsStr, net::SocketAddr};

use testbed::postgres::{self, Postgres};

use crate::{
    options::{line, refused},
    outages::no_view_and_no_session_is_lost,
    place::Place,
    process::{Process, run},
};

/// A table of its own on the server that tests share.
pub(crate) fn shared() -> Place {
    place(postgres::shared())
}

/// A table of its own on a server, made by the program itself.
pub(crate) fn place(server: SocketAddr) -> Place {
    let url = url(server);
    for _ in 0..2 {
        let made = run(&["--store", &url, "--migrate"], &[]);
        assert!(made.status.success(), "{made:?}");
        assert_eq!(made.stdout, b"greetings: the store is ready\n");
    }
    Place::at(url)
}

/// A table that nobody has made yet.
fn url(server: SocketAddr) -> String {
    format!("postgres://postgres@{server}/postgres?pool=4&table=t{:032x}", fastrand::u128(..))
}

#[tokio::test]
async fn a_store_that_does_not_open_is_one_line_and_its_exit_code() {
    let server = postgres::shared();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = closed.local_addr().expect("an address");
    drop(closed);
    let other = Process::start(&Place::sqlite(), &[]);
    let form = "takes postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE";
    for (url, code, says) in [
        ("postgres:".to_owned(), 2, form),
        (format!("postgres://u:s3cret@x@{server}/d"), 2, form),
        (format!("postgres://u:s3cret@{server}"), 2, "names a database"),
        (format!("postgres://u:s3cret@{server}/d?pool=0"), 2, "as a number from 1 to 128"),
        (format!("postgres://u:s3cret@{server}/d?ids=plain"), 2, "takes, after `?`, `table`"),
        (format!("pg://u:s3cret@{server}/d"), 2, "begins with the scheme of no store"),
        (format!("postgres://u:s3cret@{gone}/d"), 3, "PostgreSQL does not answer at"),
        (format!("postgres://u:s3cret@{}/d", other.address), 3, "PostgreSQL does not answer at"),
        (format!("postgres://nobody:s3cret@{server}/postgres"), 3, "does not let user `nobody` in"),
        (format!("postgres://postgres:s3cret@{server}/none"), 3, "no database `none`"),
        (format!("postgres://postgres:s3cret@{server}/postgres?sslmode=require"), 3, "no TLS"),
        (url(server), 3, "the option `--migrate`"),
    ] {
        refused(&url, code, says);
    }
    let url = format!("postgres://u:s3cret@{gone}/d");
    let line = line(&run(&["--migrate", "--store", &url], &[]), 3);
    assert!(line.contains("PostgreSQL does not answer at") && !line.contains("s3cret"), "{line}");
}

#[test]
fn without_certificates_postgres_over_tls_says_what_to_install() {
    let arguments =
        ["--listen", "127.0.0.1:0", "--store", "postgres://u@127.0.0.1:1/d?sslmode=verify-full"];
    let nowhere = OsStr::new("/nowhere");
    let environment = [("SSL_CERT_FILE", nowhere), ("SSL_CERT_DIR", nowhere)];
    let why = line(&run(&arguments, &environment), 3);
    assert!(why.contains("no CA certificates are installed"), "{why}");
    assert!(why.contains("; install the package `ca-certificates`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_paused_and_resumed() {
    let server = Postgres::start(&[]);
    let place = place(server.address());
    no_view_and_no_session_is_lost(server, place, |s| s.pause(), |s| s.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_killed_and_restarted() {
    let server = Postgres::start(&[]);
    let place = place(server.address());
    let (kill, restart) = (Postgres::kill, Postgres::restart);
    no_view_and_no_session_is_lost(server, place, kill, restart).await;
}
