//! The store that fails on purpose: each fault does what it says, and no more.

use std::{sync::Arc, time::Duration};

use ingle::{
    clock::Timestamp,
    data::Data,
    record::{Epoch, FORMAT, Header, Key, Loaded, Ops, Record, Version},
    store::{
        Applied, CommitError, Error, ErrorKind, Fault, Faulty, Memory, Step, Store, Write,
        conformance,
    },
};
use tokio::time::{sleep, timeout};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const KEY: Key = Key::from_bytes([1; 32]);
const MINUTE: Duration = Duration::from_secs(60);

fn record(counter: u64) -> Arc<Record> {
    let header = Header {
        format: FORMAT,
        key: KEY,
        created: NOW,
        idle_deadline: Timestamp::MAX,
        absolute_deadline: Timestamp::MAX,
        idle_timeout: None,
        user: None,
        epoch: Epoch::from_bits(1),
        counter,
        ops: Ops::default(),
    };
    Arc::new(Record { header, data: Data::new() })
}

/// A store with nothing in it, and the decorator around it.
fn stores() -> (Memory, Faulty) {
    let memory = Memory::new();
    (memory.clone(), Faulty::new(Arc::new(memory)))
}

async fn create(store: &dyn Store) -> Result<Version, CommitError> {
    store.commit(Write::Create { record: &record(1) }, NOW).await
}

/// Replaces the record that `create` writes.
async fn replace(store: &dyn Store) -> Result<Version, CommitError> {
    let base = Loaded { record: record(1), version: Version(1) };
    store.commit(Write::Replace { base: &base, record: &record(2) }, NOW).await
}

async fn counter(store: &dyn Store) -> Option<u64> {
    let found = store.load(&KEY, NOW).await.expect("the store inside never fails");
    found.live().map(|found| found.record.header.counter)
}

fn happened<T>(result: Result<T, CommitError>) -> Option<Applied> {
    match result {
        Err(CommitError::Failed(error)) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            Some(error.applied())
        }
        _ => None,
    }
}

#[tokio::test]
async fn without_a_fault_it_does_what_the_store_inside_does() {
    let (memory, faulty) = stores();
    assert!(faulty.load(&KEY, NOW).await.expect("no fault").live().is_none());
    create(&faulty).await.expect("no fault");
    assert!(matches!(create(&faulty).await, Err(CommitError::Conflict(_))));
    replace(&faulty).await.expect("no fault");
    faulty.destroy(&KEY, NOW).await.expect("no fault");
    assert!(matches!(replace(&faulty).await, Err(CommitError::Gone)));
    faulty.sweep(NOW, 1).await.expect("no fault");
    assert_eq!((faulty.loads(), faulty.commits(), faulty.sweeps()), (1, 5, 1));
    assert_eq!(
        faulty.log(),
        ["load", "create", "create -> conflict", "replace", "destroy", "replace -> gone", "sweep",],
    );
    assert!(memory.is_empty());
}

#[tokio::test]
async fn a_refused_or_lost_request_is_not_applied() {
    for (fault, expected) in [(Fault::Refuse, Applied::No), (Fault::LoseRequest, Applied::Unknown)]
    {
        let (memory, faulty) = stores();
        faulty.on(Step::Commit(1), fault);
        assert_eq!(happened(create(&faulty).await), Some(expected));
        assert!(memory.is_empty(), "{fault:?} must apply nothing");
        create(&faulty).await.expect("the fault was for one call");
    }
}

#[tokio::test]
async fn a_lost_answer_hides_what_was_applied() {
    let (memory, faulty) = stores();
    faulty.on(Step::Commit(1), Fault::LoseAnswer);
    faulty.on(Step::Commit(2), Fault::LoseAnswer);
    assert_eq!(happened(create(&faulty).await), Some(Applied::Unknown));
    assert_eq!(counter(&memory).await, Some(1));
    assert_eq!(happened(create(&faulty).await), Some(Applied::Unknown));
    assert_eq!(faulty.log(), ["create -> answer lost", "create -> conflict, answer lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_is_made_in_the_end() {
    let (memory, faulty) = stores();
    faulty.on(Step::Commit(1), Fault::Delay(MINUTE));
    let begun = tokio::time::Instant::now();
    create(&faulty).await.expect("a delay is no failure");
    assert_eq!(begun.elapsed(), MINUTE);
    assert_eq!(counter(&memory).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_never_ends() {
    for (fault, applied) in [(Fault::Hang, None), (Fault::HangAfter, Some(1))] {
        let (memory, faulty) = stores();
        faulty.on(Step::Commit(1), fault);
        let ended = timeout(60 * MINUTE, create(&faulty)).await;
        assert!(ended.is_err(), "{fault:?} must never end");
        assert_eq!(counter(&memory).await, applied, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_write_meets_its_condition_when_it_lands() {
    let (memory, faulty) = stores();
    create(&faulty).await.expect("no fault");
    faulty.on(Step::Commit(1), Fault::Late(MINUTE));
    assert_eq!(happened(replace(&faulty).await), Some(Applied::Unknown));
    assert_eq!(counter(&memory).await, Some(1), "it has not landed");
    sleep(2 * MINUTE).await;
    assert_eq!(counter(&memory).await, Some(2), "it has landed");

    faulty.on(Step::Commit(1), Fault::Late(MINUTE));
    faulty.on(Step::Commit(2), Fault::Late(MINUTE));
    assert_eq!(happened(replace(&faulty).await), Some(Applied::Unknown));
    assert_eq!(
        happened(faulty.destroy(&KEY, NOW).await.map_err(CommitError::from)),
        Some(Applied::Unknown)
    );
    sleep(2 * MINUTE).await;
    assert_eq!(counter(&memory).await, None);
    let mut log = faulty.log();
    let landed = log.split_off(5);
    assert_eq!(
        log,
        ["create", "replace -> late", "late replace", "replace -> late", "destroy -> late"]
    );
    assert_eq!(landed, ["late replace -> conflict", "late destroy"]);
}

#[tokio::test]
async fn a_fault_waits_for_its_call() {
    let (_, faulty) = stores();
    create(&faulty).await.expect("no fault");
    faulty.on(Step::Load(3), Fault::Refuse);
    faulty.on(Step::Sweep(1), Fault::LoseRequest);
    let failed = |result: Result<_, Error>| result.is_err();
    let mut loads = Vec::new();
    for _ in 0..4 {
        loads.push(failed(faulty.load(&KEY, NOW).await.map(drop)));
    }
    assert_eq!(loads, [false, false, true, false]);
    assert!(failed(faulty.sweep(NOW, 1).await.map(drop)));
    assert!(!failed(faulty.sweep(NOW, 1).await.map(drop)));
}

#[tokio::test]
async fn an_outage_lasts_until_it_ends() {
    let (memory, faulty) = stores();
    faulty.fail_all(Some(Fault::Refuse));
    conformance::a_store_that_is_down_says_so(&faulty, NOW).await;
    assert!(memory.is_empty());
    faulty.on(Step::Commit(1), Fault::LoseAnswer);
    assert_eq!(happened(create(&faulty).await), Some(Applied::Unknown));
    assert_eq!(counter(&memory).await, Some(1), "what is said about one call goes before");
    faulty.fail_all(None);
    assert_eq!(counter(&faulty).await, Some(1));
}
