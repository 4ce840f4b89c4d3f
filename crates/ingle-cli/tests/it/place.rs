//! Where the sessions of a test are, and some that are there.

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use ingle::{
    clock::{Clock as _, SystemClock, Timestamp},
    data::Data,
    record::{Epoch, FORMAT, Header, Key, Op, Ops, Record, User},
    store::{Firestore, FirestoreConfig, Lookup, Store, Write},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

type Opening<'a> = Pin<Box<dyn Future<Output = Arc<dyn Store>> + 'a>>;

/// A place in a store, and how the program and a test find it.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) environment: Vec<(&'static str, String)>,
    open: fn(&Self) -> Opening<'_>,
    /// Makes another one, in the same store.
    another: fn() -> Self,
    folder: TempDir,
}

/// Handles of sessions that are in every place.
pub(crate) const ADA: &str = "3fa9c1d2e4b5a697";
pub(crate) const BOB: &str = "7b01000000000001";
pub(crate) const ALSO_BOB: &str = "7b02000000000002";
pub(crate) const NOBODY: &str = "c000000000000003";

impl Place {
    fn new(another: fn() -> Self, url: impl FnOnce(&TempDir) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let url = url(&folder);
        let open: fn(&Self) -> Opening<'_> =
            |place| Box::pin(async { ingle::store::open(&place.url).await.unwrap() });
        Self { url, environment: Vec::new(), open, another, folder }
    }

    /// Another place in the same store.
    pub(crate) fn another(&self) -> Self {
        (self.another)()
    }

    pub(crate) fn sqlite() -> Self {
        Self::new(Self::sqlite, |folder| {
            format!("sqlite://{}", folder.path().join("sessions").display())
        })
    }

    pub(crate) fn redis() -> Self {
        let server = testbed::redis::server();
        Self::new(Self::redis, |_| format!("redis://{server}?prefix=t{:032x}", fastrand::u128(..)))
    }

    pub(crate) fn redis_cluster() -> Self {
        let server = testbed::redis::cluster();
        Self::new(Self::redis_cluster, |_| {
            format!("redis://{server}?prefix=t{:032x}", fastrand::u128(..))
        })
    }

    pub(crate) fn postgres() -> Self {
        let server = testbed::postgres::shared();
        let table = format!("t{:032x}", fastrand::u128(..));
        Self::new(Self::postgres, |_| {
            format!("postgres://postgres@{server}/postgres?pool=4&table={table}")
        })
    }

    pub(crate) fn memcached() -> Self {
        let [server, ..] = testbed::memcached::shared();
        Self::new(Self::memcached, |_| {
            format!("memcached://{server}?prefix=t{:032x}", fastrand::u128(..))
        })
    }

    pub(crate) fn firestore() -> Self {
        let emulator = testbed::firestore::hidane();
        let collection = format!("t{:032x}", fastrand::u128(..));
        let mut place =
            Self::new(Self::firestore, |_| format!("firestore://ingle-test/{collection}"));
        place.environment = vec![("FIRESTORE_EMULATOR_HOST", emulator.to_string())];
        place.open = |place| {
            Box::pin(async {
                let collection = place.url.rsplit('/').next().unwrap();
                let mut config = FirestoreConfig::new("ingle-test", collection);
                config.emulator = Some(place.environment[0].1.clone());
                Arc::new(Firestore::open(config).await.unwrap()) as Arc<dyn Store>
            })
        };
        place
    }

    /// A folder for whatever a test needs.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        (self.open)(self).await
    }

    /// Makes what the store must find, and some sessions: one of ada's, two of bob's, and one of nobody's.
    pub(crate) async fn filled(self) -> Self {
        ingle::store::migrate(&self.url).await.unwrap();
        let data = json!({
            "views": 101,
            "greeting": "Hi",
            "password": "s3cret-1",
            "cart": { "items": [{ "n": 1 }], "coupon": "c", "api_key": "s3cret-2" },
        });
        self.put(ADA, Some("ada"), data).await;
        self.put(BOB, Some("bob"), json!({ "views": 200 })).await;
        self.put(ALSO_BOB, Some("bob"), json!({ "views": 3 })).await;
        self.put(NOBODY, None, json!({ "note": "n" })).await;
        self
    }

    /// Stores a session of this handle, which lives for an hour.
    pub(crate) async fn put(&self, handle: &str, user: Option<&str>, data: Value) {
        self.put_record(&record(handle, user, data)).await;
    }

    pub(crate) async fn put_record(&self, record: &Arc<Record>) {
        let store = self.store().await;
        store.commit(Write::Create { record }, SystemClock.now()).await.unwrap();
    }

    /// Stores many sessions.
    pub(crate) async fn put_all(&self, records: impl IntoIterator<Item = Arc<Record>>) {
        let (store, mut writes) = (self.store().await, JoinSet::new());
        for record in records {
            let store = Arc::clone(&store);
            writes.spawn(async move {
                let now = record.header.created;
                store.commit(Write::Create { record: &record }, now).await.unwrap();
            });
            if writes.len() >= 100 {
                writes.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(written) = writes.join_next().await {
            written.unwrap();
        }
    }

    /// The data of a session, if it lives.
    pub(crate) async fn data(&self, handle: &str) -> Option<Data> {
        match self.store().await.load(&key(handle), SystemClock.now()).await.unwrap() {
            Lookup::Live(loaded) => Some(loaded.record.data.clone()),
            _ => None,
        }
    }
}

pub(crate) fn key(handle: &str) -> Key {
    format!("{handle}{}", "5a".repeat(24)).parse().unwrap()
}

/// A session of this handle that began two hours ago, and lives for one more.
pub(crate) fn record(handle: &str, user: Option<&str>, data: Value) -> Arc<Record> {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let Value::Object(data) = data else { panic!("the data is an object") };
    let now = SystemClock.now();
    let created = Timestamp::from_millis(now.as_millis() - 2 * 60 * 60 * 1000);
    let mut ops = Ops::default();
    ops.push(Op::random().unwrap());
    let header = Header {
        format: FORMAT,
        key: key(handle),
        created,
        idle_deadline: now.after(HOUR),
        absolute_deadline: now.after(2 * HOUR),
        idle_timeout: None,
        user: user.map(|name| User::new(name, 0, created)),
        epoch: Epoch::random().unwrap(),
        counter: 1,
        ops,
    };
    Record { header, data }.into()
}
