//! Law 6: a record that moves to a new key is in one place at any time.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use super::{
    owned::OwnedWrite,
    trial::{Outcome, Trial, n_done, next, race},
};
use crate::{id::Key, record::Loaded, store::Renew};

/// How many renews follow each other while readers look.
const STEPS: usize = 200;

/// How many readers look while a renew is under way.
const READERS: usize = 3;

/// After a renew the record is under its new key, whole, and nothing is under the old one.
pub async fn law_6_a_renew_moves_the_record(trial: Trial) {
    let neighbor = trial.create(trial.record_of("mary")).await;
    let mut base = trial.create(trial.record_of("mary")).await;
    for _ in 0..3 {
        let moved = trial.renew(&base, trial.renewed(&base)).await;
        trial.finds(&moved, "law 6: the record must be under its new key").await;
        let old_key = &base.record.header.key;
        trial.finds_nothing(old_key, trial.now, "law 6: the old key must end").await;
        base = moved;
    }
    trial.finds(&neighbor, "law 6: a renew must not reach another record").await;
}

/// A renew to a key that is taken is a conflict, and both records stay.
pub async fn law_6_a_renew_to_a_taken_key_changes_nothing(trial: Trial) {
    let base = trial.create(trial.record()).await;
    let taken = trial.create(trial.record_under(trial.key_to_renew(&base))).await;
    let mut record = trial.renewed(&base);
    record.header.key = taken.record.header.key;
    let outcome = trial.commit(&OwnedWrite::renew(&base, record), trial.now).await;
    assert_eq!(outcome, Outcome::Conflict, "law 6: a renew to a taken key is a conflict");
    trial.finds(&base, "law 6: a refused renew must leave the record where it is").await;
    trial.finds(&taken, "law 6: a refused renew must leave the other record as it is").await;
}

/// Of renews, and a replace, that race on one version exactly one succeeds, and the record is where
/// that one left it and nowhere else.
pub async fn law_6_of_racing_renews_one_wins(trial: Trial) {
    for _ in 0..20 {
        let base = trial.create(trial.record()).await;
        let stays = next(&base, json!({ "n": 2 }));
        let targets = [stays, trial.renewed(&base), trial.renewed(&base), trial.renewed(&base)];
        let writes = targets.each_ref().map(|target| {
            if target.header.key == base.record.header.key {
                OwnedWrite::replace(&base, target.clone())
            } else {
                OwnedWrite::renew(&base, target.clone())
            }
        });
        let outcomes = trial.race(&writes).await;
        assert_eq!(n_done(&outcomes), 1, "law 6: exactly one may win: {outcomes:?}");
        for (target, outcome) in targets.into_iter().zip(&outcomes) {
            let found = trial.load(&target.header.key, trial.now).await;
            let expected = match *outcome {
                Outcome::Done(version) => Some(Loaded { record: target.into(), version }),
                Outcome::Conflict | Outcome::Gone => None,
            };
            assert_eq!(found, expected, "law 6: the record is where the winner left it");
        }
    }
}

/// A destroy of the old key that races with a renew leaves the record moved or gone, never behind.
pub async fn law_6_a_race_with_a_destroy_leaves_nothing_behind(trial: Trial) {
    for _ in 0..20 {
        let base = trial.create(trial.record()).await;
        let (old_key, target) = (base.record.header.key, trial.renewed(&base));
        let new_key = target.header.key;
        let writes = [OwnedWrite::renew(&base, target), OwnedWrite::destroy(old_key)];
        let outcomes = trial.race(&writes).await;
        trial.finds_nothing(&old_key, trial.now, "law 6: the old key must end").await;
        let moved = trial.load(&new_key, trial.now).await.is_some();
        let renewed = outcomes.first().is_some_and(|outcome| outcome.is_done());
        assert_eq!(moved, renewed, "law 6: the new key is there if the renew succeeded, else not");
    }
}

/// Readers beside a chain of renews never find the record under neither key; and where a renew is
/// promised in [`Renew::OneStep`], never under both.
pub async fn law_6_readers_never_find_both_or_neither(trial: Trial) {
    let mut base = trial.create(trial.record()).await;
    for _ in 0..STEPS {
        let target = trial.renewed(&base);
        let (old_key, new_key) = (base.record.header.key, target.header.key);
        let renew = OwnedWrite::renew(&base, target.clone());
        let over = Arc::new(AtomicBool::new(false));
        let readers = (0..READERS).map(|_| {
            let (trial, over) = (trial.clone(), Arc::clone(&over));
            boxed(async move {
                // Once more after the end, so that each looks at least once.
                while !over.load(Ordering::SeqCst) {
                    look(&trial, &old_key, &new_key).await;
                }
                look(&trial, &old_key, &new_key).await;
                None
            })
        });
        let renew = {
            let (trial, over) = (trial.clone(), Arc::clone(&over));
            boxed(async move {
                let outcome = trial.commit(&renew, trial.now).await;
                over.store(true, Ordering::SeqCst);
                Some(outcome)
            })
        };
        // The next step begins when the readers have ended, so it takes no key away from them.
        let ended = race(readers.chain([renew])).await;
        let outcome = ended.into_iter().flatten().next().unwrap_or(Outcome::Gone);
        let version = outcome.done("law 6: a renew that only readers meet must succeed");
        base = Loaded { record: target.into(), version };
    }
    trial.finds(&base, "law 6: the record must be where the last renew moved it").await;
}

/// Looks in both orders, because each proves one half only.
///
/// The new key is there from the renew on and the old one up to it. So who finds nothing under the
/// old key looked after the renew and must then find the new one; and who finds the new one looked
/// after the renew and must then find nothing under the old.
async fn look(trial: &Trial, old_key: &Key, new_key: &Key) {
    let old = trial.peek(old_key, trial.now).await;
    let new = trial.peek(new_key, trial.now).await;
    assert!(
        old.is_some() || new.is_some(),
        "law 6: a reader found neither the old nor the new key"
    );
    if trial.capabilities().renew == Renew::OneStep {
        let new = trial.peek(new_key, trial.now).await;
        let old = trial.peek(old_key, trial.now).await;
        assert!(old.is_none() || new.is_none(), "law 6: a reader found the old and the new key");
    }
}

type Contender = Pin<Box<dyn Future<Output = Option<Outcome>> + Send>>;

fn boxed(contender: impl Future<Output = Option<Outcome>> + Send + 'static) -> Contender {
    Box::pin(contender)
}
