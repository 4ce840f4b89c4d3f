//! Sessions that are shared with apps whose ids are the keys, or that come from them.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Cookie, CookieConfig, Error, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock, Timestamp},
    record::{Epoch, Header, Key, Record},
    store::{Fault, Faulty, Ids, List as _, Memory, Step, Store as _, Write},
};
use serde_json::json;

use crate::{
    common::{Answer, App, Intercept, Visitor, app, layer},
    log::Log,
};

const UUID: &str = "0b2f6c1e-7a3d-4c55-9d0a-5e1f2a3b4c5d";

/// A store whose sessions have these ids.
fn with_ids(inner: Faulty, ids: Ids) -> Intercept<Faulty> {
    let mut store = Intercept::new(inner);
    store.info.ids = ids;
    store
}

/// The key of the plain id.
fn key() -> Key {
    Key::of_plain_id(UUID).unwrap()
}

struct Scene {
    memory: Memory,
    faulty: Faulty,
    layer: SessionLayer,
    app: App,
}

impl Scene {
    fn new(ids: Ids) -> Self {
        Self::with(ids, |layer| layer)
    }

    fn with(ids: Ids, set: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let memory = Memory::new();
        let faulty = Faulty::new(Arc::new(memory.clone()));
        let layer = set(layer(with_ids(faulty.clone(), ids)));
        let app = self::app(&layer)
            .on("/add", async |session: Session| {
                session
                    .update(|data: &mut Views| {
                        data.views += 1;
                        data.views
                    })
                    .await
                    .map(|n| n.to_string())
            })
            .on("/read", async |session: Session| {
                Ok::<_, Error>(format!("{:?}", session.get::<u64>("views").await?))
            })
            .on("/untouched", async |_: Session| "hello")
            .on("/logout", async |session: Session| session.logout().await);
        Self { memory, faulty, layer, app }
    }

    /// A record as another program leaves it: data and no header.
    async fn foreign(&self, views: u64) -> Key {
        let key = key();
        let header = Header::foreign(key, Timestamp::from_millis(1), Epoch::from_bits(7));
        let data = json!({ "views": views }).as_object().unwrap().clone();
        let record = Arc::new(Record { header, data });
        self.memory.commit(Write::Create { record: &record }, SystemClock.now()).await.unwrap();
        key
    }

