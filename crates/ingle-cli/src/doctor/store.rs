//! What is wrong with the store: whether it opens, what it says of its server, how far away it is, and with
//! `--write` whether it keeps a session.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ingle::{
    Limits,
    clock::{Clock as _, SystemClock},
    data::Data,
    record::{Epoch, FORMAT, Header, Key, Loaded, Op, Ops, Record},
    store::{self, CommitError, Destroyed, Lookup, Store, Write},
};

use super::{Part, Problem};
use crate::{exit::causes, place};

/// How many loads may tell how far away the store is. The fastest counts, however busy both are.
const LOADS: usize = 20;

/// What is further away than any machine of the same region.
const FAR: Duration = Duration::from_millis(100);

/// How long the session that is written may live, should its end fail.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// What is wrong, where each answer may take so long.
pub(super) async fn look(url: &str, write: bool, timeout: Duration) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(problem) = ask(url, write, timeout, &mut problems).await {
        problems.push(problem);
    }
    problems
}

/// Adds what is wrong, up to what makes all further questions pointless.
async fn ask(
    url: &str,
    write: bool,
    timeout: Duration,
    problems: &mut Vec<Problem>,
) -> Result<(), Problem> {
    place::is_there(url).map_err(|failed| Problem::of_store("open", &failed.line()))?;
    let store = in_time("open", timeout, store::open(url)).await?;
    let store = store.map_err(|error| Problem::from(&error))?;
    let warnings = in_time("answer", timeout, store.check(SystemClock.now())).await?;
    let warnings = warnings.map_err(|error| Problem::of_store("answer", &causes(&error)))?;
    problems.extend(warnings.iter().map(|warning| Problem::warned(Part::Store, warning)));
    // Firestore says where it is, and is far from each machine that is not Google's.
    if store.info().name != "firestore" {
        problems.extend(distance(&*store, timeout).await?);
    }
    if write {
        problems.extend(keeps_a_session(&store, timeout).await?);
    }
    Ok(())
}

/// An answer of the store, if it does not take too long.
async fn in_time<T>(
    about: &'static str,
    timeout: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, Problem> {
    tokio::time::timeout(timeout, answer).await.map_err(|_| {
        let line = format!(
            "the store did not answer within {timeout:?} (--timeout); see that it runs, and that no firewall \
             is in between"
        );
        Problem::of_store(about, &line)
    })
}

async fn distance(store: &dyn Store, timeout: Duration) -> Result<Option<Problem>, Problem> {
    let mut fastest = Duration::MAX;
    for _ in 0..LOADS {
        let Some(key) = some_key() else { return Ok(None) };
        let began = Instant::now();
        let loaded = in_time("answer", timeout, store.load(&key, SystemClock.now())).await?;
        loaded.map_err(|error| Problem::of_store("answer", &causes(&error)))?;
        fastest = fastest.min(began.elapsed());
        if fastest < FAR {
            return Ok(None);
        }
    }
    let line = format!(
        "the store is far from this machine: the fastest of {LOADS} loads took {} ms, and each request \
         waits as long or twice; run the app in the region of its store",
        fastest.as_millis()
    );
    Ok(Some(Problem::of_store("far", &line)))
}

/// A key that no session has.
fn some_key() -> Option<Key> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.parse().ok()
}

/// Begins a session as large as an app may have one, changes it, and ends it.
async fn keeps_a_session(
    store: &Arc<dyn Store>,
    timeout: Duration,
) -> Result<Option<Problem>, Problem> {
    let Some(record) = session() else { return Ok(None) };
    let record = Arc::new(record);
    let key = record.header.key;
    let written = in_time("write", timeout, write(store, &record)).await;
    let ended = in_time("write", timeout, store.destroy(&key, SystemClock.now())).await?;
    let written = written?;
    let problem = |error: &(dyn std::error::Error + 'static)| {
        Problem::of_store("write", &format!("no session can be kept: {}", causes(error)))
    };
    Ok(match (written, ended) {
        (Err(error), _) => Some(problem(&error)),
        (Ok(()), Err(error)) => Some(problem(&error)),
        (Ok(()), Ok(Destroyed::Ended)) => None,
        (Ok(()), Ok(_)) => {
            let line = "a session that was written was not there any more when it was to be ended";
            Some(Problem::of_store("write", line))
        }
    })
}

async fn write(store: &Arc<dyn Store>, record: &Arc<Record>) -> Result<(), CommitError> {
    let now = || SystemClock.now();
    store.commit(Write::Create { record }, now()).await?;
    let found = store.load(&record.header.key, now()).await?;
    let base = match found {
        Lookup::Live(loaded) if loaded.record == *record => loaded,
        // What was acknowledged is not there.
        _ => return Err(CommitError::Gone),
    };
    let changed = Arc::new(advanced(&base));
    store.commit(Write::Replace { base: &base, record: &changed }, now()).await.map(drop)
}

fn advanced(base: &Loaded) -> Record {
    let mut record = Record::clone(&base.record);
    record.header.counter += 1;
    if let Ok(op) = Op::random() {
        record.header.ops.push(op);
    }
    record
}

fn session() -> Option<Record> {
    let now = SystemClock.now();
    let frame = r#"{"probe":""}"#.len();
    let text = "x".repeat(Limits::default().bytes_max - frame);
    let mut ops = Ops::default();
    ops.push(Op::random().ok()?);
    let header = Header {
        format: FORMAT,
        key: some_key()?,
        created: now,
        idle_deadline: now.after(PROBE_TIME),
        absolute_deadline: now.after(PROBE_TIME),
        idle_timeout: None,
        user: None,
        epoch: Epoch::random().ok()?,
        counter: 1,
        ops,
    };
    let mut data = Data::new();
    data.insert("probe".to_owned(), text.into());
    Some(Record { header, data })
}
