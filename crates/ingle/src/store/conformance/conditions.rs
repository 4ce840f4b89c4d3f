//! Laws 3, 4, 5, 7 and 9: what a commit does when its condition does not hold, alone and in a race.

use serde_json::json;

use super::{
    owned::OwnedWrite,
    trial::{HOUR, Outcome, Trial, n_done, next, object, random_key},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::Loaded,
    store::{CommitError, MARK_TIME, Store},
};

/// How often a race is run.
const ROUNDS: usize = 20;

/// A second create under a live key is a conflict, and the first record stays.
pub async fn law_3_a_create_on_a_live_key_changes_nothing(trial: Trial) {
    let first = trial.create(trial.record()).await;
    let mut second = trial.record_of("mallory");
    second.header.key = first.record.header.key;
    let second = OwnedWrite::create(second);
    let outcome = trial.commit(&second, trial.now).await;
    assert_eq!(outcome, Outcome::Conflict, "law 3: a create on a live key is a conflict");
    trial.finds(&first, "law 3: a refused create must change nothing").await;
}

/// Of many creates under one key exactly one succeeds, and its record is the one that is there.
pub async fn law_3_of_racing_creates_one_wins(trial: Trial) {
    for _ in 0..ROUNDS {
        let key = random_key();
        let writes: Vec<_> = (0..4).map(|_| OwnedWrite::create(trial.record_under(key))).collect();
        one_wins(&trial, &key, &writes, "law 3").await;
    }
}

/// A replace on a version that another replace has moved on is a conflict.
pub async fn law_4_a_stale_replace_changes_nothing(trial: Trial) {
    let first = trial.create(trial.record()).await;
    let mut last = first.clone();
    for n in 2..5 {
        last = trial.replace(&last, next(&last, json!({ "n": n }))).await;
        let stale = OwnedWrite::replace(&first, next(&first, json!({ "n": "stale" })));
        let outcome = trial.commit(&stale, trial.now).await;
        assert_eq!(outcome, Outcome::Conflict, "law 4: a stale replace is a conflict");
        trial.finds(&last, "law 4: a stale replace must change nothing").await;
    }
}

/// A renew on a version that a replace has moved on is a conflict, and writes no new key.
pub async fn law_4_a_stale_renew_changes_nothing(trial: Trial) {
    let first = trial.create(trial.record()).await;
    let last = trial.replace(&first, next(&first, json!({ "n": 2 }))).await;
    let target = trial.renewed(&first);
    let new_key = target.header.key;
    let outcome = trial.commit(&OwnedWrite::renew(&first, target), trial.now).await;
    assert_eq!(outcome, Outcome::Conflict, "law 4: a stale renew is a conflict");
    trial.finds(&last, "law 4: a stale renew must leave the record where it is").await;
    trial.finds_nothing(&new_key, trial.now, "law 4: a stale renew must write no new key").await;
}

/// A version counts for one life of a key: what was read before a destroy, or before the record
/// died, cannot replace or renew what was created there afterwards, though it may count alike.
pub async fn law_4_a_version_of_an_earlier_life_is_stale(trial: Trial) {
    for destroyed in [true, false] {
        let first = trial.create(trial.record()).await;
        let key = first.record.header.key;
        let now = if destroyed {
            trial.destroy(key).await;
            trial.now.after(MARK_TIME)
        } else {
            first.record.header.idle_deadline
        };
        let mut second = trial.record_under(key);
        second.header.idle_deadline = now.after(2 * HOUR);
        second.data = object(json!({ "life": 2 }));
        let outcome = trial.commit(&OwnedWrite::create(second.clone()), now).await;
        let version = outcome.done("law 2: a key whose record is gone can be taken again");
        let second = Loaded { record: second.into(), version };

        let mut replace = next(&first, json!({ "life": 1 }));
        replace.header.idle_deadline = now.after(2 * HOUR);
        let target = trial.renewed(&first);
        let new_key = target.header.key;
        for write in [OwnedWrite::replace(&first, replace), OwnedWrite::renew(&first, target)] {
            let outcome = trial.commit(&write, now).await;
            assert_eq!(outcome, Outcome::Conflict, "law 4: an earlier life's version is stale");
        }
        let found = trial.load(&key, now).await;
        assert_eq!(found, Some(second), "law 4: a write from an earlier life changes nothing");
        trial.finds_nothing(&new_key, now, "law 4: a refused renew must write no new key").await;
    }
}