    async fn records(&self) -> Vec<Arc<Record>> {
        let page = self.memory.list(None, 100, SystemClock.now()).await.unwrap();
        page.records.into_iter().map(|loaded| loaded.record).collect()
    }
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Views {
    views: u64,
}

fn set_cookies(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_plain_id_is_a_uuid_in_the_tutorials_cookie_and_its_own_key() {
    let scene = Scene::with(Ids::Plain, |layer| layer.namespace("ignored"));
    let mut visitor = Visitor::default();
    let first = visitor.get(&scene.app, "/add").await.ok();
    assert!(first.set_cookie().starts_with("session_id="), "{first:?}");
    assert!(first.set_cookie().ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
    let id = visitor.cookie.strip_prefix("session_id=").unwrap().to_owned();
    let key = Key::of_plain_id(&id).unwrap();
    let (version, variant) = (id.as_bytes()[14], id.as_bytes()[19]);
    assert!(version == b'4' && b"89ab".contains(&variant), "{id}");
    assert_eq!(scene.records().await[0].header.key, key);
    assert_eq!(visitor.get(&scene.app, "/add").await.ok().body, "2");
    assert_eq!(visitor.get(&scene.app, "/read").await.ok().body, "Some(2)");
}

#[tokio::test]
async fn what_is_no_uuid_in_its_one_spelling_is_no_id() {
    let scene = Scene::new(Ids::Plain);
    scene.foreign(7).await;
    assert_eq!(scene.app.get("/read", &format!("session_id={UUID}")).await.body, "Some(7)");
    for bad in [
        String::new(),
        UUID.to_uppercase(),
        UUID.replace('-', ""),
        UUID.replace('-', "_"),
        format!("{{{UUID}}}"),
        format!("urn:uuid:{UUID}"),
        format!("{UUID}/x/y"),
        format!("{UUID} "),
        UUID.replacen("0b", "0g", 1),
        UUID.replacen('-', "0", 1),
        format!("-{}", &UUID[1..]),
        "A".repeat(43),
        "..".to_owned(),
        "__x__".to_owned(),
        "a/b".to_owned(),
    ] {
        let cookie = format!("session_id=\"{bad}\"");
        assert_eq!(scene.app.get("/read", &cookie).await.ok().body, "None", "{cookie}");
        let cookie = format!("session_id={bad}");
        let expected = if bad.trim() == UUID { "Some(7)" } else { "None" };
        assert_eq!(scene.app.get("/read", &cookie).await.ok().body, expected, "{cookie}");
    }
    let loads = scene.faulty.loads();
    assert_eq!(loads, 2, "what cannot be an id is never asked for");
}

#[tokio::test]
async fn a_uuid_that_nobody_issued_is_not_adopted() {
    let scene = Scene::new(Ids::Plain);
    let answer = scene.app.get("/add", &format!("session_id={UUID}")).await.ok();
    assert_eq!(answer.body, "1");
    assert!(!answer.set_cookie().contains(UUID), "a visitor gets an id that nobody else knows");
    assert_ne!(scene.records().await[0].header.key, key());
}

#[tokio::test]
async fn hashed_ids_know_no_plain_ones() {
    let scene = Scene::new(Ids::Hashed);
    scene.foreign(7).await;
    for name in ["session_id", "__Host-id"] {
        let answer = scene.app.get("/read", &format!("{name}={UUID}")).await.ok();
        assert_eq!(answer.body, "None", "{name}");
    }
    assert_eq!(scene.faulty.loads(), 0);
}

#[tokio::test]
async fn a_record_without_a_header_gets_one_with_its_first_commit() {
    let clock = ManualClock::new(SystemClock.now());
    let shown = Arc::new(clock.clone());
    let scene = Scene::with(Ids::Plain, |layer| layer.clock(shown));
    scene.foreign(7).await;
    let cookie = format!("session_id={UUID}");
    // To read it changes nothing, however old it is.
    clock.advance(Duration::from_secs(1000 * 24 * 60 * 60));
    assert_eq!(scene.app.get("/read", &cookie).await.ok().body, "Some(7)");
    assert!(scene.records().await[0].header.is_foreign());

    let answer = scene.app.get("/add", &cookie).await.ok();
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("8", ""));
    let record = scene.memory.load(&key(), clock.now()).await.unwrap().live().unwrap();
    let header = &record.record.header;
    assert_eq!((header.counter, header.ops.iter().count()), (1, 1));
    assert_ne!(header.epoch, Epoch::from_bits(7), "the life under our header has its own name");
    assert_eq!(header.idle_deadline, clock.now().after(Duration::from_secs(30 * 60)));
    assert_eq!(header.absolute_deadline, clock.now().after(Duration::from_secs(12 * 60 * 60)));
    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(scene.app.get("/read", &cookie).await.ok().body, "None");
}

#[tokio::test]
async fn a_first_commit_whose_answer_is_lost_is_made_once() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Refuse] {
        let scene = Scene::new(Ids::Plain);
        scene.foreign(7).await;
        scene.faulty.on(Step::Commit(1), fault);
        let answer = scene.app.get("/add", &format!("session_id={UUID}")).await.ok();
        assert_eq!(answer.body, "8", "{fault:?}");
        assert_eq!(scene.records().await[0].data["views"], 8, "{fault:?}");
    }
}

