use std::time::Duration;

use super::*;
use crate::{
    data::Data,
    engine::{
        policy::Policy,
        scripted::{Scripted, failed},
    },
    id::HashedIds,
    record::Version,
};

const KEY: Key = Key::from_bytes([1; 32]);
const OWN: Op = Op::from_bits(1);
const OTHER: Op = Op::from_bits(2);

struct Scene {
    store: Arc<Scripted>,
    context: Context,
}

impl Scene {
    fn new() -> Self {
        let store = Arc::new(Scripted::default());
        let ids = Arc::new(HashedIds::new(""));
        let context = Context::new(Arc::clone(&store) as Arc<_>, Policy::default(), ids);
        Self { store, context }
    }

    /// A record that the commit `op` created, and that has had so many commits since.
    fn record(&self, op: Op, counter: u64) -> Arc<Record> {
        let mut record = self.context.policy.record_of_user(KEY, op, Data::new()).unwrap();
        record.header.counter = counter;
        record.into()
    }

    async fn create_at(&self) -> Result<Option<Loaded>, Failure> {
        let created = create_at(&self.context, &self.record(OWN, 1), OWN, deadline()).await;
        self.store.is_done();
        created
    }

    async fn replace(&self, base: &Loaded) -> Result<Attempt, Failure> {
        let record = self.record(OWN, base.record.header.counter + 1);
        let attempt = attempt(&self.context, base, &record, None, OWN, deadline()).await;
        self.store.is_done();
        attempt
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn loaded(record: Arc<Record>) -> Loaded {
    Loaded { record, version: Version(1) }
}

fn live(record: Arc<Record>) -> Result<Lookup, store::Error> {
    Ok(Lookup::Live(loaded(record)))
}

fn lost<T, E: From<store::Error>>() -> Result<T, E> {
    Err(failed(ErrorKind::Unavailable, Applied::Unknown))
}

#[tokio::test(start_paused = true)]
async fn a_create_that_was_surely_not_made_is_sent_again() {
    let scene = Scene::new();
    let not_made = Err(failed(ErrorKind::Unavailable, Applied::No));
    scene.store.commits(not_made).commits(Ok(Version(1)));
    assert!(scene.create_at().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_was_lost_is_found_by_its_op() {
    let scene = Scene::new();
    scene.store.commits(lost()).loads(live(scene.record(OWN, 1)));
    assert!(scene.create_at().await.unwrap().is_some());
    // The first sending was held up, and was made before the second one.
    scene.store.commits(lost()).loads(Ok(Lookup::Missing));
    scene.store.commits(Err(CommitError::Conflict(None))).loads(live(scene.record(OWN, 1)));
    assert!(scene.create_at().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_create_that_finds_the_record_of_another_one_was_not_made() {
    for counter in [1, OPS_MAX as u64] {
        let scene = Scene::new();
        scene.store.commits(lost()).loads(live(scene.record(OTHER, counter)));
        assert!(scene.create_at().await.unwrap().is_none(), "{counter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_may_have_forgotten_who_created_it_proves_nothing() {
    let scene = Scene::new();
    scene.store.commits(lost()).loads(live(scene.record(OTHER, OPS_MAX as u64 + 1)));
    assert!(matches!(scene.create_at().await, Err(Failure::Unknown)));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_given_up_is_unknown_only_if_it_may_have_been_made() {
    let scene = Scene::new();
    scene.store.commits(Err(failed(ErrorKind::Refused, Applied::No)));
    assert!(matches!(scene.create_at().await, Err(Failure::Store(_))));
    scene.store.commits(Err(failed(ErrorKind::Refused, Applied::Unknown)));
    scene.store.loads(Ok(Lookup::Missing));
    assert!(matches!(scene.create_at().await, Err(Failure::Unknown)));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_a_place_is_stored_under_its_own_id_or_not_at_all() {
    let scene = Scene::new();
    scene.store.commits(Err(CommitError::Conflict(None)));
    let record = scene.context.policy.first_record(Data::new()).unwrap();
    let id = scene.context.ids.generate().unwrap();
    let created = create(&scene.context, record, id, true, deadline()).await;
    assert!(matches!(created, Err(Failure::Store(_))));
    scene.store.is_done();
}

#[tokio::test(start_paused = true)]
async fn one_load_tells_what_became_of_a_write_in_doubt() {
    let scene = Scene::new();
    let base = loaded(scene.record(OTHER, 1));
    scene.store.commits(lost()).loads(Ok(Lookup::Live(base.clone()))).commits(Ok(Version(2)));
    assert!(matches!(scene.replace(&base).await, Ok(Attempt::Applied(_))));
}