/// Of many replaces of one version exactly one succeeds, and its record is the one that is there.
pub async fn law_4_of_racing_replaces_one_wins(trial: Trial) {
    let key = random_key();
    let mut base = trial.create(trial.record_under(key)).await;
    for round in 0..ROUNDS {
        let writes: Vec<_> = (0..4)
            .map(|n| OwnedWrite::replace(&base, next(&base, json!({ "round": round, "n": n }))))
            .collect();
        base = one_wins(&trial, &key, &writes, "law 4").await;
    }
}

/// Nothing but a create writes where no record ever was.
pub async fn law_5_nothing_else_creates(trial: Trial) {
    // A version that this store once gave out, for a record that it never had.
    let twin = trial.create(trial.record()).await;
    let never = trial.record();
    let base = Loaded { record: never.into(), version: twin.version };
    finds_it_gone(&trial, &base, trial.now).await;
}

/// Nothing but a create writes where a record was destroyed.
pub async fn law_5_nothing_revives_what_was_destroyed(trial: Trial) {
    let base = trial.create(trial.record()).await;
    trial.destroy(base.record.header.key).await;
    finds_it_gone(&trial, &base, trial.now).await;
}

/// Nothing but a create writes where a record is dead, from the instant of its deadline on.
pub async fn law_5_nothing_revives_what_expired(trial: Trial) {
    let base = trial.create(trial.record()).await;
    finds_it_gone(&trial, &base, base.record.header.idle_deadline).await;
    let mut record = trial.record();
    record.header.absolute_deadline = record.header.idle_deadline;
    record.header.idle_deadline = Timestamp::MAX;
    let base = trial.create(record).await;
    finds_it_gone(&trial, &base, base.record.header.absolute_deadline).await;
}

/// Nothing but a create writes where a record was before it was renewed.
pub async fn law_5_nothing_stays_behind_a_renew(trial: Trial) {
    let base = trial.create(trial.record()).await;
    let moved = trial.renew(&base, trial.renewed(&base)).await;
    finds_it_gone(&trial, &base, trial.now).await;
    trial.finds(&moved, "law 5: the record must be where the renew moved it").await;
}

/// A destroy that races with other writes wins against all of them: a logout is final.
pub async fn law_5_a_race_with_a_destroy_revives_nothing(trial: Trial) {
    for _ in 0..ROUNDS {
        let base = trial.create(trial.record()).await;
        let key = base.record.header.key;
        let outcomes = trial
            .race(&[
                OwnedWrite::replace(&base, next(&base, json!({ "n": 2 }))),
                OwnedWrite::destroy(key),
                OwnedWrite::touch(key, trial.now.after(4 * HOUR)),
                OwnedWrite::replace(&base, next(&base, json!({ "n": 3 }))),
            ])
            .await;
        let law = format!("law 5: destroyed is destroyed, after a race that ended {outcomes:?}");
        trial.finds_nothing(&key, trial.now, &law).await;
    }
}

/// To destroy what never was, or is destroyed, dead or renewed away, is success.
pub async fn law_7_destroying_what_is_not_there_is_success(trial: Trial) {
    trial.destroy(random_key()).await;
    let neighbor = trial.create(trial.record()).await;
    let record = trial.create(trial.record()).await;
    let key = record.record.header.key;
    trial.destroy(key).await;
    trial.finds_nothing(&key, trial.now, "law 7: what was destroyed must be gone").await;
    trial.destroy(key).await;

    let base = trial.create(trial.record()).await;
    let moved = trial.renew(&base, trial.renewed(&base)).await;
    trial.destroy(base.record.header.key).await;
    trial.finds(&moved, "law 7: destroying the old key must not reach the new one").await;

    let dead = trial.create(trial.record()).await;
    let now = dead.record.header.idle_deadline;
    let destroy = OwnedWrite::destroy(dead.record.header.key);
    trial.commit(&destroy, now).await.done("law 7: a dead record can be destroyed");
    trial.finds(&neighbor, "law 7: a destroy must not reach another record").await;
}

/// Of many destroys of one record all succeed.
pub async fn law_7_racing_destroys_all_succeed(trial: Trial) {
    for _ in 0..ROUNDS {
        let base = trial.create(trial.record()).await;
        let key = base.record.header.key;
        let outcomes = trial.race(&vec![OwnedWrite::destroy(key); 4]).await;
        assert_eq!(n_done(&outcomes), 4, "law 7: destroys must all succeed: {outcomes:?}");
        trial.finds_nothing(&key, trial.now, "law 7: what was destroyed must be gone").await;
    }
}