#[tokio::test]
async fn a_plain_session_moves_to_a_safe_id_at_the_next_visit() {
    for path in ["/add", "/read"] {
        let scene = Scene::new(Ids::Upgrade);
        let old_key = scene.foreign(7).await;
        let answer = scene.app.get(path, &format!("a=b; session_id={UUID}")).await.ok();
        let views = if path == "/add" { 8 } else { 7 };
        let cookies = set_cookies(&answer);
        let (safe, removed) = match cookies.as_slice() {
            [one, other] if one.starts_with("__Host-id=") => (*one, *other),
            [one, other] => (*other, *one),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(removed, "session_id=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
        assert_eq!(answer.header("cache-control"), "no-store");
        let id = safe.split(';').next().unwrap();
        assert_eq!(id.len(), "__Host-id=".len() + 43);
        let records = scene.records().await;
        assert_eq!(records.len(), 1, "{path}: the old record is gone");
        assert_ne!(records[0].header.key, old_key);
        assert_eq!(records[0].data["views"], views);
        // The safe id is the session's now, and the old one is nobody's.
        assert_eq!(scene.app.get("/add", id).await.ok().body, (views + 1).to_string());
        // One that was on its way with it is told so, and gets no session in the place of its own.
        for path in ["/read", "/add"] {
            let late = scene.app.get(path, &format!("session_id={UUID}")).await;
            assert_eq!((late.status, late.set_cookie()), (StatusCode::CONFLICT, ""), "{path}");
        }
        assert_eq!(scene.records().await.len(), 1);
        // A logout ends the session where it went.
        scene.app.get("/logout", &format!("session_id={UUID}")).await.ok();
        assert_eq!(scene.records().await.len(), 0);
    }
}

#[tokio::test]
async fn a_visit_that_touches_no_session_moves_none() {
    let scene = Scene::new(Ids::Upgrade);
    scene.foreign(7).await;
    let answer = scene.app.get("/untouched", &format!("session_id={UUID}")).await.ok();
    assert_eq!((answer.set_cookie(), scene.faulty.loads()), ("", 0));
}

#[tokio::test]
async fn a_safe_id_counts_before_a_plain_one() {
    let scene = Scene::new(Ids::Upgrade);
    let mut visitor = Visitor::default();
    visitor.get(&scene.app, "/add").await.ok();
    scene.foreign(7).await;
    let both = format!("session_id={UUID}; {}", visitor.cookie);
    let answer = scene.app.get("/add", &both).await.ok();
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("2", ""));
}

#[tokio::test]
async fn a_logout_with_a_plain_id_removes_both_cookies() {
    let scene = Scene::new(Ids::Upgrade);
    scene.foreign(7).await;
    let answer = scene.app.get("/logout", &format!("session_id={UUID}")).await.ok();
    let cookies = set_cookies(&answer);
    assert!(cookies.iter().any(|cookie| cookie.starts_with("session_id=;")), "{cookies:?}");
    assert!(cookies.iter().all(|cookie| cookie.ends_with("Max-Age=0")), "{cookies:?}");
    assert!(scene.records().await.is_empty());
}

/// Beside a safe id a plain one does not count. It is a session of this visitor all the same.
#[tokio::test]
async fn a_logout_with_a_safe_id_ends_the_session_of_a_plain_one_beside_it() {
    let scene = Scene::new(Ids::Upgrade);
    let mut visitor = Visitor::default();
    visitor.get(&scene.app, "/add").await.ok();
    scene.foreign(7).await;
    let both = format!("session_id={UUID}; {}", visitor.cookie);
    let answer = scene.app.get("/logout", &both).await.ok();
    let cookies = set_cookies(&answer);
    assert!(cookies.iter().any(|cookie| cookie.starts_with("session_id=;")), "{cookies:?}");
    assert!(cookies.iter().any(|cookie| cookie.starts_with("__Host-id=;")), "{cookies:?}");
    assert!(scene.records().await.is_empty());
}

#[tokio::test]
async fn of_several_plain_ids_the_live_one_counts_and_moves() {
    for ids in [Ids::Plain, Ids::Upgrade] {
        let scene = Scene::new(ids);
        scene.foreign(7).await;
        let dead = "5e7bd1b0-7b9c-4f4e-9d3b-0a1b2c3d4e5f";
        let cookie = format!("session_id=x; session_id={dead}; session_id={UUID}");
        assert_eq!(scene.app.get("/read", &cookie).await.ok().body, "Some(7)", "{ids:?}");
        let loads = scene.faulty.loads();
        scene.app.get("/logout", &cookie).await.ok();
        assert_eq!((scene.faulty.loads(), scene.records().await.len()), (loads, 0), "{ids:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_fails_leaves_the_session_where_it_is() {
    let scene = Scene::new(Ids::Upgrade);
    scene.foreign(7).await;
    scene.faulty.on(Step::Commit(1), Fault::Refuse);
    scene.faulty.on(Step::Commit(2), Fault::LoseAnswer);
    let cookie = format!("session_id={UUID}");
    // Refused, then made and its answer lost, which the protocol finds out.
    let answer = scene.app.get("/add", &cookie).await.ok();
    assert_eq!((answer.body.as_str(), set_cookies(&answer).len()), ("8", 2));

    let scene = Scene::with(Ids::Upgrade, |layer| layer.deadline(Duration::from_millis(50)));
    scene.foreign(7).await;
    for n in 1..100 {
        scene.faulty.on(Step::Commit(n), Fault::Refuse);
    }
    let answer = scene.app.get("/read", &cookie).await.ok();
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("Some(7)", ""));
    let answer = scene.app.get("/add", &cookie).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.set_cookie(), "");
}

#[tokio::test]
async fn requests_that_meet_while_their_session_moves_lose_nothing() {
    let scene = Scene::new(Ids::Upgrade);
    scene.foreign(0).await;
    let cookie = format!("session_id={UUID}");
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let (app, cookie) = (scene.app.clone(), cookie.clone());
            tokio::spawn(async move { app.get("/add", &cookie).await })
        })
        .collect();
    let mut acknowledged = 0;
    for request in requests {
        let answer = request.await.unwrap();
        match answer.status {
            StatusCode::OK => acknowledged += 1,
            // The one that moved it has told the browser; this one must not tell it anything else.
            StatusCode::CONFLICT => assert_eq!(answer.set_cookie(), ""),
            other => panic!("{other}: {answer:?}"),
        }
    }
    let records = scene.records().await;
    assert_eq!((records.len(), &records[0].data["views"]), (1, &json!(acknowledged)));
}

