//! Data that fits the limits, and that the store cannot hold all the same.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Session,
    store::{self, Applied, ErrorKind, Fault, Faulty, Memory, Step},
};

use crate::common::{Intercept, Visitor, app, layer};

const BAD: &str = "bad";

/// A store that holds no field with this name.
fn picky(inner: Faulty, kind: ErrorKind) -> Intercept<Faulty> {
    let mut picky = Intercept::new(inner);
    picky.commit = Arc::new(move |write| {
        let error = || store::Error::new("picky", kind, Applied::No).with_source("of its name");
        write.record().data.contains_key(BAD).then(|| error().into())
    });
    picky
}

/// Changes that are committed together stand or fall alone, also where it is the store that refuses.
#[tokio::test(start_paused = true)]
async fn one_change_that_cannot_be_stored_takes_no_other_with_it() {
    for (kind, expected) in [
        (ErrorKind::Unfit, StatusCode::INTERNAL_SERVER_ERROR),
        (ErrorKind::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let faulty = Faulty::new(Arc::new(Memory::new()));
        let app = app(&layer(picky(faulty.clone(), kind)))
            .on("/add", async |session: Session| {
                session.field("n").update(|n: &mut u64| *n += 1).await
            })
            .on("/bad", async |session: Session| session.insert(BAD, 1))
            .on("/read", async |session: Session| {
                Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
            });
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        // The first one holds the others up, so that they are committed together: paused time goes on when
        // all of them wait.
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
