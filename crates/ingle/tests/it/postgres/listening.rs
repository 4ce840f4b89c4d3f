//! What a server tells of ends, and where it does not.

use ingle::store::{Lookup, Store};
use testbed::postgres::Postgres as Server;

use super::*;
use crate::users::listening::hears_again_on;

/// Those of this scene's server that listen.
const LISTENING: &str =
    "FROM pg_stat_activity WHERE query = 'LISTEN ingle_ended' AND pid <> pg_backend_pid()";

async fn ends(store: &Postgres, number: u64) {
    let now = SystemClock.now();
    create(store, &record(key(number), now, views(1))).await;
    store.destroy(&key(number), now).await.unwrap();
    assert_eq!(store.load(&key(number), now).await.unwrap(), Lookup::Ended);
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
    ends(&store, 1).await;
    assert_eq!(listener.next().await.unwrap(), key(1), "no right more than the table's is needed");
    scene.sql("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC").await;
    ends(&store, 2).await;
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
    let ended = Key::from_bytes(std::array::from_fn(|_| Op::random().unwrap().to_bits() as u8));
    let now = SystemClock.now();
    create(&store, &record(ended, now, views(1))).await;
    store.destroy(&ended, now).await.unwrap();
    // Others that share the database end sessions, too.
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
