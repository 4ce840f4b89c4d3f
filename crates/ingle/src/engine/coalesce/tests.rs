use super::*;
use crate::{detach::Detachable, engine::policy::Policy, id::HashedIds, store::Memory};

const KEY: Key = Key::from_bytes([1; 32]);

fn coalescer() -> Arc<Coalescer> {
    let ids = Arc::new(HashedIds::new(""));
    Arc::new(Coalescer::new(Context::new(Arc::new(Memory::new()), Policy::default(), ids)))
}

fn enqueue_now(coalescer: &Arc<Coalescer>) -> Enqueued {
    let mut enqueued = None;
    let item = Item::new(Box::new(|_| Ok(())), None);
    let deadline = Instant::now() + Duration::from_secs(60);
    drop(Detachable::new(|handle| {
        enqueued = Some(enqueue(coalescer, KEY, item, deadline, &handle));
        std::future::ready(())
    }));
    enqueued.expect("work is made at once")
}

fn first(coalescer: &Arc<Coalescer>) -> Leader {
    let Enqueued::Leads(leader, _) = enqueue_now(coalescer) else {
        panic!("a commit is under way")
    };
    leader
}

/// Joins a queue in which a commit is under way.
fn waits(coalescer: &Arc<Coalescer>) -> (Ticket, oneshot::Receiver<Outcome>) {
    let Enqueued::Waits(ticket, answer) = enqueue_now(coalescer) else { panic!("nobody is there") };
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
