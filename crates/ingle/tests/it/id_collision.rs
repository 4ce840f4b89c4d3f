//! New ids: one that is taken is drawn again, and without randomness there is none.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use ingle::{
    Key, Session,
    clock::Timestamp,
    record::{Loaded, Version},
    store::{self, CommitError, Inspect, Memory, Promises, Store, Swept, Write},
};

use crate::common::{Answer, Visitor, app, layer};

/// A store in which the next few new keys belong to others already.
#[derive(Clone, Debug, Default)]
struct Crowded(Memory, Arc<AtomicUsize>);

impl Crowded {
    /// Whether a write to a new key meets another record.
    fn is_taken(&self, write: &Write<'_>) -> bool {
        let is_new = matches!(write, Write::Create { .. } | Write::Renew { .. });
        is_new
            && self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
    }
}

#[async_trait]
impl Store for Crowded {
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
        if self.is_taken(&write) {
            return Err(CommitError::Conflict(None));
        }
        self.0.commit(write, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, store::Error> {
        self.0.sweep(now, limit).await
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        self.0.as_list()
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_is_drawn_again() {
    let store = Crowded::default();
    let app = app(&layer(store.clone()))
        .on("/add", async |session: Session| session.increment("n", 1))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/read", async |session: Session| {
            Ok::<_, ingle::Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
        });
    let mut visitor = Visitor::default();
    for path in ["/add", "/renew"] {
        store.1.store(2, Ordering::SeqCst);
        visitor.get(&app, path).await.ok();
        assert_eq!(store.1.load(Ordering::SeqCst), 0, "{path} met the others");
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "1", "{path}");
        assert_eq!(store.0.len(), 1, "{path}");
    }
}

/// `getrandom(2)` as this library asks it; what else asks, asks with flags.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const NO_RANDOMNESS: &str = "
    ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
        if (flags != 0 || length == 0 || !fails()) {
            return syscall(SYS_getrandom, buffer, length, flags);
        }
        errno = EIO;
        return -1;
    }
";

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn without_randomness_there_is_no_new_id_and_no_weaker_one() {
    testbed::preload::with(NO_RANDOMNESS, |broken| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let memory = Memory::new();
            let app = app(&layer(memory.clone()))
                .on("/add", async |session: Session| session.increment("n", 1))
                .on("/renew", async |session: Session| session.renew().await)
                .on("/read", async |session: Session| {
                    Ok::<_, ingle::Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
                });
            let mut visitor = Visitor::default();
            visitor.get(&app, "/add").await.ok();
            broken.on();
            let refused = |answer: &Answer, path| {
                assert_eq!(answer.status, http::StatusCode::SERVICE_UNAVAILABLE, "{path}");
                assert_eq!((answer.set_cookie(), answer.header("retry-after")), ("", "1"));
            };
            for (path, cookie) in [("/add", ""), ("/renew", &*visitor.cookie)] {
                refused(&app.get(path, cookie).await, path);
            }
            // A change of a session that there is needs a name alone, and some were drawn together.
            let mut added = 1;
            while added < 100 {
                let answer = app.get("/add", &visitor.cookie).await;
                if answer.status != http::StatusCode::OK {
                    refused(&answer, "/add");
                    break;
                }
                added += 1;
            }
            assert!(added <= 16, "{added} names were drawn in one call");
            assert_eq!(visitor.get(&app, "/read").await.ok().body, added.to_string());
            assert_eq!(memory.len(), 1);
            broken.off();
            visitor.get(&app, "/renew").await.ok();
            assert_eq!(visitor.get(&app, "/read").await.ok().body, added.to_string());
        });
    });
}
