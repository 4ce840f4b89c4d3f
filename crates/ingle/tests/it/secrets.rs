//! No id ever reaches a log, a store or a message.

use std::{
    io,
    sync::{Arc, Mutex},
};

use ingle::{
    Error, Session,
    clock::{Clock as _, SystemClock},
    store::Inspect as _,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::common::{Visitor, app, faulty, layer};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_logs_nor_records_nor_debug_output_hold_an_id() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (memory, store) = faulty();
    let app = app(&layer(store))
        .on("/", async |session: Session| {
            session.insert("a", 1)?;
            tracing::info!(?session, tag = ?session.tag(), "in the handler");
            Ok::<_, Error>(())
        })
        .on("/renew", async |session: Session| session.renew().await)
        .on("/broken", async |session: Session| session.get::<String>("a").await.map(|_| ()))
        .on("/logout", async |session: Session| session.logout().await);
    let mut visitor = Visitor::default();
    let mut cookies = Vec::new();
    for path in ["/", "/", "/renew", "/broken", "/"] {
        visitor.get(&app, path).await;
        cookies.push(visitor.cookie.clone());
        let forged = format!("{0}; {0}x", visitor.cookie);
        app.get("/", &forged).await;
    }
    let records = memory.list(None, 100, SystemClock.now()).await.unwrap();
    let records = format!("{:?} {:?}", records.records, memory);
    visitor.get(&app, "/logout").await.ok();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("in the handler"), "the log was caught: {log}");
    for cookie in cookies {
        let id = cookie.strip_prefix("__Host-id=").unwrap();
        assert_eq!(id.len(), 43);
        assert!(!log.contains(id), "{log}");
        assert!(!records.contains(id));
    }
}
