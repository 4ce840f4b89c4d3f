//! Law 10: a list by user finds every live session of that user and no other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    owned::OwnedWrite,
    trial::{HOUR, Trial, next},
};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
    record::{Loaded, Record, User},
    store::List,
};

/// Small, so that every list below has several pages.
const LIMIT: usize = 7;

/// What the store declares about lists is true: it lists by user, or says that it does not. To
/// answer "this user has no sessions" without looking would be a lie.
pub async fn law_10_a_store_lists_by_user_or_says_that_it_does_not(trial: Trial) {
    trial.create(trial.record_of("mary")).await;
    let declared = trial.capabilities().lists_by_user;
    for list in trial.lists() {
        match list {
            None => {
                assert!(!declared, "law 10: lists by user are promised, but there are no lists")
            }
            Some(list) => {
                let page = list.list_by_user("mary", None, LIMIT, trial.now).await;
                let law =
                    "law 10: a store lists by user if it promised to, else it reports an error";
                assert_eq!(page.is_ok(), declared, "{law}: {page:?}");
            }
        }
    }
}

/// Sessions that ended, moved to another user, were logged out or renewed are where they belong.
pub async fn law_10_each_user_has_exactly_their_live_sessions(trial: Trial) {
    let users = ["mary", "john", "zoe"];
    let now = trial.now.after(3 * HOUR);
    let mut expected: BTreeMap<&str, BTreeSet<Key>> = BTreeMap::new();
    let mut anonymous = BTreeSet::new();
    for (user, next_user) in users.into_iter().zip(users.into_iter().cycle().skip(1)) {
        for n in 0..40 {
            match live_through(&trial, n, user, next_user, now).await {
                Some((Some(user), key)) => _ = expected.entry(user).or_default().insert(key),
                Some((None, key)) => _ = anonymous.insert(key),
                None => {}
            }
        }
    }
    let all = expected.values().flatten().chain(&anonymous).copied().collect();
    for list in trial.lists().into_iter().flatten() {
        let listed = listed(&trial, list, None, now).await;
        assert_same_keys(&listed, &all, "the list of all has every live record and no other");
        if trial.capabilities().lists_by_user {
            for (user, expected) in &expected {
                let listed = self::listed(&trial, list, Some(user), now).await;
                let law = format!("{user}'s list has every live session of theirs and no other");
                assert_same_keys(&listed, expected, &law);
            }
            let nobody = self::listed(&trial, list, Some("nobody"), now).await;
            assert!(nobody.is_empty(), "law 10: a user without sessions has none: {nobody:?}");
        }
    }
}

/// Lets the `n`th session live through what sessions live through, and returns whose it is in the
/// end and its key, if it is still there at `now`.
async fn live_through<'a>(
    trial: &Trial,
    n: usize,
    user: &'a str,
    next_user: &'a str,
    now: Timestamp,
) -> Option<(Option<&'a str>, Key)> {
    let lasting = |mut record: Record| {
        record.header.idle_deadline = now.after(2 * HOUR);
        record
    };
    let life = n % 8;
    if life == 0 {
        // Dead at `now`.
        trial.create(trial.record_of(user)).await;
        return None;
    }
    let first = trial.create(lasting(trial.record_of(user))).await;
    let key = first.record.header.key;
    match life {
        1 => {
            trial.destroy(key).await;
            None
        }
        2 => {
            let moved = trial.renew(&first, trial.renewed(&first)).await;
            Some((Some(user), moved.record.header.key))
        }
        3 => {
            let mut record = next(&first, json!({}));
            record.header.user = Some(User::new(next_user, 1, Timestamp::from_millis(7)));
            trial.replace(&first, record).await;
            Some((Some(next_user), key))
        }
        4 => {
            let mut record = trial.renewed(&first);
            record.header.user = None;
            let moved = trial.renew(&first, record).await;
            Some((None, moved.record.header.key))
        }
        5 => {
            trial.replace(&first, next(&first, json!({ "n": 2 }))).await;
            let touch = OwnedWrite::touch(key, now.after(4 * HOUR));
            trial.commit(&touch, trial.now).await.done("law 8: the record is live");
            Some((Some(user), key))
        }
        _ => Some((Some(user), key)),
    }
}

