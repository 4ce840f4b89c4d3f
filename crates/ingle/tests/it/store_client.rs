//! What stands between the requests and a store that is slow, silent or confused.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use ingle::{
    Error, Session,
    clock::{Clock as _, SystemClock},
    record::Key,
    store::{self, Applied, CommitError, ErrorKind, Fault, List as _, Memory, Step},
};
use tokio::time::Instant;

use crate::{
    common::{Held, Intercept, Visitor, app, faulty, layer, layer_as_it_comes},
    log::Log,
};

async fn add(session: Session) -> Result<(), Error> {
    session.field("n").update(|n: &mut u64| *n += 1).await
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>("n").await?.unwrap_or(0).to_string())
}

/// A store that answers every load with the same record, as a pool of connections does that has
/// mixed up two replies.
#[tokio::test]
async fn the_record_of_another_visitor_is_never_served() {
    let memory = Memory::new();
    let first = Arc::new(OnceLock::<Key>::new());
    let mut confused = Intercept::new(memory.clone());
    let always = Arc::clone(&first);
    confused.load = Arc::new(move |key| *always.get().unwrap_or(key));
    let app = app(&layer(confused)).on("/add", add).on("/read", read);
    Visitor::default().get(&app, "/add").await.ok();
    let page = memory.list(None, 1, SystemClock.now()).await.unwrap();
    first.set(page.records[0].record.header.key).unwrap();
    let other = format!("__Host-id={}", "A".repeat(43));
    for path in ["/read", "/add"] {
        let answer = app.get(path, &other).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {answer:?}");
        assert_eq!(answer.set_cookie(), "");
    }
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn what_could_get_no_answer_in_time_is_not_sent() {
    let (_, store) = faulty();
    let app = app(&layer(store.clone()).deadline(Duration::ZERO)).on("/add", add);
    let answer = app.get("/add", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1", "surely nothing happened");
    assert_eq!(store.log(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_write_is_left_alone_with_writes_and_its_operators_are_told() {
    let (log, _catching) = Log::catch();
    let (is_down, n_writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut store = Intercept::new(Memory::new());
    let (down, asked) = (Arc::clone(&is_down), Arc::clone(&n_writes));
    store.commit = Arc::new(move |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        let full = || store::Error::new("test", ErrorKind::Unavailable, Applied::No);
        let full = || CommitError::Failed(full().with_source("the disk is full"));
        down.load(Ordering::Relaxed).then(full)
    });
    let app = app(&layer_as_it_comes(store)).on("/add", add).on("/read", read);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let told = |what: &str| log.text().matches(what).count();

    is_down.store(true, Ordering::Relaxed);
    n_writes.store(0, Ordering::Relaxed);
    let began = Instant::now();
    for _ in 0..20 {
        let answer = app.get("/add", &visitor.cookie).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, "1");
    }
    // After sixteen failures in a row there is one write per pause.
    let n_pauses = began.elapsed().as_millis() / 250;
    let n_asked = u128::from(n_writes.load(Ordering::Relaxed));
    assert!((16..=16 + n_pauses).contains(&n_asked), "{n_asked} writes, {n_pauses} pauses");
    assert_eq!(told("the session store fails; it is asked only now and then"), 1);
    assert!(told("a call of the session store failed") > 0);
    assert!(told("the disk is full") > 0, "{}", log.text());
    assert_eq!(told("the session store answers again"), 0);

    is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(250)).await;
    for _ in 0..3 {
        app.get("/add", &visitor.cookie).await.ok();
    }
    assert_eq!(told("the session store answers again"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_gets_no_answer_is_not_the_last() {
    let (_, store) = faulty();
    let layer = layer(store.clone()).sweep_every(Some(Duration::from_secs(60)));
    let app = app(&layer).on("/add", add);
    store.on(Step::Sweep(1), Fault::Hang);
    app.get("/add", "").await.ok();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(store.sweeps() > 1);
}

/// Each worker of a server may have a runtime of its own, which ends when the worker does.
#[test]
fn the_sweeps_go_on_when_the_runtime_that_began_them_has_ended() {
    let (_, store) = faulty();
    let layer = layer(store.clone()).sweep_every(Some(Duration::from_secs(60)));
    for _ in 0..2 {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let before = store.sweeps();
        runtime.block_on(async {
            app(&layer).on("/add", add).get("/add", "").await.ok();
            tokio::time::sleep(Duration::from_secs(100)).await;
        });
        assert!(store.sweeps() > before);
    }
}

/// A logout that comes with an id that another request has replaced ends the session all the same.
#[tokio::test]
async fn a_logout_ends_the_session_where_it_went() {
    for looks_before in [true, false] {
        let layer = layer(faulty().1);
        let app = app(&layer)
            .on("/add", add)
            .on("/read", read)
            .on("/renew", async |session: Session| session.renew().await);
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        let held = Held::begin(&layer, &visitor.cookie).await;
        if looks_before {
            held.session.get::<u64>("n").await.unwrap();
        }
        visitor.get(&app, "/renew").await.ok();
        visitor.get(&app, "/renew").await.ok();
        assert!(matches!(add(held.session.clone()).await, Err(Error::Interrupted)));
        held.session.logout().await.unwrap();
        let answer = held.respond(StatusCode::OK).await.ok();
        assert!(answer.set_cookie().contains("Max-Age=0"), "{answer:?}");
        let answer = visitor.get(&app, "/read").await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "the newest id has ended, too");
    }
}
