use super::*;
use crate::{config::Config, store::Memory};

const KEY: Key = Key::from_bytes([1; 32]);

fn core() -> Arc<Core> {
    Arc::new(Core::new(Arc::new(Memory::new()), Config::default()))
}

fn item() -> Item {
    Item::new(Box::new(|_| Ok(())), None)
}

/// Enters a lane in which a commit is under way.
fn wait(core: &Arc<Core>) -> (Ticket, oneshot::Receiver<Word>) {
    match enter(core, KEY, item(), Instant::now()) {
        Entered::Waits(ticket, answer) => (ticket, answer),
        Entered::Lead(..) | Entered::Full(_) => panic!("a commit is under way"),
    }
}

fn lead_of(mut answer: oneshot::Receiver<Word>) -> (Turn, Vec<Waiting>) {
    match answer.try_recv() {
        Ok(Word::Lead(turn, batch)) => (turn, batch),
        _ => panic!("it is not next"),
    }
}

#[tokio::test]
async fn a_change_that_is_being_committed_cannot_be_taken_back_as_another_s() {
    let core = core();
    let Entered::Lead(turn, _) = enter(&core, KEY, item(), Instant::now()) else {
        panic!("nobody was there before");
    };
    let (_, first) = wait(&core);
    let (second, second_listener) = wait(&core);
    drop(turn);
    // The second change is in the first one's commit; a third task came later, and went away.
    let (turn, batch) = lead_of(first);
    assert_eq!(batch.len(), 2);
    let (third, third_listener) = wait(&core);
    drop((second_listener, third_listener));
    assert!(matches!(withdraw(&core, KEY, second).result, Err(Failure::Unknown)));
    assert!(matches!(withdraw(&core, KEY, third).result, Err(Failure::Store(_))));
    drop((turn, batch));
}

#[tokio::test]
async fn the_turn_passes_over_tasks_that_have_gone_and_ends_with_the_last() {
    let core = core();
    let Entered::Lead(turn, _) = enter(&core, KEY, item(), Instant::now()) else {
        panic!("nobody was there before");
    };
    let (_, gone) = wait(&core);
    let (_, also_gone) = wait(&core);
    let (_, next) = wait(&core);
    let (last, listener) = wait(&core);
    drop((gone, also_gone));
    drop(turn);
    let (turn, batch) = lead_of(next);
    assert_eq!(batch.len(), 2);
    assert!(batch.iter().any(|waiting| waiting.ticket == last));
    drop((turn, batch, listener));
    assert!(core.lanes.shard(&KEY).is_empty(), "a lane without a commit takes no memory");
}
