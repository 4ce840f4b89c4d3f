//! Tickets: a value that one request leaves, and that exactly one other gets by its text.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::extract::Query;
use http::StatusCode;
use ingle::{
    Error, Limits, OnWrongType, Session, SessionLayer,
    clock::Timestamp,
    record::Record,
    store::{Fault, List as _, Memory, Step, Store},
    testing::TestSessions,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::common::{App, Visitor, app, faulty, layer, layer_as_it_comes};

const MINUTES: Duration = Duration::from_secs(600);

/// The session of another request of one visitor.
fn visit(layer: &SessionLayer, cookie: &str) -> Session {
    layer.door().begin([cookie.as_bytes()]).session().clone()
}

/// A session with a ticket of this value: its cookie, and the ticket's text.
async fn issued(sessions: &TestSessions, value: Value) -> (String, String) {
    let mut text = String::new();
    let cookie = sessions.cookie(async |session| {
        text = session.issue("kind", &value, MINUTES)?;
        Ok(())
    });
    (cookie.await, text)
}

/// How many tickets the only record has.
async fn n_tickets(memory: &Memory) -> usize {
    let data = data(memory).await;
    data.get("_tickets").map_or(0, |tickets| tickets.as_array().unwrap().len())
}

/// The only record's data.
async fn data(memory: &Memory) -> Value {
    let records = records(memory).await;
    let [record] = &*records else { panic!("there is not one record: {records:?}") };
    Value::Object(record.data.clone())
}

/// All records, whenever they end.
async fn records(memory: &Memory) -> Vec<Arc<Record>> {
    let page = memory.list(None, 100, Timestamp::from_millis(0)).await.unwrap();
    page.records.into_iter().map(|loaded| loaded.record).collect()
}

#[derive(Serialize, Deserialize)]
struct Login {
    verifier: String,
    back_to: String,
}

#[derive(Deserialize)]
struct Begin {
    tab: String,
}

#[derive(Deserialize)]
struct Callback {
    state: String,
}

/// An app that logs in by OAuth. What it tells a tab is what that tab began with.
fn oauth(layer: &SessionLayer) -> App {
    app(layer)
        .on("/begin", async |session: Session, Query(Begin { tab }): Query<Begin>| {
            let login =
                Login { verifier: format!("verifier of {tab}"), back_to: format!("/{tab}") };
            session.issue("oauth", &login, MINUTES)
        })
        .on("/callback", async |session: Session, Query(answer): Query<Callback>| {
            let login: Option<Login> = session.redeem("oauth", &answer.state).await?;
            let Some(login) = login else { return Ok("begin again".to_owned()) };
            session.insert("user", "ada")?;
            session.renew().await?;
            Ok::<_, Error>(format!("{} {}", login.verifier, login.back_to))
        })
}

#[tokio::test]
async fn two_tabs_that_log_in_at_once_both_finish_in_either_order() {
    for order in [["one", "two"], ["two", "one"]] {
        let (here, elsewhere) = {
            let memory = Memory::new();
            (oauth(&layer(memory.clone())), oauth(&layer(memory)))
        };
        let mut visitor = Visitor::default();
        let mut states = BTreeMap::new();
        for tab in ["one", "two"] {
            let begun = visitor.get(&here, &format!("/begin?tab={tab}")).await.ok();
            states.insert(tab, begun.body);
        }
        for (tab, process) in order.into_iter().zip([&elsewhere, &here]) {
            // The first of them renews the session: the second finds its ticket under the new id.
            let callback = format!("/callback?state={}", states[tab]);
            let done = visitor.get(process, &callback).await.ok();
            assert_eq!(done.body, format!("verifier of {tab} /{tab}"), "{order:?}");
            let again = visitor.get(process, &callback).await.ok();
            assert_eq!(again.body, "begin again", "{order:?}");
        }
    }
}

/// Lets 50 requests in two processes redeem one ticket at once, and says how many got its value.
async fn redeemed_by(one: impl Store, other: impl Store) -> usize {
    let layers = [layer(one), layer(other)];
    let in_flight = layers[0].door().begin([]);
    let text = in_flight.session().issue("form", &json!({"order": 5}), MINUTES).unwrap();
    let finished = in_flight.finish(ingle::adapter::HandlerOutcome::Success).await;
    assert!(finished.error().is_none(), "{:?}", finished.error());
    let cookie = finished.headers().iter().find(|change| change.name() == "set-cookie").unwrap();
    let cookie = cookie.value().split(';').next().unwrap().to_owned();

    let barrier = Arc::new(Barrier::new(50));
    let redeems = (0..50).map(|n| {
        let (session, text) = (visit(&layers[n % 2], &cookie), text.clone());
        let barrier = Arc::clone(&barrier);
        tokio::spawn(async move {
            barrier.wait().await;
            session.redeem::<Value>("form", &text).await.unwrap()
        })
    });
    let mut got = 0;
    for redeem in redeems.collect::<Vec<_>>() {
        if let Some(value) = redeem.await.unwrap() {
            assert_eq!(value, json!({"order": 5}));
            got += 1;
        }
    }
    for layer in &layers {
        let late = visit(layer, &cookie).redeem::<Value>("form", &text).await.unwrap();
        assert_eq!(late, None);
    }
    got
}

/// A name that nothing else has.
#[cfg(any(feature = "firestore", feature = "memcached", feature = "postgres", feature = "redis"))]
fn name() -> String {
    format!("t{:016x}", ingle::record::Op::random().unwrap().to_bits())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_exactly_one_redeems() {
    for _ in 0..20 {
        let memory = Memory::new();
        assert_eq!(redeemed_by(memory.clone(), memory).await, 1);
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_exactly_one_redeems_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || ingle::store::Sqlite::open(folder.path()).await.unwrap();
    assert_eq!(redeemed_by(open().await, open().await).await, 1);
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_exactly_one_redeems_on_redis() {
    let server = testbed::redis::server();
    let mut config = ingle::store::RedisConfig::new(server.ip().to_string(), server.port());
    config.prefix = name();
    let open = async || ingle::store::Redis::open(config.clone()).await.unwrap();
    assert_eq!(redeemed_by(open().await, open().await).await, 1);
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_exactly_one_redeems_on_postgres() {
    let server = testbed::postgres::shared();
    let url = format!("postgres://postgres@{server}/postgres?table={}&pool=4", name());
    let config = ingle::store::PostgresConfig::parse(&url).unwrap();
    ingle::store::Postgres::migrate(config.clone()).await.unwrap();
    let open = async || ingle::store::Postgres::open(config.clone()).await.unwrap();
    assert_eq!(redeemed_by(open().await, open().await).await, 1);
}

#[cfg(feature = "memcached")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_exactly_one_redeems_on_memcached() {
    let [server, ..] = testbed::memcached::shared();
    let mut config = ingle::store::MemcachedConfig::new([server.to_string()]);
    config.prefix = name();
    let open = async || ingle::store::Memcached::open(config.clone()).await.unwrap();
    assert_eq!(redeemed_by(open().await, open().await).await, 1);
}

#[cfg(feature = "firestore")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_exactly_one_redeems_on_firestore() {
    let mut config = ingle::store::FirestoreConfig::new("ingle-test", name());
    config.emulator = Some(testbed::firestore::hidane().to_string());
    config.batch_timeout = crate::common::LONG;
    let open = async || ingle::store::Firestore::open(config.clone()).await.unwrap();
    assert_eq!(redeemed_by(open().await, open().await).await, 1);
}

#[tokio::test]
async fn what_is_no_ticket_of_this_session_redeems_nothing_and_changes_nothing() {
    let sessions = TestSessions::new();
    let (cookie, text) = issued(&sessions, json!("value")).await;
    let (stranger, of_stranger) = issued(&sessions, json!("theirs")).await;
    let before = records(sessions.store()).await;
    let redeem = async |cookie: &str, kind: &str, text: &str| {
        visit(&sessions.layer(), cookie).redeem::<Value>(kind, text).await.unwrap()
    };
    let long = "x".repeat(100_000);
    let (upper, longer) = (text.to_uppercase(), format!("{text}="));
    for wrong in ["", "x", &text[1..], &*upper, &*longer, &*of_stranger, &*long, "\0", "é"] {
        assert_eq!(redeem(&cookie, "kind", wrong).await, None, "{wrong:.40}");
    }
    for kind in ["", "Kind", "kin", "kind ", "other"] {
        assert_eq!(redeem(&cookie, kind, &text).await, None, "{kind}");
    }
    for nobody in ["", &*stranger] {
        assert_eq!(redeem(nobody, "kind", &text).await, None);
    }
    assert_eq!(records(sessions.store()).await, before);
    assert_eq!(redeem(&cookie, "kind", &text).await, Some(json!("value")));
}

#[tokio::test]
async fn a_ticket_ends_on_time() {
    let sessions = TestSessions::new();
    for (wait, expected) in [(MINUTES - Duration::from_millis(1), true), (MINUTES, false)] {
        let (cookie, text) = issued(&sessions, json!(1)).await;
        sessions.clock().advance(wait);
        let got = visit(&sessions.layer(), &cookie).redeem::<u64>("kind", &text).await.unwrap();
        assert_eq!(got.is_some(), expected, "{wait:?}");
    }
}

#[tokio::test]
async fn a_ticket_stays_through_a_renew_and_ends_with_its_session() {
    let memory = Memory::new();
    let app = app(&layer(memory.clone()))
        .on("/issue", async |session: Session| session.issue("kind", &1, MINUTES))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await)
        .on("/redeem", async |session: Session, Query(answer): Query<Callback>| {
            let got: Option<u64> = session.redeem("kind", &answer.state).await?;
            Ok::<_, Error>(format!("{got:?}"))
        });
    let mut visitor = Visitor::default();
    let one = visitor.get(&app, "/issue").await.ok().body;
    let two = visitor.get(&app, "/issue").await.ok().body;
    visitor.get(&app, "/renew").await.ok();
    let redeem = |text: &str| format!("/redeem?state={text}");
    assert_eq!(visitor.get(&app, &redeem(&one)).await.ok().body, "Some(1)");
    visitor.get(&app, "/logout").await.ok();
    assert_eq!(visitor.get(&app, &redeem(&two)).await.ok().body, "None");
    assert!(memory.is_empty(), "and nothing begins by asking");
    visitor.get(&app, "/issue").await.ok();
    assert_eq!(visitor.get(&app, &redeem(&two)).await.ok().body, "None");
}

#[tokio::test]
async fn a_text_that_was_not_stored_reaches_nobody() {
    let (memory, store) = faulty();
    let app = app(&layer_as_it_comes(store.clone()))
        .on("/issue", async |session: Session| session.issue("kind", &1, MINUTES))
        .on("/fails", async |session: Session| {
            session.issue("kind", &1, MINUTES)?;
            Ok::<_, Error>(StatusCode::INTERNAL_SERVER_ERROR)
        });
    store.fail_all(Some(Fault::Refuse));
    let answer = app.get("/issue", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.starts_with("Sessions are not available"), "{answer:?}");
    store.fail_all(None);
    app.get("/fails", "").await;
    assert!(memory.is_empty());
}

#[tokio::test]
async fn a_redeem_whose_answer_was_lost_gets_its_value_once() {
    let (memory, store) = faulty();
    let layer = layer(store.clone());
    let sessions = TestSessions::with(|_| layer.clone());
    let (cookie, text) = issued(&sessions, json!("value")).await;
    store.on(Step::Commit(1), Fault::LoseAnswer);
    let redeem =
        async || visit(&sessions.layer(), &cookie).redeem::<String>("kind", &text).await.unwrap();
    assert_eq!(redeem().await.as_deref(), Some("value"));
    assert_eq!(redeem().await, None);
    assert_eq!(n_tickets(&memory).await, 0);
}

#[tokio::test]
async fn a_ticket_can_be_redeemed_in_the_request_that_issued_it() {
    let sessions = TestSessions::new();
    let session = sessions.session();
    let text = session.issue("kind", &"value", MINUTES).unwrap();
    let other = session.issue("kind", &"other", MINUTES).unwrap();
    let got: Option<String> = session.redeem("kind", &text).await.unwrap();
    assert_eq!(got.as_deref(), Some("value"));
    assert_eq!(session.redeem::<String>("kind", &text).await.unwrap(), None);
    assert_eq!(session.redeem::<String>("kind", &other).await.unwrap().as_deref(), Some("other"));
}

#[tokio::test]
async fn the_store_has_no_text_that_could_be_redeemed() {
    let sessions = TestSessions::new();
    let (_, text) = issued(&sessions, json!("value")).await;
    let stored = data(sessions.store()).await.to_string();
    assert!(stored.contains("value") && !stored.contains(&text), "{stored}");
}

#[tokio::test]
async fn those_that_have_ended_go_when_another_is_issued_and_beyond_the_bound_the_oldest() {
    let sessions = TestSessions::new();
    let cookie = sessions.cookie(async |session| session.insert("n", 1)).await;
    let issue = async |value: Value, ttl: Duration| {
        let session = visit(&sessions.layer(), &cookie);
        let text = session.issue("kind", &value, ttl).unwrap();
        session.commit().await.unwrap();
        text
    };
    let redeem = async |text: &str| {
        visit(&sessions.layer(), &cookie).redeem::<Value>("kind", text).await.unwrap()
    };
    issue(json!("short"), Duration::from_secs(1)).await;
    let kept = issue(json!("kept"), MINUTES).await;
    sessions.clock().advance(Duration::from_secs(1));
    let mut texts = Vec::new();
    for n in 0..63 {
        texts.push(issue(json!(n), MINUTES).await);
        assert_eq!(n_tickets(sessions.store()).await, n + 2, "the one that has ended is gone");
    }
    for n in 63..100 {
        texts.push(issue(json!(n), MINUTES).await);
        assert_eq!(n_tickets(sessions.store()).await, 64);
    }
    assert_eq!(redeem(&kept).await, None, "it was the oldest");
    for (n, text) in texts.iter().enumerate() {
        let expected = (n >= 36).then(|| json!(n));
        assert_eq!(redeem(text).await, expected, "{n}");
    }
    assert_eq!(data(sessions.store()).await, json!({"n": 1}), "nothing is left of them");
}

#[tokio::test]
async fn tickets_that_nobody_redeems_keep_no_request_from_storing() {
    let limits = Limits { bytes_max: 8000, fields_max: 2, ..Limits::default() };
    let sessions = TestSessions::with(|layer| layer.limits(limits));
    let cookie = sessions.cookie(async |session| session.insert("n", 0)).await;
    let mut last = String::new();
    for n in 0..100 {
        let session = visit(&sessions.layer(), &cookie);
        last = session.issue("kind", &"x".repeat(n), MINUTES).unwrap();
        session.push_flash("message").unwrap();
        session.commit().await.unwrap();
        let bytes = data(sessions.store()).await["_tickets"].to_string().len();
        assert!(bytes <= 2000, "a quarter of the session's room: {bytes}");
    }
    // The app's fields need some of the room of the messages and the tickets, and get it.
    let session = visit(&sessions.layer(), &cookie);
    session.insert("large", "x".repeat(6500)).unwrap();
    session.commit().await.unwrap();
    let left = data(sessions.store()).await;
    assert_eq!(left.get("_flash"), None, "messages give way first");
    assert!(n_tickets(sessions.store()).await > 1, "{left}");
    // All of it, and they are gone.
    session.insert("large", "x".repeat(7900)).unwrap();
    session.commit().await.unwrap();
    assert_eq!(n_tickets(sessions.store()).await, 0);
    let got = visit(&sessions.layer(), &cookie).redeem::<String>("kind", &last).await.unwrap();
    assert_eq!(got, None);
    // One that is issued now is never dropped unseen: there is no room for it.
    let session = visit(&sessions.layer(), &cookie);
    session.issue("kind", &1, MINUTES).unwrap();
    assert!(matches!(session.commit().await, Err(Error::TooLarge(_))));
    session.insert("large", "x").unwrap();
    let text = session.issue("kind", &1, MINUTES).unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.redeem("kind", &text).await.unwrap(), Some(1));
}

#[tokio::test]
async fn tickets_are_out_of_every_type_s_way() {
    #[derive(Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        n: u64,
    }
    type Map = BTreeMap<String, Value>;
    let sessions = TestSessions::new();
    let (cookie, text) = issued(&sessions, json!("value")).await;
    let session = visit(&sessions.layer(), &cookie);
    session.update(|strict: &mut Strict| strict.n += 1).await.unwrap();
    assert_eq!(session.data::<Strict>().await.unwrap().n, 1);
    assert_eq!(session.data::<Map>().await.unwrap().len(), 1);
    session.update(|map: &mut Map| map.clear()).await.unwrap();
    let forged = session.update(|map: &mut Map| drop(map.insert("_tickets".into(), json!([]))));
    assert!(matches!(forged.await, Err(Error::InvalidValue(_))));
    assert!(session.insert("_tickets", 1).is_err() && session.remove("_tickets").is_err());
    assert_eq!(session.redeem("kind", &text).await.unwrap(), Some("value".to_owned()));
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_and_the_ticket_stays_unless_it_begins_anew() {
    let sessions = TestSessions::new();
    let (cookie, text) = issued(&sessions, json!({"old": 1})).await;
    let wrong = visit(&sessions.layer(), &cookie).redeem::<u64>("kind", &text).await;
    assert!(matches!(wrong, Err(Error::WrongType(_))), "{wrong:?}");
    let anew = sessions.layer().on_wrong_type(OnWrongType::BeginAnew);
    assert_eq!(visit(&anew, &cookie).redeem::<u64>("kind", &text).await.unwrap(), None);
    assert_eq!(n_tickets(sessions.store()).await, 0);

    let (cookie, text) = issued(&TestSessions::new(), json!(null)).await;
    assert_eq!(visit(&sessions.layer(), &cookie).redeem::<()>("kind", &text).await.unwrap(), None);
}

#[tokio::test]
async fn a_value_that_no_session_can_hold_is_refused_when_it_is_issued() {
    let session = TestSessions::new().session();
    let nan = session.issue("kind", &f64::NAN, MINUTES);
    assert!(matches!(nan, Err(Error::InvalidValue(_))), "{nan:?}");
    let large = session.issue("kind", &"x".repeat(70_000), MINUTES);
    assert!(matches!(large, Err(Error::TooLarge(_))), "{large:?}");
    // A session nests 16 levels deep, and a ticket's value begins at the fourth.
    let deep = |levels: usize| (1..levels).fold(json!([]), |value, _| json!([value]));
    assert!(session.issue("kind", &deep(13), MINUTES).is_ok());
    let too_deep = session.issue("kind", &deep(14), MINUTES);
    assert!(matches!(too_deep, Err(Error::InvalidValue(_))), "{too_deep:?}");
    // No text of a value that is nothing is lost either.
    session.issue("kind", &(), Duration::MAX).unwrap();
    session.commit().await.unwrap();
}
