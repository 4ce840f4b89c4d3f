//! What a page of operators says of this process is what it did, minute by minute.

use std::{sync::Arc, time::Duration};

use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    store::Fault,
};

use crate::common::{Visitor, app, faulty, layer_as_it_comes};

/// What was counted in each minute, as one line each.
fn told(layer: &SessionLayer) -> Vec<String> {
    let minutes = layer.sessions().activity().minutes.into_iter();
    let lines = minutes.map(|minute| {
        let figures = [
            ("began", minute.began),
            ("ended", minute.ended),
            ("commits", minute.commits),
            ("conflicts", minute.conflicts),
            ("replays", minute.replays),
            ("unavailable", minute.unavailable),
        ];
        let figures = figures.into_iter().filter(|(_, n)| *n > 0);
        figures.map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")
    });
    lines.collect()
}

async fn count(session: Session) -> Result<(), Error> {
    session.field("n").update(|n: &mut u64| *n += 1).await
}

#[tokio::test(start_paused = true)]
async fn each_minute_tells_what_this_process_did_in_it() {
    let (_, store) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let process = || layer_as_it_comes(store.clone()).clock(Arc::new(clock.clone()));
    let (here, elsewhere) = (process(), process());
    let on = |layer: &SessionLayer| {
        app(layer)
            .on("/count", count)
            .on("/read", async |session: Session| session.get::<u64>("n").await.map(drop))
            .on("/logout", async |session: Session| session.logout().await)
            .on("/teapot", async || http::StatusCode::IM_A_TEAPOT)
            .on("/away", async || http::StatusCode::SERVICE_UNAVAILABLE)
    };
    let (app, other) = (on(&here), on(&elsewhere));
    assert_eq!(told(&here), [""]);
    assert_eq!(here.sessions().activity().since, clock.now());

    let mut visitor = Visitor::default();
    visitor.get(&app, "/count").await.ok();
    visitor.get(&other, "/count").await.ok();
    visitor.get(&app, "/count").await.ok();
    let first = "1 began, 2 commits, 1 conflicts, 1 replays";
    assert_eq!(told(&here), [first]);
    assert_eq!(told(&elsewhere), ["1 commits"]);

    clock.advance(Duration::from_secs(120));
    visitor.get(&app, "/logout").await.ok();
    assert_eq!(told(&here), [first, "", "1 ended"]);

    // A 503 counts whoever made it, and whether a handler or the commit after it failed.
    app.get("/teapot", "").await;
    app.get("/away", "").await;
    store.fail_all(Some(Fault::Refuse));
    let answer = app.get("/count", &visitor.cookie).await;
    assert_eq!(answer.status, http::StatusCode::SERVICE_UNAVAILABLE);
    store.fail_all(None);
    assert_eq!(told(&here), [first, "", "1 ended, 2 unavailable"]);

    // A session that is found expired has ended.
    let mut visitor = Visitor::default();
    visitor.get(&app, "/count").await.ok();
    clock.advance(Duration::from_secs(40 * 60));
    app.get("/read", &visitor.cookie).await.ok();
    let minutes = told(&here);
    assert_eq!(minutes.len(), 43);
    assert_eq!(minutes.last().unwrap(), "1 ended");
    clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(told(&here), [""; 60]);
    assert_eq!(told(&elsewhere), [""; 60]);
}
