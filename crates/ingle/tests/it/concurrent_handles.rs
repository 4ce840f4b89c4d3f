//! A session in the hands of several tasks, and the response that waits for none of them too long.

use std::time::Duration;

use http::StatusCode;
use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, SystemClock, Timestamp},
    store::{Fault, List as _, Step, Store as _},
};
use tokio::time::{Instant, sleep};

use crate::common::{App, Held, Visitor, app, faulty, layer, layer_as_it_comes};

fn process(layer: &SessionLayer) -> App {
    app(layer)
        .on("/add", async |session: Session| add(session).await)
        .on("/insert", async |session: Session| session.insert("late", true))
        .on("/get-and-insert", async |session: Session| {
            session.get::<u64>("n").await?;
            session.insert("late", true)
        })
        .on("/read", async |session: Session| {
            Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
        })
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await)
}

async fn add(session: Session) -> Result<(), Error> {
    session.field("n").update(|n: &mut u64| *n += 1).await
}

const LONG: Duration = Duration::from_millis(400);

/// The longest that a request may take whose handler takes no time: its deadline, and a little.
const LONGEST: Duration = Duration::from_millis(1250);

#[tokio::test(start_paused = true)]
async fn a_response_waits_for_the_new_id_that_another_task_is_making() {
    let (memory, store) = faulty();
    let layer = layer_as_it_comes(store.clone());
    let app = process(&layer);
    let mut visitor = Visitor::default();
    for begins in [true, false] {
        let held = Held::begin(&layer, &visitor.cookie).await;
        store.on(Step::Commit(1), Fault::Delay(LONG));
        let session = held.session.clone();
        let task =
            tokio::spawn(
                async move { if begins { add(session).await } else { session.renew().await } },
            );
        sleep(LONG / 2).await;
        let answer = held.respond(StatusCode::OK).await.ok();
        task.await.unwrap().unwrap();
        let (pair, _) = answer.set_cookie().split_once(';').expect("the browser is told the id");
        visitor.cookie = pair.to_owned();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "1", "begins={begins}");
        assert_eq!(memory.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_one_deadline_also_where_it_begins_a_session() {
    let (_, store) = faulty();
    let app = process(&layer_as_it_comes(store.clone()));
    store.on(Step::Load(1), Fault::Delay(LONG));
    for commit in 1..20 {
        store.on(Step::Commit(commit), Fault::Hang);
    }
    let began = Instant::now();
    let unknown_id = format!("__Host-id={}", "A".repeat(43));
    let answer = app.get("/add", &unknown_id).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() <= LONGEST, "{:?}: {:?}", began.elapsed(), store.log());
}

#[tokio::test(start_paused = true)]
async fn many_tasks_of_one_request_wait_no_longer_than_one() {
    let (_, store) = faulty();
    let layer = layer_as_it_comes(store.clone());
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    store.fail_all(Some(Fault::Hang));
    let began = Instant::now();
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(add(held.session.clone()))).collect();
    tokio::task::yield_now().await;
    let answer = held.respond(StatusCode::OK).await;
    assert!(began.elapsed() <= LONGEST, "{:?}", began.elapsed());
    assert_eq!(answer.set_cookie(), "");
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(began.elapsed() <= LONGEST, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_overtakes_the_answer_of_a_renew_or_a_logout_is_told() {
    for path in ["/renew", "/logout"] {
        for late in ["/get-and-insert", "/insert"] {
            let (_, store) = faulty();
            let app = process(&layer_as_it_comes(store.clone()));
            let mut visitor = Visitor::default();
            visitor.get(&app, "/add").await.ok();
            // It is done, and its answer never comes.
            store.on(Step::Commit(1), Fault::HangAfter);
            let ending = {
                let (app, mut visitor) = (app.clone(), visitor.clone());
                tokio::spawn(async move { visitor.get(&app, path).await })
            };
            sleep(LONG / 2).await;
            let answer = app.get(late, &visitor.cookie).await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{path} {late}: {:?}", store.log());
            assert_eq!(answer.set_cookie(), "", "{path} {late}: the newer cookie must stay");
            ending.await.unwrap().ok();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_nobody_polls_holds_nobody_up() {
    let (_, store) = faulty();
    let layer = layer_as_it_comes(store.clone());
    let app = process(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    store.on(Step::Commit(1), Fault::Delay(LONG));
    // As in the body of a response that its client reads slowly.
    let mut unpolled = Box::pin(add(held.session.clone()));
    assert!(tokio::time::timeout(LONG / 2, &mut unpolled).await.is_err());
    sleep(LONG).await;
    visitor.get(&app, "/add").await.ok();
    unpolled.await.unwrap();
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "3");
}

#[tokio::test]
async fn to_renew_what_expired_before_begins_anew() {
    let (memory, store) = faulty();
    let remembers =
        process(&layer(store.clone())).on("/add-and-renew", async |session: Session| {
            session.increment("n", 5)?;
            session.renew().await
        });
    let other = process(&layer(store));
    let mut visitor = Visitor::default();
    visitor.get(&remembers, "/add").await.ok();
    // Gone without a mark, as when a sweep of another process took it.
    let page = memory.list(None, 1, SystemClock.now()).await.unwrap();
    let key = page.records[0].record.header.key;
    memory.destroy(&key, Timestamp::from_millis(0)).await.unwrap();
    // What the first process remembers of the session is no reason to call this an interruption.
    visitor.get(&remembers, "/add-and-renew").await.ok();
    assert_eq!(visitor.get(&other, "/read").await.ok().body, "5");
}
