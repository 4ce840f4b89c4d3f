//! The limit of new sessions: a flood of visitors without a cookie fills no store.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Session,
    clock::{ManualClock, Timestamp},
    store::Memory,
};

use crate::common::{Answer, App, Visitor, app, layer};

/// An app that begins so many sessions in a second, its store and its clock.
fn limited(per_second: u32) -> (App, Memory, ManualClock) {
    let (memory, clock) = (Memory::new(), ManualClock::new(Timestamp::from_millis(1_000_000)));
    let limit = NonZeroU32::new(per_second);
    let layer = layer(memory.clone()).new_sessions_per_second(limit).clock(Arc::new(clock.clone()));
    let app = app(&layer)
        .on("/insert", async |session: Session| session.insert("n", 1))
        .on("/update", async |session: Session| {
            session.field("n").update(|n: &mut u64| *n += 1).await
        })
        .on("/read", async |session: Session| session.get::<u64>("n").await.map(drop))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await)
        .on("/branch", async |session: Session| {
            session.insert("n", 1)?;
            match session.commit().await {
                Err(Error::TooManyNewSessions) => {
                    // What is not wanted any more is taken back.
                    session.remove("n")?;
                    Ok("without a session")
                }
                other => other.map(|()| "with a session"),
            }
        });
    (app, memory, clock)
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.body, "There are too many visitors right now. Please try again later.\n");
    assert_eq!(answer.set_cookie(), "");
}

#[tokio::test]
async fn beyond_the_limit_no_session_begins_and_nothing_is_stored() {
    let (app, memory, clock) = limited(3);
    for _ in 0..3 {
        app.get("/insert", "").await.ok();
    }
    for path in ["/insert", "/update"].repeat(50) {
        assert_refused(&app.get(path, "").await);
    }
    assert_eq!(memory.len(), 3);
    clock.advance(Duration::from_millis(334));
    app.get("/update", "").await.ok();
    assert_refused(&app.get("/update", "").await);
    clock.advance(Duration::from_secs(3600));
    for _ in 0..3 {
        app.get("/insert", "").await.ok();
    }
    assert_refused(&app.get("/insert", "").await);
    assert_eq!(memory.len(), 7);
}

#[tokio::test]
async fn beyond_the_limit_sessions_go_on_and_what_stores_nothing_is_served() {
    let (app, memory, _) = limited(1);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/insert").await.ok();
    assert_refused(&app.get("/insert", "").await);
    for path in ["/update", "/insert", "/read", "/renew", "/update"] {
        visitor.get(&app, path).await.ok();
        app.get("/read", "").await.ok();
    }
    visitor.get(&app, "/logout").await.ok();
    assert!(memory.is_empty());
    assert_refused(&visitor.get(&app, "/insert").await);
}

#[tokio::test]
async fn an_id_of_nobody_does_not_get_around_the_limit() {
    let (app, memory, _) = limited(1);
    app.get("/insert", "").await.ok();
    for n in 0..20 {
        let id = format!("__Host-id={}{}", "A".repeat(41), 10 + n);
        assert_ne!(app.get("/update", &id).await.status, StatusCode::OK);
    }
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn the_app_can_go_on_without_a_session() {
    let (app, memory, _) = limited(1);
    assert_eq!(app.get("/branch", "").await.ok().body, "with a session");
    let answer = app.get("/branch", "").await.ok();
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("without a session", ""));
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn without_a_limit_as_many_begin_as_come() {
    let memory = Memory::new();
    let app = app(&layer(memory.clone())).on("/", async |session: Session| session.insert("n", 1));
    for _ in 0..500 {
        app.get("/", "").await.ok();
    }
    assert_eq!(memory.len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_exactly_as_many_begin_as_may() {
    let (app, memory, _) = limited(20);
    let asked = (0..200).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.get("/update", "").await.status })
    });
    let mut begun = 0;
    for asked in asked.collect::<Vec<_>>() {
        begun += usize::from(asked.await.unwrap() == StatusCode::OK);
    }
    assert_eq!((begun, memory.len()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_one_line_of_the_log_per_second() {
    let (log, _guard) = crate::log::Log::catch();
    let (app, ..) = limited(1);
    let told = || log.text().matches("no more sessions begin in this second").count();
    for _ in 0..100 {
        app.get("/insert", "").await;
    }
    assert_eq!(told(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..100 {
        app.get("/update", "").await;
    }
    assert_eq!(told(), 2);
    assert!(!log.text().contains(" ERROR "), "{}", log.text());
}
