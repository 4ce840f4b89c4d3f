//! The laws of [`Store`] as tests, for authors of stores.
//!
//! A store's author writes three lines, in a test, and has one `#[test]` per law:
//!
//! ```
//! ingle::conformance!(memory, |_place| async move {
//!     ingle::store::Memory::new()
//! });
//! ```
//!
//! A store that others can share is opened in the [`Place`] that it is given, once or several
//! times, by this process and by others:
//!
//! ```
//! ingle::conformance!(my_store, |place| async move {
//!     MyStore::open(place.folder()).await.unwrap()
//! });
//! ```
//!
//! The suite believes what the store says in [`Store::info`]: where a law is promised in a
//! weaker form, that form is tested. It never skips. Nor does it look at the wall clock, except to
//! end what is stuck, so it can be run against a slow server. Law 9 is proved in parts:
//! [`law_9_a_condition_is_never_a_failure`], [`a_store_that_is_down_says_so`], and
//! [`Faulty`](super::Faulty) for the protocol on the other side.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite of tests reports by panicking"
)]

use std::time::Duration;

use super::Store;

mod conditions;
mod deadlines;
pub(super) mod faulty;
mod lists;
mod marks;
mod owned;
mod place;
mod renew;
mod round_trip;
mod sharing;
mod touch;
mod transactions;
mod trial;

pub use self::{
    conditions::*, deadlines::*, lists::*, marks::*, place::Place, renew::*, round_trip::*,
    sharing::*, touch::*, transactions::*, trial::Trial,
};

/// After this long a law is taken for stuck. It is not how long one may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Tries one law on a new store; what each test of [`conformance!`](crate::conformance) calls.
///
/// `test` is the path of the test that calls this, from its crate on, so that law 11 can start it
/// again in processes of its own. `open` opens a store in a place. No runtime is needed: this
/// brings one with several threads.
///
/// # Panics
/// The store broke the law.
pub fn run<S, F, L>(test: &'static str, open: impl Fn(Place) -> F, law: impl FnOnce(Trial) -> L)
where
    S: Store,
    F: Future<Output = S>,
    L: Future<Output = ()>,
{
    // Made before the runtime, so that its folder outlasts every task that may use it.
    let place = Place::find();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a law needs a runtime").block_on(async {
        let trial = Trial::begin(test, place.clone(), open).await;
        tokio::time::timeout(PATIENCE, law(trial)).await.expect("a law is stuck");
    });
}

/// Generates a module with one test for each law of [`Store`](crate::store::Store), run on the
/// stores that a closure opens.
///
/// See [`store::conformance`](crate::store::conformance).
#[macro_export]
macro_rules! conformance {
    ($store:ident, $open:expr $(,)?) => {
        $crate::conformance! {
            $store, $open;
            law_1_load_returns_what_the_last_commit_wrote
            law_1_load_returns_nothing_where_nothing_is
            law_1_each_key_has_a_record_of_its_own
            law_1_what_a_replace_leaves_out_is_gone
            law_1_the_header_comes_back_whole
            law_1_numbers_come_back_as_they_were
            law_1_text_comes_back_as_it_was
            law_1_every_kind_of_value_keeps_its_kind
            law_1_every_name_is_only_a_name
            law_1_data_at_the_limits_comes_back
            law_1_data_as_deep_as_can_be_set_comes_back_or_is_refused
            law_2_an_idle_deadline_ends_a_record
            law_2_an_absolute_deadline_ends_a_record
            law_2_the_caller_says_what_time_it_is
            law_2_a_dead_record_is_in_nobodys_way
            law_2_one_create_takes_a_dead_records_place
            law_2_lists_show_no_dead_record
            law_2_a_list_shows_what_lives_at_the_callers_instant
            law_2_a_sweep_takes_only_the_dead
            law_2_a_sweep_spares_what_was_kept_alive
            law_2_a_sweep_spares_who_took_a_dead_records_place
            law_3_a_create_on_a_live_key_changes_nothing
            law_3_of_racing_creates_one_wins
            law_4_a_stale_replace_changes_nothing
            law_4_a_stale_renew_changes_nothing
            law_4_a_version_of_an_earlier_life_is_stale
            law_4_of_racing_replaces_one_wins
            law_5_nothing_else_creates
            law_5_nothing_revives_what_was_destroyed
            law_5_nothing_revives_what_expired
            law_5_nothing_stays_behind_a_renew
            law_5_a_race_with_a_destroy_revives_nothing
            law_6_a_renew_moves_the_record
            law_6_a_renew_to_a_taken_key_changes_nothing
            law_6_of_racing_renews_one_wins
            law_6_a_race_with_a_destroy_leaves_nothing_behind
            law_6_readers_never_find_both_or_neither
            law_7_destroying_what_is_not_there_is_success
            law_7_racing_destroys_all_succeed
            law_8_a_touch_moves_the_idle_deadline_only
            law_8_a_touch_never_moves_the_deadline_back
            law_8_a_touch_never_passes_the_absolute_deadline
            law_8_of_racing_touches_the_latest_deadline_counts
            law_8_a_commit_can_follow_a_touch
            law_8_a_touch_costs_a_replace_nothing_but_a_conflict
            law_8_touches_take_no_change_back
            law_9_a_condition_is_never_a_failure
            law_10_a_store_lists_by_user_or_says_that_it_does_not
            law_10_each_user_has_exactly_their_live_sessions
            law_10_a_name_is_only_a_name
            law_10_what_stays_is_on_exactly_one_page
            law_10_a_handle_finds_its_record_and_no_other
            law_10_a_shortened_handle_finds_all_that_begin_so
            law_11_tasks_lose_no_increment
            law_11_two_processes_or_else_tasks_lose_no_increment
            law_12_a_renew_leaves_a_mark
            law_12_a_destroy_leaves_a_mark
            law_12_a_destroy_of_nothing_leaves_no_mark
            law_12_a_destroy_says_where_a_record_went
            law_12_a_marked_key_is_taken
            law_12_marks_are_no_records
            law_12_a_race_leaves_the_mark_of_the_first
            law_13_an_act_and_its_line_are_both_stored
            law_13_an_act_that_is_not_done_leaves_its_line_as_it_was
            law_13_an_act_without_its_line_is_not_done
            law_13_a_call_that_is_sent_again_is_made_once
            law_13_of_racing_acts_one_is_made_and_has_its_line
            law_13_a_race_with_an_end_leaves_both_lines_right
            law_13_readers_never_find_one_without_the_other
        }
    };
    ($store:ident, $open:expr; $($law:ident)*) => {
        #[cfg(test)]
        mod $store {
            #[allow(unused_imports, reason = "the closure may name what is around the call")]
            use super::*;

            $(
                #[test]
                fn $law() {
                    let test = concat!(module_path!(), "::", stringify!($law));
                    $crate::store::conformance::run(
                        test,
                        $open,
                        $crate::store::conformance::$law,
                    );
                }
            )*
        }
    };
}
