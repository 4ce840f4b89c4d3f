//! What one sees while the store does not answer.

use std::{sync::Arc, time::Duration};

use ingle::{
    SessionLayer,
    store::{Fault, Faulty, Memory, Step},
};
use serde_json::{Value, json};

use crate::scene::{Scene, begin};

/// A console that gives up soon, and a session that was begun in peace.
async fn scene() -> (Scene, Faulty, String) {
    let store = Faulty::new(Arc::new(Memory::new()));
    let scene = Scene::patient(store.clone(), None, Duration::from_secs(1)).await;
    let patient = SessionLayer::new(store.clone()).deadline(Duration::from_secs(300));
    let handle = begin(&patient, async |session| {
        session.insert("views", 1)?;
        session.insert("token", "s3cret")
    });
    (scene, store.clone(), handle.await.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_down_the_pages_say_so_and_nothing_ends() {
    let (scene, store, handle) = scene().await;
    store.fail_all(Some(Fault::Refuse));
    let home = scene.get("").await;
    assert_eq!(home.status, 200);
    assert!(home.body.contains("It does not answer."), "{}", home.body);
    for page in ["/sessions", "/audit", "/user?name=ada", &format!("/sessions/{handle}")] {
        let answer = scene.get(page).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{page}");
        assert!(answer.body.contains("The store does not answer"), "{}", answer.body);
    }
    let told = scene.get("/api/v1/sessions").await;
    assert_eq!((told.status, told.header("content-type")), (503, Some("application/problem+json")));
    assert_eq!(scene.post(&format!("/sessions/{handle}/end"), &[]).await.status, 503);
    store.fail_all(None);
    while scene.get(&format!("/sessions/{handle}")).await.status != 200 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_down_is_not_done() {
    let (scene, store, handle) = scene().await;
    // However often it is tried, no line is written. Whoever reads is answered.
    for n in 1..=10_000 {
        store.on(Step::Commit(n), Fault::Refuse);
    }
    let edit = [("path", "views"), ("before", "1"), ("kind", "int"), ("value", "2")];
    for (action, fields) in [("edit", edit.as_slice()), ("end", &[]), ("reveal", &[])] {
        let answer = scene.post(&format!("/sessions/{handle}/{action}"), fields).await;
        assert_eq!(answer.status, 503, "{action}: {answer:?}");
        assert!(!answer.body.contains("s3cret"), "{action}");
    }
    let data: Value = loop {
        if let Ok(Some(session)) = scene.sessions().find(&handle.parse().unwrap()).await {
            break session.snapshot().clone().into();
        }
    };
    assert_eq!(data, json!({ "views": 1, "token": "s3cret" }));
}
