use super::*;
use crate::{
    engine::{
        context::Context,
        policy::Policy,
        scripted::{Call, Scripted},
    },
    id::HashedIds,
};

#[tokio::test(start_paused = true)]
async fn the_time_between_two_sweeps_is_random_around_the_one_that_is_set() {
    let store = Arc::new(Scripted::default());
    let every = Duration::from_secs(60);
    let ids = Arc::new(HashedIds::new(""));
    let context = Context::new(Arc::clone(&store) as Arc<_>, Policy::default(), ids);
    let coalescer = Arc::new(Coalescer::new(context));
    start(&coalescer, every, Sweeping::new(&Arc::default()));
    tokio::time::sleep(every * 200).await;
    let pauses = store.pauses(Call::Sweep);
    // The timer of the runtime is a millisecond late at most.
    let most = every * 3 / 2 + Duration::from_millis(1);
    assert!(pauses.iter().all(|pause| (every / 2..=most).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause < every), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause > every), "{pauses:?}");
}
