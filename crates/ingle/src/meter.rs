//! What operators see: counters and a histogram, through the `metrics` facade if the feature
//! `metrics` is on.
//!
//! Nothing here carries an id, a key, a user or a field. Without a recorder each costs next to
//! nothing. `docs/guide.md` says what each of them means.

use std::time::Duration;

#[cfg(feature = "metrics")]
#[path = "meter/facade.rs"]
mod sink;
#[cfg(not(feature = "metrics"))]
#[path = "meter/nothing.rs"]
mod sink;

use sink::{Key, count, count_unlabelled, key, record};

/// What a store is asked to do, as the histogram's label and as a word in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Load,
    Commit,
    Touch,
    Destroy,
    List,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Commit => "commit",
            Self::Touch => "touch",
            Self::Destroy => "destroy",
            Self::List => "list",
        }
    }
}

macro_rules! meter {
    ($($name:ident => $metric:literal),* $(,)?) => {
        /// The metrics of one store.
        ///
        /// Their names and labels are put together once. Each request counts several, and without a
        /// recorder that would be most of the work.
        #[derive(Debug)]
        pub(crate) struct Meter {
            commits: Key,
            combined: Key,
            swept: Key,
            seconds_of_load: Key,
            seconds_of_commit: Key,
            seconds_of_touch: Key,
            seconds_of_destroy: Key,
            seconds_of_list: Key,
            $($name: Key,)*
        }

        impl Meter {
            pub(crate) fn new(store: &'static str) -> Self {
                let key = |name| key(name, store, None);
                let seconds = |verb: Verb| {
                    sink::key("ingle_store_seconds", store, Some(verb.name()))
                };
                Self {
                    commits: key("ingle_commits_total"),
                    combined: key("ingle_combined_total"),
                    swept: key("ingle_swept_total"),
                    seconds_of_load: seconds(Verb::Load),
                    seconds_of_commit: seconds(Verb::Commit),
                    seconds_of_touch: seconds(Verb::Touch),
                    seconds_of_destroy: seconds(Verb::Destroy),
                    seconds_of_list: seconds(Verb::List),
                    $($name: key($metric),)*
                }
            }

            $(pub(crate) fn $name(&self) {
                count(&self.$name, 1);
            })*
        }
    };
}

meter! {
    load => "ingle_loads_total",
    conflict => "ingle_conflicts_total",
    replay => "ingle_replays_total",
    unknown_resolved => "ingle_unknown_resolved_total",
    unknown_unresolved => "ingle_unknown_unresolved_total",
    regression => "ingle_regressions_total",
    touch => "ingle_touches_total",
    touch_skipped => "ingle_touches_skipped_total",
    cross_key => "ingle_cross_key_total",
    refused => "ingle_refused_total",
    new_session_refused => "ingle_new_sessions_refused_total",
}

impl Meter {
    /// One commit that made `changes` changes.
    pub(crate) fn commit(&self, changes: usize) {
        count(&self.commits, 1);
        if changes > 1 {
            count(&self.combined, changes as u64 - 1);
        }
    }

    pub(crate) fn latency(&self, verb: Verb, took: Duration) {
        let key = match verb {
            Verb::Load => &self.seconds_of_load,
            Verb::Commit => &self.seconds_of_commit,
            Verb::Touch => &self.seconds_of_touch,
            Verb::Destroy => &self.seconds_of_destroy,
            Verb::List => &self.seconds_of_list,
        };
        record(key, took);
    }

    pub(crate) fn swept(&self, deleted: usize) {
        count(&self.swept, deleted as u64);
    }
}

macro_rules! plain {
    ($($name:ident => $metric:literal),* $(,)?) => {$(
        pub(crate) fn $name() {
            count_unlabelled($metric);
        }
    )*};
}

plain! {
    interrupted => "ingle_interrupted_total",
    lost_update => "ingle_lost_updates_total",
    unknown_id => "ingle_unknown_ids_total",
    duplicate_cookie => "ingle_duplicate_cookies_total",
    cross_origin => "ingle_cross_origin_total",
}
