//! What a server tells of ends, and where it does not.

use ingle::{
    record::Version,
    store::{Destroyed, Lookup, Replace, Store},
};
use testbed::postgres::Postgres as Server;

use super::*;
use crate::users::listening::hears_again_on;

/// Those of this scene's server that listen.
const LISTENING: &str =
    "FROM pg_stat_activity WHERE query LIKE '%; LISTEN ingle_ended' AND pid <> pg_backend_pid()";

/// Ends a session, as an operator does if the end has a line.
async fn ends(store: &Postgres, key: Key, has_line: bool) {
    let now = SystemClock.now();
    create(store, &record(key, now, views(1))).await;
    if has_line {
        let base = create(store, &record(random_key(), now, views(2))).await;
        let line = Replace { base: &base, record: &next(&base, views(3)) };
        let ended = store.as_transactions().unwrap().destroy_with(&key, line, now).await;
        assert_eq!(ended.unwrap(), Destroyed::Ended);
        let found = store.load(&base.record.header.key, now).await.unwrap().live().unwrap();
        assert_eq!(found.version, Version(2), "the line is stored with the end");
    } else {
        store.destroy(&key, now).await.unwrap();
    }
    assert_eq!(store.load(&key, now).await.unwrap(), Lookup::Ended);
}

/// A key that no other test of the database ends.
fn random_key() -> Key {
    Key::from_bytes(std::array::from_fn(|_| Op::random().unwrap().to_bits().to_be_bytes()[0]))
}

#[tokio::test]
async fn a_session_ends_also_where_nobody_may_be_told() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    scene.sql("CREATE ROLE quiet LOGIN").await;
    scene.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE TO quiet").await;
    let mut config = scene.config("");
    config.user = "quiet".to_owned();
    let store = Postgres::open(config).await.unwrap();
    let mut listener = store.listen().await.unwrap().unwrap();
    for (n, has_line) in [(1, false), (4, true)] {
        ends(&store, key(n), has_line).await;
        let law = "no right more than the table's is needed";
        assert_eq!(listener.next().await.unwrap(), key(n), "{law}");
    }
    scene.sql("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC").await;
    ends(&store, key(2), false).await;
    ends(&store, key(5), true).await;
    scene.sql("SELECT pg_notify('ingle_ended', 'nonsense')").await;
    scene.sql(&format!("SELECT pg_notify('ingle_ended', '{}')", key(3))).await;
    assert_eq!(listener.next().await.unwrap(), key(3));
}

#[tokio::test]
async fn nobody_listens_through_a_pooler() {
    let mut scene = Scene::new().await;
    scene.server = testbed::postgres::shared_pooler();
    let store = Postgres::open(scene.config("&pooler=transaction")).await.unwrap();
    assert!(store.listen().await.unwrap().is_none());
    // Who ends a session there is heard of all the same.
    scene.server = testbed::postgres::shared();
    let direct = scene.store().await;
    let mut listener = direct.listen().await.unwrap().unwrap();
    let ended = random_key();
    ends(&store, ended, false).await;
    // Others that share the database end sessions, too.
    while listener.next().await.unwrap() != ended {}
}

#[tokio::test]
async fn who_listens_outlasts_the_servers_limit_for_idle_connections() {
    let scene = Scene::new().await;
    let name = format!("&application_name={}", scene.table);
    let config = scene.config(&format!("{name}&options=-c%20idle_session_timeout=1000"));
    let store = Postgres::open(config).await.unwrap();
    let mut listener = store.listen().await.unwrap().unwrap();
    let ours =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'", scene.table);
    let others_end = async {
        while scene.text(&ours).await != "1" {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, others_end).await.expect("the server ends what is idle");
    let other = scene.store().await;
    let ended = random_key();
    ends(&other, ended, false).await;
    while listener.next().await.unwrap() != ended {}
}

#[tokio::test]
async fn who_does_not_read_what_is_told_learns_that_something_is_missing() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let store = scene.store().await;
    let mut listener = store.listen().await.unwrap().unwrap();
    let flood = "SELECT pg_notify('ingle_ended', n::text) FROM generate_series(1, 10000) AS n";
    scene.sql(flood).await;
    let closes = async {
        while scene.text(&format!("SELECT count(*) {LISTENING}")).await != "0" {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, closes).await.expect("the connection is closed");
    let error = listener.next().await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("has ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_ends_is_made_again() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(scene.store().await), Arc::new(scene.store().await)];
    let connections = async || {
        let count = scene.text(&format!("SELECT count(*) {LISTENING}")).await;
        count.parse().unwrap()
    };
    let kill = async || {
        scene.sql(&format!("SELECT pg_terminate_backend(pid, 60000) {LISTENING}")).await;
    };
    hears_again_on(stores, kill, connections).await;
}
