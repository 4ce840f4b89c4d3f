//! What a request reads, and what a write that is founded on it must still find.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Fault, Step},
};

use crate::common::{App, Held, Visitor, app, faulty, layer};

fn process(layer: &SessionLayer) -> App {
    app(layer)
        .on("/increment", async |session: Session| session.increment("n", 1))
        .on("/other", async |session: Session| session.insert("other", true))
}

async fn n(session: &Session) -> Option<i64> {
    session.get("n").await.unwrap()
}

#[tokio::test]
async fn a_read_that_saw_one_s_own_increment_is_a_read_of_the_store() {
    let layer = layer(faulty().1);
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.increment("n", 1).unwrap();
    let seen = n(&held.session).await.unwrap();
    visitor.get(&app, "/increment").await.ok();
    held.session.insert("n", seen * 10).unwrap();
    assert_eq!(held.respond(StatusCode::OK).await.status, StatusCode::CONFLICT);
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(2), "the other request's increment stands");
}

#[tokio::test]
async fn a_read_of_one_s_own_value_is_no_read_of_the_store() {
    let layer = layer(faulty().1);
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.insert("n", 10).unwrap();
    assert_eq!(n(&held.session).await, Some(10));
    visitor.get(&app, "/increment").await.ok();
    held.session.insert("n", 20).unwrap();
    held.session.commit().await.unwrap();
    held.session.insert("n", 30).unwrap();
    held.respond(StatusCode::OK).await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(30));
}

#[tokio::test]
async fn a_field_that_is_read_again_is_compared_with_the_later_read() {
    let layer = layer(faulty().1);
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    for whole in [false, true] {
        let held = Held::begin(&layer, &visitor.cookie).await;
        let session = held.session.clone();
        let read = async || match whole {
            false => n(&session).await.unwrap(),
            true => session.data::<serde_json::Map<_, _>>().await.unwrap()["n"].as_i64().unwrap(),
        };
        let first = read().await;
        visitor.get(&app, "/increment").await.ok();
        session.insert("mine", first).unwrap();
        session.commit().await.unwrap();
        // The commit brought what the other request had made of it.
        let later = read().await;
        assert_eq!(later, first + 1);
        session.insert("n", later + 10).unwrap();
        session.commit().await.expect("nothing changed since the later read");
        held.respond(StatusCode::OK).await.ok();
        // A session that goes on after the response reads anew each time.
        visitor.get(&app, "/increment").await.ok();
        let newest = read().await;
        assert_eq!(newest, later + 11);
        session.insert("n", newest + 10).unwrap();
        session.commit().await.expect("nothing changed since the newest read");
        read().await;
        visitor.get(&app, "/increment").await.ok();
        session.insert("n", 0).unwrap();
        let refused = session.commit().await;
        assert!(matches!(refused, Err(Error::LostUpdate { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn one_s_own_update_contradicts_no_read_before_it() {
    let layer = layer(faulty().1);
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    for whole in [false, true] {
        let held = Held::begin(&layer, &visitor.cookie).await;
        let session = &held.session;
        let before = match whole {
            false => n(session).await.unwrap(),
            true => session.data::<serde_json::Map<_, _>>().await.unwrap()["n"].as_i64().unwrap(),
        };
        session.field("n").update(|n: &mut i64| *n += 1).await.unwrap();
        session.insert("n", before + 10).unwrap();
        session.commit().await.expect("no other request changed it");
        assert_eq!(n(session).await, Some(before + 10));
        held.respond(StatusCode::OK).await.ok();
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_a_read_asks_the_store() {
    let (_, store) = faulty();
    let layer = layer(store.clone());
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(1));
    store.on(Step::Commit(1), Fault::LoseAnswer);
    store.fail_all(Some(Fault::Hang));
    let add = |n: &mut i64| *n += 1;
    let unknown = held.session.field("n").update(add).await;
    assert!(matches!(unknown, Err(Error::OutcomeUnknown)), "{unknown:?} {:?}", store.log());
    store.fail_all(None);
    assert_eq!(n(&held.session).await, Some(2), "it was made, and a reader must see it");
}

#[tokio::test(start_paused = true)]
async fn an_edit_whose_outcome_is_unknown_is_not_made_again() {
    let (_, store) = faulty();
    let layer = layer(store.clone());
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.increment("n", 1).unwrap();
    store.on(Step::Commit(1), Fault::LoseAnswer);
    store.fail_all(Some(Fault::Hang));
    let unknown = held.session.commit().await;
    assert!(matches!(unknown, Err(Error::OutcomeUnknown)), "{unknown:?} {:?}", store.log());
    store.fail_all(None);
    held.session.insert("mine", true).unwrap();
    held.respond(StatusCode::OK).await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(2), "it was made the first time: {:?}", store.log());
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_surely_was_not_made_stays_recorded() {
    let (_, store) = faulty();
    // Too short for so many failures that the store would be left alone.
    let layer = layer(store.clone()).deadline(Duration::from_millis(20));
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.increment("n", 1).unwrap();
    store.fail_all(Some(Fault::Refuse));
    let refused = held.session.commit().await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    store.fail_all(None);
    held.respond(StatusCode::OK).await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(2), "{:?}", store.log());
}

#[tokio::test]
async fn what_a_process_remembers_is_no_reason_to_refuse_or_to_do_nothing() {
    let (_, store) = faulty();
    let (remembers, other) = (layer(store.clone()), layer(store));
    let set = |layer: &SessionLayer, value: serde_json::Value| {
        app(layer).on("/", async move |session: Session| session.insert("n", value))
    };
    let mut visitor = Visitor::default();
    visitor.get(&set(&remembers, 1.into()), "/").await.ok();
    visitor.get(&set(&other, 2.into()), "/").await.ok();
    visitor.get(&set(&remembers, 1.into()), "/").await.ok();
    let held = Held::begin(&other, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(1), "it was 2 when it was set to 1 again");

    visitor.get(&set(&remembers, "text".into()), "/").await.ok();
    visitor.get(&set(&other, 5.into()), "/").await.ok();
    let held = Held::begin(&remembers, &visitor.cookie).await;
    held.session.increment("n", 1).unwrap();
    held.session.commit().await.expect("the store has a number there");
    assert_eq!(n(&held.session).await, Some(6));
}

#[tokio::test]
async fn a_read_is_never_stale() {
    let (_, store) = faulty();
    let (one, other) = (layer(store.clone()), layer(store));
    let mut visitor = Visitor::default();
    visitor.get(&process(&one), "/increment").await.ok();
    for expected in 1..5 {
        // What this process remembers of the session is what it read here.
        let held = Held::begin(&one, &visitor.cookie).await;
        assert_eq!(n(&held.session).await, Some(expected));
        held.respond(StatusCode::OK).await.ok();
        visitor.get(&process(&other), "/increment").await.ok();
    }
}

#[tokio::test]
async fn a_touch_undoes_no_change() {
    let (_, store) = faulty();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let layer = layer(store.clone()).clock(clock.clone());
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/increment").await.ok();
    clock.advance(Duration::from_secs(10 * 60));
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(1));
    visitor.get(&app, "/increment").await.ok();
    held.respond(StatusCode::OK).await.ok();
    assert_eq!(store.log(), ["create", "load", "replace", "touch"]);
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(n(&held.session).await, Some(2), "it was changed while the other request read");
}
