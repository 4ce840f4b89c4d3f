//! Redis as people use it beside the app, and as it fails.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Epoch, FORMAT, Header, Key, Loaded, Op, Record, User},
    store::{CommitError, Destroyed, List as _, Lookup, Redis, RedisConfig, Store, Write},
};
use serde_json::json;

use crate::common::{App, app};

mod cluster;
mod console;
mod faults;
mod groups;
mod listening;
mod opening;
mod rights;
mod tls;
mod user_sets;

/// Keys with a prefix of their own on a server.
struct Scene {
    server: SocketAddr,
    config: RedisConfig,
}

impl Scene {
    /// On the server that tests share.
    fn new() -> Self {
        Self::on(testbed::redis::server())
    }

    fn on(server: SocketAddr) -> Self {
        let mut config = RedisConfig::new(server.ip().to_string(), server.port());
        config.prefix = format!("t{:016x}", random());
        Self { server, config }
    }

    async fn store(&self) -> Redis {
        Redis::open(self.config.clone()).await.unwrap()
    }

    /// An app in a process of its own, which waits for its store as long as a busy machine may take.
    async fn app(&self) -> App {
        self.app_with(minutes(5)).await
    }

    /// The same with this deadline for a request.
    async fn app_with(&self, deadline: Duration) -> App {
        let layer = SessionLayer::new(Arc::new(self.store().await));
        let layer = layer.deadline(deadline).sweep_every(None);
        app(&layer)
            .on("/add", async |session: Session| {
                let views = session.field("views").update(|views: &mut u64| {
                    *views += 1;
                    *views
                });
                views.await.map(|views| views.to_string())
            })
            .on("/read", async |session: Session| {
                Ok::<_, Error>(format!("{:?}", session.get::<u64>("views").await?))
            })
            .on("/renew", async |session: Session| session.renew().await)
            .on("/logout", async |session: Session| session.logout().await)
    }

    fn ask(&self, command: &str) -> String {
        testbed::redis::ask(self.server, command).unwrap()
    }

    /// What the server calls the record under a key.
    fn name(&self, key: &Key) -> String {
        let key = key.to_string();
        format!("{}:{{{}}}:{key}", self.config.prefix, &key[..2])
    }

    /// What stands under the key of a record or a mark.
    fn text(&self, name: &str) -> String {
        let said = self.ask(&format!("GET {name}"));
        said.split_once("\r\n").map(|(_, text)| text.to_owned()).unwrap_or_default()
    }

    /// Writes another text there, as a person does.
    fn set_text(&self, name: &str, text: &str) {
        self.ask(&format!("SET {name} '{text}' KEEPTTL"));
    }

    /// Writes another value for a field of a record that holds a number.
    fn set_number(&self, name: &str, field: &str, number: u64) {
        let text = self.text(name);
        let (before, rest) = text.split_once(&format!("\"{field}\":")).unwrap();
        let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        self.set_text(name, &format!("{before}\"{field}\":{number}{rest}"));
    }

    /// The names of records and marks. What a store tries when it opens may stand there for a millisecond.
    fn names(&self) -> Vec<String> {
        let keys = self.ask(&format!("KEYS {}:{{*", self.config.prefix));
        let names = keys.lines().filter(|line| line.contains(':')).map(str::to_owned);
        let is_tried = |text: String| text.is_empty() || text.ends_with(r#""until":0}"#);
        names.filter(|name| !is_tried(self.text(name))).collect()
    }

    /// The name of the only record there is, among any number of marks.
    fn only(&self) -> String {
        let has_data = |name: &String| self.text(name).contains(",\"data\":{");
        let names: Vec<String> = self.names().into_iter().filter(has_data).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }
}

fn random() -> u64 {
    Op::random().unwrap().to_bits()
}

fn random_key() -> Key {
    let word = || random().to_be_bytes();
    let words = [word(), word(), word(), word()].concat();
    Key::from_bytes(words.try_into().unwrap())
}

fn now() -> Timestamp {
    SystemClock.now()
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// A record that lives for an hour.
fn record(key: Key, user: Option<&str>) -> Arc<Record> {
    let user = user.map(|name| User::new(name, 0, Timestamp::from_millis(7)));
    let header = Header {
        format: FORMAT,
        key,
        created: now(),
        idle_deadline: now().after(minutes(60)),
        absolute_deadline: now().after(minutes(120)),
        idle_timeout: None,
        user,
        epoch: Epoch::random().unwrap(),
        counter: 1,
        ops: [Op::random().unwrap()].into_iter().collect(),
    };
    let data = json!({ "views": 1 }).as_object().cloned().unwrap();
    Arc::new(Record { header, data })
}

/// The record after one commit more.
fn next(base: &Loaded, change: impl FnOnce(&mut Record)) -> Arc<Record> {
    let mut record = Record::clone(&base.record);
    record.header.counter += 1;
    record.header.ops.push(Op::random().unwrap());
    change(&mut record);
    Arc::new(record)
}

async fn create(store: &Redis, record: &Arc<Record>) -> Loaded {
    let version = store.commit(Write::Create { record }, now()).await.unwrap();
    Loaded { record: Arc::clone(record), version }
}

async fn replace(
    store: &Redis,
    base: &Loaded,
    change: impl FnOnce(&mut Record),
) -> Result<Loaded, CommitError> {
    let record = next(base, change);
    let version = store.commit(Write::Replace { base, record: &record }, now()).await?;
    Ok(Loaded { record, version })
}

/// Whether the servers of a store commit by a command of their own, and not by a script.
fn is_native(store: &Redis) -> bool {
    store.info().server.unwrap().contains("IFEQ")
}

async fn destroy(store: &Redis, key: &Key) {
    assert_eq!(store.destroy(key, now()).await.unwrap(), Destroyed::Ended);
}

/// The live record under a key.
async fn live(store: &Redis, key: &Key) -> Option<Loaded> {
    store.load(key, now()).await.unwrap().live()
}

/// Moves a record to a key that it can be moved to.
async fn renew(store: &Redis, base: &Loaded) -> Loaded {
    let to = key_beside(store, &base.record.header.key);
    let record = next(base, |record| record.header.key = to);
    let version = store.commit(Write::Renew { base, record: &record }, now()).await.unwrap();
    Loaded { record, version }
}

/// Waits until the store has found its server, which it does not try to do all the time.
async fn finds_its_server(store: &Redis) {
    let finds = async {
        while store.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(minutes(5), finds).await.expect("the server is there");
}

/// A key to which a record can be renewed.
fn key_beside(store: &Redis, key: &Key) -> Key {
    std::iter::repeat_with(random_key).find(|to| store.can_renew(key, to)).unwrap()
}
