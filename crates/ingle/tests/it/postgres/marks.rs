//! What a renew and a logout leave in the table for a while.

use std::{sync::Arc, time::Duration};

use ingle::{
    clock::{Clock as _, SystemClock},
    record::{Loaded, Record, User},
    store::{Destroyed, Lookup, MARK_TIME, Postgres, Store as _, Write},
};

use super::{Scene, create, key, record, views};

/// What a mark looks like, but for its key and its time.
const CONTENT: &str = "SELECT concat_ws(' ', is_mark, data, user_name, login, \
                       idle_timeout_ms, epoch, counter, ops) FROM TABLE WHERE is_mark";

/// A session of a user.
async fn session(store: &Postgres, number: u64) -> Loaded {
    let mut record = Record::clone(&record(key(number), SystemClock.now(), views(7)));
    record.header.user = Some(User::new("ada", 3, ingle::clock::Timestamp::from_millis(7)));
    record.header.idle_timeout = Some(Duration::from_secs(60));
    create(store, &Arc::new(record)).await
}

#[tokio::test]
async fn a_mark_holds_nothing_of_the_session() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    session(&store, 1).await;
    assert_eq!(store.destroy(&key(1), now).await.unwrap(), Destroyed::Ended);
    assert_eq!(scene.text(CONTENT).await, r"t {} 0 0 \x");
    assert_eq!(scene.text("SELECT moved_to FROM TABLE").await, "NULL");

    scene.sql("DELETE FROM TABLE").await;
    let base = session(&store, 1).await;
    let mut moved = Record::clone(&base.record);
    moved.header.key = key(2);
    let write = Write::Renew { base: &base, record: &Arc::new(moved) };
    store.commit(write, now).await.unwrap();
    assert_eq!(scene.text(CONTENT).await, r"t {} 0 0 \x");
    let told = "SELECT marks.moved_to = sessions.key FROM TABLE AS marks, TABLE AS sessions \
                WHERE marks.is_mark AND NOT sessions.is_mark";
    assert_eq!(scene.text(told).await, "t");
    assert_eq!(scene.text("SELECT data FROM TABLE WHERE NOT is_mark").await, r#"{"views": 7}"#);
}

#[tokio::test]
async fn a_sweep_deletes_dead_marks() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    for number in 1..=5 {
        session(&store, number).await;
        store.destroy(&key(number), now).await.unwrap();
    }
    let kept = session(&store, 6).await;
    let last_moment = now.after(MARK_TIME - Duration::from_millis(1));
    assert_eq!(store.sweep(last_moment, 10).await.unwrap().deleted, 0);
    assert_eq!(store.sweep(now.after(MARK_TIME), 10).await.unwrap().deleted, 5);
    assert_eq!(scene.only(&store).await, kept);
    assert_eq!(scene.text("SELECT count(*) FROM TABLE").await, "1");
}

#[tokio::test]
async fn an_edit_of_a_mark_revives_nothing() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    session(&store, 1).await;
    store.destroy(&key(1), now).await.unwrap();
    scene.sql("UPDATE TABLE SET data = '{\"views\": 8}', user_name = 'ada'").await;
    assert_eq!(store.load(&key(1), now).await.unwrap(), Lookup::Ended);
    assert_eq!(store.destroy(&key(1), now).await.unwrap(), Destroyed::Nothing);
    let late = now.after(Duration::from_secs(120));
    assert!(store.touch(&key(1), late, now).await.is_err());
    assert_eq!(store.load(&key(1), now.after(MARK_TIME)).await.unwrap(), Lookup::Missing);
}

#[tokio::test]
async fn a_record_cannot_have_moved() {
    let scene = Scene::new().await;
    let base = session(&scene.store().await, 1).await;
    let sql = format!("UPDATE {} SET moved_to = key", scene.table);
    scene.shell.batch_execute(&sql).await.unwrap_err();
    assert_eq!(scene.only(&scene.store().await).await, base);
}
