//! Bugs that are planted to see whether the tests find them: `cargo xtask torture bugs`.
//!
//! They are in a build with `--cfg planted` and in no other. No feature turns that on, and without
//! debug assertions, as in a release, it does not compile. In such a build the variable
//! `INGLE_PLANTED` names the one bug that is active; in every other build
//! [`is_planted`](Bug::is_planted) is `false` for the compiler, and nothing is left of them.
//!
//! Each is asked for where it would have been made. Here is only what does not fit there.

use std::{
    collections::BTreeMap,
    env,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    background,
    clock::Timestamp,
    core::Core,
    id::Key,
    record::{Loaded, Record},
    store::Write,
};

#[cfg(all(planted, not(debug_assertions)))]
compile_error!("what has no debug assertions may be a release, and a release has no planted bugs");

/// A mistake that session libraries make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The memory store takes a write that was made from an old version.
    NoVersionCheck,
    /// The embedded store writes a record that is gone anew.
    Upsert,
    /// The embedded store answers before the disk has the commit.
    AnswerBeforeSync,
    /// Commits leave no op in the record.
    NoOp,
    /// Nobody looks for an op in a record.
    RingIgnored,
    /// A renew leaves the old record for later.
    OldIdEndsLate,
    /// A touch writes the whole record as the request has read it.
    TouchWritesAll,
    /// The memory store leaves it to its sweep to end what has expired.
    ExpiryTrusted,
    /// A read is answered from what this process knew, for a second.
    StaleRead,
    /// A connection to memcached goes on after a call that was given up.
    ConnectionReused,
    /// Of two different cookies the first one counts.
    FirstCookieWins,
    /// A response depends on the cookie only where it sets one.
    VaryOnWriteOnly,
    /// A destroy ends the session for this process alone.
    DestroyedHereOnly,
}

/// What `INGLE_PLANTED` calls them, by the list of the torture.
const NAMES: [(&str, Bug); 13] = [
    ("b1", Bug::NoVersionCheck),
    ("b2", Bug::Upsert),
    ("b3", Bug::AnswerBeforeSync),
    ("b4", Bug::NoOp),
    ("b5", Bug::RingIgnored),
    ("b6", Bug::OldIdEndsLate),
    ("b7", Bug::TouchWritesAll),
    ("b8", Bug::ExpiryTrusted),
    ("b9", Bug::StaleRead),
    ("b10", Bug::ConnectionReused),
    ("b11", Bug::FirstCookieWins),
    ("b12", Bug::VaryOnWriteOnly),
    ("b14", Bug::DestroyedHereOnly),
];

static ACTIVE: LazyLock<Option<Bug>> = LazyLock::new(|| {
    let name = env::var("INGLE_PLANTED").ok()?;
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug)
});

impl Bug {
    /// Whether this build has the bug, and it is the active one.
    pub(crate) fn is_planted(self) -> bool {
        cfg!(planted) && *ACTIVE == Some(self)
    }
}

/// For [`Bug::OldIdEndsLate`]: ends what a renew has left, when its response is long gone.
pub(crate) fn end_late(core: &Arc<Core>, key: Key) {
    if Bug::OldIdEndsLate.is_planted() {
        let core = Arc::clone(core);
        background::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let end = Write::Destroy { key: &key };
            drop(core.guard.commit(end, core.clock.now(), core.deadline()).await);
        });
    }
}

/// For [`Bug::TouchWritesAll`]: writes what was read over whatever is there by now.
pub(crate) async fn touch_all(core: &Core, seen: Option<Arc<Record>>, idle_deadline: Timestamp) {
    let Some(mut seen) = seen else { return };
    let (now, deadline) = (core.clock.now(), core.deadline());
    if let Ok(Some(newest)) = core.guard.load(&seen.header.key, now, deadline).await {
        let header = &mut Arc::make_mut(&mut seen).header;
        header.idle_deadline = idle_deadline;
        header.counter = newest.record.header.counter + 1;
        let all = Write::Replace { base: &newest, record: &seen };
        drop(core.guard.commit(all, now, deadline).await);
    }
}

/// For [`Bug::StaleRead`]: what this process knew of a record, for a second.
pub(crate) fn stale(core: &Core, key: &Key) -> Option<Loaded> {
    /// Since when each record is answered from memory, by the process that stands for one.
    static SINCE: Mutex<BTreeMap<(usize, Key), Instant>> = Mutex::new(BTreeMap::new());
    if !Bug::StaleRead.is_planted() {
        return None;
    }
    let hint = core.hint(key)?;
    let mut since = SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    let here = (std::ptr::from_ref(core).addr(), *key);
    if since.entry(here).or_insert_with(Instant::now).elapsed() < Duration::from_secs(1) {
        return Some(hint);
    }
    since.remove(&here);
    None
}
