//! The app on memcached, and what it says where there is none.

use std::net::SocketAddr;

use testbed::memcached;

use crate::{
    options::refused,
    outages::{after_a_loss_of_all_data_visitors_begin_anew, no_view_and_no_session_is_lost},
    place::Place,
    process::Process,
};

/// Keys of their own on the servers that tests share. There are several, so that a session that gets
/// a new id may have to move to another.
pub(crate) fn shared() -> Place {
    place(&memcached::shared())
}

/// Keys of their own on these servers.
pub(crate) fn place(servers: &[SocketAddr]) -> Place {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    Place::at(format!("memcached://{}?prefix=t{:032x}", servers.join(","), fastrand::u128(..)))
}

#[tokio::test]
async fn a_store_that_does_not_open_is_one_line_and_its_exit_code() {
    let [one, ..] = memcached::shared();
    let mut server = memcached::start(&[]);
    server.kill();
    let gone = server.address();
    let other = Process::start(&Place::sqlite(), &[]);
    let form = "takes memcached://HOST[:PORT]";
    for (url, code, says) in [
        ("memcached:".to_owned(), 2, form),
        (format!("memcached:{one}"), 2, form),
        (format!("memcached://{one}/0"), 2, "takes no path"),
        (format!("memcached://mary:s3cret@{one}"), 2, "takes no user and no password"),
        (format!("memcached://{one}?ids=plain"), 2, "has one option, which is `prefix=NAME`"),
        (format!("memcache://{one}"), 2, "begins with the scheme of no store"),
        (format!("memcached://{gone}"), 3, "no memcached can be reached"),
        (format!("memcached://{one},{gone}"), 3, "no memcached can be reached"),
        (format!("memcached://{}", other.address), 3, "is not memcached"),
    ] {
        refused(&url, code, says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_is_paused_and_resumed() {
    let server = testbed::memcached::start(&[]);
    let place = place(&[server.address()]);
    no_view_and_no_session_is_lost(server, place, |s| s.pause(), |s| s.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_is_killed_and_restarted() {
    let server = testbed::memcached::start(&[]);
    let place = place(&[server.address()]);
    after_a_loss_of_all_data_visitors_begin_anew(server, place).await;
}
