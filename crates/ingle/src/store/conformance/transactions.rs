//! Law 13: an act and its line are both stored or neither is, and nobody finds one without the other.
//!
//! A store without transactions promises nothing here.

use serde_json::{Value, json};

use super::{
    owned::{OwnedReplace, OwnedWrite},
    trial::{HOUR, Outcome, Trial, n_done, next, race, random_key},
};
use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, User, Version},
    store::{Applied, CommitError, Destroyed, ErrorKind, Lookup},
};

/// How many times a race is run, and how many take part.
const ROUNDS: usize = 10;
const CONTENDERS: usize = 6;

/// A session, and the line of what is about to be done to it.
async fn scene(trial: &Trial) -> (Loaded, Loaded) {
    (trial.create(trial.record_of("mary")).await, begun(trial).await)
}

async fn begun(trial: &Trial) -> Loaded {
    trial.create(trial.record_of("\u{1}log")).await
}

/// The line once its act is done.
fn done(line: &Loaded) -> OwnedReplace {
    OwnedReplace::new(line, next(line, json!({ "outcome": "done" })))
}

fn edit(session: &Loaded, line: &Loaded, data: Value) -> OwnedWrite {
    let act = OwnedReplace::new(session, next(session, data));
    OwnedWrite::ReplaceWith { act, line: done(line) }
}

/// What is there after a replace that was made.
fn after(OwnedReplace { base, record }: &OwnedReplace) -> Loaded {
    let version = Version(base.version.0 + 1);
    Loaded { record: record.clone(), version }
}

/// Ends what is under a key with a line, through the handle whose turn it is.
async fn end(trial: &Trial, key: Key, line: &OwnedReplace) -> Result<Destroyed, CommitError> {
    let transactions = trial.store().as_transactions().expect("law 13: both handles have them");
    Ok(transactions.destroy_with(&key, line.borrowed(), trial.now).await?)
}

async fn finds(trial: &Trial, expected: &Loaded, law: &str) {
    let found = trial.load(&expected.record.header.key, trial.now).await;
    let found = found.map(|found| found.record);
    assert_eq!(found.as_ref(), Some(&expected.record), "law 13: {law}");
}

/// Where the act can be done and the line is as it was, both are stored.
pub async fn law_13_an_act_and_its_line_are_both_stored(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    let (mut session, _) = scene(&trial).await;
    let changes: [fn(&mut Record, Timestamp); 3] = [
        |_, _| {},
        |record, now| record.header.idle_deadline = now.after(3 * HOUR),
        |record, now| {
            record.header.user = Some(User::new("john", 1, now));
            record.header.idle_deadline = now.after(HOUR);
        },
    ];
    for change in changes {
        let line = begun(&trial).await;
        let mut record = next(&session, json!({ "text": "it's", "n": null }));
        change(&mut record, trial.now);
        let (act, line) = (OwnedReplace::new(&session, record), done(&line));
        let write = OwnedWrite::ReplaceWith { act: act.clone(), line: line.clone() };
        let version = trial.commit(&write, trial.now).await.done("law 13: both are as they were");
        session = Loaded { record: act.record, version };
        trial.finds(&session, "law 13: an act that was done is stored").await;
        finds(&trial, &after(&line), "and so is its line").await;
    }
    let line = done(&begun(&trial).await);
    let key = session.record.header.key;
    let ended = end(&trial, key, &line).await.expect("law 13: a session that lives can end");
    assert_eq!(ended, Destroyed::Ended, "law 13: a session that lives ends");
    assert_eq!(trial.look_up(&key, trial.now).await, Lookup::Ended, "law 13: an end leaves a mark");
    finds(&trial, &after(&line), "an end has its line, too").await;
}

