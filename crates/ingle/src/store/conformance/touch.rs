//! Law 8: a touch keeps a record alive, and does nothing else to it.

use std::time::Duration;

use serde_json::json;

use super::{
    owned::OwnedWrite,
    sharing::{count, increment},
    trial::{HOUR, Outcome, Trial, next, object, race, with_idle_deadline},
};
use crate::{
    clock::Timestamp,
    record::{Loaded, Record},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A touch moves the idle deadline, and the record lives up to the new one.
pub async fn law_8_a_touch_moves_the_idle_deadline_only(trial: Trial) {
    let neighbor = trial.create(trial.record_of("mary")).await;
    let mut record = trial.record_of("mary");
    record.data = object(json!({ "a": { "b": [1, 2.0] } }));
    let first = trial.create(record).await;
    let key = first.record.header.key;
    let deadline = trial.now.after(5 * HOUR);
    let touched = touch(&trial, &first, deadline, deadline).await;
    let found = trial.load(&key, trial.now.after(4 * HOUR)).await;
    assert_eq!(found, Some(touched), "law 8: a touched record outlives its old deadline");
    trial.finds_nothing(&key, deadline, "law 8: a touched record ends at its new deadline").await;
    trial.finds(&neighbor, "law 8: a touch must not reach another record").await;
}

/// A touch with an earlier deadline, or the same one, is success and changes nothing.
pub async fn law_8_a_touch_never_moves_the_deadline_back(trial: Trial) {
    let first = trial.create(trial.record()).await;
    let (before, later) = (first.record.header.idle_deadline, trial.now.after(5 * HOUR));
    touch(&trial, &first, trial.now.after(HOUR), before).await;
    touch(&trial, &first, before, before).await;
    touch(&trial, &first, Timestamp::from_millis(0), before).await;
    touch(&trial, &first, later, later).await;
    touch(&trial, &first, before, later).await;
}

/// A touch beyond the absolute deadline moves the idle one there, and the record ends there.
pub async fn law_8_a_touch_never_passes_the_absolute_deadline(trial: Trial) {
    let first = trial.create(trial.record()).await;
    let absolute = first.record.header.absolute_deadline;
    touch(&trial, &first, absolute.after(HOUR), absolute).await;
    touch(&trial, &first, Timestamp::MAX, absolute).await;
    let key = first.record.header.key;
    trial.finds_nothing(&key, absolute, "law 8: no touch outlives the absolute deadline").await;
}

/// Of touches that race the latest deadline counts.
pub async fn law_8_of_racing_touches_the_latest_deadline_counts(trial: Trial) {
    for _ in 0..20 {
        let first = trial.create(trial.record()).await;
        let key = first.record.header.key;
        let touches: Vec<_> =
            [5, 3, 6, 4].map(|hours| OwnedWrite::touch(key, trial.now.after(hours * HOUR))).into();
        for outcome in trial.race(&touches).await {
            outcome.done("law 8: a touch has no condition but that the record is live");
        }
        let found = trial.load(&key, trial.now).await.map(|found| found.record);
        let expected = with_idle_deadline(&first, trial.now.after(6 * HOUR));
        let found = found.as_deref();
        assert_eq!(found, Some(&expected), "law 8: of many touches the latest deadline counts");
    }
}

/// What a touch returns is a version on which a commit works, whether it moved anything or not.
pub async fn law_8_a_commit_can_follow_a_touch(trial: Trial) {
    let mut base = trial.create(trial.record()).await;
    for (n, hours) in [5, 1].into_iter().enumerate() {
        let deadline = trial.now.after(5 * HOUR);
        let touched = touch(&trial, &base, trial.now.after(hours * HOUR), deadline).await;
        base = trial.replace(&touched, next(&touched, json!({ "n": n }))).await;
        trial.finds(&base, "law 8: a replace on a touch's version must be found").await;
    }
}

/// A replace on the version before a touch succeeds or is a conflict, as the store will have it. Then all of
/// it is there, or nothing; and where it leaves the idle deadline, that is the touch's.
pub async fn law_8_a_touch_costs_a_replace_nothing_but_a_conflict(trial: Trial) {
    let deadline = trial.now.after(5 * HOUR);
    for moves in [None, Some(3 * HOUR), Some(6 * HOUR)] {
        let first = trial.create(trial.record()).await;
        let touched = touch(&trial, &first, deadline, deadline).await;
        let mut record = next(&first, json!({ "n": 2 }));
        if let Some(time) = moves {
            record.header.idle_deadline = trial.now.after(time);
        }
        let replace = OwnedWrite::replace(&first, record.clone());
        let expected = match trial.commit(&replace, trial.now).await {
            Outcome::Done(_) => {
                if moves.is_none() {
                    record.header.idle_deadline = deadline;
                }
                record
            }
            Outcome::Conflict => Record::clone(&touched.record),
            Outcome::Gone => {
                panic!("law 8: a touched record is there, but the store calls it gone")
            }
        };
        let found = trial.load(&first.record.header.key, trial.now).await.map(|found| found.record);
        let law = "law 8: after a touch a replace is made whole or not at all";
        assert_eq!(found.as_deref(), Some(&expected), "{law}");
    }
}

/// Touches beside increments take none of them back: a touch carries no data.
pub async fn law_8_touches_take_no_change_back(trial: Trial) {
    const TASKS: u32 = 4;
    const TIMES: u32 = 20;
    let first = trial.create(trial.record()).await;
    let key = first.record.header.key;
    race((0..TASKS).map(|_| {
        let trial = trial.clone();
        async move {
            for minutes in 0..TIMES {
                let deadline = trial.now.after(3 * HOUR + minutes * MINUTE);
                let touch = OwnedWrite::touch(key, deadline);
                trial.commit(&touch, trial.now).await.done("law 8: the record is live");
                increment(&trial, &key, "touched").await;
            }
        }
    }))
    .await;
    let expected = u64::from(TASKS * TIMES);
    let found = count(&trial, &key, "touched").await;
    assert_eq!(found, expected, "law 8: a touch must take no increment back");
}

/// Touches `base` and checks that only the deadline moved, to `expected`.
async fn touch(trial: &Trial, base: &Loaded, to: Timestamp, expected: Timestamp) -> Loaded {
    let key = base.record.header.key;
    let outcome = trial.commit(&OwnedWrite::touch(key, to), trial.now).await;
    outcome.done("law 8: a live record must take a touch");
    let found = trial.load(&key, trial.now).await.expect("law 8: a touched record is there");
    let record: Record = with_idle_deadline(base, expected);
    let law = "law 8: a touch moves the idle deadline, forward, and nothing else";
    assert_eq!(*found.record, record, "{law}");
    found
}
