//! Each test of users on each store.

use std::sync::Arc;

use ingle::store::{Memory, Store, conformance::Place};

use super::Scene;

/// The tests on one store. The closure opens it in a place; the second call is the second process.
macro_rules! users_on {
    ($store:ident, $open:expr) => {
        users_on! {
            $store, $open;
            a_login_keeps_the_cart_and_leaves_the_old_id_dead
            nothing_of_one_user_is_in_the_session_of_the_next
            fifty_logins_at_once_are_fifty_sessions
            an_end_of_all_ends_each_and_the_logins_under_way
            a_login_after_an_end_of_all_lives
            of_two_logins_at_once_none_loses_the_cart
            the_other_sessions_end_and_this_one_stays
            what_comes_after_the_end_revives_nothing
            a_warm_update_costs_a_user_no_second_trip
            a_ticket_from_before_an_end_of_all_logs_nobody_in
            only_a_proof_moves_the_absolute_deadline
            a_session_that_is_remembered_lives_beside_one_that_is_not
            a_handle_of_another_user_finds_nothing
            what_a_login_says_is_there_on_every_process
            an_actor_is_told_beside_the_user
            a_name_that_no_store_can_look_up_is_refused
            no_instant_sees_more_sessions_than_allowed
            beyond_the_limit_a_login_is_refused
            an_end_reaches_who_waits_on_another_process
            an_operator_finds_a_session_and_changes_and_ends_it
            an_operator_finds_sessions_by_how_their_handles_begin
            an_operator_sees_what_has_expired_until_it_is_swept
            an_operators_acts_are_lines_of_the_audit_log
            an_operator_ends_every_session_that_had_begun
            a_line_of_the_audit_log_is_no_session
            an_edit_whose_answer_was_lost_is_one_line_and_done_once
            an_edit_whose_line_was_removed_fails_no_request
            an_operator_follows_a_session_to_its_end
        }
    };
    ($store:ident, $open:expr; $($test:ident)*) => {
        mod $store {
            use super::*;

            async fn scene() -> Scene {
                let place = Place::new();
                let open = $open;
                let stores: [Arc<dyn Store>; 2] =
                    [Arc::new(open(place.clone()).await), Arc::new(open(place.clone()).await)];
                Scene::new(stores, place)
            }

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::super::$test(scene().await).await;
                }
            )*
        }
    };
}

users_on!(memory, {
    let memory = Memory::new();
    move |_: Place| std::future::ready(memory.clone())
});

#[cfg(feature = "sqlite")]
users_on!(sqlite, |place: Place| async move {
    ingle::store::Sqlite::open(place.folder()).await.unwrap()
});

#[cfg(feature = "firestore")]
users_on!(firestore, |place: Place| async move {
    crate::stores::firestore(&place, testbed::firestore::hidane()).await
});

#[cfg(feature = "memcached")]
users_on!(memcached, |place: Place| async move {
    let [one, ..] = testbed::memcached::shared();
    let mut config = ingle::store::MemcachedConfig::new([one.to_string()]);
    config.prefix = place.name().to_owned();
    ingle::store::Memcached::open(config).await.unwrap()
});

#[cfg(feature = "redis")]
users_on!(redis, |place: Place| async move {
    crate::stores::redis(place.name().to_owned(), testbed::redis::server()).await
});

#[cfg(feature = "redis")]
users_on!(redis_cluster, |place: Place| async move {
    crate::stores::redis(place.name().to_owned(), testbed::redis::cluster()).await
});

#[cfg(feature = "postgres")]
users_on!(postgres, |place: Place| async move {
    crate::stores::postgres(&place, testbed::postgres::shared(), "").await
});
