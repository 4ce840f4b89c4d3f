//! Commits of several sessions of one process that meet, for tests of the stores that make one call of them.

use std::{future::ready, sync::Arc, time::Duration};

use ingle::{
    clock::{Clock as _, SystemClock},
    record::{Epoch, FORMAT, Header, Key, Loaded, Op, Record, Version},
    store::{CommitError, Store, Write},
};
use serde_json::{Value as Json, json};
use tokio::{select, task::JoinHandle};

pub(crate) type Commit = JoinHandle<Result<Version, CommitError>>;

/// Makes so many records, each with its number as views.
pub(crate) async fn filled(store: &impl Store, count: u64) -> Vec<Loaded> {
    let mut bases = Vec::new();
    for number in 0..count {
        let now = SystemClock.now();
        let word = || Op::random().unwrap().to_bits().to_be_bytes();
        let key = [word(), word(), word(), word()].concat();
        let header = Header {
            format: FORMAT,
            key: Key::from_bytes(key.try_into().unwrap()),
            created: now,
            idle_deadline: now.after(Duration::from_secs(3600)),
            absolute_deadline: now.after(Duration::from_secs(7200)),
            idle_timeout: None,
            user: None,
            epoch: Epoch::random().unwrap(),
            counter: 1,
            ops: [Op::random().unwrap()].into_iter().collect(),
        };
        let record = Arc::new(Record { header, data: data(&json!({ "views": number })) });
        let version = store.commit(Write::Create { record: &record }, now).await.unwrap();
        bases.push(Loaded { record, version });
    }
    bases
}

fn data(data: &Json) -> serde_json::Map<String, Json> {
    data.as_object().cloned().unwrap()
}

/// The record after one commit more, with this data.
fn next(base: &Loaded, new: &Json) -> Arc<Record> {
    let mut record = Record::clone(&base.record);
    record.header.counter += 1;
    record.header.ops.push(Op::random().unwrap());
    record.data = data(new);
    Arc::new(record)
}

/// Begins to commit this data, as another request of this process would. Nothing is sent before all have
/// begun: tests have one thread, and what it is to do it does in order.
pub(crate) fn begin<S: Store + Clone>(store: &S, base: &Loaded, new: &Json) -> Commit {
    let (store, base, record) = (store.clone(), base.clone(), next(base, new));
    tokio::spawn(async move {
        let write = Write::Replace { base: &base, record: &record };
        store.commit(write, SystemClock.now()).await
    })
}

/// Begins to commit so many views more for each.
pub(crate) fn add<S: Store + Clone>(store: &S, bases: &[Loaded], more: u64) -> Vec<Commit> {
    let views = |base: &Loaded| json!({ "views": views(base) + more });
    bases.iter().map(|base| begin(store, base, &views(base))).collect()
}

/// Begins to commit and gives it up while it waits for others that may meet it.
pub(crate) async fn give_up(store: &impl Store, base: &Loaded) {
    let record = next(base, &json!({ "views": "unwanted" }));
    select! {
        biased;
        done = store.commit(Write::Replace { base, record: &record }, SystemClock.now()) => {
            panic!("{done:?}")
        }
        () = ready(()) => {}
    }
}

pub(crate) fn views(loaded: &Loaded) -> u64 {
    loaded.record.data["views"].as_u64().unwrap()
}

/// What stands under the key of a record.
pub(crate) async fn stored(store: &impl Store, base: &Loaded) -> Loaded {
    store.load(&base.record.header.key, SystemClock.now()).await.unwrap().live().unwrap()
}

/// Of two commits of each record that meet, one is made, and the other one learns of it.
pub(crate) async fn one_of_two_is_made<S: Store + Clone>(store: &S) {
    let bases = filled(store, 3).await;
    let (first, second) = (add(store, &bases, 1000), add(store, &bases, 2000));
    for ((base, first), second) in bases.iter().zip(first).zip(second) {
        let (newer, more) = match (first.await.unwrap(), second.await.unwrap()) {
            (Ok(_), Err(CommitError::Conflict(Some(newer)))) => (newer, 1000),
            (Err(CommitError::Conflict(Some(newer))), Ok(_)) => (newer, 2000),
            other => panic!("{other:?}"),
        };
        assert_eq!(views(&newer), views(base) + more);
        assert_eq!(stored(store, base).await, newer);
    }
}