/// The name of a user is a name, whatever it would mean in a query, a pattern or a key.
pub async fn law_10_a_name_is_only_a_name(trial: Trial) {
    let long = "x".repeat(1000);
    let nearly_as_long = "x".repeat(999);
    let names = [
        "",
        "a",
        "A",
        "ab",
        " a",
        "a ",
        "%",
        "*",
        "_",
        "?",
        "a%",
        "[a]",
        "{a}",
        "a:1",
        "a:10",
        "a/b",
        "a.b",
        "..",
        "\\",
        "'",
        "\"",
        "`",
        "' OR 1=1 --",
        "a\nb",
        "\n",
        "\u{e9}",
        "e\u{301}",
        "\u{1f525}",
        "null",
        "0",
        "0.0",
        "$a",
        "#",
        &long,
        &nearly_as_long,
    ];
    let mut expected = BTreeMap::new();
    for name in names {
        let session = trial.create(trial.record_of(name)).await;
        expected.insert(name, BTreeSet::from([session.record.header.key]));
    }
    trial.create(trial.record()).await;
    if !trial.capabilities().lists_by_user {
        return law_10_a_store_lists_by_user_or_says_that_it_does_not(trial).await;
    }
    for list in trial.lists().into_iter().flatten() {
        for (name, expected) in &expected {
            let listed = listed(&trial, list, Some(name), trial.now).await;
            assert_same_keys(&listed, expected, &format!("only {name:?}'s own session is listed"));
        }
    }
}

/// What is there during the whole listing is on exactly one page, whatever comes and goes meanwhile.
pub async fn law_10_what_stays_is_on_exactly_one_page(trial: Trial) {
    let mut staying = BTreeSet::new();
    let mut going = Vec::new();
    for n in 0..40 {
        let session = trial.create(trial.record_of("mary")).await;
        if n % 2 == 0 {
            staying.insert(session.record.header.key);
        } else {
            going.push(session);
        }
    }
    let mut seen = BTreeSet::new();
    let mut after = None;
    loop {
        let Some(list) = trial.store().as_list() else { return };
        let page = list.list(after.as_ref(), LIMIT, trial.now).await;
        let page = page.expect("law 9: a store that is up can list");
        for record in &page.records {
            let key = record.record.header.key;
            let first_time = seen.insert(key);
            assert!(first_time || !staying.contains(&key), "law 10: {key} is on two pages");
        }
        after = page.next;
        if after.is_none() {
            break;
        }
        // Behind and before the cursor something ends, begins and changes.
        match going.pop() {
            Some(session) if going.len() % 2 == 0 => {
                trial.replace(&session, next(&session, json!({}))).await;
            }
            Some(session) => _ = trial.destroy(session.record.header.key).await,
            None => break,
        }
        trial.create(trial.record_of("mary")).await;
    }
    let missing: Vec<_> = staying.difference(&seen).collect();
    assert!(missing.is_empty(), "law 10: on no page at all: {missing:?}");
}

/// A handle finds the live record whose key begins with it, be it the first, the last or any other.
pub async fn law_10_a_handle_finds_its_record_and_no_other(trial: Trial) {
    let (sessions, ended) = living_and_ended(&trial).await;
    for list in trial.lists().into_iter().flatten() {
        for session in &sessions {
            let key = session.record.header.key;
            let found = of_handle(list, &key.handle().into(), trial.now).await;
            let loaded: Vec<_> = trial.load(&key, trial.now).await.into_iter().collect();
            assert_eq!(found, loaded, "law 10: a handle finds its own");
            let dead = of_handle(list, &key.handle().into(), trial.now.after(3 * HOUR)).await;
            assert!(dead.is_empty(), "law 10: no handle finds the dead");
        }
        for session in &ended {
            let found =
                of_handle(list, &session.record.header.key.handle().into(), trial.now).await;
            assert!(found.is_empty(), "law 10: no handle finds the ended");
        }
    }
}

/// The beginning of a handle finds the live records whose handles begin so, each once.
pub async fn law_10_a_shortened_handle_finds_all_that_begin_so(trial: Trial) {
    let (sessions, _) = living_and_ended(&trial).await;
    let handles = sessions.iter().map(|session| session.record.header.key.handle().to_string());
    let lengths = [1, 2, 3, 7, 15];
    let beginnings =
        handles.flat_map(|handle| lengths.map(|n| handle.get(..n).unwrap_or_default().to_owned()));
    // Also such that no record has.
    let beginnings: BTreeSet<String> = beginnings
        .chain(["a", "0000000000000001", "fffffffffffffffe"].map(str::to_owned))
        .collect();
    for list in trial.lists().into_iter().flatten() {
        for beginning in &beginnings {
            let prefix = beginning.parse().expect("these are digits");
            let found = of_handle(list, &prefix, trial.now).await;
            let keys: BTreeSet<Key> = found.iter().map(|found| found.record.header.key).collect();
            assert_eq!(keys.len(), found.len(), "law 10: {beginning} has a record twice");
            let all = sessions.iter().map(|session| session.record.header.key);
            let expected = all.filter(|key| key.to_string().starts_with(beginning)).collect();
            assert_same_keys(&keys, &expected, &format!("{beginning} is how exactly these begin"));
        }
    }
}

