//! What people, programs and attackers send that is wrong: each has one clear answer, and leaves
//! nothing behind. The bytes of the cookie itself are in `cookie/tests.rs`.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Lifetime, Reason, Session,
    clock::{Clock as _, ManualClock, SystemClock, Timestamp},
    record::{Loaded, Record},
    store::{Faulty, List as _, Memory, Store as _, Write},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::{App, Held, Visitor, app, faulty, layer};

async fn count(session: Session) -> Result<String, Error> {
    session.increment("n", 1)?;
    Ok("counted".to_owned())
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(Value::Object(session.data().await?).to_string())
}

/// An app, its store, and a visitor who has a session there.
async fn visited() -> (App, Memory, Faulty, Visitor) {
    let (memory, store) = faulty();
    let app = app(&layer(store.clone())).on("/", count).on("/read", read);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    (app, memory, store, visitor)
}

#[tokio::test]
async fn what_cannot_be_an_id_asks_nothing_of_the_store() {
    let (app, memory, store, visitor) = visited().await;
    let (_, id) = visitor.cookie.split_once('=').unwrap();
    let (head, tail) = (&id[..42], &id[1..]);
    let values: &[(&str, String)] = &[
        ("nothing", String::new()),
        ("a character less", head.to_owned()),
        ("a character more", format!("{id}A")),
        ("the alphabet of plain base64", format!("+{tail}")),
        ("the same", format!("/{tail}")),
        ("padding", format!("{head}=")),
        ("a dot", format!("{head}.")),
        ("a percent sign", format!("%{tail}")),
        ("percent-encoding", format!("%4{tail}")),
        ("a path up", "../../etc/passwd".to_owned()),
        ("a folder up", "..".to_owned()),
        ("a folder", ".".to_owned()),
        ("a path", "a/b".to_owned()),
        ("the root", "/".to_owned()),
        ("a name that Firestore reserves", "__x__".to_owned()),
        ("SQL", "' OR 1=1--".to_owned()),
        ("a lookup", "${jndi:ldap://x}".to_owned()),
        ("a template", "{{7*7}}".to_owned()),
        ("a pattern", "*".to_owned()),
        ("a command of memcached", "x 0 0 1".to_owned()),
        ("an id of the tutorial's app", "5e7bd1b0-7b9c-4f4e-9d3b-0a1b2c3d4e5f".to_owned()),
        ("8 KiB", "A".repeat(8 * 1024)),
    ];
    let asked = store.log().len();
    for (what, value) in values {
        let answer = app.get("/read", &format!("__Host-id={value}")).await.ok();
        assert_eq!((answer.body.as_str(), answer.set_cookie()), ("{}", ""), "{what}");
    }
    assert_eq!(store.log().len(), asked, "{:?}", store.log());
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn ten_thousand_guesses_cost_one_read_each_and_leave_nothing() {
    let (app, memory, store, visitor) = visited().await;
    let loads = store.loads();
    let (_, id) = visitor.cookie.split_once('=').unwrap();
    for guess in 0..10_000 {
        // Well-formed, and nobody's.
        let cookie = format!("__Host-id={guess:05}{}", &id[5..]);
        let answer = app.get("/read", &cookie).await.ok();
        assert_eq!((answer.body.as_str(), answer.set_cookie()), ("{}", ""));
    }
    assert_eq!(store.loads() - loads, 10_000);
    assert_eq!((store.commits(), memory.len()), (1, 1));
}

#[tokio::test]
async fn an_id_that_was_renewed_away_or_has_expired_is_nobodys() {
    let (memory, store) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let lifetime = Lifetime::new(Duration::from_secs(60), Duration::from_secs(100)).unwrap();
    let layer = layer(store).lifetime(lifetime).clock(Arc::new(clock.clone()));
    let renew = async |session: Session| session.renew().await;
    let app = app(&layer).on("/", count).on("/read", read).on("/renew", renew);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let old = visitor.cookie.clone();
    visitor.get(&app, "/renew").await.ok();
    assert_ne!(visitor.cookie, old);
    assert_eq!(app.get("/read", &old).await.status, StatusCode::CONFLICT);
    assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, "{\"n\":1}");

    // In use up to here, so that it is the absolute deadline that ends it; the store still has it.
    clock.advance(Duration::from_secs(50));
    visitor.get(&app, "/").await.ok();
    clock.advance(Duration::from_millis(49_999));
    assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, "{\"n\":2}");
    clock.advance(Duration::from_millis(1));
    assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, "{}");
    assert_eq!(app.get("/read", &old).await.ok().body, "{}", "nobody remembers where it went");
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn five_hundred_requests_of_one_id_are_all_served() {
    let (app, _, _, visitor) = visited().await;
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        let (app, visitor) = (app.clone(), visitor.clone());
        requests.spawn(async move { app.get("/", &visitor.cookie).await.status });
    }
    let served = requests.join_all().await;
    assert!(served.iter().all(|status| *status == StatusCode::OK), "{served:?}");
    assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, "{\"n\":501}");
}

