//! The process that is killed: clients of sessions in the SQLite store, who say on standard output
//! what they were told, each line written before the next request is made.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use ingle::{SessionLayer, store::Sqlite};
use tokio::{runtime::Runtime, task::JoinSet};

use super::book::{NAME, TOKENS, Told, pushed, token};
use crate::inside::{Answer, Work, request};

/// Sessions that two clients share, one of which commits in transactions and one with its responses.
const SHARED: usize = 5;

/// How many tokens a session gets before its client ends it and begins another.
const SHORT_LIFE: u64 = 3;

/// Every so many tokens the session moves to a new id.
const RENEW_EVERY: u64 = 4;

/// Works until it is killed. `prefix` begins the names of the sessions that it makes.
pub(crate) fn work(folder: &Path, prefix: &str) -> Result<()> {
    let runtime = Runtime::new().context("could not start the runtime")?;
    runtime.block_on(async {
        let store = Sqlite::open(folder).await?;
        let layer = SessionLayer::new(store);
        let mut clients = JoinSet::new();
        for n in 0..SHARED {
            clients.spawn(shared(layer.clone(), format!("{prefix}.{n}")));
        }
        clients.spawn(renewing(layer.clone(), format!("{prefix}.renewing")));
        clients.spawn(short_lives(layer, format!("{prefix}.short")));
        clients.join_all().await;
        Ok(())
    })
}

/// One system call a line, so that no line is there in part unless the process ends within it.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Who listens may be gone, and this process with it in a moment.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn told(answer: &Answer) -> Told {
    if answer.is_ok() {
        Told::Acknowledged
    } else if answer.is_refused() {
        Told::Refused
    } else {
        Told::Unknown
    }
}

/// A new session with this name; its cookie.
async fn begin(layer: &SessionLayer, name: &str) -> Option<String> {
    let value = name.to_owned();
    let answer = request(layer, None, Work::Insert { field: NAME, value }).await;
    let cookie = answer.cookie.filter(|_| answer.status == 200);
    if cookie.is_some() {
        say(&format!("begun {name}"));
    }
    cookie
}

async fn shared(layer: SessionLayer, name: String) {
    let Some(cookie) = begin(&layer, &name).await else { return };
    let transactions = async {
        for number in 0.. {
            let work = Work::Update { field: TOKENS, value: token("transaction", number) };
            let answer = request(&layer, Some(&cookie), work).await;
            say(&pushed(&name, "transaction", number, told(&answer)));
        }
    };
    let edits = async {
        for number in 0.. {
            let work = Work::Push { field: TOKENS, value: token("edit", number) };
            let answer = request(&layer, Some(&cookie), work).await;
            say(&pushed(&name, "edit", number, told(&answer)));
        }
    };
    tokio::join!(transactions, edits);
}

async fn renewing(layer: SessionLayer, name: String) {
    let Some(mut cookie) = begin(&layer, &name).await else { return };
    for number in 0.. {
        let (field, value) = (TOKENS, token("renewing", number));
        let work = if number % RENEW_EVERY == 0 {
            Work::Renew { field, value }
        } else {
            Work::Update { field, value }
        };
        let answer = request(&layer, Some(&cookie), work).await;
        say(&pushed(&name, "renewing", number, told(&answer)));
        if !answer.is_ok() {
            // The session may have moved to an id that nobody knows.
            return;
        }
        cookie = answer.cookie.unwrap_or(cookie);
    }
}

async fn short_lives(layer: SessionLayer, prefix: String) {
    for life in 0.. {
        let name = format!("{prefix}{life}");
        let Some(cookie) = begin(&layer, &name).await else { continue };
        for number in 0..SHORT_LIFE {
            let work = Work::Update { field: TOKENS, value: token("short", number) };
            let answer = request(&layer, Some(&cookie), work).await;
            say(&pushed(&name, "short", number, told(&answer)));
        }
        say(&format!("ending {name}"));
        if request(&layer, Some(&cookie), Work::Logout).await.is_ok() {
            say(&format!("ended {name}"));
        }
    }
}