#[tokio::test]
async fn the_development_cookie_takes_the_tutorials_with_it() {
    let cookie = Cookie::new(CookieConfig::development()).unwrap();
    let scene = Scene::with(Ids::Upgrade, |layer| layer.cookie(cookie));
    scene.foreign(7).await;
    let answer = scene.app.get("/add", &format!("session_id={UUID}")).await.ok();
    let cookies = set_cookies(&answer);
    assert!(cookies.iter().all(|cookie| !cookie.contains("Secure")), "{cookies:?}");
    let _ = &scene.layer;
}

#[tokio::test]
async fn a_plain_id_is_in_no_log_although_it_is_a_key() {
    let (log, _guard) = Log::catch();
    for ids in [Ids::Plain, Ids::Upgrade] {
        let scene = Scene::new(ids);
        let key = scene.foreign(7).await;
        tracing::info!(?key, record = ?scene.records().await, "debug output");
        scene.faulty.on(Step::Commit(1), Fault::LoseAnswer);
        for path in ["/read", "/add", "/logout", "/read"] {
            scene.app.get(path, &format!("session_id={UUID}")).await;
        }
    }
    let log = log.text();
    assert!(log.contains("debug output"), "the log was caught: {log}");
    assert!(!log.contains(UUID) && !log.contains("0b2f6c1e"), "{log}");
}
