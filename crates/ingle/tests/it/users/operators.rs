//! What operators see of sessions and do to them, and what is written down of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use ingle::{
    ListOptions, Sessions, StoredSession,
    clock::Timestamp,
    data::Data,
    operator::{AuditAct, AuditLine, AuditOutcome, HandlePrefix, Operator},
    store::{self, Applied, CommitError, ErrorKind},
};
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::{common::Intercept, log::Log};

/// All sessions that a list has.
async fn listed(sessions: &Sessions, options: &ListOptions) -> Vec<StoredSession> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = sessions.list(options, after.as_ref()).await.unwrap();
        listed.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            return listed;
        }
    }
}

async fn log_of(sessions: &Sessions) -> Vec<AuditLine> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let page = sessions.audit_log(after.as_ref()).await.unwrap();
        lines.extend(page.lines);
        after = page.next;
        if after.is_none() {
            return lines;
        }
    }
}

fn ada() -> Operator {
    Operator::new("ada@example.com").at("192.0.2.7")
}

/// SHA-256 of `1`, and of `2`.
const HASH_OF_1: &str = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
const HASH_OF_2: &str = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";

pub(super) async fn an_operator_finds_a_session_and_changes_and_ends_it(scene: Scene) {
    let [here, there] = scene.apps();
    let mut visitor = logged_in(&here, "ada").await;
    visitor.get(&here, "/cart/book").await.ok();
    // A user with a record of their own, which is no session.
    here.get("/end-all-of/bob", "").await.ok();
    let sessions = scene.layers[1].sessions();
    assert_eq!(sessions.store_info(), scene.store.info());
    assert_eq!(sessions.now(), scene.clock.now());
    sessions.ping_store().await.unwrap();
    if !scene.lists() {
        let refused = sessions.list(&ListOptions::new(), None).await.unwrap_err();
        assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
        return;
    }
    let listed = listed(&sessions, &ListOptions::new().limit(1)).await;
    let [only] = &listed[..] else { panic!("{listed:?}") };
    let info = only.info();
    assert_eq!(info.user.as_ref().map(|user| user.name.as_str()), Some("ada"));
    assert_eq!(only.snapshot(), json!({ "cart": ["book"] }).as_object().unwrap());
    assert_eq!((info.data_bytes, info.has_expired), (r#"{"cart":["book"]}"#.len(), false));
    assert!(info.commits > 0 && info.idle_deadline <= info.ends, "{info:?}");
    let found = sessions.find(&info.handle).await.unwrap().unwrap();
    assert_eq!(found.info(), info);

    let held = Held::begin(&scene.layers[0], &visitor.cookie).await;
    scene.clock.advance(20 * MINUTE);
    let push = |cart: &mut Cart| cart.cart.push("pen".to_owned());
    found.update(push).await.unwrap();
    held.session.push("cart", "ink").unwrap();
    held.respond(StatusCode::OK).await.ok();
    let cart: Cart = found.data().await.unwrap();
    assert_eq!(cart.cart, ["book", "pen", "ink"]);
    let refused = |cart: &mut Cart| {
        cart.cart.clear();
        Err::<(), _>(cart.cart.len())
    };
    assert_eq!(found.try_update(refused).await.unwrap(), Err(0));
    assert_eq!(found.data::<Cart>().await.unwrap().cart, ["book", "pen", "ink"]);
    scene.clock.advance(29 * MINUTE);
    // What an operator does is no use of the session, and takes none back.
    assert_eq!(who(&here, &visitor).await, "ada");
    found.update(|cart: &mut Cart| cart.cart.clear()).await.unwrap();
    scene.clock.advance(29 * MINUTE);
    found.update(|cart: &mut Cart| cart.cart.clear()).await.unwrap();
    found.update(push).await.unwrap();
    scene.clock.advance(2 * MINUTE);
    let ended = found.update(push).await.unwrap_err();
    assert!(matches!(ended, Error::Interrupted), "{ended}");
    assert_eq!(who(&there, &visitor).await, "nobody");
    assert!(sessions.find(&info.handle).await.unwrap().is_none());

    let mut visitor = logged_in(&here, "ada").await;
    let [one] = &sessions.of_user("ada").await.unwrap()[..] else { panic!("there is one") };
    let found = sessions.find(&one.handle).await.unwrap().unwrap();
    visitor.get(&here, "/renew").await.ok();
    let moved = found.update(push).await.unwrap_err();
    assert!(matches!(moved, Error::Interrupted), "{moved}");
    assert!(found.end().await.unwrap());
    assert_eq!(there.get("/user", &visitor.cookie).await.status, StatusCode::CONFLICT);
    assert!(!found.end().await.unwrap(), "it had ended before");
}

pub(super) async fn an_operator_finds_sessions_by_how_their_handles_begin(scene: Scene) {
    let [here, _] = scene.apps();
    let sessions = scene.layers[1].sessions().operated_by(ada());
    for user in ["ada", "bob", "cyd"] {
        logged_in(&here, user).await;
        // Records that are no sessions, with the greatest keys of all.
        sessions.end_all_of("nobody").await.unwrap();
    }
    if !scene.lists() {
        let refused = sessions.find_by_prefix(&"f".parse().unwrap(), 10).await.unwrap_err();
        assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
        return;
    }
    let all = listed(&sessions, &ListOptions::new()).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let handles: BTreeSet<_> = all.iter().map(|session| session.info().handle).collect();
    for handle in &handles {
        for n in [1, 2, 16] {
            let prefix: HandlePrefix = handle.to_string()[..n].parse().unwrap();
            let found = sessions.find_by_prefix(&prefix, 10).await.unwrap().sessions;
            let found: BTreeSet<_> = found.iter().map(|session| session.info().handle).collect();
            let expected = handles.iter().copied().filter(|handle| prefix.is_of(handle)).collect();
            assert_eq!(found, expected, "{prefix}");
        }
    }
    let one = handles.first().unwrap().to_string()[..1].parse().unwrap();
    assert_eq!(sessions.find_by_prefix(&one, 1).await.unwrap().sessions.len(), 1);
    // Where the lines of the audit log are, and no session is.
    for none in ["ffffff", "fffffe"] {
        assert!(
            sessions.find_by_prefix(&none.parse().unwrap(), 1).await.unwrap().sessions.is_empty()
        );
    }
    // Of a user's sessions, too.
    let own = all
        .iter()
        .find(|session| session.info().user.as_ref().is_some_and(|user| user.name == "ada"));
    let own = own.unwrap().info().handle;
    let options = ListOptions::new().of_user("ada").of_handle(own.into());
    assert_eq!(listed(&sessions, &options).await.len(), 1);
    let options = ListOptions::new().of_user("bob").of_handle(own.into());
    assert!(listed(&sessions, &options).await.is_empty());
}

pub(super) async fn an_operator_sees_what_has_expired_until_it_is_swept(scene: Scene) {
    if !scene.lists() {
        return;
    }
    let [here, _] = scene.apps();
    let mut visitor = logged_in(&here, "ada").await;
    visitor.get(&here, "/cart/book").await.ok();
    let sessions = scene.layers[1].sessions().operated_by(ada());
    sessions.end_all_of("bob").await.unwrap();
    scene.clock.advance(31 * MINUTE);
    for options in [ListOptions::new(), ListOptions::new().of_user("ada")] {
        assert!(listed(&sessions, &options).await.is_empty());
        let dead = listed(&sessions, &options.with_expired(true)).await;
        let [dead] = &dead[..] else { panic!("{dead:?}") };
        assert!(dead.info().has_expired);
        assert_eq!(dead.snapshot()["cart"], json!(["book"]));
        let gone = dead.update(|data: &mut Data| data.clear()).await.unwrap_err();
        assert!(matches!(gone, Error::Interrupted), "{gone}");
        assert_eq!(dead.reload().await.unwrap().unwrap_err(), SessionEnd::Expired);
    }
    scene.store.sweep(scene.clock.now(), 100).await.unwrap();
    let options = ListOptions::new().with_expired(true);
    let left = listed(&sessions, &options).await;
    // A store whose server removes what is dead sweeps nothing itself.
    assert!(left.is_empty() || scene.store.info().name == "redis", "{left:?}");
    assert!(!log_of(&sessions).await.is_empty(), "lines of the audit log outlive sessions");
}

/// What an operator may say to edit, and not every store takes for the name of a field.
const NAMED: [&str; 5] = ["n", "", "a.b", "__n__", "$timestamp"];

pub(super) async fn an_operators_acts_are_lines_of_the_audit_log(scene: Scene) {
    let [here, _] = scene.apps();
    let (log, _catching) = Log::catch();
    let plain = scene.layers[1].sessions();
    let sessions = plain.operated_by(ada());
    sessions.end_all_of("ada").await.unwrap();
    assert!(log.text().contains("an operator's act"), "{}", log.text());
    if !scene.lists() {
        let text = log.text();
        assert!(text.contains("ada@example.com") && text.contains("192.0.2.7"), "{text}");
        assert!(
            text.contains(r#"outcome="begun""#) && text.contains(r#"outcome="done""#),
            "{text}"
        );
        let refused = sessions.audit_log(None).await.unwrap_err();
        assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
        return;
    }
    let mut visitor = logged_in(&here, "ada").await;
    visitor.get(&here, "/cart/book").await.ok();
    let found = listed(&sessions, &ListOptions::new()).await.remove(0);
    let handle = found.info().handle;
    let step = || scene.clock.advance(Duration::from_millis(1));
    step();
    found.update(|data: &mut Data| data.insert("n".to_owned(), json!(1))).await.unwrap();
    step();
    let refuse = |data: &mut Data| {
        data.insert("n".to_owned(), json!(3));
        Err::<(), _>("no")
    };
    assert_eq!(found.try_update(refuse).await.unwrap(), Err("no"));
    step();
    let named = found.clone().naming(NAMED).reload().await.unwrap().unwrap();
    assert_eq!(named.try_update(refuse).await.unwrap(), Err("no"));
    step();
    named.update(|data: &mut Data| data.insert("n".to_owned(), json!(1))).await.unwrap();
    step();
    let change = |data: &mut Data| {
        data.insert("n".to_owned(), json!(2));
        data.remove("cart");
    };
    found.clone().naming((0..150).map(|n| format!("x{n:03}"))).update(change).await.unwrap();
    step();
    found.reload().await.unwrap().unwrap().note_reveal(&["n", "other"]).await.unwrap();
    step();
    found.end().await.unwrap();
    step();
    found.update(change).await.unwrap_err();
    step();
    sessions.note_reveal(None).await.unwrap();
    // Of what nobody operates there is no line.
    logged_in(&here, "ada").await;
    assert_eq!(plain.end_all_of("ada").await.unwrap(), 1);

    let lines = log_of(&plain).await;
    let acts: Vec<_> = lines.iter().map(|line| (line.act, line.outcome)).collect();
    let (edit, done) = (AuditAct::Edit, AuditOutcome::Done);
    let newest_first = [
        (AuditAct::Reveal, done),
        (edit, AuditOutcome::Refused),
        (AuditAct::End, done),
        (AuditAct::Reveal, done),
        (edit, done),
        (edit, done),
        (edit, AuditOutcome::Refused),
        (edit, AuditOutcome::Refused),
        (edit, done),
        (AuditAct::EndAll, done),
    ];
    assert_eq!(acts, newest_first, "{lines:#?}");
    assert!(lines.iter().all(|line| line.operator == "ada@example.com"), "{lines:#?}");
    assert!(lines.iter().all(|line| line.from.as_deref() == Some("192.0.2.7")), "{lines:#?}");
    let one_session = lines[1..9].iter().all(|line| line.session == Some(handle));
    assert!(one_session && lines[0].session.is_none(), "{lines:#?}");
    let [_, _, _, reveal, second, unchanged, refused, unnamed, first, end_all] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert_eq!((end_all.user.as_deref(), end_all.ended), (Some("ada"), Some(0)));
    let hashes = |line: &AuditLine| -> BTreeMap<String, [Option<String>; 2]> {
        let fields = line.fields.clone().into_iter();
        fields.map(|(name, field)| (name, [field.before, field.after])).collect()
    };
    let hash = |text: &str| Some(text.to_owned());
    assert_eq!(hashes(first)["n"], [None, hash(HASH_OF_1)]);
    assert_eq!(hashes(second)["n"], [hash(HASH_OF_1), hash(HASH_OF_2)]);
    // Of all that were changed or named, the first ones.
    assert_eq!((second.fields.len(), second.more_fields), (100, 52));
    assert!(unnamed.fields.is_empty(), "{unnamed:#?}");
    for line in [refused, unchanged] {
        let named = NAMED.map(|name| (name.to_owned(), [None, None]));
        assert_eq!(hashes(line), named.into_iter().collect(), "{line:#?}");
    }
    let cart = &hashes(second)["cart"];
    assert!(cart[0].is_some() && cart[1].is_none(), "{cart:?}");
    assert_eq!(hashes(reveal)["n"], [hash(HASH_OF_2), hash(HASH_OF_2)]);
    assert_eq!(hashes(reveal)["other"], [None, None]);
    assert!(!format!("{lines:?}{}", log.text()).contains("book"), "a line has a value");
}

pub(super) async fn an_operator_ends_every_session_that_had_begun(scene: Scene) {
    let [here, there] = scene.apps();
    let sessions = scene.layers[1].sessions().operated_by(ada());
    let mut visitors = Vec::new();
    for n in 0..150 {
        let mut visitor = logged_in(&here, &format!("user{}", n % 7)).await;
        if n % 3 == 0 {
            visitor.get(&there, "/cart/book").await.ok();
        }
        visitors.push(visitor);
    }
    let mut anonymous = Visitor::default();
    anonymous.get(&here, "/cart/book").await.ok();
    if !scene.lists() {
        let ended = sessions.end_all().await;
        assert!(matches!(ended, Err(Error::Unsupported(_))), "{ended:?}");
        assert_eq!(who(&here, &visitors[0]).await, "user0");
        return;
    }
    assert_eq!(sessions.end_all().await.unwrap(), 151);
    for visitor in visitors.iter().chain([&anonymous]) {
        assert_eq!(here.get("/cart", &visitor.cookie).await.status, StatusCode::CONFLICT);
    }
    let line = log_of(&sessions).await.remove(0);
    assert_eq!((line.act, line.outcome), (AuditAct::EndAll, AuditOutcome::Done));
    assert_eq!((line.user, line.session, line.ended), (None, None, Some(151)));
    // Of two at once, each session is counted by one.
    for n in 0..40 {
        logged_in(&there, &format!("user{}", n % 3)).await;
    }
    let others = scene.layers[0].sessions();
    let (one, other) = tokio::join!(sessions.end_all(), others.end_all());
    assert_eq!(one.unwrap() + other.unwrap(), 40);
    // Whoever comes later begins anew.
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(who(&there, &logged_in(&there, "user0").await).await, "user0");
    assert_eq!(sessions.end_all().await.unwrap(), 1);
}

pub(super) async fn a_line_of_the_audit_log_is_no_session(scene: Scene) {
    let [here, _] = scene.apps();
    let sessions = scene.layers[1].sessions().operated_by(ada());
    for _ in 0..5 {
        sessions.end_all_of("bob").await.unwrap();
    }
    let login = here.get("/login/%01audit", "").await;
    assert!(login.status.is_server_error() || login.status.is_client_error(), "{login:?}");
    if !scene.lists() {
        return;
    }
    for options in [ListOptions::new(), ListOptions::new().with_expired(true)] {
        assert!(listed(&sessions, &options).await.is_empty());
    }
    let named = ListOptions::new().of_user("\u{1}audit");
    for refused in [
        sessions.list(&named, None).await.map(|_| ()),
        sessions.of_user("\u{1}audit").await.map(|_| ()),
        sessions.end_all_of("\u{1}audit").await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::InvalidValue(_))), "{refused:?}");
    }
    let records = scene.records_of("\u{1}audit").await;
    assert_eq!(records.len(), 5, "the refused end of all has no line");
    for record in &records {
        let key = record.header.key;
        assert!(key.is_of_audit() && !key.is_of_session() && !key.is_of_user());
        assert!(sessions.find(&key.handle()).await.unwrap().is_none());
    }
    scene.clock.advance(399 * DAY);
    scene.store.sweep(scene.clock.now(), 100).await.unwrap();
    assert_eq!(log_of(&sessions).await.len(), 5);
    scene.clock.advance(2 * DAY);
    scene.store.sweep(scene.clock.now(), 100).await.unwrap();
    assert!(log_of(&sessions).await.is_empty());
}

