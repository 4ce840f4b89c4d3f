//! What stands between the requests and a store that is slow, silent or confused.

use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use ingle::{
    Error, Key, Session,
    clock::Timestamp,
    record::{Loaded, Version},
    store::{self, CommitError, Fault, Inspect, Memory, Promises, Step, Store, Swept, Write},
};

use crate::common::{Held, Visitor, app, faulty, layer};

async fn add(session: Session) -> Result<(), Error> {
    session.field("n").update(|n: &mut u64| *n += 1).await
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>("n").await?.unwrap_or(0).to_string())
}

/// A store that answers every load with the same record, as a pool of connections does that has
/// mixed up two replies.
#[derive(Clone, Debug)]
struct Confused(Memory);

#[async_trait]
impl Store for Confused {
    fn name(&self) -> &'static str {
        "confused"
    }

    fn promises(&self) -> Promises {
        self.0.promises()
    }

    fn survives(&self) -> &str {
        self.0.survives()
    }

    async fn load(&self, _: &Key, now: Timestamp) -> Result<Option<Loaded>, store::Error> {
        let page = self.0.list(None, 1, now).await?;
        Ok(page.records.into_iter().next())
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        self.0.commit(write, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, store::Error> {
        self.0.sweep(now, limit).await
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        self.0.as_list()
    }
}

#[tokio::test]
async fn the_record_of_another_visitor_is_never_served() {
    let memory = Memory::new();
    let app = app(&layer(Confused(memory.clone()))).on("/add", add).on("/read", read);
    Visitor::default().get(&app, "/add").await.ok();
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
async fn a_sweep_that_gets_no_answer_is_not_the_last() {
    let (_, store) = faulty();
    let layer = layer(store.clone()).sweep_every(Some(Duration::from_secs(60)));
    let app = app(&layer).on("/add", add);
    store.on(Step::Sweep(1), Fault::Hang);
    app.get("/add", "").await.ok();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(store.sweeps() > 1);
}

#[tokio::test]
async fn who_was_interrupted_has_logged_nobody_out() {
    let layer = layer(faulty().1);
    let app = app(&layer)
        .on("/add", add)
        .on("/read", read)
        .on("/renew", async |session: Session| session.renew().await);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.get::<u64>("n").await.unwrap();
    visitor.get(&app, "/renew").await.ok();
    assert!(matches!(add(held.session.clone()).await, Err(Error::Interrupted)));
    assert!(matches!(held.session.logout().await, Err(Error::Interrupted)));
    let answer = held.respond(StatusCode::OK).await.ok();
    assert_eq!(answer.set_cookie(), "", "the session lives on under the newer id");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "1");
}
