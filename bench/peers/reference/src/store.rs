//! What keeps the views: three ways, each the least that its place allows.

use std::{
    collections::HashMap,
    fs::File,
    future::Future,
    io::{self, Write as _},
    pin::Pin,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use redis::{Script, aio::MultiplexedConnection};
use tokio::sync::{mpsc, oneshot};

/// In seconds, from the last visit.
const LIFETIME: u64 = 86_400;

/// How many visits may wait for the log, and how many of them are synced together at most.
const WAITING_MAX: usize = 1024;

/// `KEYS[1]` is the session, `ARGV[1]` the greeting of a new one, `ARGV[2]` its lifetime.
const VISIT: &str = "redis.call('HSETNX', KEYS[1], 'greeting', ARGV[1])
local views = redis.call('HINCRBY', KEYS[1], 'views', 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {views, redis.call('HGET', KEYS[1], 'greeting')}";

/// The count after a visit, and the greeting.
type Visit = (u64, String);

pub(crate) type Visiting<'a> = Pin<Box<dyn Future<Output = Result<Visit>> + Send + 'a>>;

/// Counts the visits of sessions.
pub(crate) trait Store: Send + Sync {
    fn visit<'a>(&'a self, id: &'a str) -> Visiting<'a>;
}

/// All sessions of a process.
type Sessions = HashMap<String, (u64, &'static str)>;

fn visit(sessions: &mut Sessions, id: &str) -> (u64, &'static str) {
    let session = sessions.entry(id.to_owned()).or_insert_with(|| (0, page::any_greeting()));
    session.0 += 1;
    *session
}

/// A map behind one lock.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Sessions>);

impl Store for Memory {
    fn visit<'a>(&'a self, id: &'a str) -> Visiting<'a> {
        Box::pin(async move {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (views, greeting) = visit(&mut sessions, id);
            Ok((views, greeting.to_owned()))
        })
    }
}

/// A visit that waits for the log.
struct Waiting {
    id: String,
    answer: oneshot::Sender<(u64, &'static str)>,
}

/// A map and a log file: no answer before its line is on the disk.
pub(crate) struct Log(mpsc::Sender<Waiting>);

impl Log {
    pub(crate) fn open(file: &str) -> Result<Self> {
        let file = File::create(file).context("could not make the log")?;
        let (send, receive) = mpsc::channel(WAITING_MAX);
        // It ends with the last sender; an error of the disk ends it too, and then all visits fail.
        thread::spawn(move || keep(file, receive));
        Ok(Self(send))
    }
}

/// Takes all that waits, writes it, syncs once, and answers.
fn keep(mut file: File, mut waiting: mpsc::Receiver<Waiting>) -> io::Result<()> {
    let mut sessions = Sessions::new();
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, WAITING_MAX) > 0 {
        let mut lines = String::new();
        let mut answers = Vec::with_capacity(group.len());
        for Waiting { id, answer } in group.drain(..) {
            let (views, greeting) = visit(&mut sessions, &id);
            lines.push_str(&format!("{id} {views} {greeting}\n"));
            answers.push((answer, (views, greeting)));
        }
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        for (answer, visit) in answers {
            // The client may have gone.
            let _ = answer.send(visit);
        }
    }
    Ok(())
}

impl Store for Log {
    fn visit<'a>(&'a self, id: &'a str) -> Visiting<'a> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let waiting = Waiting { id: id.to_owned(), answer };
            self.0.send(waiting).await.context("the log has ended")?;
            let (views, greeting) = answered.await.context("the log has ended")?;
            Ok((views, greeting.to_owned()))
        })
    }
}

/// One call of a script for each visit.
pub(crate) struct Redis {
    connection: MultiplexedConnection,
    script: Script,
}

impl Redis {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { connection, script: Script::new(VISIT) })
    }
}

impl Store for Redis {
    fn visit<'a>(&'a self, id: &'a str) -> Visiting<'a> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let mut call = self.script.key(id);
            call.arg(page::any_greeting()).arg(LIFETIME);
            Ok(call.invoke_async(&mut connection).await?)
        })
    }
}
