//! memcached as it is: what stands in it, its traps, its outages, and what a renew leaves behind
//! wherever it is stopped.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use ingle::{
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Epoch, FORMAT, Header, Key, Loaded, Op, Record},
    store::{
        Applied, CommitError, Destroyed, Error, ErrorKind, Lookup, MARK_TIME, Memcached,
        MemcachedConfig, Store as _, Write,
    },
};
use serde_json::{Value as Json, json};

mod opening;
mod outages;
mod renew;
mod traps;
mod wire;

const HOUR: Duration = Duration::from_secs(3600);

/// A prefix of its own on one server or several, seen by stores and by a shell.
struct Scene {
    config: MemcachedConfig,
    now: Timestamp,
}

impl Scene {
    /// On the first of the servers that tests share.
    fn shared() -> Self {
        let [one, ..] = testbed::memcached::shared();
        Self::on([one])
    }

    fn on(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut config = MemcachedConfig::new(servers.into_iter().map(|server| server.to_string()));
        config.prefix = format!("t{:016x}", Op::random().unwrap().to_bits());
        Self { config, now: SystemClock.now() }
    }

    async fn store(&self) -> Memcached {
        Memcached::open(self.config.clone()).await.unwrap()
    }

    /// A record under a random key.
    fn record(&self, n: u64) -> Record {
        let header = Header {
            format: FORMAT,
            key: random_key(),
            created: self.now,
            idle_deadline: self.now.after(HOUR),
            absolute_deadline: self.now.after(12 * HOUR),
            idle_timeout: None,
            user: None,
            epoch: Epoch::random().unwrap(),
            counter: 1,
            ops: [Op::random().unwrap()].into_iter().collect(),
        };
        Record { header, data: json!({ "n": n }).as_object().unwrap().clone() }
    }

    async fn create(&self, store: &Memcached, record: Record) -> Loaded {
        let record = Arc::new(record);
        let create = Write::Create { record: &record };
        let version = store.commit(create, self.now).await.unwrap();
        Loaded { record, version }
    }

    /// The live record under a key.
    async fn found(&self, store: &Memcached, key: &Key) -> Option<Loaded> {
        store.load(key, self.now).await.unwrap().live()
    }

    fn name(&self, key: &Key) -> String {
        format!("{}:{key}", self.config.prefix)
    }
}

/// The next record of a session, under another key if it is renewed.
fn next(base: &Loaded, n: u64) -> Arc<Record> {
    let mut record = Record::clone(&base.record);
    record.header.counter += 1;
    record.header.ops.push(Op::random().unwrap());
    record.data.insert("n".to_owned(), json!(n));
    Arc::new(record)
}

fn renewed(base: &Loaded) -> Arc<Record> {
    let mut record = Record::clone(&next(base, 2));
    record.header.key = random_key();
    Arc::new(record)
}

fn random_key() -> Key {
    let mut bytes = [0; 32];
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&Op::random().unwrap().to_bits().to_be_bytes());
    }
    Key::from_bytes(bytes)
}

fn n_of(loaded: &Loaded) -> u64 {
    loaded.record.data["n"].as_u64().unwrap()
}

/// Drives a call up to its wait of this number, and drops it there, unless it is done before.
async fn up_to<F: Future>(waits: u64, call: F) -> Option<F::Output> {
    let (mut call, mut left) = (std::pin::pin!(call), waits);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

#[track_caller]
fn failure<T: std::fmt::Debug>(done: Result<T, CommitError>) -> Error {
    match done {
        Err(CommitError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn said(error: &Error) -> (ErrorKind, Applied) {
    (error.kind(), error.applied())
}

/// What an operator types into a connection.
struct Shell {
    stream: BufReader<TcpStream>,
}

#[derive(Debug, PartialEq)]
struct Item {
    value: Json,
    token: u64,
    seconds: i64,
    flags: u64,
}

impl Shell {
    fn new(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(crate::common::LONG)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn line(&mut self, question: &str) -> String {
        self.stream.get_mut().write_all(question.as_bytes()).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn get(&mut self, name: &str) -> Option<Item> {
        let line = self.line(&format!("mg {name} v c t f\r\n"));
        let mut words = line.strip_prefix("VA ")?.split(' ');
        let mut value = vec![0; words.next().unwrap().parse::<usize>().unwrap() + 2];
        self.stream.read_exact(&mut value).unwrap();
        value.truncate(value.len() - 2);
        let mut number = || words.next().unwrap()[1..].parse::<i64>().unwrap();
        let (token, seconds, flags) = (number(), number(), number());
        let value = serde_json::from_slice(&value).unwrap_or(Json::Null);
        Some(Item { value, token: token.unsigned_abs(), seconds, flags: flags.unsigned_abs() })
    }

    /// Stores a value, on a condition that is written as memcached's flags.
    fn set(&mut self, name: &str, value: &str, flags: &str) -> String {
        self.line(&format!("ms {name} {} {flags}\r\n{value}\r\n", value.len()))
    }

    fn delete(&mut self, name: &str) -> String {
        self.line(&format!("md {name}\r\n"))
    }

    fn stat(&mut self, wanted: &str) -> u64 {
        let mut line = self.line("stats\r\n");
        let mut found = 0;
        while line != "END" {
            if let Some(value) = line.strip_prefix(&format!("STAT {wanted} ")) {
                found = value.parse().unwrap();
            }
            line = self.answer();
        }
        found
    }
}
