//! What is wrong with a setting is told in one line when the store is opened.

use std::net::TcpListener;

use ingle::store::{Marks, OpenErrorKind};

use super::*;

/// Something that listens and says the same to everyone, each line to one question.
fn listener(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut question = [0; 1024];
                for answer in answers {
                    if stream.read(&mut question).is_ok_and(|read| read > 0) {
                        let _ = stream.write_all(answer.as_bytes());
                    }
                }
                // Waits for the other side to give up.
                while !answers.is_empty() && stream.read(&mut question).is_ok_and(|read| read > 0) {
                }
            });
        }
    });
    address
}

async fn why(url: &str, kind: OpenErrorKind) -> String {
    let error = ingle::store::open(url).await.unwrap_err();
    assert_eq!((error.store(), error.kind()), ("memcached", kind), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("could not open the memcached store: "), "{text}");
    assert!(!text.contains('\n'), "{text}");
    text
}

async fn why_at(server: SocketAddr, kind: OpenErrorKind) -> String {
    let text = why(&format!("memcached://{server}"), kind).await;
    assert!(text.contains(&server.to_string()), "{text}");
    text
}

#[tokio::test]
async fn a_url_leads_to_a_store() {
    let [one, two, _] = testbed::memcached::shared();
    let store = ingle::store::open(&format!("memcached://{one},{two}/?prefix=a-b")).await.unwrap();
    let info = store.info();
    assert_eq!(info.name, "memcached");
    assert!(info.durability.starts_with("nothing"), "{}", info.durability);
    assert_eq!(info.capabilities.marks, Marks::MayBeForgotten);
    assert!(!info.capabilities.lists_by_user && store.as_list().is_none());
    store.ping().await.unwrap();
    let port = one.port();
    ingle::store::open(&format!("memcached://localhost:{port}")).await.unwrap();
}

#[tokio::test]
async fn a_url_may_name_an_ipv6_address_and_have_blanks_around_it() {
    let server = testbed::memcached::start(&["-l", "::1"]);
    let url = format!("memcached://[::1]:{}?prefix=a", server.address().port());
    for url in [url.clone(), format!(" \t{url}\r\n")] {
        ingle::store::open(&url).await.unwrap().ping().await.unwrap();
        ingle::store::open_lazily(&url).await.unwrap();
    }
    // A program that names servers by hand may have read them from a file.
    let config = MemcachedConfig::new([format!("{}\n", server.address())]);
    Memcached::open(config).await.unwrap();
    let config = MemcachedConfig::new([format!("{}\n", server.address()), "a\nb".to_owned()]);
    let error = Memcached::open(config).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config);
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn nobody_listens() {
    let mut server = testbed::memcached::start(&[]);
    server.kill();
    let text = why_at(server.address(), OpenErrorKind::Unreachable).await;
    assert!(text.contains("no memcached can be reached"), "{text}");
    assert!(text.contains("refused"), "{text}");
    // Each of several must be there.
    let [one, ..] = testbed::memcached::shared();
    let text =
        why(&format!("memcached://{one},{}", server.address()), OpenErrorKind::Unreachable).await;
    assert!(text.contains(&server.address().to_string()), "{text}");
}

#[tokio::test]
async fn there_is_no_such_host() {
    let text = why("memcached://no-such-host.invalid", OpenErrorKind::Unreachable).await;
    assert!(text.contains("no memcached can be reached at `no-such-host.invalid:11211`"), "{text}");
}

#[tokio::test]
async fn something_else_listens() {
    for answer in [
        &["HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"],
        &["-ERR unknown command 'version'\r\n"],
        &["SSH-2.0-OpenSSH_9.2\r\n"],
        &["ERROR\r\n"],
        &["VERSION 7\n"],
        &["\u{0}\u{1}\u{2}\r\n"],
    ] {
        let text = why_at(listener(answer), OpenErrorKind::Foreign).await;
        assert!(text.contains("is not memcached"), "{answer:?}: {text}");
    }
}

#[tokio::test]
async fn it_closes_the_connection_or_says_nothing() {
    let text = why_at(listener(&[]), OpenErrorKind::Unreachable).await;
    assert!(text.contains("the connection was lost"), "{text}");
    let text = why_at(listener(&["", ""]), OpenErrorKind::Unreachable).await;
    assert!(text.contains("it took longer than five seconds"), "{text}");
}

#[tokio::test]
async fn it_is_too_old() {
    let stats = "STAT item_size_max 1048576\r\nEND\r\n";
    for answers in [
        // One without meta commands, and one that gives no token back.
        &["VERSION 1.4.25\r\n", "END\r\n", "END\r\n", "ERROR\r\n"],
        &["VERSION 1.6.5\r\n", "END\r\n", "END\r\n", "CLIENT_ERROR invalid flag\r\n"],
    ] {
        let text = why_at(listener(answers), OpenErrorKind::Unsupported).await;
        assert!(text.contains("install memcached 1.6.18 or later"), "{text}");
        assert!(text.contains(answers[0].trim().trim_start_matches("VERSION ")), "{text}");
    }
    let answers =
        &["VERSION 1.6.5\r\n", "STAT item_size_max 1048576\r\nEND\r\n", "END\r\n", "OK\r\n"];
    assert!(
        answers[1] == stats
            && why_at(listener(answers), OpenErrorKind::Unsupported).await.contains("1.6.18")
    );
}

#[tokio::test]
async fn it_wants_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, "mary:secret\n").unwrap();
    let server = testbed::memcached::start(&["-Y", file.to_str().unwrap()]);
    let text = why_at(server.address(), OpenErrorKind::Denied).await;
    assert!(text.contains("wants a user and a password"), "{text}");
}

#[tokio::test]
async fn it_has_no_tokens() {
    let server = testbed::memcached::start(&["-C"]);
    let text = why_at(server.address(), OpenErrorKind::Unsupported).await;
    assert!(text.contains("start it without `-C`"), "{text}");
}

#[tokio::test]
async fn it_has_no_connection_left() {
    let server = testbed::memcached::start(&["-c", "64"]);
    let held: Vec<TcpStream> =
        (0..200).map_while(|_| TcpStream::connect(server.address()).ok()).collect();
    // It takes connections in their order, so this one comes behind those.
    let text = why_at(server.address(), OpenErrorKind::Unreachable).await;
    assert!(text.contains("has no connection left"), "{text}");
    drop(held);
    // It notices one after the other that they are closed.
    let url = format!("memcached://{}", server.address());
    while ingle::store::open(&url).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_told_as_a_wrong_url_is() {
    let mut config = MemcachedConfig::new(["127.0.0.1:x"]);
    let error = Memcached::open(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config);
    let error = error.to_string();
    assert!(error.contains("the configuration has a port that is not a number"), "{error}");
    config.servers.clear();
    let error = Memcached::open(config).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config);
}
