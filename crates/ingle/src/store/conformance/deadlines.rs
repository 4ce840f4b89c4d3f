//! Law 2: a dead record is never seen, and a live one always; the caller's time decides.

use std::time::Duration;

use serde_json::json;

use super::{
    owned::OwnedWrite,
    trial::{HOUR, Outcome, Trial, n_done, next, object, race},
};
use crate::{
    clock::Timestamp,
    record::{Loaded, Record},
};

const MOMENT: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A record is there until the last millisecond before its idle deadline, and dead from it on.
pub async fn law_2_an_idle_deadline_ends_a_record(trial: Trial) {
    let record = trial.create(trial.record()).await;
    ends_at(&trial, &record, trial.now.after(2 * HOUR)).await;
    // The deadline that counts is the one of the last commit.
    let record = trial.create(trial.record()).await;
    let mut later = next(&record, json!({ "n": 2 }));
    later.header.idle_deadline = trial.now.after(3 * HOUR);
    let record = trial.replace(&record, later).await;
    ends_at(&trial, &record, trial.now.after(3 * HOUR)).await;
}

/// The absolute deadline ends a record, however far off the idle one is.
pub async fn law_2_an_absolute_deadline_ends_a_record(trial: Trial) {
    let mut record = trial.record();
    record.header.idle_deadline = trial.now.after(12 * HOUR);
    record.header.absolute_deadline = trial.now.after(2 * HOUR);
    let record = trial.create(record).await;
    ends_at(&trial, &record, trial.now.after(2 * HOUR)).await;
}

/// Whatever the time is on this machine or the server's: it is what the caller says.
pub async fn law_2_the_caller_says_what_time_it_is(trial: Trial) {
    let mut record = trial.record();
    record.header.idle_deadline = trial.now.after(20 * YEAR);
    record.header.absolute_deadline = trial.now.after(30 * YEAR);
    let mut last = trial.create(record).await;
    let key = last.record.header.key;
    let times = [Timestamp::from_millis(0), trial.now, trial.now.after(10 * YEAR)];
    for (n, now) in times.into_iter().enumerate() {
        let found = trial.load(&key, now).await;
        assert_eq!(found.as_ref(), Some(&last), "law 2: the record is live at {now:?}");
        let record = next(&last, json!({ "n": n }));
        let outcome = trial.commit(&OwnedWrite::replace(&last, record.clone()), now).await;
        let version = outcome.done("law 2: a live record can be replaced");
        last = Loaded { record: record.into(), version };
    }
    ends_at(&trial, &last, trial.now.after(20 * YEAR)).await;
}

/// A dead record is in nobody's way: a create, or a renew to its key, takes its place.
pub async fn law_2_a_dead_record_is_in_nobodys_way(trial: Trial) {
    let dead = trial.create(trial.record_of("mary")).await;
    let now = dead.record.header.idle_deadline;
    let mut record = living_at(now, trial.record_under(dead.record.header.key));
    record.data = object(json!({ "life": 2 }));
    let outcome = trial.commit(&OwnedWrite::create(record.clone()), now).await;
    let version = outcome.done("law 2: a create takes the place of a dead record");
    let created = Loaded { record: record.into(), version };
    let found = trial.load(&dead.record.header.key, now).await;
    assert_eq!(found, Some(created), "law 2: nothing of the dead record may be left");

    let base = trial.create(living_at(now, trial.record())).await;
    let mut dead = trial.record_of("mary");
    dead.header.key = trial.key_to_renew(&base);
    let dead = trial.create(dead).await;
    let mut record = trial.renewed(&base);
    record.header.key = dead.record.header.key;
    let outcome = trial.commit(&OwnedWrite::renew(&base, record.clone()), now).await;
    let version = outcome.done("law 2: a renew takes the place of a dead record");
    let moved = Loaded { record: record.into(), version };
    let found = trial.load(&dead.record.header.key, now).await;
    assert_eq!(found, Some(moved), "law 2: nothing of the dead record may be left");
    trial.finds_nothing(&base.record.header.key, now, "law 6: the old key ends").await;
}

/// Lists show no dead record, swept or not.
pub async fn law_2_lists_show_no_dead_record(trial: Trial) {
    let now = trial.now.after(3 * HOUR);
    trial.create(trial.record_of("mary")).await;
    let mut record = living_at(now, trial.record_of("mary"));
    record.header.absolute_deadline = now;
    trial.create(record).await;
    let live = [trial.create(living_at(now, trial.record_of("mary"))).await];
    for list in trial.lists().into_iter().flatten() {
        let page = list.list(None, 10, now).await.expect("law 9: a store that is up can list");
        assert_eq!(page.records, live, "law 2: only the live record is listed");
        if trial.capabilities().lists_by_user {
            let page = list.list_by_user("mary", None, 10, now).await;
            let page = page.expect("law 9: a store that is up can list");
            assert_eq!(page.records, live, "law 2: only the live record is listed");
        }
    }
}