/// A crowd that writes all kinds of things to one record meets conditions, and never a failure.
///
/// That a store tells the truth when it does fail cannot be provoked from here. It is proved on
/// both sides of the line: [`a_store_that_is_down_says_so`] for a store whose server is stopped,
/// and [`Faulty`](crate::store::Faulty), with which the commit protocol is tested against every
/// way in which an answer can be lost.
pub async fn law_9_a_condition_is_never_a_failure(trial: Trial) {
    let swept = trial.store().sweep(trial.now, 10).await;
    assert!(swept.is_ok(), "law 9: a sweep of an empty store is no failure: {swept:?}");
    for _ in 0..ROUNDS {
        let key = random_key();
        let create = OwnedWrite::create(trial.record_under(key));
        trial.commit(&create, trial.now).await.done("law 3: a key that never was is free");
        let base = trial.load(&key, trial.now).await.expect("law 1: it was just created");
        // Panics where the store reports a failure.
        trial
            .race(&[
                create,
                OwnedWrite::replace(&base, next(&base, json!({ "n": 2 }))),
                OwnedWrite::touch(key, trial.now.after(3 * HOUR)),
                OwnedWrite::replace(&base, next(&base, json!({ "n": 3 }))),
                OwnedWrite::renew(&base, trial.renewed(&base)),
                OwnedWrite::touch(key, trial.now.after(4 * HOUR)),
                OwnedWrite::destroy(key),
                OwnedWrite::destroy(key),
            ])
            .await;
        trial.destroy(key).await;
    }
}

/// Law 9, for a store whose server was stopped or cannot be reached: no call succeeds, and above
/// all no load finds that there is nothing.
///
/// The suite cannot stop a server, so a test that can stop one calls this.
///
/// # Panics
/// The store broke the law.
pub async fn a_store_that_is_down_says_so(store: &dyn Store, now: Timestamp) {
    let key = random_key();
    let found = store.load(&key, now).await;
    assert!(found.is_err(), "law 9: a store that is down cannot know what is there: {found:?}");
    let law = "law 9: a store that is down can neither write nor decide a condition";
    let touched = store.touch(&key, now.after(HOUR), now).await;
    assert!(matches!(touched, Err(CommitError::Failed(_))), "{law}: {touched:?}");
    let destroyed = store.destroy(&key, now).await;
    assert!(destroyed.is_err(), "{law}: {destroyed:?}");
    let pinged = store.ping().await;
    assert!(pinged.is_err(), "law 9: a store that is down answers no ping");
    let swept = store.sweep(now, 1).await;
    assert!(swept.is_err(), "law 9: a store that is down cannot sweep: {swept:?}");
    if let Some(list) = store.as_list() {
        let page = list.list(None, 1, now).await;
        assert!(page.is_err(), "law 9: a store that is down cannot list: {page:?}");
    }
}

/// Checks that replace, touch and renew of `base` report it gone and write nothing.
async fn finds_it_gone(trial: &Trial, base: &Loaded, now: Timestamp) {
    let key = base.record.header.key;
    let target = trial.renewed(base);
    let new_key = target.header.key;
    let mut replacement = next(base, json!({ "revived": true }));
    replacement.header.idle_deadline = now.after(2 * HOUR);
    replacement.header.absolute_deadline = now.after(12 * HOUR);
    for write in [
        OwnedWrite::replace(base, replacement),
        OwnedWrite::touch(key, now.after(2 * HOUR)),
        OwnedWrite::renew(base, target),
    ] {
        let outcome = trial.commit(&write, now).await;
        let law = "law 5: of a record that is gone a store must report that it is gone";
        assert_eq!(outcome, Outcome::Gone, "{law}, here to {}", write.verb());
        trial.finds_nothing(&key, now, "law 5: only a create may write where none is").await;
    }
    trial.finds_nothing(&new_key, now, "law 5: a refused renew must write no new key").await;
}

/// Races the writes, checks that exactly one succeeds and is found, and returns what was found.
async fn one_wins(trial: &Trial, key: &Key, writes: &[OwnedWrite], law: &str) -> Loaded {
    let outcomes = trial.race(writes).await;
    let conflicts = outcomes.iter().filter(|outcome| **outcome == Outcome::Conflict).count();
    let seen = (n_done(&outcomes), conflicts);
    assert_eq!(seen, (1, writes.len() - 1), "{law}: one wins, all others meet a conflict");
    let found = trial.load(key, trial.now).await.expect("law 1: the winner's record is there");
    let winner = writes.iter().zip(&outcomes).find_map(|(write, outcome)| match (write, outcome) {
        (
            OwnedWrite::Create { record } | OwnedWrite::Replace { record, .. },
            Outcome::Done(version),
        ) => Some(Loaded { record: record.clone(), version: *version }),
        _ => None,
    });
    assert_eq!(Some(&found), winner.as_ref(), "{law}: the winner's record must be found");
    found
}
