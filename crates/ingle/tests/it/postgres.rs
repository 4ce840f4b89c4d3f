//! PostgreSQL as people use it beside the app, and as it fails.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Epoch, FORMAT, Header, Key, Loaded, Op, Record},
    store::{List as _, Postgres, PostgresConfig, Store as _, Write},
};
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls, Row, SimpleQueryMessage};

use crate::common::{self, App, LONG, app, layer_as_it_comes};

mod batches;
mod connections;
mod edits;
mod errors;
mod faults;
mod listening;
mod marks;
mod tables;
mod tls;

/// A table of its own on a server, seen by apps and by a person with a shell.
struct Scene {
    server: SocketAddr,
    table: String,
    shell: Client,
}

impl Scene {
    async fn new() -> Self {
        Self::on(testbed::postgres::shared()).await
    }

    /// With the table made.
    async fn on(server: SocketAddr) -> Self {
        let random = Op::random().unwrap().to_bits();
        let table = format!("t{random:016x}");
        let scene = Self { server, table, shell: shell(server).await };
        Postgres::migrate(scene.config("")).await.unwrap();
        scene
    }

    /// A URL with these options besides the table, each begun with `&`.
    fn url(&self, options: &str) -> String {
        format!("postgres://postgres@{}/postgres?table={}{options}", self.server, self.table)
    }

    fn config(&self, options: &str) -> PostgresConfig {
        PostgresConfig::parse(&self.url(options)).unwrap()
    }

    async fn store(&self) -> Postgres {
        Postgres::open(self.config("")).await.unwrap()
    }

    async fn layer(&self) -> SessionLayer {
        common::layer(self.store().await)
    }

    async fn app(&self) -> App {
        counting(&self.layer().await)
    }

    /// With the deadline that a layer has by itself, so that an outage is soon told.
    async fn hasty_app(&self) -> App {
        counting(&layer_as_it_comes(self.store().await))
    }

    /// A store that does not give up a row's lock before anything else: see [`Self::commit_waits`].
    async fn store_that_waits(&self) -> Postgres {
        let options = format!("&application_name={}&options=-c%20lock_timeout=0", self.table);
        Postgres::open(self.config(&options)).await.unwrap()
    }

    /// Returns when a commit of [such a store](Self::store_that_waits) waits for a lock, with another shell:
    /// this one may have a transaction open, which sees all activity as it was.
    async fn commit_waits(&self) -> Client {
        let other = shell(self.server).await;
        let waiting = "SELECT FROM pg_stat_activity \
                       WHERE application_name = $1 AND wait_event_type = 'Lock'";
        let waits = async {
            while other.query(waiting, &[&self.table]).await.unwrap().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, waits).await.expect("the commit waits for a lock");
        other
    }

    /// What a person types; TABLE stands for the table.
    async fn sql(&self, sql: &str) -> Vec<Row> {
        let sql = sql.replace("TABLE", &self.table);
        self.shell.query(&sql, &[]).await.unwrap()
    }

    /// The only value of the only row, as text.
    async fn text(&self, sql: &str) -> String {
        let sql = sql.replace("TABLE", &self.table);
        let answer = self.shell.simple_query(&sql).await.unwrap();
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        row.unwrap().get(0).unwrap_or("NULL").to_owned()
    }

    /// The only record there is.
    async fn only(&self, store: &Postgres) -> Loaded {
        let page = store.list(None, 10, SystemClock.now()).await.unwrap();
        let [record] = page.records.try_into().unwrap();
        record
    }
}

async fn shell(server: SocketAddr) -> Client {
    let url = format!("postgres://postgres@{server}/postgres");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Returns when a server that was told to take TLS does so. It reads its settings anew before its certificate.
async fn offers_tls(scene: &Scene) {
    let url = scene.url("&sslmode=require");
    let offers = async {
        while let Err(error) = ingle::store::open(&url).await {
            assert!(error.to_string().contains("offers no TLS"), "{error}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, offers).await.expect("the server takes TLS");
}

/// An app that counts.
fn counting(layer: &SessionLayer) -> App {
    app(layer)
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
        .on("/all", async |session: Session| {
            session.data::<Json>().await.map(|data| data.to_string())
        })
}

/// A record that is live for an hour.
fn record(key: Key, now: Timestamp, data: Json) -> Arc<Record> {
    let Json::Object(data) = data else { panic!("data is an object") };
    let hour = std::time::Duration::from_secs(3600);
    let header = Header {
        format: FORMAT,
        key,
        created: now,
        idle_deadline: now.after(hour),
        absolute_deadline: now.after(12 * hour),
        idle_timeout: None,
        user: None,
        epoch: Epoch::random().unwrap(),
        counter: 1,
        ops: [Op::random().unwrap()].into_iter().collect(),
    };
    Arc::new(Record { header, data })
}

fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

async fn create(store: &Postgres, record: &Arc<Record>) -> Loaded {
    let version = store.commit(Write::Create { record }, SystemClock.now()).await.unwrap();
    Loaded { record: Arc::clone(record), version }
}

/// The next record of a session.
fn next(base: &Loaded, data: Json) -> Arc<Record> {
    let mut record = Record::clone(&base.record);
    record.header.counter += 1;
    record.header.ops.push(Op::random().unwrap());
    let Json::Object(data) = data else { panic!("data is an object") };
    record.data = data;
    Arc::new(record)
}

async fn replace(store: &Postgres, base: &Loaded, data: Json) -> Loaded {
    let record = next(base, data);
    let write = Write::Replace { base, record: &record };
    let version = store.commit(write, SystemClock.now()).await.unwrap();
    Loaded { record, version }
}

fn views(number: u64) -> Json {
    json!({ "views": number })
}
