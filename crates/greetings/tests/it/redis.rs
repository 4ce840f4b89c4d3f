//! The app on Redis, one server or a cluster, and what it says where there is none.

use std::{ffi::OsStr, net::SocketAddr};

use testbed::redis;

use crate::{
    options::{line, refused},
    outages::{after_a_loss_of_all_data_visitors_begin_anew, no_view_and_no_session_is_lost},
    place::Place,
    process::{Process, run},
};

/// Keys of their own on the server that tests share.
pub(crate) fn shared() -> Place {
    place(redis::server())
}

/// Keys of their own in the cluster that tests share.
pub(crate) fn shared_cluster() -> Place {
    place(redis::cluster())
}

/// Keys of their own on a server.
pub(crate) fn place(server: SocketAddr) -> Place {
    Place::at(format!("redis://{server}?prefix=t{:032x}", fastrand::u128(..)))
}

#[tokio::test]
async fn a_store_that_does_not_open_is_one_line_and_its_exit_code() {
    let plain = redis::server();
    let mut server = redis::start(&["--requirepass", "s3cret"]);
    let with = server.address();
    let other = Process::start(&Place::sqlite(), &[]);
    let not_accepted = "does not accept this user and password";
    for (url, code, says) in [
        (format!("redis:{plain}"), 2, "must look like redis://"),
        (format!("redis://s3cret@{with}"), 2, "without a password"),
        (format!("redis://:s3cret@{with}/name"), 2, "by its number"),
        (format!("redis://:s3cret@{with}?ids=plain"), 2, "has these options: `prefix`"),
        (format!("keydb://:s3cret@{with}"), 2, "the scheme of no store"),
        (format!("redis://{with}"), 3, "wants a password, and none is given"),
        (format!("redis://:s3cret-not@{with}"), 3, not_accepted),
        (format!("redis://mary:s3cret@{with}"), 3, not_accepted),
        (format!("redis://:s3cret@{plain}"), 3, not_accepted),
        (format!("redis://:s3cret@{with}/16"), 2, "has no database 16"),
        (format!("rediss://:s3cret@{with}"), 3, "no TLS connection"),
        (format!("redis://{}", other.address), 3, "does not answer as a Redis server"),
    ] {
        refused(&url, code, says);
    }
    server.kill();
    refused(&format!("redis://:s3cret@{with}"), 3, "can be reached");
}

#[test]
fn without_certificates_redis_over_tls_says_what_to_install() {
    let arguments = ["--listen", "127.0.0.1:0", "--store", "rediss://127.0.0.1:1"];
    let nowhere = OsStr::new("/nowhere");
    let environment = [("SSL_CERT_FILE", nowhere), ("SSL_CERT_DIR", nowhere)];
    let why = line(&run(&arguments, &environment), 3);
    assert!(why.contains("no CA certificates are installed"), "{why}");
    assert!(why.contains("; install the package `ca-certificates`"), "{why}");
}

#[tokio::test]
async fn the_banner_says_which_server_there_is_and_how_it_commits() {
    let process = Process::start(&shared(), &[]);
    let banner = &process.banner;
    let line = banner.lines().find_map(|line| line.strip_prefix("server       "));
    let line = line.unwrap_or_else(|| panic!("{banner}"));
    let knows = redis::ask(redis::server(), "SET none 1 IFEQ 2").is_ok();
    let way = if knows { "each commit is `SET … IFEQ`" } else { "each commit is a script" };
    assert!(line.ends_with(way), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_paused_and_resumed() {
    let server = testbed::redis::start(&testbed::redis::SYNCED);
    let place = place(server.address());
    no_view_and_no_session_is_lost(server, place, |s| s.pause(), |s| s.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_restarted() {
    let server = testbed::redis::start(&testbed::redis::SYNCED);
    let place = place(server.address());
    no_view_and_no_session_is_lost(server, place, testbed::Server::kill, testbed::Server::restart)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_keeps_nothing_is_killed_and_restarted() {
    let server = testbed::redis::start(&[]);
    let place = place(server.address());
    after_a_loss_of_all_data_visitors_begin_anew(server, place).await;
}
