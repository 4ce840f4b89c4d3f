use super::*;
use crate::{config::Config, detach::Detachable, store::Memory};

const KEY: Key = Key::from_bytes([1; 32]);

fn core() -> Arc<Core> {
    Arc::new(Core::new(Arc::new(Memory::new()), Config::default()))
}

fn enter_now(core: &Arc<Core>) -> Entered {
    let mut entered = None;
    let item = Item::new(Box::new(|_| Ok(())), None);
    let deadline = Instant::now() + Duration::from_secs(60);
    drop(Detachable::new(|tether| {
        entered = Some(enter(core, KEY, item, deadline, &tether));
        std::future::ready(())
    }));
    entered.expect("work is made at once")
}

fn first(core: &Arc<Core>) -> Turn {
    let Entered::First(turn, _) = enter_now(core) else { panic!("a commit is under way") };
    turn
}

/// Enters a lane in which a commit is under way.
fn waits(core: &Arc<Core>) -> (Ticket, oneshot::Receiver<Settled>) {
    let Entered::Waits(ticket, answer) = enter_now(core) else { panic!("nobody is there") };
    (ticket, answer)
}

#[tokio::test]
async fn a_change_that_is_being_committed_cannot_be_taken_back_as_another_s() {
    let core = core();
    let turn = first(&core);
    let (one, _listener) = waits(&core);
    let (other, _listener) = waits(&core);
    assert_eq!(turn.next().len(), 2);
    // It came later, and waits for the next commit.
    let (last, _listener) = waits(&core);
    assert!(matches!(withdraw(&core, KEY, one).result, Err(Failure::Unknown)));
    assert!(matches!(withdraw(&core, KEY, other).result, Err(Failure::Unknown)));
    assert!(matches!(withdraw(&core, KEY, last).result, Err(Failure::Store(_))));
}

#[tokio::test]
async fn the_turn_passes_on_to_all_that_wait_and_ends_with_the_last() {
    let core = core();
    let turn = first(&core);
    let answers = [waits(&core).1, waits(&core).1];
    drop(turn);
    for answer in answers {
        // There is no such record, which is an answer.
        assert!(matches!(answer.await.unwrap().result, Err(Failure::Gone)));
    }
    assert!(core.lanes.shard(&KEY).is_empty(), "a lane without a commit takes no memory");
    drop(first(&core));
    assert!(core.lanes.shard(&KEY).is_empty());
}
