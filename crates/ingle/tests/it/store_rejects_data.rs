//! Data that fits the limits, and that the store cannot hold all the same.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::StatusCode;
use ingle::{
    Error, Key, Session,
    clock::Timestamp,
    record::{Loaded, Version},
    store::{
        self, Applied, CommitError, ErrorKind, Fault, Faulty, Inspect, Memory, Promises, Step,
        Store, Swept, Write,
    },
};

use crate::common::{Visitor, app, layer};

/// A store that holds no field with this name.
#[derive(Clone, Debug)]
struct Picky(Faulty, ErrorKind);

const BAD: &str = "bad";

#[async_trait]
impl Store for Picky {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn promises(&self) -> Promises {
        self.0.promises()
    }

    fn survives(&self) -> &str {
        self.0.survives()
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Option<Loaded>, store::Error> {
        self.0.load(key, now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record }
            | Write::Replace { record, .. }
            | Write::Renew { record, .. }
                if record.data.contains_key(BAD) =>
            {
                Err(store::Error::new(self.name(), self.1, Applied::No)
                    .with_source("of its name")
                    .into())
            }
            write => self.0.commit(write, now).await,
        }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, store::Error> {
        self.0.sweep(now, limit).await
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        self.0.as_list()
    }
}

/// Changes that are committed together stand or fall alone, also where it is the store that refuses.
#[tokio::test]
async fn one_change_that_cannot_be_stored_takes_no_other_with_it() {
    for (kind, expected) in [
        (ErrorKind::Unfit, StatusCode::INTERNAL_SERVER_ERROR),
        (ErrorKind::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let faulty = Faulty::new(Arc::new(Memory::new()));
        let app = app(&layer(Picky(faulty.clone(), kind)))
            .on("/add", async |session: Session| {
                session.field("n").update(|n: &mut u64| *n += 1).await
            })
            .on("/bad", async |session: Session| session.insert(BAD, 1))
            .on("/read", async |session: Session| {
                Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
            });
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        // The first one holds the others up, so that they are committed together.
        faulty.on(Step::Commit(1), Fault::Delay(Duration::from_millis(50)));
        let paths = ["/add", "/add", "/bad", "/add", "/bad", "/add"];
        let requests = paths.map(|path| {
            let (app, mut visitor) = (app.clone(), visitor.clone());
            tokio::spawn(async move { (path, visitor.get(&app, path).await) })
        });
        for request in requests {
            let (path, answer) = request.await.unwrap();
            let expected = if path == "/bad" { expected } else { StatusCode::OK };
            assert_eq!(answer.status, expected, "{kind:?} {path}: {answer:?}");
        }
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "5");
    }
}
