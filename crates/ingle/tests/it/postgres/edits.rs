//! Rows that someone reads, edits and deletes with the database's own tools.

use http::StatusCode;
use ingle::{
    clock::{Clock as _, SystemClock},
    store::{Applied, CommitError, Destroyed, ErrorKind, Lookup, Store as _, Write},
};
use serde_json::json;

use super::{Scene, create, key, next, record, replace, views};
use crate::common::Visitor;
use ingle::Session;

#[tokio::test]
async fn a_row_is_what_a_person_expects_to_see() {
    let scene = Scene::new().await;
    let app = scene.app().await.on("/fill", async |session: Session| {
        session.insert("greeting", "Hallo Welt")?;
        session.insert("whole", 3)?;
        session.insert("double", 3.0)?;
        session.insert("large", 1e16)?;
        session.insert("cart", json!({ "items": ["a", "b"] }))
    });
    Visitor::default().get(&app, "/fill").await.ok();
    assert_eq!(
        scene.text("SELECT data FROM TABLE").await,
        r#"{"cart": {"items": ["a", "b"]}, "large": 10000000000000000.0, "whole": 3, "double": 3.0, "greeting": "Hallo Welt"}"#
    );
    let soon = scene.text("SELECT idle_deadline - now() < '31 min' FROM TABLE").await;
    assert_eq!(soon, "t", "a time that a person can read");
    assert_eq!(scene.text("SELECT data->>'greeting' FROM TABLE").await, "Hallo Welt");
    assert_eq!(scene.text("SELECT counter FROM TABLE").await, "1");
    assert_eq!(scene.text("SELECT length(key) FROM TABLE").await, "32");
}

#[tokio::test]
async fn what_someone_edits_is_what_the_next_request_reads() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    scene.sql("UPDATE TABLE SET data = jsonb_set(data, '{views}', '41')").await;
    // This process has a cached record that is older.
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "42");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "Some(42)");
    assert_eq!(scene.text("SELECT counter FROM TABLE").await, "3", "the edit is a commit");

    scene.sql(r#"UPDATE TABLE SET data = '{"views": "many", "by hand": -0.5}'"#).await;
    let answer = visitor.get(&app, "/add").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(scene.text("SELECT data->>'views' FROM TABLE").await, "many", "nothing is lost");
    scene.sql("UPDATE TABLE SET data = jsonb_set(data, '{views}', '7')").await;
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "8", "mended, and all works again");
    let all = visitor.get(&app, "/all").await.ok().body;
    assert_eq!(all, json!({ "by hand": -0.5, "views": 8 }).to_string());
}

#[tokio::test]
async fn an_edit_beside_a_commit_is_not_written_over() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let base = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    let edits = [
        "data = jsonb_set(data, '{views}', '41')",
        "user_name = 'ada'",
        "absolute_deadline = absolute_deadline - interval '1 hour'",
        "idle_timeout_ms = 60000",
    ];
    let mut base = base;
    for edit in edits {
        scene.sql(&format!("UPDATE TABLE SET {edit}")).await;
        let late = next(&base, views(2));
        let write = Write::Replace { base: &base, record: &late };
        let Err(CommitError::Conflict(Some(newer))) = store.commit(write, SystemClock.now()).await
        else {
            panic!("written over: {edit}")
        };
        assert_eq!(newer.record.header.counter, base.record.header.counter + 1, "{edit}");
        assert_eq!(newer, scene.only(&store).await);
        base = newer;
    }
    assert_eq!(base.record.data, *views(41).as_object().unwrap());
    assert_eq!(base.record.header.user.as_ref().unwrap().name, "ada");
    // What changes nothing is no commit's rival, but an edit all the same.
    let last = replace(&store, &base, views(42)).await;
    assert_eq!(scene.only(&store).await, last, "our own commits count once");
}