/// What is said of a refusal is said of the act, and the line stays begun.
pub async fn law_13_an_act_that_is_not_done_leaves_its_line_as_it_was(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    let (session, line) = scene(&trial).await;
    let newer = trial.replace(&session, next(&session, json!({ "n": 2 }))).await;
    let stale = edit(&session, &line, json!({ "n": 3 }));
    let law = "law 13: an act on a record that moved on is a conflict";
    assert_eq!(trial.commit(&stale, trial.now).await, Outcome::Conflict, "{law}");
    trial.finds(&newer, "law 13: a stale act changes nothing").await;
    let moved = trial.renew(&newer, trial.renewed(&newer)).await;
    let ended = trial.create(trial.record()).await;
    trial.destroy(ended.record.header.key).await;
    let never = Loaded { record: trial.record_under(random_key()).into(), ..ended.clone() };
    for gone in [&newer, &ended, &never] {
        let outcome = trial.commit(&edit(gone, &line, json!({})), trial.now).await;
        assert_eq!(outcome, Outcome::Gone, "law 13: an act on what is gone says so");
    }
    let to = moved.record.header.key;
    for (gone, expected) in [
        (&newer, Destroyed::Moved { to }),
        (&ended, Destroyed::Nothing),
        (&never, Destroyed::Nothing),
    ] {
        let found = end(&trial, gone.record.header.key, &done(&line)).await;
        let found = found.expect("law 7: destroying what is not there is success");
        assert_eq!(found, expected, "law 13: an end says what it found, as without a line");
    }
    trial.finds(&moved, "law 13: what moved lives on").await;
    trial.finds(&line, "law 13: the line of an act that was not done stays as it was").await;
}

/// An act whose line was changed, or is gone, is not done, and it is no conflict of the act.
pub async fn law_13_an_act_without_its_line_is_not_done(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    let (session, line) = scene(&trial).await;
    let changed = trial.replace(&line, next(&line, json!({ "by": "hand" }))).await;
    let removed = begun(&trial).await;
    trial.destroy(removed.record.header.key).await;
    let never = Loaded { record: trial.record_under(random_key()).into(), ..line.clone() };
    for line in [&line, &removed, &never] {
        let law = "law 13: without its line an act is refused, and surely not done";
        let write = edit(&session, line, json!({ "n": 2 }));
        let edited = write.apply(trial.store(), trial.now).await.map(|_| ());
        let ended = end(&trial, session.record.header.key, &done(line)).await.map(|_| ());
        for refused in [edited, ended] {
            match refused {
                Err(CommitError::Failed(error)) => {
                    let seen = (error.kind(), error.applied());
                    assert_eq!(seen, (ErrorKind::Refused, Applied::No), "{law}: {error:?}");
                }
                other => panic!("{law}: {other:?}"),
            }
        }
        trial.finds(&session, law).await;
    }
    trial.finds(&changed, "law 13: what somebody made of the line stays").await;
    // What is wrong with both is told of the act.
    let newer = trial.replace(&session, next(&session, json!({ "n": 2 }))).await;
    let outcome = trial.commit(&edit(&session, &removed, json!({})), trial.now).await;
    assert_eq!(outcome, Outcome::Conflict, "law 13: a refusal speaks of the act first");
    trial.finds(&newer, "law 13: a stale act changes nothing").await;
}

/// Whoever lost the answer may send the call again: it is made once.
pub async fn law_13_a_call_that_is_sent_again_is_made_once(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    let (session, line) = scene(&trial).await;
    let (act, told) = (OwnedReplace::new(&session, next(&session, json!({}))), done(&line));
    let write = OwnedWrite::ReplaceWith { act: act.clone(), line: told.clone() };
    trial.commit(&write, trial.now).await.done("law 13: both are as they were");
    let law = "an edit that is sent again changes nothing";
    for _ in 0..2 {
        assert_eq!(trial.commit(&write, trial.now).await, Outcome::Conflict, "law 13: {law}");
        finds(&trial, &after(&act), law).await;
        finds(&trial, &after(&told), law).await;
    }
    let (key, told) = (session.record.header.key, done(&begun(&trial).await));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(end(&trial, key, &told).await.expect("law 7: a second end is success"));
        finds(&trial, &after(&told), "an end that is sent again changes nothing").await;
    }
    let expected = [Destroyed::Ended, Destroyed::Nothing, Destroyed::Nothing];
    assert_eq!(seen, expected, "law 13: a session ends once");
}

