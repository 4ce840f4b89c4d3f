//! Law 12: for a while the old key of a session tells that it moved or ended.

use std::time::Duration;

use super::{
    owned::OwnedWrite,
    trial::{Outcome, Trial, random_key},
};
use crate::{
    clock::Timestamp,
    id::Key,
    store::{Destroyed, Lookup, MARK_TIME, Marks},
};

const MOMENT: Duration = Duration::from_millis(1);

/// After a renew the old key tells where the record went, for the time of a mark and no longer.
pub async fn law_12_a_renew_leaves_a_mark(trial: Trial) {
    let base = trial.create(trial.record_of("mary")).await;
    let moved = trial.renew(&base, trial.renewed(&base)).await;
    let (from, to) = (base.record.header.key, moved.record.header.key);
    is_marked(&trial, &from, &Lookup::Moved { to }).await;
    trial.finds(&moved, "law 12: the record is where the mark says").await;

    let again = trial.renew(&moved, trial.renewed(&moved)).await;
    is_marked(&trial, &from, &Lookup::Moved { to }).await;
    is_marked(&trial, &to, &Lookup::Moved { to: again.record.header.key }).await;
}

/// After a destroy the key tells that the session ended, for the time of a mark and no longer.
pub async fn law_12_a_destroy_leaves_a_mark(trial: Trial) {
    let base = trial.create(trial.record_of("mary")).await;
    let key = base.record.header.key;
    assert_eq!(trial.destroy(key).await, Destroyed::Ended, "law 7: a destroy must succeed");
    is_marked(&trial, &key, &Lookup::Ended).await;
    assert_eq!(trial.destroy(key).await, Destroyed::Nothing, "law 7: to destroy twice is success");
    is_marked(&trial, &key, &Lookup::Ended).await;
}

/// A destroy of what was never there leaves nothing: who sends random ids must not fill the store.
pub async fn law_12_a_destroy_of_nothing_leaves_no_mark(trial: Trial) {
    let key = random_key();
    assert_eq!(trial.destroy(key).await, Destroyed::Nothing, "law 7: a destroy must succeed");
    let found = trial.look_up(&key, trial.now).await;
    assert_eq!(found, Lookup::Missing, "law 12: there was no session that could end");
}

/// A destroy that meets the old key of a renewed session changes nothing, and says where it went; the
/// session can then be destroyed there.
pub async fn law_12_a_destroy_says_where_a_record_went(trial: Trial) {
    let base = trial.create(trial.record()).await;
    let moved = trial.renew(&base, trial.renewed(&base)).await;
    let (from, to) = (base.record.header.key, moved.record.header.key);
    let destroyed = trial.destroy(from).await;
    let forgotten = may_be_forgotten(&trial) && destroyed == Destroyed::Nothing;
    assert!(destroyed == Destroyed::Moved { to } || forgotten, "law 12: {destroyed:?}");
    trial.finds(&moved, "law 12: a destroy of the old key must not reach the record").await;
    assert_eq!(trial.destroy(to).await, Destroyed::Ended, "law 7: a destroy must succeed");
    is_marked(&trial, &to, &Lookup::Ended).await;
}

/// A create finds a marked key taken, and free when the mark is dead.
pub async fn law_12_a_marked_key_is_taken(trial: Trial) {
    let base = trial.create(trial.record()).await;
    let key = base.record.header.key;
    trial.destroy(key).await;
    let create = OwnedWrite::create(trial.record_under(key));
    if !may_be_forgotten(&trial) {
        let outcome = trial.commit(&create, trial.now).await;
        assert_eq!(outcome, Outcome::Conflict, "law 3: a key with a mark counts as live");
    }
    let later = trial.now.after(MARK_TIME);
    trial.commit(&create, later).await.done("law 12: a key is free when its mark is dead");
}

/// Lists show no mark, and a sweep takes none that is not dead.
pub async fn law_12_marks_are_no_records(trial: Trial) {
    let ended = trial.create(trial.record_of("mary")).await;
    let base = trial.create(trial.record_of("mary")).await;
    let moved = trial.renew(&base, trial.renewed(&base)).await;
    trial.destroy(ended.record.header.key).await;
    let last_moment = trial.now.after(MARK_TIME - MOMENT);
    let swept = trial.store().sweep(last_moment, 100).await;
    assert!(swept.is_ok(), "law 9: a store that is up can sweep: {swept:?}");
    is_marked(&trial, &ended.record.header.key, &Lookup::Ended).await;
    for list in trial.lists().into_iter().flatten() {
        let page = list.list(None, 100, trial.now).await;
        let page = page.expect("law 9: a store that is up can list");
        let listed: Vec<Key> = page.records.iter().map(|found| found.record.header.key).collect();
        assert_eq!(listed, [moved.record.header.key], "law 12: a list shows records alone");
    }
    let swept = trial.store().sweep(trial.now.after(MARK_TIME), 100).await;
    assert!(swept.is_ok(), "law 9: a store that is up can sweep: {swept:?}");
    trial.finds(&moved, "law 12: a sweep of marks must not reach a record").await;
}

/// Of a renew and a destroy that race, the mark tells which was first; and who follows it finds the
/// session, or that it ended.
pub async fn law_12_a_race_leaves_the_mark_of_the_first(trial: Trial) {
    for _ in 0..20 {
        let base = trial.create(trial.record()).await;
        let target = trial.renewed(&base);
        let (from, to) = (base.record.header.key, target.header.key);
        let renew = OwnedWrite::renew(&base, target);
        let outcomes = trial.race(&[renew, OwnedWrite::destroy(from)]).await;
        let renewed = outcomes.first().is_some_and(|outcome| outcome.is_done());
        let expected = if renewed { Lookup::Moved { to } } else { Lookup::Ended };
        is_marked(&trial, &from, &expected).await;
    }
}

fn may_be_forgotten(trial: &Trial) -> bool {
    trial.capabilities().marks == Marks::MayBeForgotten
}

/// Checks that both handles find the mark until its time is over.
async fn is_marked(trial: &Trial, key: &Key, expected: &Lookup) {
    let look =
        async |now: Timestamp| [trial.look_up(key, now).await, trial.look_up(key, now).await];
    for now in [trial.now, trial.now.after(MARK_TIME - MOMENT)] {
        for found in look(now).await {
            let forgotten = may_be_forgotten(trial) && found == Lookup::Missing;
            let law = "law 12: the old key must tell what became of the session";
            assert!(found == *expected || forgotten, "{law}: {found:?} where it was {expected:?}");
        }
    }
    for found in look(trial.now.after(MARK_TIME)).await {
        assert_eq!(found, Lookup::Missing, "law 12: a mark must end");
    }
}
