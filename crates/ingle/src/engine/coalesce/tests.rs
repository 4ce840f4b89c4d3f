use super::*;
use crate::{detach::Detachable, engine::policy::Policy, id::HashedIds, store::Memory};

const KEY: Key = Key::from_bytes([1; 32]);

fn coalescer() -> Arc<Coalescer> {
    let ids = Arc::new(HashedIds::new(""));
    Arc::new(Coalescer::new(Context::new(Arc::new(Memory::new()), Policy::default(), ids)))
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
