//! Replaces of several sessions in one call, each of them for itself.

use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    BeginTransactionRequest, RollbackRequest, batch_get_documents_request::ConsistencySelector,
};
use ingle::{
    record::{Loaded, Record},
    store::Write,
};
use tokio::task::JoinSet;

use super::*;
use crate::batching::{add, begin, filled, give_up, one_of_two_is_made, stored, views};

impl Scene {
    /// Reads a document in a transaction, which locks it, and leaves the transaction open.
    async fn lock(&self, id: &str) -> Vec<u8> {
        let mut console = self.console.clone();
        let database = self.database();
        let begun = BeginTransactionRequest { database, ..BeginTransactionRequest::default() };
        let transaction = console.begin_transaction(begun).await.unwrap().into_inner().transaction;
        let request = BatchGetDocumentsRequest {
            database: self.database(),
            documents: vec![self.name(id)],
            consistency_selector: Some(ConsistencySelector::Transaction(transaction.clone())),
            ..BatchGetDocumentsRequest::default()
        };
        let mut answers = console.batch_get_documents(request).await.unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
        transaction
    }

    async fn unlock(&self, transaction: Vec<u8>) {
        let request = RollbackRequest { database: self.database(), transaction };
        self.console.clone().rollback(request).await.unwrap();
    }
}

#[tokio::test]
async fn commits_at_the_same_time_are_one_call() {
    let mut scene = Scene::new().await;
    let wire = Proxy::start(testbed::firestore::hidane()).await.unwrap();
    scene.config.emulator = Some(wire.address.to_string());
    let store = scene.store().await;
    let bases = filled(&store, 50).await;
    let before = wire.calls().unwrap();
    for commit in add(&store, &bases, 1000) {
        commit.await.unwrap().unwrap();
    }
    assert_eq!(wire.calls().unwrap() - before, 2, "32 at most in each");
    for (number, base) in (0..).zip(&bases) {
        assert_eq!(views(&stored(&store, base).await), 1000 + number);
    }
}

/// Another app may have locked such a document, and a call has room for few that are large.
#[tokio::test]
async fn commits_of_plain_ids_and_large_ones_are_a_call_each() {
    let mut scene = Scene::new().await.with(Ids::Plain);
    let wire = Proxy::start(testbed::firestore::hidane()).await.unwrap();
    scene.config.emulator = Some(wire.address.to_string());
    let store = scene.store().await;
    let hashed = filled(&store, 4).await;
    let mut plain = Vec::new();
    for (number, base) in hashed.iter().enumerate() {
        let mut record = Record::clone(&base.record);
        let id = format!("{}{number}", &UUID[..UUID.len() - 1]);
        record.header.key = Key::of_plain_id(&id).unwrap();
        let record = Arc::new(record);
        let create = Write::Create { record: &record };
        let version = store.commit(create, SystemClock.now()).await.unwrap();
        plain.push(Loaded { record, version });
    }
    for (bases, bytes) in [(&plain, 10), (&hashed, 100_000)] {
        let data = json!({ "text": "x".repeat(bytes) });
        let before = wire.calls().unwrap();
        for commit in bases.iter().map(|base| begin(&store, base, &data)).collect::<Vec<_>>() {
            commit.await.unwrap().unwrap();
        }
        assert_eq!(wire.calls().unwrap() - before, 4, "{bytes}");
    }
}

#[tokio::test]
async fn each_of_a_batch_stands_or_falls_alone() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let bases = filled(&store, 20).await;
    let id = |number: usize| bases[number].record.header.key.to_string();
    scene.edit(&id(3), [("views", integer(500))]).await;
    let key = &bases[5].record.header.key;
    store.destroy(key, SystemClock.now()).await.unwrap();
    for (number, commit) in add(&store, &bases, 1000).into_iter().enumerate() {
        match (number, commit.await.unwrap()) {
            (3, Err(CommitError::Conflict(Some(newer)))) => assert_eq!(views(&newer), 500),
            (5, Err(CommitError::Gone)) => {}
            (3 | 5, other) => panic!("{number}: {other:?}"),
            // The version is the one that the next commit needs.
            (_, done) => {
                let loaded = stored(&store, &bases[number]).await;
                assert_eq!((done.unwrap(), views(&loaded)), (loaded.version, 1000 + number as u64));
            }
        }
    }
    let mark = scene.document(&id(5)).await.unwrap();
    assert!(field(&mark, "views").is_none(), "nothing came back: {mark:?}");
}

#[tokio::test]
async fn of_two_commits_of_one_record_one_is_made() {
    one_of_two_is_made(&Scene::new().await.store().await).await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_not_sent() {
    let store = Scene::new().await.store().await;
    let bases = filled(&store, 3).await;
    give_up(&store, &bases[0]).await;
    for commit in add(&store, &bases[1..], 1000) {
        commit.await.unwrap().unwrap();
    }
    assert_eq!(views(&stored(&store, &bases[0]).await), 0);
    assert_eq!(views(&stored(&store, &bases[1]).await), 1001);
}

#[tokio::test]
async fn large_commits_at_the_same_time_are_all_made() {
    let store = Scene::new().await.store().await;
    let bases = filled(&store, 40).await;
    let text = |number: usize| "x".repeat(if number.is_multiple_of(2) { 400_000 } else { 60_000 });
    let begin = |(number, base)| begin(&store, base, &json!({ "text": text(number) }));
    let commits: Vec<_> = bases.iter().enumerate().map(begin).collect();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    for (number, base) in bases.iter().enumerate() {
        assert_eq!(stored(&store, base).await.record.data["text"], text(number));
    }
}

/// Someone has a transaction open, as an app has that shares the database.
#[tokio::test]
async fn a_session_that_is_locked_holds_up_itself_alone() {
    let mut scene = Scene::new().await;
    scene.config.batch_timeout = Duration::from_millis(100);
    let app = scene.app().await;
    let mut locked = Visitor::default();
    locked.get(&app, "/add").await.ok();
    let id = scene.only().await;
    let mut others = vec![Visitor::default(); 9];
    for visitor in &mut others {
        visitor.get(&app, "/add").await.ok();
    }
    let begin = |visitor: &Visitor| {
        let (app, mut visitor) = (app.clone(), visitor.clone());
        async move { visitor.get(&app, "/add").await.ok().body }
    };
    let transaction = scene.lock(&id).await;
    let mut held_up = JoinSet::new();
    for round in 2..=4 {
        held_up.spawn(begin(&locked));
        let mut requests = JoinSet::new();
        for visitor in &others {
            requests.spawn(begin(visitor));
        }
        assert_eq!(requests.join_all().await, vec![round.to_string(); 9]);
    }
    scene.unlock(transaction).await;
    let mut answers = held_up.join_all().await;
    answers.sort();
    assert_eq!(answers, ["2", "3", "4"], "it goes on when the lock ends");
    for document in scene.store().await.list(None, 20, SystemClock.now()).await.unwrap().records {
        assert_eq!(document.record.data["views"], 4);
    }
}