pub(super) async fn an_operator_follows_a_session_to_its_end(scene: Scene) {
    if !scene.lists() {
        return;
    }
    let [here, _] = scene.apps();
    let mut visitor = logged_in(&here, "ada").await;
    let sessions = scene.layers[1].sessions();
    let found = listed(&sessions, &ListOptions::new()).await.remove(0);
    visitor.get(&here, "/cart/book").await.ok();
    let now = found.reload().await.unwrap().unwrap();
    assert_eq!(now.snapshot()["cart"], json!(["book"]));
    assert!(now.info().commits > found.info().commits);
    visitor.get(&here, "/renew").await.ok();
    let renewed = found.reload().await.unwrap().unwrap();
    assert_ne!(renewed.info().handle, found.info().handle);
    assert_eq!(renewed.snapshot()["cart"], json!(["book"]));
    visitor.get(&here, "/logout").await.ok();
    assert_eq!(found.reload().await.unwrap().unwrap_err(), SessionEnd::Ended);
}

/// What an operator does to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Edit,
    End,
}

/// What came of a deed.
#[derive(Debug)]
struct Came {
    told: Result<(), Error>,
    /// How often it was done.
    n_done: u64,
    outcomes: Vec<AuditOutcome>,
}

/// Does it on a store, with transactions or without, that fails these writes: the 1st is the line, the 2nd the
/// deed, and the 3rd completes the line.
async fn do_with(
    deed: Deed,
    has_transactions: bool,
    faults: impl IntoIterator<Item = (Step, Fault)>,
) -> Came {
    let memory = Memory::new();
    logged_in(&shop(&layer(memory.clone())), "ada").await;
    let store: Arc<dyn Store> = match has_transactions {
        true => Arc::new(memory.clone()),
        false => Arc::new(Intercept::new(memory.clone())),
    };
    let faulty = Faulty::new(store);
    let sessions = layer_as_it_comes(faulty.clone()).sessions().operated_by(ada());
    let found = listed(&sessions, &ListOptions::new()).await.remove(0);
    for (step, fault) in faults {
        faulty.on(step, fault);
    }
    let told = match deed {
        Deed::Edit => found.update(count).await,
        Deed::End => found.end().await.map(|ended| assert!(ended, "it lived")),
    };
    // Until all that was held up has landed.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sessions = layer(memory).sessions();
    let outcomes = log_of(&sessions).await.iter().map(|line| line.outcome).collect();
    let left = listed(&sessions, &ListOptions::new()).await;
    let n_done = match (deed, left.first()) {
        (Deed::Edit, Some(session)) => {
            session.snapshot().get("n").map_or(0, |n| n.as_u64().unwrap())
        }
        (Deed::Edit, None) => panic!("nobody has ended it"),
        (Deed::End, left) => u64::from(left.is_none()),
    };
    Came { told, n_done, outcomes }
}