/// What `insert` says of a value, in a session of its own that holds something already.
async fn inserted(name: &str, value: impl serde::Serialize) -> (Result<(), Error>, Value) {
    let (_, store) = faulty();
    let layer = layer(store);
    let kept = app(&layer).on("/", count).on("/read", read);
    let mut visitor = Visitor::default();
    visitor.get(&kept, "/").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    let said = held.session.insert(name, value);
    held.respond(StatusCode::OK).await;
    let left = kept.get("/read", &visitor.cookie).await.ok().body;
    (said, serde_json::from_str(&left).unwrap())
}

fn reason(error: Error) -> Reason {
    match error {
        Error::InvalidValue(invalid) => invalid.reason,
        Error::TooLarge(cause) => {
            cause.downcast_ref::<ingle::InvalidValue>().expect("why").reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_kept_is_refused_and_what_was_there_stays() {
    type Expected = fn(&Reason) -> bool;
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let fields = |n: u32| Value::Object((0..n).map(|n| (n.to_string(), json!(1))).collect());
    let is_name: Expected = |reason| *reason == Reason::Name;
    let refused: [(&str, &str, Value, Expected); 9] = [
        ("beyond 64 bits with a sign", "a", json!(i64::MAX as u64 + 1), |reason| {
            *reason == Reason::IntegerOutOfRange
        }),
        ("17 levels", "a", nested(16), |reason| *reason == Reason::TooDeep { max: 16 }),
        ("4 MiB", "user", json!("x".repeat(4 << 20)), |reason| {
            *reason == Reason::TooLarge { max: 65_536 }
        }),
        ("100,000 keys", "a", fields(100_000), |reason| {
            *reason == Reason::TooLarge { max: 65_536 }
        }),
        ("NUL", "a", json!("b\0"), |reason| *reason == Reason::Nul),
        ("no name", "", json!(1), is_name),
        ("a long name", &"x".repeat(1501), json!(1), is_name),
        ("a name that Firestore reserves", "__x__", json!(1), is_name),
        ("a name of the library's own", "_ingle_x", json!(1), is_name),
    ];
    for (what, name, value, is_expected) in refused {
        let (said, left) = inserted(name, value).await;
        let reason = reason(said.expect_err(what));
        assert!(is_expected(&reason), "{what}: {reason:?}");
        assert_eq!(left, json!({"n": 1}), "{what}");
    }
    for double in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let (said, left) = inserted("a", double).await;
        assert_eq!((reason(said.unwrap_err()), left), (Reason::NonFinite, json!({"n": 1})));
    }
}

#[tokio::test]
async fn a_value_that_looks_strange_is_kept_as_it_is() {
    let marks = format!("e{}", "\u{301}".repeat(10_000));
    let values: &[(&str, Value)] = &[
        ("negative zero", json!(-0.0)),
        ("a double without a fraction", json!(1.0)),
        ("the least integer", json!(i64::MIN)),
        ("the greatest", json!(i64::MAX)),
        ("text that turns round", json!("\u{202e}txt.exe")),
        ("text without width", json!("a\u{200b}b\u{feff}")),
        ("ten thousand marks on one letter", json!(marks)),
        ("HTML", json!("</script><img src=x onerror=alert(1)>javascript:'\"`")),
        ("lines of a protocol", json!("\r\nSET x 0 0 1\r\n")),
        ("what stands for another type elsewhere", json!({"$double": "NaN"})),
    ];
    for (what, value) in values {
        let (said, left) = inserted("a", value).await;
        assert!(said.is_ok(), "{what}: {said:?}");
        // As text, because -0.0 equals 0.0.
        assert_eq!(left["a"].to_string(), value.to_string(), "{what}");
    }
    // Names that only look alike are two, and those that mean something elsewhere mean nothing here.
    let names = ["é", "e\u{301}", "É", "a", "A", "a.b", "a`b", "__proto", "$gt", "a/b", "*", "\n"];
    let (_, store) = faulty();
    let layer = layer(store);
    let held = Held::begin(&layer, "").await;
    for (n, name) in names.iter().enumerate() {
        held.session.insert(*name, n).unwrap();
    }
    held.session.commit().await.unwrap();
    for (n, name) in names.iter().enumerate() {
        assert_eq!(held.session.get(name).await.unwrap(), Some(n), "{name:?}");
    }
    held.respond(StatusCode::OK).await;
}

#[tokio::test]
async fn data_may_be_as_large_as_the_limit_and_not_a_byte_larger() {
    // What is around the text: `{"a":"…","n":1}`.
    let around = json!({"a": "", "n": 1}).to_string().len();
    for (bytes, fits) in [(65_535, true), (65_536, true), (65_537, false)] {
        let text = "x".repeat(bytes - around);
        let (_, store) = faulty();
        let layer = layer(store);
        let kept = app(&layer).on("/", count).on("/read", read);
        let mut visitor = Visitor::default();
        visitor.get(&kept, "/").await.ok();
        let held = Held::begin(&layer, &visitor.cookie).await;
        let said = held.session.insert("a", text.clone());
        let answer = held.respond(StatusCode::OK).await;
        let left = kept.get("/read", &visitor.cookie).await.ok().body;
        if fits {
            assert_eq!((left.len(), answer.status), (bytes, StatusCode::OK));
            assert!(left.contains(&text));
        } else {
            let told = said.is_err() || answer.status == StatusCode::PAYLOAD_TOO_LARGE;
            assert!(told, "{said:?} {answer:?}");
            assert_eq!(left, "{\"n\":1}");
        }
    }
}

#[tokio::test]
async fn a_closure_that_panics_or_differs_each_time_writes_nothing_it_did_not_say() {
    let (app, _, store, visitor) = visited().await;
    drop(app);
    let held = Held::begin(&layer(store.clone()), &visitor.cookie).await;
    let session = held.session.clone();
    let panicked = tokio::spawn(async move {
        session.update(|_: &mut serde_json::Map<String, Value>| panic!("on purpose")).await
    });
    assert!(panicked.await.is_err_and(|error| error.is_panic()));
    // Each run is of its own: what the last one said is what is committed.
    let mut runs = 0;
    let last = held.session.update(move |data: &mut serde_json::Map<String, Value>| {
        runs += 1;
        data.insert("run".to_owned(), runs.into());
        runs
    });
    let last: i32 = last.await.unwrap();
    assert_eq!(held.session.get("run").await.unwrap(), Some(last));
    held.respond(StatusCode::OK).await;
}

#[tokio::test]
async fn a_thousand_edits_of_one_request_are_one_commit() {
    let (_, store) = faulty();
    let edits = async |session: Session| {
        for n in 0..1_000 {
            session.increment("n", 1)?;
            session.insert("last", n)?;
        }
        Ok::<_, Error>(())
    };
    let app = app(&layer(store.clone())).on("/", edits).on("/read", read);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    visitor.get(&app, "/").await.ok();
    assert_eq!(store.commits(), 2);
    assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, r#"{"last":999,"n":2000}"#);
}

#[tokio::test]
async fn a_record_with_an_absurd_header_is_an_error_or_dead_and_nothing_else() {
    type Spoil = fn(&mut Record);
    let cases: [(&str, Spoil, StatusCode); 8] = [
        (
            "a counter at its end",
            |record| record.header.counter = u64::MAX,
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
        (
            "a counter beyond 63 bits",
            |record| record.header.counter = 1 << 63,
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
        (
            "a format to come",
            |record| record.header.format = u16::MAX,
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
        (
            "the first instant",
            |record| record.header.idle_deadline = Timestamp::from_millis(0),
            StatusCode::OK,
        ),
        (
            "the last one",
            |record| record.header.absolute_deadline = Timestamp::from_millis(u64::MAX),
            StatusCode::OK,
        ),
        (
            "a beginning that is to come",
            |record| record.header.created = Timestamp::MAX,
            StatusCode::OK,
        ),
        (
            "an endless idle time",
            |record| record.header.idle_timeout = Some(Duration::MAX),
            StatusCode::OK,
        ),
        ("no counter", |record| record.header.counter = 0, StatusCode::OK),
    ];
    for (what, spoil, expected) in cases {
        let (_, memory, _, visitor) = visited().await;
        let now = SystemClock.now();
        let page = memory.list(None, 1, now).await.unwrap();
        let Loaded { record, .. } = page.records.first().unwrap().clone();
        memory.destroy(&record.header.key, Timestamp::from_millis(0)).await.unwrap();
        let mut spoiled = Record::clone(&record);
        spoil(&mut spoiled);
        memory.commit(Write::Create { record: &Arc::new(spoiled) }, now).await.unwrap();
        // Another process, which knows nothing of the record as it was.
        let app = app(&layer(memory)).on("/", count).on("/read", read);
        for path in ["/read", "/"] {
            let answer = app.get(path, &visitor.cookie).await;
            assert_eq!(answer.status, expected, "{what}, {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_ends_no_session_late_and_breaks_nothing() {
    let (_, store) = faulty();
    let year_2026 = 1_780_000_000_000;
    let hour = Duration::from_secs(60 * 60);
    for (what, began, then) in [
        ("an hour back", year_2026, year_2026 - 3_600_000),
        ("back to 1970", year_2026, 0),
        ("began in 1970", 0, 1_000),
        ("beyond 2038", 2_240_000_000_000, 2_240_000_001_000),
        ("the end of the year 9999", Timestamp::MAX.as_millis() - 10_000, u64::MAX),
    ] {
        let clock = ManualClock::new(Timestamp::from_millis(began));
        let layer = layer(store.clone()).clock(Arc::new(clock.clone()));
        let app = app(&layer).on("/", count).on("/read", read);
        let mut visitor = Visitor::default();
        visitor.get(&app, "/").await.ok();
        clock.set(Timestamp::from_millis(then));
        let (counted, seen) =
            (visitor.get(&app, "/").await, app.get("/read", &visitor.cookie).await);
        assert_eq!((counted.status, seen.status), (StatusCode::OK, StatusCode::OK), "{what}");
        clock.set(Timestamp::from_millis(began).after(12 * hour));
        assert_eq!(app.get("/read", &visitor.cookie).await.ok().body, "{}", "{what}");
    }
}
