//! Every store against every law.

#[cfg(any(feature = "firestore", feature = "postgres"))]
use ingle::store::conformance::Place;
#[cfg(feature = "firestore")]
use ingle::store::{Firestore, FirestoreConfig, OpenErrorKind};
#[cfg(feature = "memcached")]
use ingle::store::{Memcached, MemcachedConfig};
#[cfg(feature = "redis")]
use ingle::store::{Redis, RedisConfig};

ingle::conformance!(memory, |_place| async { ingle::store::Memory::new() });

#[cfg(feature = "sqlite")]
ingle::conformance!(sqlite, |place| async move {
    ingle::store::Sqlite::open(place.folder()).await.unwrap()
});

#[cfg(feature = "firestore")]
ingle::conformance!(firestore_on_hidane, |place| async move {
    firestore(&place, testbed::firestore::hidane()).await
});

#[cfg(feature = "firestore")]
ingle::conformance!(firestore_on_google, |place| async move {
    firestore(&place, testbed::firestore::google()).await
});

/// A store in a collection of its own, on the emulator at this address. The first answers of Google's, which
/// is a JVM, may take longer on a busy machine than a store waits for them.
#[cfg(feature = "firestore")]
pub(crate) async fn firestore(place: &Place, server: std::net::SocketAddr) -> Firestore {
    let mut config = FirestoreConfig::new("ingle-test", place.name());
    config.emulator = Some(server.to_string());
    let end = tokio::time::Instant::now() + crate::common::LONG;
    loop {
        match Firestore::open(config.clone()).await {
            Err(error)
                if error.kind() == OpenErrorKind::Unreachable
                    && tokio::time::Instant::now() < end =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

#[cfg(feature = "memcached")]
ingle::conformance!(memcached, |place| async move {
    let [one, ..] = testbed::memcached::shared();
    let mut config = MemcachedConfig::new([one.to_string()]);
    config.prefix = place.name().to_owned();
    Memcached::open(config).await.unwrap()
});

#[cfg(feature = "memcached")]
ingle::conformance!(memcached_on_three_servers, |place| async move {
    let servers = testbed::memcached::shared().map(|server| server.to_string());
    let mut config = MemcachedConfig::new(servers);
    config.prefix = place.name().to_owned();
    Memcached::open(config).await.unwrap()
});

#[cfg(feature = "redis")]
ingle::conformance!(redis, |place| async move {
    redis(place.name().to_owned(), testbed::redis::server()).await
});

#[cfg(feature = "redis")]
ingle::conformance!(redis_cluster, |place| async move {
    redis(place.name().to_owned(), testbed::redis::cluster()).await
});

/// A store whose keys have a prefix of their own.
#[cfg(feature = "redis")]
pub(crate) async fn redis(prefix: String, server: std::net::SocketAddr) -> Redis {
    let mut config = RedisConfig::new(server.ip().to_string(), server.port());
    config.prefix = prefix;
    Redis::open(config).await.unwrap()
}

#[cfg(feature = "postgres")]
ingle::conformance!(postgres, |place| async move {
    postgres(&place, testbed::postgres::shared(), "").await
});

#[cfg(feature = "postgres")]
ingle::conformance!(postgres_behind_pgbouncer, |place| async move {
    postgres(&place, testbed::postgres::shared_pooler(), "&pooler=transaction").await
});

/// A store in a table of its own, on the server at this address.
#[cfg(feature = "postgres")]
pub(crate) async fn postgres(
    place: &Place,
    server: std::net::SocketAddr,
    options: &str,
) -> ingle::store::Postgres {
    let url =
        format!("postgres://postgres@{server}/postgres?table={}&pool=4{options}", place.name());
    let config = ingle::store::PostgresConfig::parse(&url).unwrap();
    ingle::store::Postgres::migrate(config.clone()).await.unwrap();
    ingle::store::Postgres::open(config).await.unwrap()
}

#[cfg(feature = "deadpool-postgres")]
ingle::conformance!(postgres_on_a_pool_of_the_apps_own, |place| async move {
    // It makes the table.
    drop(postgres(&place, testbed::postgres::shared(), "").await);
    let server = testbed::postgres::shared();
    let driver = format!("postgres://postgres@{server}/postgres").parse().unwrap();
    let manager = deadpool_postgres::Manager::new(driver, tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(4).build().unwrap();
    let mut config = ingle::store::PostgresConfig::from_deadpool(pool);
    config.table = place.name().to_owned();
    ingle::store::Postgres::open(config).await.unwrap()
});

// A decorator is a store too.
ingle::conformance!(memory_within_faulty, |_place| async {
    ingle::store::Faulty::new(std::sync::Arc::new(ingle::store::Memory::new()))
});

/// A law that the macro forgets would be tested for no store at all.
#[test]
fn every_law_is_in_the_macro() {
    let listed: Vec<&str> = include_str!("../../src/store/conformance.rs")
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("law_"))
        .collect();
    let sources = [
        include_str!("../../src/store/conformance/conditions.rs"),
        include_str!("../../src/store/conformance/deadlines.rs"),
        include_str!("../../src/store/conformance/lists.rs"),
        include_str!("../../src/store/conformance/marks.rs"),
        include_str!("../../src/store/conformance/renew.rs"),
        include_str!("../../src/store/conformance/round_trip.rs"),
        include_str!("../../src/store/conformance/sharing.rs"),
        include_str!("../../src/store/conformance/touch.rs"),
        include_str!("../../src/store/conformance/transactions.rs"),
    ];
    let laws: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("pub async fn law_"))
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .collect();
    assert!(laws.len() > 40, "the laws were looked for in the wrong way: {laws:?}");
    for law in &laws {
        let law = format!("law_{law}");
        assert!(listed.contains(&law.as_str()), "{law} is not in the macro `conformance!`");
    }
    assert_eq!(listed.len(), laws.len(), "the macro lists each law once");
}
