use super::*;
use crate::clock::ManualClock;

const KEY: Key = Key::from_bytes([1; 32]);

#[test]
fn what_is_settled_early_is_told_in_its_turn() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        OnEvent::new(move |event| told.lock().unwrap().push(event.kind.clone()))
    };
    let now = Timestamp::from_millis(1);
    let clock = Arc::new(ManualClock::new(now));
    let events = Events::new(Some(listener), clock, Arc::new(Recent::new(now)));
    let kinds = [EventKind::Began, EventKind::Reauthenticated, EventKind::Expired];
    let [first, second, third] = kinds.clone().map(|kind| {
        let mut opening = events.open(KEY);
        opening.note(None, kind);
        opening
    });
    drop(third);
    assert!(told.lock().unwrap().is_empty());
    drop(first);
    assert_eq!(*told.lock().unwrap(), kinds[..1]);
    drop(second);
    assert_eq!(*told.lock().unwrap(), kinds);
    assert!(events.queues().is_empty(), "a session takes no memory when all is told");
}
