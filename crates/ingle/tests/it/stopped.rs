//! A process that stood still, and whose connections were forgotten meanwhile by what is between it and its
//! store: no request pays for them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ingle::{
    Error, Session,
    store::{Firestore, FirestoreConfig, Store},
};
use testbed::proxy::Proxy;
use tokio::{
    select,
    time::{advance, pause, resume, sleep},
};

use crate::common::{Visitor, app, layer};

/// What a client of PostgreSQL says when it closes its connection.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

async fn count(session: Session) -> Result<String, Error> {
    let counted = session.field("n").update(|n: &mut u64| {
        *n += 1;
        *n
    });
    counted.await.map(|n| n.to_string())
}

fn requests(proxy: &Proxy) -> usize {
    proxy.lost().iter().filter(|bytes| *bytes != TERMINATE).count()
}

/// Nothing of this process runs for so long, as far as it can tell.
async fn stand_still() {
    pause();
    advance(Duration::from_secs(45)).await;
    resume();
}

async fn no_request_is_sent_on_what_was_forgotten(
    server: SocketAddr,
    open: impl AsyncFnOnce(SocketAddr) -> Arc<dyn Store>,
) {
    let proxy = Proxy::start(server).await.unwrap();
    let app = app(&layer(open(proxy.address).await)).on("/count", count);
    let mut visitor = Visitor::default();
    assert_eq!(visitor.get(&app, "/count").await.ok().body, "1");

    for n in 2..5 {
        proxy.forget();
        stand_still().await;
        assert_eq!(visitor.get(&app, "/count").await.ok().body, n.to_string());
    }
    assert_eq!(requests(&proxy), 0);

    // Who does not stand still cannot know.
    proxy.forget();
    let lost = async {
        while requests(&proxy) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    select! {
        _ = visitor.get(&app, "/count") => {}
        () = lost => {}
    }
    assert_ne!(requests(&proxy), 0);
}

async fn opened(url: String) -> Arc<dyn Store> {
    ingle::store::open(&url).await.unwrap()
}

fn name() -> String {
    format!("t{:016x}", ingle::record::Op::random().unwrap().to_bits())
}

#[tokio::test]
async fn on_firestore() {
    let open = async |address: SocketAddr| {
        let mut config = FirestoreConfig::new("ingle-test", name());
        config.emulator = Some(address.to_string());
        Arc::new(Firestore::open(config).await.unwrap()) as Arc<dyn Store>
    };
    no_request_is_sent_on_what_was_forgotten(testbed::firestore::hidane(), open).await;
}

#[tokio::test]
async fn on_redis() {
    let open = async |address| opened(format!("redis://{address}?prefix={}", name())).await;
    no_request_is_sent_on_what_was_forgotten(testbed::redis::server(), open).await;
}

#[tokio::test]
async fn on_memcached() {
    let open = async |address| opened(format!("memcached://{address}?prefix={}", name())).await;
    no_request_is_sent_on_what_was_forgotten(testbed::memcached::shared()[0], open).await;
}

#[tokio::test]
async fn on_postgres() {
    let open = async |address| {
        let url = format!("postgres://postgres@{address}/postgres?pool=4&table={}", name());
        ingle::store::migrate(&url).await.unwrap();
        opened(url).await
    };
    no_request_is_sent_on_what_was_forgotten(testbed::postgres::shared(), open).await;
}
