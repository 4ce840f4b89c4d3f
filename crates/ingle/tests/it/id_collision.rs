//! New ids: one that is taken is drawn again, and without randomness there is none.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ingle::{
    Session,
    store::{CommitError, Memory, Write},
};

use crate::common::{Answer, Intercept, Visitor, app, layer};

/// A store in which the next few new keys belong to others, and stay theirs.
fn crowded(memory: Memory, others: Arc<AtomicUsize>) -> Intercept<Memory> {
    let mut crowded = Intercept::new(memory);
    let taken = Mutex::new(HashSet::new());
    crowded.commit = Arc::new(move |write| {
        let is_new = matches!(write, Write::Create { .. } | Write::Renew { .. });
        let key = write.record().header.key.to_string();
        let mut taken = taken.lock().unwrap();
        let next = |n: usize| n.checked_sub(1);
        if is_new && others.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok() {
            taken.insert(key.clone());
        }
        (is_new && taken.contains(&key)).then_some(CommitError::Conflict(None))
    });
    crowded
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_is_drawn_again() {
    let (memory, others) = (Memory::new(), Arc::new(AtomicUsize::new(0)));
    let app = app(&layer(crowded(memory.clone(), Arc::clone(&others))))
        .on("/add", async |session: Session| session.increment("n", 1))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/read", async |session: Session| {
            Ok::<_, ingle::Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
        });
    let mut visitor = Visitor::default();
    for path in ["/add", "/renew"] {
        others.store(2, Ordering::SeqCst);
        visitor.get(&app, path).await.ok();
        assert_eq!(others.load(Ordering::SeqCst), 0, "{path} met the others");
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "1", "{path}");
        assert_eq!(memory.len(), 1, "{path}");
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
