//! What becomes of a request that comes when as much is under way as may be.

use std::time::Duration;

use http::StatusCode;
use ingle::{
    Session, SessionLayer,
    store::{Fault, Faulty, Step},
};
use tokio::{task::JoinSet, time::Instant};

use crate::common::{App, Visitor, app, faulty, layer, layer_as_it_comes};

/// How many calls of a store one process has under way, and how many changes of one session may wait.
const MANY: usize = 1024;

fn counting(store: Faulty) -> App {
    counting_on(&layer(store))
}

fn counting_on(layer: &SessionLayer) -> App {
    app(layer).on("/add", |session: Session| async move { session.increment("views", 1) }).on(
        "/read",
        |session: Session| async move {
            let views: Option<u64> = session.get("views").await?;
            Ok::<_, ingle::Error>(format!("{views:?}"))
        },
    )
}

/// Sends so many requests, and returns when each waits.
async fn under_way(app: &App, path: &'static str, cookie: &str, n: usize) -> JoinSet<StatusCode> {
    let mut requests = JoinSet::new();
    for _ in 0..n {
        let (app, cookie) = (app.clone(), cookie.to_owned());
        requests.spawn(async move { app.get(path, &cookie).await.status });
    }
    // Time goes on when nothing else does.
    tokio::time::sleep(Duration::from_millis(1)).await;
    requests
}

#[tokio::test(start_paused = true)]
async fn beyond_the_calls_that_may_be_under_way_none_reaches_the_store() {
    let (_, faulty) = faulty();
    let app = counting(faulty.clone());
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let before = faulty.loads();
    faulty.fail_all(Some(Fault::Delay(Duration::from_secs(5))));
    let waiting = under_way(&app, "/read", &visitor.cookie, MANY).await;
    let late = under_way(&app, "/read", &visitor.cookie, 1).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(faulty.loads(), before + MANY as u64);
    let served =
        |statuses: Vec<StatusCode>| statuses.iter().all(|status| *status == StatusCode::OK);
    // It is tried again, as long as its deadline allows.
    assert!(served(waiting.join_all().await) && served(late.join_all().await));
    // With a deadline that is over before there is room, they fail.
    let hasty = counting_on(&layer_as_it_comes(faulty.clone()));
    let statuses = under_way(&hasty, "/read", &visitor.cookie, MANY + 100).await.join_all().await;
    assert!(statuses.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_changes_of_a_session_that_may_wait_the_next_one_is_refused_at_once() {
    let (_, faulty) = faulty();
    let app = counting(faulty.clone());
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    faulty.on(Step::Commit(1), Fault::Delay(Duration::from_secs(5)));
    // The first is at work, and the others wait for it.
    let waiting = under_way(&app, "/add", &visitor.cookie, 1 + MANY).await;
    let began = Instant::now();
    let refused = app.get("/add", &visitor.cookie).await;
    assert_eq!(
        (refused.status, began.elapsed()),
        (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO)
    );
    assert!(waiting.join_all().await.iter().all(|status| *status == StatusCode::OK));
    let read = app.get("/read", &visitor.cookie).await.ok();
    assert_eq!(read.body, format!("Some({})", MANY + 2), "the one that was refused is not counted");
}
