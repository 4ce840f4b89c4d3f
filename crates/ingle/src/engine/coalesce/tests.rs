use serde_json::json;
use tokio::time::{advance, sleep_until};

use super::*;
use crate::{
    data::Data,
    detach::Detachable,
    engine::{
        change::{Change, Draft},
        policy::Policy,
        scripted::{Scripted, failed},
    },
    id::HashedIds,
    record::{Loaded, Op, Version},
    store::{Applied, ErrorKind, Lookup, Memory, Store},
};

const KEY: Key = Key::from_bytes([1; 32]);

fn coalescer() -> Arc<Coalescer> {
    coalescer_on(Arc::new(Memory::new()))
}

fn coalescer_on(store: Arc<dyn Store>) -> Arc<Coalescer> {
    let ids = Arc::new(HashedIds::new(""));
    Arc::new(Coalescer::new(Context::new(store, Policy::default(), ids)))
}

fn item() -> Item {
    Item::new(Box::new(|_| Ok(())), None)
}

fn enqueue_now(coalescer: &Arc<Coalescer>, item: Item) -> Enqueued {
    let mut enqueued = None;
    let deadline = Instant::now() + Duration::from_secs(60);
    drop(Detachable::new(|handle| {
        enqueued = Some(enqueue(coalescer, KEY, item, deadline, &handle));
        std::future::ready(())
    }));
    enqueued.expect("work is made at once")
}

fn first(coalescer: &Arc<Coalescer>) -> Leader {
    let Enqueued::Leads(leader, _) = enqueue_now(coalescer, item()) else {
        panic!("a commit is under way")
    };
    leader
}

/// Joins a queue in which a commit is under way.
fn waits(coalescer: &Arc<Coalescer>) -> (Ticket, oneshot::Receiver<Outcome>) {
    waits_with(coalescer, item())
}

fn waits_with(coalescer: &Arc<Coalescer>, item: Item) -> (Ticket, oneshot::Receiver<Outcome>) {
    let Enqueued::Waits(ticket, answer) = enqueue_now(coalescer, item) else {
        panic!("nobody is there")
    };
    (ticket, answer)
}

#[tokio::test]
async fn a_change_that_is_being_committed_cannot_be_taken_back_as_another_s() {
    let coalescer = coalescer();
    let leader = first(&coalescer);
    let (one, _listener) = waits(&coalescer);
    let (other, _listener) = waits(&coalescer);
    assert_eq!(leader.take_batch().len(), 2);
    // It came later, and waits for the next commit.
    let (last, _listener) = waits(&coalescer);
    assert!(matches!(withdraw(&coalescer, KEY, one).result, Err(Failure::Unknown)));
    assert!(matches!(withdraw(&coalescer, KEY, other).result, Err(Failure::Unknown)));
    assert!(matches!(withdraw(&coalescer, KEY, last).result, Err(Failure::Store(_))));
}

#[tokio::test]
async fn a_change_with_a_line_is_taken_alone() {
    let coalescer = coalescer();
    let leader = first(&coalescer);
    let with_line = || Item { line: Some(Box::new(|| panic!("it never runs"))), ..item() };
    let has_line = [false, false, true, true, false];
    let answers = has_line
        .map(|has_line| waits_with(&coalescer, if has_line { with_line() } else { item() }));
    let batches: Vec<Vec<bool>> = std::iter::from_fn(|| {
        let batch = leader.take_batch();
        let batch = batch.iter().map(|waiting| waiting.item.line.is_some()).collect::<Vec<_>>();
        (!batch.is_empty()).then_some(batch)
    })
    .collect();
    assert_eq!(batches, [vec![false, false], vec![true], vec![true], vec![false]]);
    drop(answers);
}

#[tokio::test]
async fn leadership_passes_on_to_all_that_wait_and_ends_with_the_last() {
    let coalescer = coalescer();
    let leader = first(&coalescer);
    let answers = [waits(&coalescer).1, waits(&coalescer).1];
    drop(leader);
    for answer in answers {
        // There is no such record, which is an answer.
        assert!(matches!(answer.await.unwrap().result, Err(Failure::Missing)));
    }
    assert!(coalescer.shard(&KEY).is_empty(), "a queue without a commit takes no memory");
    drop(first(&coalescer));
    assert!(coalescer.shard(&KEY).is_empty());
}

/// Whether a commit to the key is under way, or a pause after one.
fn is_led(coalescer: &Coalescer) -> bool {
    !coalescer.shard(&KEY).is_empty()
}

#[tokio::test(start_paused = true)]
async fn after_a_commit_another_process_has_its_turn_where_it_may_need_one() {
    let coalescer = coalescer();
    first(&coalescer).end(Instant::now());
    assert!(!is_led(&coalescer), "nobody else commits");

    let leader = first(&coalescer);
    advance(LEAD_MAX + YIELD_MIN).await;
    leader.end(Instant::now());
    assert!(is_led(&coalescer), "it has led for long");
    tokio::time::sleep(YIELD_MAX).await;
    assert!(!is_led(&coalescer));

    coalescer.context.cache.note_contention(&KEY);
    first(&coalescer).end(Instant::now());
    assert!(is_led(&coalescer), "another one was seen");
    tokio::time::sleep(YIELD_MAX).await;
    assert!(!is_led(&coalescer));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_at_the_deadline_is_heard() {
    let coalescer = coalescer();
    let leader = first(&coalescer);
    let (ticket, answer) = waits(&coalescer);
    let Waiting { deadline, answer: sender, .. } = leader.take_batch().pop().unwrap();
    let answers = async {
        sleep_until(deadline).await;
        drop(sender.send(lost(Failure::Missing)));
    };
    let listens = listen(&coalescer, KEY, ticket, answer, deadline);
    let (outcome, ()) = tokio::join!(listens, answers);
    assert!(matches!(outcome.result, Err(Failure::Missing)));
}

#[tokio::test]
async fn in_an_outage_the_changes_of_a_batch_are_not_tried_one_by_one() {
    let store = Arc::new(Scripted::default());
    let coalescer = coalescer_on(Arc::clone(&store) as Arc<_>);
    while coalescer.context.client.budget.spend() {}
    let leader = first(&coalescer);
    let answers = [waits(&coalescer).1, waits(&coalescer).1];
    store.loads(Err(failed(ErrorKind::Unavailable, Applied::No)));
    let batch = leader.take_batch();
    lead(leader, batch).await;
    for answer in answers {
        assert!(matches!(answer.await.unwrap().result, Err(Failure::Store(_))));
    }
    store.is_done();
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_is_not_sent_twice_where_it_was_alone() {
    let store = Arc::new(Scripted::default());
    let coalescer = coalescer_on(Arc::clone(&store) as Arc<_>);
    let record = coalescer.context.policy.record_of_user(KEY, Op::from_bits(1), Data::new());
    let loaded = Loaded { record: record.unwrap().into(), version: Version(1) };
    store.loads(Ok(Lookup::Live(loaded)));
    store.commits(Err(failed(ErrorKind::TooLarge, Applied::No)));
    let leader = first(&coalescer);
    let change: Change = Box::new(|draft: &mut Draft<'_>| {
        draft.set("n".into(), Some(json!(1)));
        Ok(())
    });
    let (_, answer) = waits_with(&coalescer, Item::new(change, None));
    let batch = leader.take_batch();
    lead(leader, batch).await;
    assert!(matches!(answer.await.unwrap().result, Err(Failure::Store(_))));
    store.is_done();
}