/// Of acts on one record at once, among commits without a line, one is made, with its line alone.
pub async fn law_13_of_racing_acts_one_is_made_and_has_its_line(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    for _ in 0..ROUNDS {
        let session = trial.create(trial.record()).await;
        let (mut lines, mut writes) = (Vec::new(), Vec::new());
        for n in 0..CONTENDERS {
            let line = begun(&trial).await;
            writes.push(match n % 3 {
                2 => OwnedWrite::replace(&session, next(&session, json!({ "by": n }))),
                _ => edit(&session, &line, json!({ "by": n })),
            });
            lines.push(line);
        }
        let outcomes = trial.race(&writes).await;
        assert_eq!(n_done(&outcomes), 1, "law 13: of racing acts one is made: {outcomes:?}");
        let found = trial.load(&session.record.header.key, trial.now).await;
        let by = found.map(|found| found.record.data["by"].clone());
        for (n, ((line, write), outcome)) in lines.iter().zip(&writes).zip(&outcomes).enumerate() {
            if outcome.is_done() {
                assert_eq!(by, Some(json!(n)), "law 13: the winner's act is stored");
            }
            match write {
                OwnedWrite::ReplaceWith { line, .. } if outcome.is_done() => {
                    finds(&trial, &after(line), "the winner's line is stored").await;
                }
                _ => trial.finds(line, "law 13: the others' lines stay as they were").await,
            }
        }
    }
}

/// An edit and an end at once: the session ends, and each line says whether its own act was done.
pub async fn law_13_a_race_with_an_end_leaves_both_lines_right(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    for _ in 0..ROUNDS {
        let (session, line) = scene(&trial).await;
        let key = session.record.header.key;
        let (edited, ended) = (edit(&session, &line, json!({})), done(&begun(&trial).await));
        let writes = [edited.clone(), OwnedWrite::DestroyWith { key, line: ended.clone() }];
        let outcomes = trial.race(&writes).await;
        assert!(outcomes[1].is_done(), "law 13: an end is not in conflict: {outcomes:?}");
        assert_eq!(trial.look_up(&key, trial.now).await, Lookup::Ended, "law 13: it has ended");
        finds(&trial, &after(&ended), "the line of the end is stored").await;
        match (&edited, outcomes[0].is_done()) {
            (OwnedWrite::ReplaceWith { line, .. }, true) => {
                finds(&trial, &after(line), "the edit came first, with its line").await;
            }
            _ => trial.finds(&line, "law 13: the edit came too late, and has no line").await,
        }
    }
}

/// Whoever looks meanwhile finds neither an act without its line nor a line without its act.
pub async fn law_13_readers_never_find_one_without_the_other(trial: Trial) {
    if !trial.has_transactions() {
        return;
    }
    for _ in 0..ROUNDS {
        let (session, line) = scene(&trial).await;
        let keys = [session.record.header.key, line.record.header.key];
        let write = edit(&session, &line, json!({ "n": 2 }));
        let contenders = (0..CONTENDERS).map(|n| {
            let (trial, write) = (trial.clone(), write.clone());
            async move {
                if n == 0 {
                    trial.commit(&write, trial.now).await.done("law 13: nobody else writes");
                    return;
                }
                // In both orders: who finds the first one changed must find the other one so.
                let [first, second] = if n % 2 == 0 { keys } else { [keys[1], keys[0]] };
                loop {
                    let is_changed = async |key: &Key| {
                        let found = trial.peek(key, trial.now).await.expect("both live");
                        found.record.header.counter > 1
                    };
                    if is_changed(&first).await {
                        let law = "law 13: an act and its line are found together";
                        assert!(is_changed(&second).await, "{law}");
                        return;
                    }
                }
            }
        });
        race(contenders).await;
    }
}
