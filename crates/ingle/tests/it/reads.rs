//! What a request reads, and what a write that is founded on it must still find.

use http::StatusCode;
use ingle::{Session, SessionLayer};

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
