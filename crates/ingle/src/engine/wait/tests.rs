use super::*;
use crate::{
    data::Data,
    engine::{
        context::Context,
        policy::Policy,
        scripted::{Call, Scripted},
    },
    id::HashedIds,
    record::{Loaded, Op, Version},
};

const KEY: Key = Key::from_bytes([1; 32]);

/// Waits for the end of a session that lives on.
async fn wait(store: &Arc<Scripted>, time: Duration) {
    let ids = Arc::new(HashedIds::new(""));
    let context = Context::new(Arc::clone(store) as Arc<_>, Policy::default(), ids);
    let record = context.policy.record_of_user(KEY, Op::from_bits(1), Data::new()).unwrap();
    let loaded = Loaded { record: record.into(), version: Version(1) };
    for _ in 0..1000 {
        store.loads(Ok(Lookup::Live(loaded.clone())));
    }
    let coalescer = Arc::new(Coalescer::new(context));
    assert!(tokio::time::timeout(time, ended(coalescer, KEY)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_is_looked_at_every_five_seconds_give_or_take_a_tenth() {
    let store = Arc::new(Scripted::default());
    wait(&store, EVERY * 200).await;
    // The first look is that of the wait itself.
    let pauses = &store.pauses(Call::Load)[1..];
    // The timer of the runtime is a millisecond late at most.
    let (least, most) = (EVERY * 9 / 10, EVERY * 11 / 10 + Duration::from_millis(1));
    assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause < EVERY), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause > EVERY), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_held_for_long_is_made_again_soon() {
    let store = Arc::new(Scripted::default());
    let held = PAUSE_MAX + Duration::from_secs(1);
    for holds in [Duration::ZERO, Duration::ZERO, Duration::ZERO, held] {
        store.listens(holds);
    }
    wait(&store, Duration::from_secs(600)).await;
    let pauses = store.pauses(Call::Listen);
    let [first, second, third, last] = pauses[..] else { panic!("{pauses:?}") };
    let late = Duration::from_millis(5);
    for (pause, most) in [(first, 1), (second, 2), (third, 4), (last - held, 1)] {
        let most = PAUSE_MIN * most;
        assert!((most / 2..=most + late).contains(&pause), "{pauses:?}");
    }
}