/// What a list shows, the caller's instant decides: what is dead now lived then.
pub async fn law_2_a_list_shows_what_lives_at_the_callers_instant(trial: Trial) {
    let session = trial.create(trial.record_of("mary")).await;
    let expected = BTreeSet::from([session.record.header.key]);
    for list in trial.lists().into_iter().flatten() {
        for user in [None, Some("mary")] {
            let early = listed_at(list, user, Timestamp::from_millis(0)).await;
            let early = early.iter().map(|found| found.record.header.key).collect();
            assert_same_keys(&early, &expected, "before all deadlines each record lives");
            let late = listed_at(list, user, trial.now.after(3 * HOUR)).await;
            assert!(late.is_empty(), "law 2: a list shows a dead record");
        }
    }
}

/// Sessions that live, with the first and the last of all keys, and such that have ended.
async fn living_and_ended(trial: &Trial) -> (Vec<Loaded>, Vec<Loaded>) {
    let ends = [[0; 32], [0xff; 32]].map(Key::from_bytes);
    let records = ends.map(|key| trial.record_under(key)).into_iter();
    // More than a page of those that begin alike.
    let alike = (0..10).map(|n| {
        let mut key = [0x5a; 32];
        key[7] = n;
        trial.record_under(Key::from_bytes(key))
    });
    let records = records.chain(alike).chain((0..20).map(|_| trial.record()));
    let mut sessions = Vec::new();
    for record in records {
        sessions.push(trial.create(record).await);
    }
    let ended = sessions.split_off(25);
    for session in &ended {
        trial.destroy(session.record.header.key).await;
    }
    (sessions, ended)
}

/// All records of a shortened handle.
async fn of_handle(list: &dyn List, prefix: &HandlePrefix, now: Timestamp) -> Vec<Loaded> {
    let (mut found, mut after) = (Vec::new(), None);
    // More pages than any list here has records.
    for _ in 0..1000 {
        let page = list.list_by_handle(prefix, after.as_ref(), LIMIT, now).await;
        let page = page.expect("law 9: a store that is up can look a handle up");
        assert!(page.records.len() <= LIMIT, "law 10: a page has at most {LIMIT} records");
        found.extend(page.records);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
    panic!("law 10: the list of {prefix} does not end");
}

async fn listed_at(list: &dyn List, user: Option<&str>, at: Timestamp) -> Vec<Loaded> {
    let page = match user {
        Some(user) => list.list_by_user(user, None, LIMIT, at).await,
        None => list.list(None, LIMIT, at).await,
    };
    page.expect("law 9: a store that is up can list").records
}

/// Lists everything, or one user's, page by page, and checks each page.
async fn listed(
    trial: &Trial,
    list: &dyn List,
    user: Option<&str>,
    now: Timestamp,
) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    let mut after = None;
    // More pages than any list here has records.
    for _ in 0..1000 {
        let page = match user {
            Some(user) => list.list_by_user(user, after.as_ref(), LIMIT, now).await,
            None => list.list(after.as_ref(), LIMIT, now).await,
        };
        let page = page.expect("law 9: a store that is up can list");
        let n = page.records.len();
        assert!(n <= LIMIT, "law 10: a page of at most {LIMIT} has {n} records");
        for listed in page.records {
            let key = listed.record.header.key;
            assert!(keys.insert(key), "law 10: {key} is on two pages");
            let found: Option<Loaded> = trial.load(&key, now).await;
            assert_eq!(found, Some(listed), "law 10: a list shows what a load finds");
        }
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
    panic!("law 10: the list of {user:?} does not end");
}

/// Compares, and shows only the difference.
fn assert_same_keys(listed: &BTreeSet<Key>, expected: &BTreeSet<Key>, law: &str) {
    let missing: Vec<_> = expected.difference(listed).collect();
    let excess: Vec<_> = listed.difference(expected).collect();
    let same = missing.is_empty() && excess.is_empty();
    assert!(same, "law 10: {law}, but it lacks {missing:?} and has {excess:?} too many");
}