/// A sweep deletes what is dead, no more at a time than it may, and nothing that is live.
pub async fn law_2_a_sweep_takes_only_the_dead(trial: Trial) {
    let (n_dead, limit) = (20, 7);
    let now = trial.now.after(3 * HOUR);
    let mut dead = Vec::new();
    let mut live = Vec::new();
    for _ in 0..n_dead {
        dead.push(trial.create(trial.record()).await.record.header.key);
        live.push(trial.create(living_at(now, trial.record())).await);
    }
    let mut n_deleted = 0;
    let mut n_rounds = 0;
    loop {
        let swept = trial.store().sweep(now, limit).await;
        let swept = swept.expect("law 9: a store that is up can sweep");
        assert!(swept.deleted <= limit, "a sweep of at most {limit} reported {swept:?}");
        n_deleted += swept.deleted;
        n_rounds += 1;
        // Less, where the server's own expiry deletes.
        assert!(n_deleted <= n_dead, "of {n_dead} dead records {n_deleted} were deleted");
        if !swept.more {
            break;
        }
        assert!(n_rounds <= n_dead, "a sweep still says that there is more: {swept:?}");
    }
    for key in &dead {
        trial.finds_nothing(key, now, "law 2: swept or not, a dead record is not found").await;
    }
    for record in &live {
        trial.finds(record, "law 2: a sweep must spare what is live").await;
    }
}

/// What was dead once, and had its deadline moved in time, is spared.
pub async fn law_2_a_sweep_spares_what_was_kept_alive(trial: Trial) {
    let now = trial.now.after(3 * HOUR);
    let touched = trial.create(trial.record()).await;
    let touch = OwnedWrite::touch(touched.record.header.key, now.after(HOUR));
    trial.commit(&touch, trial.now).await.done("law 8: a live record can be touched");
    let replaced = trial.create(trial.record()).await;
    let record = living_at(now, next(&replaced, json!({ "n": 2 })));
    let replaced = trial.replace(&replaced, record).await;
    let base = trial.create(trial.record()).await;
    let moved = trial.renew(&base, living_at(now, trial.renewed(&base))).await;
    trial.store().sweep(now, 100).await.expect("law 9: a store that is up can sweep");
    for record in [touched, replaced, moved] {
        let found = trial.load(&record.record.header.key, now).await;
        assert!(found.is_some(), "law 2: a sweep must spare a record whose deadline was moved");
    }
}

/// A sweep that meets a dead record's successor leaves it alone.
pub async fn law_2_a_sweep_spares_who_took_a_dead_records_place(trial: Trial) {
    for _ in 0..20 {
        let dead = trial.create(trial.record()).await;
        let key = dead.record.header.key;
        let now = dead.record.header.idle_deadline;
        let create = OwnedWrite::create(living_at(now, trial.record_under(key)));
        let outcomes = race((0..3).map(|n| {
            let (trial, create) = (trial.clone(), create.clone());
            async move {
                if n == 0 {
                    return Some(trial.commit(&create, now).await);
                }
                let swept = trial.store().sweep(now, 100).await;
                swept.expect("law 9: a sweep beside a write is no failure");
                None
            }
        }))
        .await;
        let created = matches!(outcomes.first(), Some(Some(Outcome::Done(_))));
        assert!(created, "law 2: a dead record must not be in the way: {outcomes:?}");
        let found = trial.load(&key, now).await;
        assert!(found.is_some(), "law 2: a sweep must spare who took a dead record's place");
    }
}

/// Of many creates in the place of a dead record exactly one succeeds.
pub async fn law_2_one_create_takes_a_dead_records_place(trial: Trial) {
    for _ in 0..20 {
        let dead = trial.create(trial.record()).await;
        let key = dead.record.header.key;
        let now = dead.record.header.idle_deadline;
        let outcomes = race((0..4).map(|_| {
            let trial = trial.clone();
            let create = OwnedWrite::create(living_at(now, trial.record_under(key)));
            async move { trial.commit(&create, now).await }
        }))
        .await;
        let n_conflicts = outcomes.iter().filter(|ended| **ended == Outcome::Conflict).count();
        let seen = (n_done(&outcomes), n_conflicts);
        assert_eq!(seen, (1, 3), "law 3: one create wins, all others meet a conflict");
    }
}

/// Checks that the record is found until `deadline`, at it and after it no more.
async fn ends_at(trial: &Trial, record: &Loaded, deadline: Timestamp) {
    let key = record.record.header.key;
    let last_moment = Timestamp::from_millis(deadline.as_millis() - 1);
    let found = trial.load(&key, last_moment).await;
    assert_eq!(found.as_ref(), Some(record), "law 2: a record lives until its deadline");
    for past in [Duration::ZERO, MOMENT, HOUR, 100 * YEAR] {
        let law = format!("law 2: a record is dead {past:?} after its deadline");
        trial.finds_nothing(&key, deadline.after(past), &law).await;
    }
}

/// The record with deadlines after `now`.
fn living_at(now: Timestamp, mut record: Record) -> Record {
    record.header.idle_deadline = now.after(2 * HOUR);
    record.header.absolute_deadline = now.after(12 * HOUR);
    record
}
