//! What a server tells of ends, and where it does not.

use testbed::redis::{ask, start, start_with_tls};
use tokio::time::timeout;

use super::*;
use crate::users::listening::hears_again_on;

/// Whether who listens to a store hears of an end and of a renew.
async fn hears(store: &Redis) {
    let mut listener = store.listen().await.unwrap().expect("this user may subscribe");
    let base = create(store, &record(random_key(), None)).await;
    let next = renew(store, &base).await;
    destroy(store, &next.record.header.key).await;
    for key in [base.record.header.key, next.record.header.key] {
        assert_eq!(timeout(minutes(5), listener.next()).await.unwrap().unwrap(), key);
    }
}

async fn open(url: &str) -> Redis {
    Redis::open(RedisConfig::parse(url).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_end_is_heard_of_on_every_kind_of_connection() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let server = start(&["--unixsocket", socket.to_str().unwrap(), "--requirepass", "hunter2"]);
    let at = server.address();
    hears(&open(&format!("redis://:hunter2@{at}")).await).await;
    hears(&open(&format!("redis+unix://:hunter2@{}?db=3", socket.display())).await).await;
    let (server, cacert) = start_with_tls();
    let port = server.address().port();
    hears(&open(&format!("rediss://localhost:{port}?cacert={}", cacert.display())).await).await;
    let mut cluster = Scene::on(testbed::redis::cluster());
    hears(&cluster.store().await).await;
    cluster.config.servers.truncate(1);
    hears(&cluster.store().await).await;
}

#[tokio::test]
async fn a_user_with_the_two_rights_more_hears() {
    let server = start(&[]);
    let at = server.address();
    let rights = "~ingle:* &ingle:* +get +set +@sortedset +pexpire +scan +eval +evalsha +publish +subscribe \
                  +select +asking +cluster|slots +config|get";
    ask(at, &format!("ACL SETUSER app on >hunter2 {rights}")).unwrap();
    hears(&open(&format!("redis://app:hunter2@{at}")).await).await;
}

/// Sessions are renewed and ended on a store that may tell nobody.
async fn ends_untold(store: &Redis) {
    let base = create(store, &record(random_key(), None)).await;
    let next = renew(store, &base).await;
    destroy(store, &next.record.header.key).await;
    let [old, new] = [&base, &next].map(|loaded| loaded.record.header.key);
    assert_eq!(store.load(&old, now()).await.unwrap(), Lookup::Moved { to: new });
    assert_eq!(store.load(&new, now()).await.unwrap(), Lookup::Ended);
}

#[tokio::test]
async fn a_session_ends_also_where_nobody_may_be_told() {
    let server = start(&[]);
    let at = server.address();
    for rights in ["resetchannels", "&other:*", "&ingle:* -publish -subscribe", "-publish"] {
        let user = format!("ACL SETUSER app reset on >hunter2 ~ingle:* +@all {rights}");
        ask(at, &user).unwrap();
        let (log, _guard) = crate::log::Log::catch();
        let store = open(&format!("redis://app:hunter2@{at}")).await;
        ends_untold(&store).await;
        assert!(store.listen().await.unwrap().is_none(), "{rights}");
        assert!(!log.text().contains("listen"), "{}", log.text());
    }
    // Who may subscribe alone hears nothing, and what ends ends.
    ask(at, "ACL SETUSER app reset on >hunter2 ~ingle:* &* +@all -publish").unwrap();
    let store = open(&format!("redis://app:hunter2@{at}")).await;
    let mut listener = store.listen().await.unwrap().unwrap();
    ends_untold(&store).await;
    let key = random_key();
    let name = format!("ingle:{{{}}}:{key}", &key.to_string()[..2]);
    ask(at, "PUBLISH ingle:ended nonsense").unwrap();
    ask(at, &format!("PUBLISH ingle:ended {name}")).unwrap();
    assert_eq!(timeout(minutes(5), listener.next()).await.unwrap().unwrap(), key);
}

#[tokio::test]
async fn a_session_ends_also_where_the_server_cannot_publish() {
    let names = ["--rename-command", "PUBLISH", "", "--rename-command", "SUBSCRIBE", ""];
    let server = start(&names);
    let store = open(&format!("redis://{}", server.address())).await;
    ends_untold(&store).await;
    assert!(store.listen().await.unwrap().is_none());
}

#[tokio::test]
async fn a_full_server_tells_of_ends() {
    let server = start(&["--maxmemory-policy", "noeviction"]);
    let at = server.address();
    let store = open(&format!("redis://{at}")).await;
    let base = create(&store, &record(random_key(), None)).await;
    let mut listener = store.listen().await.unwrap().unwrap();
    ask(at, "CONFIG SET maxmemory 1").unwrap();
    destroy(&store, &base.record.header.key).await;
    let heard = timeout(minutes(5), listener.next()).await.unwrap().unwrap();
    assert_eq!(heard, base.record.header.key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_ends_is_made_again() {
    let server = start(&[]);
    let at = server.address();
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(open(&format!("redis://{at}")).await),
        Arc::new(open(&format!("redis://{at}")).await),
    ];
    let kill = async || {
        let killed = ask(at, "CLIENT KILL TYPE pubsub").unwrap();
        assert_eq!(killed.trim(), ":1");
    };
    let connections = async || {
        let clients = ask(at, "CLIENT LIST TYPE pubsub").unwrap();
        clients.lines().filter(|line| line.starts_with("id=")).count()
    };
    hears_again_on(stores, kill, connections).await;
}
