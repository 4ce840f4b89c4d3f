//! What operators see: counters and a histogram, through the `metrics` facade if the feature
//! `metrics` is on.
//!
//! Nothing here carries an id, a key, a user or a field. Without a recorder each costs next to
//! nothing. `docs/guide.md` says what each of them means.
//!
//! Each is announced with its help when a layer is made, and is 0 until it counts: who looks for an
//! increase would not see the first one of a counter that was not there before.

use std::{sync::Arc, time::Duration};

#[cfg(feature = "metrics")]
#[path = "meter/facade.rs"]
mod sink;
#[cfg(not(feature = "metrics"))]
#[path = "meter/nothing.rs"]
mod sink;

pub(crate) mod activity;

use activity::{Figure, Recent};
use sink::{Key, announce, announce_seconds, count, count_unlabelled, key, record, unlabelled};

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

const COMMITS: &str = "Commits that succeeded.";
const COALESCED: &str = "Changes that were coalesced into the commit of another request.";
const SWEPT: &str = "Dead records that sweeps deleted.";
const SECONDS: &str = "How long calls of the session store take, by verb.";

macro_rules! meter {
    ($($name:ident $(in $figure:ident)? => $metric:literal, $help:literal;)*) => {
        /// The metrics of one store.
        ///
        /// Their names and labels are put together once. Each request counts several, and without a
        /// recorder that would be most of the work.
        #[derive(Debug)]
        pub(crate) struct Meter {
            pub(crate) recent: Arc<Recent>,
            commits: Key,
            coalesced: Key,
            swept: Key,
            seconds_of_load: Key,
            seconds_of_commit: Key,
            seconds_of_touch: Key,
            seconds_of_destroy: Key,
            seconds_of_list: Key,
            $($name: Key,)*
        }

        impl Meter {
            pub(crate) fn new(store: &'static str, recent: Arc<Recent>) -> Self {
                let key = |name, help| {
                    let key = key(name, store, None);
                    announce(&key, help);
                    key
                };
                let seconds = |verb: Verb| {
                    let key = sink::key("ingle_store_seconds", store, Some(verb.name()));
                    announce_seconds(&key, SECONDS);
                    key
                };
                announce_unlabelled();
                Self {
                    recent,
                    commits: key("ingle_commits_total", COMMITS),
                    coalesced: key("ingle_coalesced_total", COALESCED),
                    swept: key("ingle_swept_total", SWEPT),
                    seconds_of_load: seconds(Verb::Load),
                    seconds_of_commit: seconds(Verb::Commit),
                    seconds_of_touch: seconds(Verb::Touch),
                    seconds_of_destroy: seconds(Verb::Destroy),
                    seconds_of_list: seconds(Verb::List),
                    $($name: key($metric, $help),)*
                }
            }

            $(pub(crate) fn $name(&self) {
                count(&self.$name, 1);
                $(self.recent.count(Figure::$figure);)?
            })*
        }
    };
}

meter! {
    load => "ingle_loads_total", "Loads of records.";
    conflict in Conflicts => "ingle_conflicts_total", "Commits that met a newer record.";
    replay in Replays => "ingle_replays_total", "Changes that were run again on a newer record.";
    unknown_resolved => "ingle_unknown_resolved_total", "Lost answers whose outcome was found out.";
    unknown_unresolved =>
        "ingle_unknown_unresolved_total", "Lost answers whose outcome nobody knows: visitors were told so.";
    regression =>
        "ingle_regressions_total", "Records that went back in time: the store lost acknowledged commits.";
    touch => "ingle_touches_total", "Idle deadlines that were moved.";
    touch_skipped =>
        "ingle_touches_skipped_total", "Idle deadlines not moved, because they were moved recently.";
    cross_key => "ingle_cross_key_total", "Records returned under another key than their own.";
    refused => "ingle_refused_total", "Store calls that the breaker or a bound refused at once.";
    new_session_refused =>
        "ingle_new_sessions_refused_total", "Sessions that the limit of new ones did not let begin.";
}

impl Meter {
    /// One commit that made `changes` changes.
    pub(crate) fn commit(&self, changes: usize) {
        count(&self.commits, 1);
        self.recent.count(Figure::Commits);
        if changes > 1 {
            count(&self.coalesced, changes as u64 - 1);
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
    ($($name:ident => $metric:literal, $help:literal;)*) => {
        fn announce_unlabelled() {
            $(announce(&unlabelled($metric), $help);)*
        }

        $(pub(crate) fn $name() {
            count_unlabelled($metric);
        })*
    };
}

plain! {
    interrupted => "ingle_interrupted_total", "Requests whose session another request ended meanwhile.";
    lost_update => "ingle_lost_updates_total", "Requests whose field another request changed meanwhile.";
    unknown_id => "ingle_unknown_ids_total", "Ids that were presented and have no record.";
    duplicate_cookie =>
        "ingle_duplicate_cookies_total", "Requests with the ids of two live sessions, or more than 8 ids.";
    cross_origin => "ingle_cross_origin_total", "Requests of other origins that were refused.";
}
