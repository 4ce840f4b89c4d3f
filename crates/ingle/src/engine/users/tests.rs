use super::*;
use crate::{
    detach::Detachable,
    engine::{policy::Policy, scripted::Scripted},
    id::HashedIds,
    record::{Loaded, Version},
    store::Page,
};

fn coalescer_on(store: &Arc<Scripted>) -> Arc<Coalescer> {
    let ids = Arc::new(HashedIds::new(""));
    Arc::new(Coalescer::new(Context::new(Arc::clone(store) as Arc<_>, Policy::default(), ids)))
}

#[tokio::test]
async fn one_load_admits_the_session_of_a_user_of_whom_nothing_is_kept() {
    let store = Arc::new(Scripted::default());
    store.loads(Ok(Lookup::Missing));
    let coalescer = coalescer_on(&store);
    let policy = &coalescer.context.policy;
    let (user, deadline) = (User::new("ada", 0, policy.now()), policy.deadline());
    let to = Key::from_bytes([1; 32]);
    let admitted = Detachable::new(|handle| async move {
        admit(&coalescer, &user, None, to, deadline, &handle).await
    });
    assert!(admitted.await.unwrap());
    store.is_done();
}

#[tokio::test]
async fn the_list_is_gone_through_until_a_whole_pass_finds_none_that_is_to_end() {
    let store = Arc::new(Scripted::default());
    let coalescer = coalescer_on(&store);
    let page = |key: u8, generation| {
        let policy = &coalescer.context.policy;
        let mut record = policy.first_record(Data::new()).unwrap();
        record.header.key = Key::from_bytes([key; 32]);
        record.header.user = Some(User::new("ada", generation, policy.now()));
        Page {
            records: vec![Loaded { record: record.into(), version: Version(1) }],
            ..Page::default()
        }
    };
    // The second one was renewed under the first pass, which found it under neither key.
    store.lists(page(1, 1)).lists(page(2, 1)).lists(page(3, 2));
    let all = Ended { generation: 2, spared: None };
    assert_eq!(end_older(&coalescer, "ada", all, &EndedBy::Itself).await.unwrap(), 2);
    store.is_done();
    // The one that is spared is left where it is.
    store.lists(page(1, 1)).lists(page(4, 1));
    let others = Ended { generation: 2, spared: Some(Key::from_bytes([4; 32])) };
    assert_eq!(end_older(&coalescer, "ada", others, &EndedBy::Itself).await.unwrap(), 1);
    store.is_done();
}
