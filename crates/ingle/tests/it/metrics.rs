//! What operators see is what happened.

use std::{collections::BTreeMap, time::Duration};

use ingle::{
    Error, Session,
    clock::{Clock as _, SystemClock, Timestamp},
    store::{Fault, List as _, Step, Store as _, Write},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::common::{Visitor, app, faulty, layer};

async fn count(session: Session) -> Result<(), Error> {
    session.field("n").update(|n: &mut u64| *n += 1).await
}

async fn read(session: Session) -> Result<(), Error> {
    session.get::<u64>("n").await.map(drop)
}

/// What was counted since the last call, without the zeros.
fn counted(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    let counters = snapshot.filter_map(|(key, _, _, value)| match value {
        DebugValue::Counter(n) if n > 0 => Some((key.key().name().to_owned(), n)),
        _ => None,
    });
    counters.collect()
}

fn expected<const N: usize>(counters: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counters.map(|(name, n)| (format!("ingle_{name}_total"), n)).into()
}

#[tokio::test(start_paused = true)]
async fn the_counters_tell_the_story() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (_, store) = faulty();
    let process = || {
        app(&layer(store.clone()))
            .on("/count", count)
            .on("/read", read)
            .on("/logout", async |session: Session| session.logout().await)
    };
    let (here, elsewhere) = (process(), process());
    let mut visitor = Visitor::default();

    visitor.get(&here, "/count").await.ok();
    visitor.get(&here, "/count").await.ok();
    assert_eq!(counted(&snapshotter), expected([("commits", 2)]));
    visitor.get(&here, "/read").await.ok();
    assert_eq!(counted(&snapshotter), expected([("loads", 1), ("touches_skipped", 1)]));

    // Three at once: one leads, and the other two go together.
    store.fail_all(Some(Fault::Delay(Duration::from_millis(5))));
    let (mut a, mut b, mut c) = (visitor.clone(), visitor.clone(), visitor.clone());
    let (a, b, c) =
        tokio::join!(a.get(&here, "/count"), b.get(&here, "/count"), c.get(&here, "/count"));
    for answer in [a, b, c] {
        answer.ok();
    }
    store.fail_all(None);
    assert_eq!(counted(&snapshotter), expected([("coalesced", 1), ("commits", 2)]));

    visitor.get(&elsewhere, "/count").await.ok();
    visitor.get(&here, "/count").await.ok();
    let both = [("commits", 2), ("conflicts", 1), ("loads", 2), ("replays", 1)];
    assert_eq!(counted(&snapshotter), expected(both));

    store.on(Step::Commit(1), Fault::LoseAnswer);
    visitor.get(&here, "/count").await.ok();
    let lost = [("commits", 1), ("loads", 1), ("unknown_resolved", 1)];
    assert_eq!(counted(&snapshotter), expected(lost));

    let stolen = visitor.cookie.clone();
    visitor.get(&here, "/logout").await.ok();
    assert_eq!(here.get("/read", &stolen).await.status, http::StatusCode::CONFLICT);
    here.get("/read", &format!("__Host-id={}", "A".repeat(43))).await.ok();
    let ended = [("interrupted", 1), ("loads", 2), ("unknown_ids", 1)];
    assert_eq!(counted(&snapshotter), expected(ended));

    let (mut one, mut other) = (Visitor::default(), Visitor::default());
    one.get(&here, "/count").await.ok();
    other.get(&here, "/count").await.ok();
    here.get("/read", &format!("{}; {}", one.cookie, other.cookie)).await.ok();
    let two_live = [("commits", 2), ("duplicate_cookies", 1), ("loads", 2)];
    assert_eq!(counted(&snapshotter), expected(two_live));
    here.get("/read", &format!("{}; {}x", one.cookie, other.cookie)).await.ok();
    assert_eq!(counted(&snapshotter), expected([("loads", 1), ("touches_skipped", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_went_back_in_time_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (memory, store) = faulty();
    let app = app(&layer(store)).on("/count", count);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/count").await.ok();
    let now = SystemClock.now();
    let old = memory.list(None, 1, now).await.unwrap().records.remove(0).record;
    visitor.get(&app, "/count").await.ok();
    // The mark of this destroy is over.
    memory.destroy(&old.header.key, Timestamp::from_millis(0)).await.unwrap();
    memory.commit(Write::Create { record: &old }, now).await.unwrap();
    assert_eq!(counted(&snapshotter), expected([("commits", 2)]));
    visitor.get(&app, "/count").await.ok();
    let back = [("commits", 1), ("conflicts", 1), ("loads", 1), ("regressions", 1), ("replays", 1)];
    assert_eq!(counted(&snapshotter), expected(back));
}

#[tokio::test]
async fn what_limits_refuse_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let limited = layer(faulty().1).new_sessions_per_second(std::num::NonZeroU32::new(1));
    let app = app(&limited).on("/count", count);
    for _ in 0..3 {
        app.get("/count", "").await;
    }
    let refused = [("commits", 1), ("new_sessions_refused", 2)];
    assert_eq!(counted(&snapshotter), expected(refused));

    let of_another_site = |_: &str| Some(&b"cross-site"[..]);
    ingle::SameOriginLayer::new().check("POST", of_another_site).unwrap_err();
    assert_eq!(counted(&snapshotter), expected([("cross_origin", 1)]));
}
