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

/// What commits to a store that answers so many loads with a session that lives.
fn coalescer(store: &Arc<Scripted>, loads: usize) -> Arc<Coalescer> {
    let ids = Arc::new(HashedIds::new(""));
    let context = Context::new(Arc::clone(store) as Arc<_>, Policy::default(), ids);
    let record = context.policy.record_of_user(KEY, Op::from_bits(1), Data::new()).unwrap();
    let loaded = Loaded { record: record.into(), version: Version(1) };
    for _ in 0..loads {
        store.loads(Ok(Lookup::Live(loaded.clone())));
    }
    Arc::new(Coalescer::new(context))
}

/// Waits for the end of a session that lives on.
async fn wait(store: &Arc<Scripted>, time: Duration) {
    let coalescer = coalescer(store, 1000);
    assert!(tokio::time::timeout(time, ended(coalescer, KEY)).await.is_err());
}

#[test]
fn where_the_runtime_of_who_looks_ends_another_looks() {
    let store = Arc::new(Scripted::default());
    let coalescer = coalescer(&store, 2);
    store.loads(Ok(Lookup::Ended));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let [first, second] = [(); 2].map(|()| {
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let waiting = runtime.spawn(ended(Arc::clone(&coalescer), KEY));
        runtime.block_on(tokio::task::yield_now());
        (runtime, waiting)
    });
    assert!(!coalescer.context.watches.begin_looking(), "nobody looks");
    drop(first);
    let (runtime, waiting) = second;
    let end = runtime.block_on(async { tokio::time::timeout(EVERY * 2, waiting).await });
    assert_eq!(end.expect("somebody looks").unwrap(), SessionEnd::Ended);
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
