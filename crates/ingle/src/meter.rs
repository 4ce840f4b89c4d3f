//! What operators see: counters and a histogram, through the `metrics` facade.
//!
//! Nothing here carries an id, a key, a user or a field. Without a recorder each costs next to
//! nothing. What each of them means stands in `docs/guide.md`.

use std::time::Duration;

use metrics::{counter, histogram};

pub(crate) fn load(store: &'static str) {
    counter!("ingle_loads_total", "store" => store).increment(1);
}

/// One commit that made `changes` changes.
pub(crate) fn commit(store: &'static str, changes: usize) {
    counter!("ingle_commits_total", "store" => store).increment(1);
    if changes > 1 {
        counter!("ingle_combined_total", "store" => store).increment(changes as u64 - 1);
    }
}

pub(crate) fn latency(store: &'static str, verb: &'static str, took: Duration) {
    histogram!("ingle_store_seconds", "store" => store, "verb" => verb).record(took);
}

pub(crate) fn swept(store: &'static str, deleted: usize) {
    counter!("ingle_swept_total", "store" => store).increment(deleted as u64);
}

macro_rules! by_store {
    ($($name:ident => $metric:literal),* $(,)?) => {$(
        pub(crate) fn $name(store: &'static str) {
            counter!($metric, "store" => store).increment(1);
        }
    )*};
}

by_store! {
    conflict => "ingle_conflicts_total",
    replay => "ingle_replays_total",
    unknown_resolved => "ingle_unknown_resolved_total",
    unknown_unresolved => "ingle_unknown_unresolved_total",
    regression => "ingle_regressions_total",
    touch => "ingle_touches_total",
    touch_skipped => "ingle_touches_skipped_total",
    cross_key => "ingle_cross_key_total",
    refused => "ingle_refused_total",
}

macro_rules! plain {
    ($($name:ident => $metric:literal),* $(,)?) => {$(
        pub(crate) fn $name() {
            counter!($metric).increment(1);
        }
    )*};
}

plain! {
    interrupted => "ingle_interrupted_total",
    lost_update => "ingle_lost_updates_total",
    unknown_id => "ingle_unknown_ids_total",
    duplicate_cookie => "ingle_duplicate_cookies_total",
}