#[tokio::test]
async fn an_edit_under_way_is_waited_for_and_then_seen() {
    let scene = Scene::new().await;
    let store = scene.store_that_waits().await;
    let base = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    scene.sql("BEGIN").await;
    scene.sql("UPDATE TABLE SET data = jsonb_set(data, '{views}', '41')").await;
    let late = next(&base, views(2));
    let commit = async {
        store.commit(Write::Replace { base: &base, record: &late }, SystemClock.now()).await
    };
    let end = async {
        scene.commit_waits().await;
        scene.sql("COMMIT").await;
    };
    let (committed, _) = tokio::join!(commit, end);
    // Its own snapshot still shows the base; what is handed back must not be that.
    let Err(CommitError::Conflict(Some(newer))) = committed else { panic!("{committed:?}") };
    assert_eq!(newer.record.data, *views(41).as_object().unwrap());
}

/// A person takes the row out and puts it back: to the statement that waits for it, it is gone.
#[tokio::test]
async fn a_row_that_is_put_back_while_its_session_ends_is_ended() {
    let scene = Scene::new().await;
    let store = scene.store_that_waits().await;
    let now = SystemClock.now();
    create(&store, &record(key(1), now, views(1))).await;
    scene.sql("BEGIN").await;
    scene.sql("SELECT * INTO TEMPORARY kept FROM TABLE").await;
    scene.sql("DELETE FROM TABLE").await;
    scene.sql("INSERT INTO TABLE SELECT * FROM kept").await;
    let put_back = async {
        scene.commit_waits().await;
        scene.sql("COMMIT").await;
    };
    let ended = key(1);
    let (destroyed, ()) = tokio::join!(store.destroy(&ended, now), put_back);
    assert_eq!(destroyed.unwrap(), Destroyed::Ended);
    assert_eq!(store.load(&ended, now).await.unwrap(), Lookup::Ended);
}

#[tokio::test]
async fn who_forgets_to_end_a_transaction_holds_up_one_session_and_not_the_app() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    let (one, other) = (
        create(&store, &record(key(1), now, views(1))).await,
        create(&store, &record(key(2), now, views(1))).await,
    );
    scene.sql("BEGIN").await;
    scene
        .sql(r"UPDATE TABLE SET data = '{}' WHERE key = '\x0000000000000001' || substr(key, 9)")
        .await;
    let late = next(&one, views(2));
    let locked = store.commit(Write::Replace { base: &one, record: &late }, now).await;
    let Err(CommitError::Failed(error)) = locked else { panic!("{locked:?}") };
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Contended, Applied::No));
    assert_eq!(store.load(&key(1), now).await.unwrap().live(), Some(one.clone()), "reads go on");
    replace(&store, &other, views(2)).await;
    scene.sql("ROLLBACK").await;
    replace(&store, &one, views(2)).await;
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let first = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    for data in ["[1]", "null", "1", "\"text\"", "not JSON", "{\"a\": \"\\u0000\"}"] {
        let sql = format!("UPDATE {} SET data = '{data}'", scene.table);
        scene.shell.batch_execute(&sql).await.unwrap_err();
    }
    assert_eq!(scene.only(&store).await, first);
}

#[tokio::test]
async fn a_number_that_no_double_is_makes_the_record_unreadable_and_not_another() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let now = SystemClock.now();
    create(&store, &record(key(1), now, views(1))).await;
    scene.sql("UPDATE TABLE SET data = '{\"secret\": 1e999}'").await;
    let error = store.load(&key(1), now).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = format!("{error} {error:?}");
    assert!(!text.contains("secret") && !text.contains("000000"), "{text}");
}

#[tokio::test]
async fn who_is_deleted_is_logged_out() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    visitor.get(&app, "/add").await.ok();
    scene.sql("DELETE FROM TABLE").await;
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "1", "a new session");

    // To end it by its deadline is as good.
    scene.sql("UPDATE TABLE SET idle_deadline = now()").await;
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");
    scene.sql("UPDATE TABLE SET idle_deadline = 'infinity', absolute_deadline = 'infinity'").await;
    let store = scene.store().await;
    let endless = scene.only(&store).await;
    assert_eq!(endless.record.header.idle_deadline, ingle::clock::Timestamp::MAX);
}