fn count(data: &mut Data) {
    let n = data.get("n").map_or(0, |n| n.as_u64().unwrap());
    data.insert("n".to_owned(), json!(n + 1));
}

/// From this write on, all fail, more than are tried again.
fn from(first: u64, fault: Fault) -> impl Iterator<Item = (Step, Fault)> {
    (first..first + 1000).map(move |n| (Step::Commit(n), fault))
}

#[tokio::test(start_paused = true)]
async fn no_act_of_an_operator_is_without_a_line() {
    let (begun, done) = (AuditOutcome::Begun, AuditOutcome::Done);
    let lost = Fault::LoseAnswer;
    for (deed, has_transactions) in
        [Deed::Edit, Deed::End].into_iter().flat_map(|deed| [(deed, true), (deed, false)])
    {
        let story = format!("{deed:?}, with transactions: {has_transactions}");
        for n in 1..=3 {
            let came = do_with(deed, has_transactions, [(Step::Commit(n), lost)]).await;
            assert!(came.told.is_ok(), "answer {n} is lost: {story}: {came:?}");
            assert_eq!((came.n_done, came.outcomes), (1, vec![done]), "answer {n}: {story}");
        }
        for fault in [Fault::Refuse, Fault::LoseRequest] {
            let came = do_with(deed, has_transactions, from(1, fault)).await;
            assert!(matches!(came.told, Err(Error::Unavailable(_))), "{story}: {came:?}");
            let seen = (came.n_done, came.outcomes);
            assert_eq!(seen, (0, vec![]), "{fault:?}: no line, so no act: {story}");
        }
        let came = do_with(deed, has_transactions, from(2, Fault::Refuse)).await;
        assert!(matches!(came.told, Err(Error::Unavailable(_))), "{story}: {came:?}");
        assert_eq!((came.n_done, came.outcomes), (0, vec![begun]), "{story}");
        // The act is done, and then nothing is.
        let came = do_with(deed, has_transactions, from(3, Fault::Refuse)).await;
        assert!(came.told.is_ok(), "{story}: {came:?}");
        let outcome = if has_transactions { done } else { begun };
        assert_eq!((came.n_done, came.outcomes), (1, vec![outcome]), "{story}");
    }
    // Nobody learns whether it was done, but the log.
    for (has_transactions, outcome) in [(true, done), (false, AuditOutcome::Unknown)] {
        let came = do_with(Deed::End, has_transactions, from(2, lost)).await;
        assert!(matches!(came.told, Err(Error::OutcomeUnknown)), "{came:?}");
        assert_eq!((came.n_done, came.outcomes), (1, vec![outcome]));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_a_line_says_done_if_and_only_if_the_act_was_done() {
    let (short, long) = (Duration::from_millis(20), Duration::from_secs(20));
    let faults = [
        Fault::Refuse,
        Fault::LoseRequest,
        Fault::LoseAnswer,
        Fault::Delay(Duration::from_millis(300)),
        Fault::Hang,
        Fault::HangAfter,
        Fault::Late(short),
        Fault::Late(long),
    ];
    let mut plans = Vec::new();
    for fault in faults {
        plans.extend((1..=4).map(|n| vec![(Step::Commit(n), fault)]));
        plans.extend((1..=4).map(|n| from(n, fault).collect()));
        let loads = |n| (n..n + 1000).map(|n| (Step::Load(n), Fault::Hang));
        plans.extend(
            (1..=2).map(|n| [(Step::Commit(2), fault)].into_iter().chain(loads(n)).collect()),
        );
        for other in faults {
            plans.push(vec![(Step::Commit(2), fault), (Step::Commit(3), other)]);
        }
    }
    let mut unknown = 0;
    for deed in [Deed::Edit, Deed::End] {
        for has_transactions in [true, false] {
            for plan in &plans {
                let came = do_with(deed, has_transactions, plan.iter().copied()).await;
                let shown: Vec<_> = plan.iter().take(3).collect();
                let story = format!("{deed:?}, {has_transactions}, {shown:?}: {came:?}");
                assert!(came.outcomes.len() <= 1, "one act is one line: {story}");
                match came.told {
                    Ok(()) => assert_eq!(came.n_done, 1, "acknowledged, so done once: {story}"),
                    Err(Error::OutcomeUnknown) => assert!(came.n_done <= 1, "not twice: {story}"),
                    Err(_) => assert_eq!(came.n_done, 0, "refused, so not done: {story}"),
                }
                let outcome = came.outcomes.first();
                let is_told = outcome == Some(&AuditOutcome::Done);
                if has_transactions {
                    assert_eq!(is_told, came.n_done == 1, "both or neither: {story}");
                } else {
                    assert!(!is_told || came.n_done == 1, "what is told was done: {story}");
                    let is_open = [AuditOutcome::Begun, AuditOutcome::Unknown];
                    let is_open = outcome.is_some_and(|outcome| is_open.contains(outcome));
                    assert!(is_told || is_open || came.n_done == 0, "not told, not done: {story}");
                }
                unknown += usize::from(matches!(came.told, Err(Error::OutcomeUnknown)));
            }
        }
    }
    assert!(unknown > 0, "some plan hides what became of the act");
}

/// Lets somebody remove all lines by hand.
async fn remove_lines(store: &dyn Store, now: Timestamp) {
    let list = store.as_list().expect("there are lines");
    let page = list.list_by_user("\u{1}audit", None, 100, now).await.unwrap();
    for line in page.records {
        store.destroy(&line.record.header.key, now).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_lives_on_where_the_line_of_its_end_was_removed() {
    for has_transactions in [true, false] {
        let memory = Memory::new();
        logged_in(&shop(&layer(memory.clone())), "ada").await;
        let store: Arc<dyn Store> = match has_transactions {
            true => Arc::new(memory.clone()),
            false => Arc::new(Intercept::new(memory.clone())),
        };
        let faulty = Faulty::new(store);
        let sessions = layer_as_it_comes(faulty.clone()).sessions().operated_by(ada());
        let found = listed(&sessions, &ListOptions::new()).await.remove(0);
        faulty.on(Step::Commit(2), Fault::Delay(Duration::from_millis(200)));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            remove_lines(&memory, SystemClock.now()).await;
        };
        let (ended, ()) = tokio::join!(found.end(), meanwhile);
        match (has_transactions, ended) {
            (true, Err(Error::Unavailable(error))) => assert_eq!(error.kind(), ErrorKind::Refused),
            (false, Ok(true)) => {}
            (_, ended) => panic!("{has_transactions}: {ended:?}"),
        }
        let n_left = listed(&sessions, &ListOptions::new()).await.len();
        assert_eq!(n_left, usize::from(has_transactions));
        assert!(log_of(&sessions).await.is_empty());
    }
}

pub(super) async fn an_edit_whose_answer_was_lost_is_one_line_and_done_once(scene: Scene) {
    if !scene.lists() {
        return;
    }
    let [here, _] = scene.apps();
    logged_in(&here, "ada").await;
    for n in 1..=3 {
        scene.clock.advance(Duration::from_millis(1));
        let faulty = Faulty::new(Arc::clone(&scene.store));
        let layer = layer(faulty.clone()).clock(Arc::new(scene.clock.clone()));
        let sessions = layer.sessions().operated_by(ada());
        let found = listed(&sessions, &ListOptions::new()).await.remove(0);
        // Of the line, of the act, and of what completes the line, where it is not completed with the act.
        faulty.on(Step::Commit(n), Fault::LoseAnswer);
        found.update(count).await.unwrap();
        let found = found.reload().await.unwrap().unwrap();
        assert_eq!(found.snapshot()["n"], json!(n));
        let lines = log_of(&sessions).await;
        assert_eq!(lines.len() as u64, n, "{lines:#?}");
        assert_eq!(lines[0].outcome, AuditOutcome::Done, "{lines:#?}");
        assert!(lines[0].fields["n"].after.is_some(), "{lines:#?}");
        let n_writes = if scene.store.as_transactions().is_some() { 2 } else { 3 };
        assert_eq!(faulty.commits(), n_writes, "{:?}", faulty.log());
    }
}

pub(super) async fn an_edit_whose_line_was_removed_fails_no_request(scene: Scene) {
    if !scene.lists() {
        return;
    }
    let [here, _] = scene.apps();
    let visitor = logged_in(&here, "ada").await;
    let sessions = scene.layers[0].sessions().operated_by(ada());
    let found = listed(&sessions, &ListOptions::new()).await.remove(0);
    let (store, now) = (Arc::clone(&scene.store), scene.clock.now());
    let edit = found.update(move |data: &mut Data| {
        let remove = remove_lines(&*store, now);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(remove));
        count(data);
    });
    let mut visits = JoinSet::new();
    for _ in 0..20 {
        let (here, mut visitor) = (here.clone(), visitor.clone());
        visits.spawn(async move { visitor.get(&here, "/cart/book").await.status });
    }
    let (edited, visited) = tokio::join!(edit, visits.join_all());
    assert!(visited.iter().all(|status| *status == StatusCode::OK), "{visited:?}");
    let found = found.reload().await.unwrap().unwrap();
    assert_eq!(found.snapshot()["cart"].as_array().unwrap().len(), 20);
    let is_done = found.snapshot().contains_key("n");
    match scene.store.as_transactions() {
        // Nothing is done that the log does not know of.
        Some(_) => assert!(matches!(edited, Err(Error::Unavailable(_))) && !is_done, "{edited:?}"),
        None => assert!(edited.is_ok() && is_done, "{edited:?}"),
    }
    assert!(log_of(&sessions).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_line_says_what_became_of_an_act_that_failed() {
    for (applied, outcome) in
        [(Applied::Unknown, AuditOutcome::Unknown), (Applied::No, AuditOutcome::Failed)]
    {
        let memory = Memory::new();
        logged_in(&shop(&layer(memory.clone())), "ada").await;
        let mut store = Intercept::new(memory);
        store.destroy =
            Arc::new(move || Some(store::Error::new("test", ErrorKind::Unavailable, applied)));
        let sessions = layer_as_it_comes(store).sessions().operated_by(ada());
        let found = listed(&sessions, &ListOptions::new()).await.remove(0);
        found.end().await.unwrap_err();
        let lines = log_of(&sessions).await;
        let outcomes: Vec<_> = lines.iter().map(|line| line.outcome).collect();
        assert_eq!(outcomes, [outcome]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_others_write_to_is_completed_unless_they_never_stop() {
    for (n_conflicts, outcome) in [(1, AuditOutcome::Done), (10_000, AuditOutcome::Begun)] {
        let memory = Memory::new();
        logged_in(&shop(&layer(memory.clone())), "ada").await;
        let (mut store, n_asked) = (Intercept::new(memory), AtomicUsize::new(0));
        store.commit = Arc::new(move |write| {
            let is_line = |record: &Record| record.header.key.is_of_audit();
            let completes = matches!(write, Write::Replace { record, .. } if is_line(record));
            let is_beaten = completes && n_asked.fetch_add(1, Ordering::Relaxed) < n_conflicts;
            is_beaten.then_some(CommitError::Conflict(None))
        });
        let sessions = layer_as_it_comes(store).sessions().operated_by(ada());
        let found = listed(&sessions, &ListOptions::new()).await.remove(0);
        assert!(found.end().await.unwrap());
        let outcomes: Vec<_> = log_of(&sessions).await.iter().map(|line| line.outcome).collect();
        assert_eq!(outcomes, [outcome], "{n_conflicts} conflicts");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_that_the_store_does_not_answer() {
    let (_, faulty) = faulty();
    let sessions = layer_as_it_comes(faulty.clone()).sessions();
    sessions.ping_store().await.unwrap();
    for fault in [Fault::Refuse, Fault::Hang] {
        faulty.fail_all(Some(fault));
        let error = sessions.ping_store().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn the_texts_of_an_operator_stay_on_their_line() {
    let (log, _catching) = Log::catch();
    let sessions = layer(Memory::new()).sessions();
    let name = format!("eve\n2026 INFO a line of her own\u{1b}[2J\0{}", "x".repeat(5000));
    let operator = Operator::new(name).at("192.0.2.7\r\n");
    sessions.operated_by(operator).end_all_of("ada").await.unwrap();
    let lines = log_of(&sessions).await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line.operator.chars().count(), 256);
    assert!(!line.operator.contains(char::is_control), "{line:?}");
    assert_eq!(line.from.as_deref(), Some("192.0.2.7\u{fffd}\u{fffd}"));
    assert_eq!(log.text().lines().filter(|line| line.contains("eve")).count(), 2);
    assert!(!log.text().contains('\u{1b}'));
}

#[tokio::test]
async fn a_line_names_no_more_fields_than_it_has_room_for() {
    let memory = Memory::new();
    logged_in(&shop(&layer(memory.clone())), "ada").await;
    let sessions = layer(memory).sessions().operated_by(ada());
    let found = listed(&sessions, &ListOptions::new()).await.remove(0);
    let fill = |data: &mut Data| {
        for n in 0..250 {
            data.insert(format!("field {n}"), json!(n));
        }
    };
    found.update(fill).await.unwrap();
    let lines = log_of(&sessions).await;
    assert_eq!((lines[0].fields.len(), lines[0].more_fields), (100, 150));
}
