//! The way of a request, seen from outside: what is answered, what is set, what the store is asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Cookie, CookieConfig, Error, Lifetime, OnLostUpdate, OnOutage, OnServerError, Session,
    clock::{Clock, ManualClock, SystemClock},
    store::{Fault, List as _, Step},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::common::{App, Held, Visitor, app, faulty, layer, layer_as_it_comes};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

async fn home(session: Session) -> Result<String, Error> {
    let visit = session
        .update(|visit: &mut Visit| {
            if visit.greeting.is_empty() {
                visit.greeting = "Hallo Welt".into();
            }
            visit.views += 1;
            visit.clone()
        })
        .await?;
    Ok(format!("{} views for \"{}\"", visit.views, visit.greeting))
}

async fn read(session: Session) -> Result<String, Error> {
    let data: BTreeMap<String, Value> = session.data().await?;
    Ok(serde_json::to_string(&data).unwrap())
}

async fn untouched(_: Session) -> &'static str {
    "hello"
}

async fn insert(session: Session) -> Result<&'static str, Error> {
    session.insert("theme", "dark")?;
    Ok("ok")
}

fn explode<T>(_: &mut T) {
    panic!("in the closure")
}

async fn logout(session: Session) -> Result<&'static str, Error> {
    session.logout().await?;
    Ok("bye")
}

async fn renew(session: Session) -> Result<&'static str, Error> {
    session.insert("level", 2)?;
    session.renew().await?;
    Ok("ok")
}

async fn login(session: Session) -> Result<&'static str, Error> {
    session.login("ada").await?;
    Ok("ok")
}

fn all(layer: &ingle::SessionLayer) -> App {
    app(layer)
        .on("/", home)
        .on("/read", read)
        .on("/untouched", untouched)
        .on("/insert", insert)
        .on("/logout", logout)
        .on("/renew", renew)
        .on("/login", login)
}

#[tokio::test]
async fn an_update_begins_a_session_and_goes_on_with_it() {
    let (memory, store) = faulty();
    let app = all(&layer(store));
    let mut visitor = Visitor::default();
    let first = visitor.get(&app, "/").await.ok();
    assert_eq!(first.body, "1 views for \"Hallo Welt\"");
    let (pair, attributes) = first.set_cookie().split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
    assert_eq!(pair.len(), "__Host-id=".len() + 43);
    assert_eq!(first.header("vary"), "Cookie");
    assert_eq!(first.header("cache-control"), "no-store");

    let second = visitor.get(&app, "/").await.ok();
    assert_eq!(second.body, "2 views for \"Hallo Welt\"");
    assert_eq!(second.set_cookie(), "", "the browser has it already");
    assert_eq!(second.header("vary"), "Cookie");
    assert_eq!(memory.len(), 1);

    let other = Visitor::default().get(&app, "/").await.ok();
    assert_eq!(other.body, "1 views for \"Hallo Welt\"", "another browser is another visitor");
}

#[tokio::test]
async fn what_each_kind_of_request_asks_of_the_store() {
    let (_, store) = faulty();
    let warm = all(&layer(store.clone()));
    let mut visitor = Visitor::default();
    let mut asked = 0;
    let mut trips = |expected: &[&str]| {
        let log = store.log();
        assert_eq!(log[asked..], *expected);
        asked = log.len();
    };
    visitor.get(&warm, "/").await.ok();
    trips(&["create"]);
    visitor.get(&warm, "/").await.ok();
    trips(&["replace"]);
    visitor.get(&warm, "/insert").await.ok();
    trips(&["replace"]);
    visitor.get(&warm, "/insert").await.ok();
    // That nothing changes must be true of the store, not only of what this process remembers.
    trips(&["load"]);
    visitor.get(&warm, "/read").await.ok();
    trips(&["load"]);
    visitor.get(&warm, "/untouched").await.ok();
    trips(&[]);
    let cold = all(&layer(store.clone()));
    visitor.get(&cold, "/").await.ok();
    trips(&["load", "replace"]);
    // The first process has a stale hint now, which costs a conflict and nothing else.
    visitor.get(&warm, "/").await.ok();
    trips(&["replace -> conflict", "load", "replace"]);
    visitor.get(&warm, "/renew").await.ok();
    trips(&["renew"]);
    visitor.get(&warm, "/").await.ok();
    trips(&["replace"]);
    visitor.get(&warm, "/logout").await.ok();
    trips(&["destroy"]);
    visitor.get(&warm, "/read").await.ok();
    trips(&[]);
    // What is kept of the user is read before and after.
    visitor.get(&warm, "/login").await.ok();
    trips(&["load", "create", "load"]);
    visitor.get(&warm, "/login").await.ok();
    trips(&["load", "load", "renew", "load"]);
    visitor.get(&warm, "/renew").await.ok();
    trips(&["renew", "load"]);
    visitor.get(&warm, "/").await.ok();
    trips(&["replace"]);
    visitor.get(&warm, "/logout").await.ok();
    trips(&["destroy"]);
}

#[tokio::test]
async fn where_nothing_is_stored_there_is_no_record_and_no_cookie() {
    let (memory, store) = faulty();
    let app = all(&layer(store.clone()))
        .on("/noop", async |session: Session| session.update(|_: &mut Visit| ()).await)
        .on("/undone", async |session: Session| {
            session.insert("a", 1)?;
            session.remove("a")
        });
    for path in ["/read", "/untouched", "/noop", "/undone", "/logout", "/unknown"] {
        let answer = app.get(path, "").await;
        assert_eq!(answer.set_cookie(), "", "{path}");
        let looked = !["/untouched", "/unknown"].contains(&path);
        assert_eq!(answer.header("vary"), if looked { "Cookie" } else { "" }, "{path}");
    }
    assert!(memory.is_empty());
    assert_eq!(store.log(), [""; 0]);
}

#[tokio::test]
async fn every_look_at_a_session_makes_the_response_depend_on_the_cookie() {
    let (_, store) = faulty();
    let layer = layer(store.clone());
    let app = all(&layer);
    macro_rules! on_each {
        ($($path:literal => $look:expr),* $(,)?) => {{
            let app = app.clone()$(.on($path, async |session: Session| {
                // What came of it is not looked at: an error depends on the cookie as well.
                let look = $look;
                look(session).await;
            }))*;
            (app, [$($path),*])
        }};
    }
    let (app, paths) = on_each! {
        "/get" => async |s: Session| drop(s.get::<u64>("views").await),
        "/data" => async |s: Session| drop(s.data::<Visit>().await),
        "/field-get" => async |s: Session| drop(s.field("views").get::<u64>().await),
        "/wrong-type" => async |s: Session| drop(s.get::<bool>("views").await),
        "/update-nothing" => async |s: Session| drop(s.update(|_: &mut Visit| ()).await),
        "/field-update" => async |s: Session| drop(s.field("n").update(|n: &mut u64| *n += 1).await),
        "/edit" => async |s: Session| drop(s.insert("a", 1)),
        "/remove" => async |s: Session| drop(s.remove("a")),
        "/increment" => async |s: Session| drop(s.increment("a", 1)),
        "/push" => async |s: Session| drop(s.push("list", 1)),
        "/flash" => async |s: Session| drop(s.push_flash(1)),
        "/take" => async |s: Session| drop(s.take_flashes::<Value>().await),
        "/issue" => async |s: Session| drop(s.issue("kind", &1, Duration::MAX)),
        "/redeem" => async |s: Session| drop(s.redeem::<u64>("kind", "text").await),
        "/commit" => async |s: Session| drop(s.commit().await),
        "/handle" => async |s: Session| _ = s.handle(),
        "/renew-it" => async |s: Session| drop(s.renew().await),
        "/log-out" => async |s: Session| drop(s.logout().await),
        "/destroy" => async |s: Session| drop(s.destroy().await),
    };
    for down in [false, true] {
        for path in paths {
            store.fail_all(None);
            let mut visitor = Visitor::default();
            while visitor.cookie.is_empty() {
                visitor.get(&app, "/").await;
            }
            store.fail_all(down.then_some(Fault::Refuse));
            for cookie in ["", &*visitor.cookie] {
                let answer = app.get(path, cookie).await;
                assert_eq!(answer.header("vary"), "Cookie", "{path}, cookie {cookie:?}, {down}");
                let caches = if answer.set_cookie().is_empty() { "" } else { "no-store" };
                assert_eq!(answer.header("cache-control"), caches, "{path}, cookie {cookie:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_id_is_not_looked_up() {
    let (_, store) = faulty();
    let app = all(&layer(store.clone()));
    let id = "A".repeat(43);
    for value in [
        "".to_owned(),
        id[1..].to_owned(),
        format!("{id}A"),
        format!("{}+", &id[1..]),
        format!("{}%", &id[1..]),
        format!("{}B", &id[1..]),
        "../../etc/passwd".to_owned(),
        "' OR 1=1--".to_owned(),
        "${jndi:ldap://x}".to_owned(),
        "00000000-0000-4000-8000-000000000000".to_owned(),
        "A".repeat(8 * 1024),
        format!("{}; __Host-id={}", &id[1..], &id[2..]),
    ] {
        let answer = app.get("/read", &format!("__Host-id={value}")).await.ok();
        assert_eq!((&*answer.body, answer.set_cookie()), ("{}", ""), "{value}");
    }
    assert_eq!(store.log(), [""; 0]);
    app.get("/read", &format!("__Host-id={id}")).await.ok();
    assert_eq!(store.log(), ["load"], "this one could be one");
}

#[tokio::test]
async fn nothing_moves_the_absolute_deadline() {
    let (memory, store) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let app = all(&layer(store).clock(Arc::new(clock.clone())));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let deadline = async || {
        let page = memory.list(None, 10, clock.now()).await.unwrap();
        page.records.first().map(|loaded| loaded.record.header.absolute_deadline)
    };
    let first = deadline().await;
    assert!(first.is_some());
    // Touched, saved and renewed, time and again.
    for path in ["/read", "/", "/renew", "/insert", "/read", "/renew"] {
        clock.advance(Duration::from_secs(25 * 60));
        visitor.get(&app, path).await.ok();
        assert_eq!(deadline().await, first, "{path}");
    }
}

#[tokio::test]
async fn an_id_that_was_never_issued_is_not_adopted() {
    let (memory, store) = faulty();
    let app = all(&layer(store));
    let forged = format!("__Host-id={}", "A".repeat(43));
    assert_eq!(app.get("/read", &forged).await.ok().body, "{}");
    let answer = app.get("/", &forged).await.ok();
    assert!(answer.set_cookie().starts_with("__Host-id="));
    assert!(!answer.set_cookie().starts_with(&forged));
    assert_eq!(app.get("/read", &forged).await.ok().body, "{}");
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn renewing_keeps_the_data_and_kills_the_old_id() {
    let (memory, store) = faulty();
    let app = all(&layer(store));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let before = visitor.clone();
    visitor.get(&app, "/renew").await.ok();
    assert_ne!(visitor.cookie, before.cookie);
    let data = json!({"greeting": "Hallo Welt", "level": 2, "views": 1}).to_string();
    assert_eq!(visitor.get(&app, "/read").await.ok().body, data);
    for path in ["/read", "/"] {
        let late = app.get(path, &before.cookie).await;
        assert_eq!((late.status, late.set_cookie()), (StatusCode::CONFLICT, ""), "{path}");
    }
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn logging_out_is_final_and_the_removal_cookie_repeats_every_attribute() {
    let (memory, store) = faulty();
    let app = all(&layer(store).clear_site_data(true));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let stolen = visitor.clone();
    let bye = visitor.get(&app, "/logout").await.ok();
    let expected = "__Host-id=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";
    assert_eq!(bye.set_cookie(), expected);
    assert_eq!(bye.header("clear-site-data"), "\"cookies\", \"storage\"");
    assert_eq!(bye.header("cache-control"), "no-store");
    assert!(memory.is_empty());
    for path in ["/read", "/"] {
        let late = app.get(path, &stolen.cookie).await;
        assert_eq!((late.status, late.set_cookie()), (StatusCode::CONFLICT, ""), "{path}");
    }
    assert!(memory.is_empty(), "no late request begins a session");
}

#[tokio::test]
async fn what_is_stored_after_a_logout_begins_a_new_session() {
    let (memory, store) = faulty();
    let take = async |session: Session| {
        session.take_flashes::<String>().await.map(|messages| messages.join(","))
    };
    let app = all(&layer(store)).on("/take", take).on("/bye", async |session: Session| {
        session.insert("lost", true)?;
        session.logout().await?;
        session.push_flash("you are logged out")
    });
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let before = visitor.clone();
    let bye = visitor.get(&app, "/bye").await.ok();
    assert_eq!(bye.header("clear-site-data"), "", "unless the app asks for it");
    assert_ne!(visitor.cookie, before.cookie);
    assert_eq!(visitor.get(&app, "/take").await.ok().body, "you are logged out");
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn a_server_error_drops_edits_and_keeps_what_was_committed() {
    for (setting, theme) in [(OnServerError::Discard, false), (OnServerError::Commit, true)] {
        let (_, store) = faulty();
        let app =
            all(&layer(store).on_server_error(setting)).on("/fail", async |session: Session| {
                home(session.clone()).await.unwrap();
                session.insert("theme", "dark").unwrap();
                StatusCode::BAD_GATEWAY
            });
        let mut visitor = Visitor::default();
        let answer = visitor.get(&app, "/fail").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        let data = visitor.get(&app, "/read").await.ok().body;
        assert!(data.contains("\"views\":1"), "{data}");
        assert_eq!(data.contains("theme"), theme, "{data}");
    }
}

#[tokio::test]
async fn a_field_that_was_read_is_not_overwritten_unseen() {
    let handler = async |session: Session| {
        let seen: Option<u64> = session.get("n").await?;
        // Another request is faster.
        let other = session.clone();
        if seen == Some(0) {
            OTHER.with(|app| app.borrow().clone()).unwrap().call(&other).await;
        }
        session.insert("n", 10)?;
        session.insert("unread", 1)
    };
    for (setting, status, n) in [
        (OnLostUpdate::Refuse, StatusCode::CONFLICT, 1),
        (OnLostUpdate::LastWriteWins, StatusCode::OK, 10),
    ] {
        let (_, store) = faulty();
        let layer = layer(store).on_lost_update(setting);
        let app = all(&layer)
            .on("/start", async |session: Session| session.insert("n", 0))
            .on("/faster", async |session: Session| session.increment("n", 1))
            .on("/slow", handler);
        let mut visitor = Visitor::default();
        visitor.get(&app, "/start").await.ok();
        let faster = Faster { app: app.clone(), visitor: visitor.clone() };
        OTHER.with(|other| *other.borrow_mut() = Some(faster));
        let answer = visitor.get(&app, "/slow").await;
        assert_eq!(answer.status, status, "{answer:?}");
        let data = visitor.get(&app, "/read").await.ok().body;
        assert!(data.contains(&format!("\"n\":{n}")), "{data}");
        assert_eq!(data.contains("unread"), status == StatusCode::OK, "all or none: {data}");
    }
}

thread_local! {
    static OTHER: std::cell::RefCell<Option<Faster>> = const { std::cell::RefCell::new(None) };
}

/// A request of the same visitor that another one lets in while it works.
#[derive(Clone)]
struct Faster {
    app: App,
    visitor: Visitor,
}

impl Faster {
    async fn call(mut self, _: &Session) {
        self.visitor.get(&self.app, "/faster").await.ok();
    }
}

#[tokio::test]
async fn a_request_whose_session_ends_under_it_is_told() {
    // Reads first and then writes; records an edit first; asks for nothing before the other logs out.
    let slow_paths = ["/read-then-write", "/edit-only", "/update-late"];
    for (path, other) in
        slow_paths.into_iter().flat_map(|path| [(path, "/logout"), (path, "/renew")])
    {
        let (memory, store) = faulty();
        let mut app = all(&layer(store));
        let pause = Arc::new((tokio::sync::Notify::new(), tokio::sync::Notify::new()));
        let wait = {
            let pause = Arc::clone(&pause);
            move || {
                let pause = Arc::clone(&pause);
                async move {
                    pause.0.notify_one();
                    pause.1.notified().await;
                }
            }
        };
        let (wait_1, wait_2, wait_3) = (wait.clone(), wait.clone(), wait);
        app = app
            .on("/read-then-write", move |session: Session| {
                let wait = wait_1.clone();
                async move {
                    session.get::<u64>("views").await?;
                    wait().await;
                    session.insert("late", true)
                }
            })
            .on("/edit-only", move |session: Session| {
                let wait = wait_2.clone();
                async move {
                    session.insert("late", true)?;
                    wait().await;
                    Ok::<_, Error>(())
                }
            })
            .on("/update-late", move |session: Session| {
                let wait = wait_3.clone();
                async move {
                    wait().await;
                    home(session).await
                }
            });
        let mut visitor = Visitor::default();
        visitor.get(&app, "/").await.ok();
        let slow = {
            let (app, mut visitor) = (app.clone(), visitor.clone());
            tokio::spawn(async move { visitor.get(&app, path).await })
        };
        pause.0.notified().await;
        visitor.get(&app, other).await.ok();
        pause.1.notify_one();
        let answer = slow.await.unwrap();
        assert_eq!(answer.status, StatusCode::CONFLICT, "{path} {other}: {answer:?}");
        assert_eq!(answer.set_cookie(), "", "{path} {other}: the newer cookie must stay");
        assert_eq!(memory.len(), usize::from(other == "/renew"), "{path} {other}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_nobody_is_logged_out() {
    for (outage, read_status) in
        [(OnOutage::Fail, StatusCode::SERVICE_UNAVAILABLE), (OnOutage::Anonymous, StatusCode::OK)]
    {
        let (_, store) = faulty();
        let app = all(&layer(store.clone()).deadline(Duration::from_millis(50)).on_outage(outage));
        let mut visitor = Visitor::default();
        visitor.get(&app, "/").await.ok();
        store.fail_all(Some(Fault::Refuse));
        for path in ["/", "/read", "/insert", "/logout", "/renew"] {
            let answer = app.get(path, &visitor.cookie).await;
            let expected =
                if path == "/read" { read_status } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!(answer.status, expected, "{path}");
            assert_eq!(answer.set_cookie(), "", "{path}");
            assert_eq!(answer.header("vary"), "Cookie", "{path}");
            if expected != StatusCode::OK {
                assert_eq!(answer.header("retry-after"), "1", "{path}");
                assert!(
                    !answer.body.contains("memory") && !answer.body.contains("purpose"),
                    "{path}"
                );
            }
        }
        let answer = app.get("/", "").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.set_cookie(), "");
        store.fail_all(None);
        let answer = loop {
            let answer = visitor.get(&app, "/").await;
            if answer.status == StatusCode::OK {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(answer.body, "2 views for \"Hallo Welt\"", "the same cookie, the same session");
    }
}

#[tokio::test]
async fn a_store_that_hangs_holds_no_request_beyond_its_deadline() {
    tokio::time::pause();
    let (_, store) = faulty();
    let app = all(&layer_as_it_comes(store.clone()));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    store.fail_all(Some(Fault::Hang));
    for path in ["/", "/read", "/insert", "/logout", "/renew"] {
        let began = tokio::time::Instant::now();
        let answer = app.get(path, &visitor.cookie).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(began.elapsed() <= Duration::from_millis(1250), "{path}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn sessions_end_on_time_and_use_moves_the_idle_deadline_alone() {
    let (memory, store) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let lifetime = Lifetime::new(minutes(30), minutes(70)).unwrap();
    let app = all(&layer(store.clone()).lifetime(lifetime).clock(Arc::new(clock.clone())));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let header = async || {
        let page = memory.list(None, 10, clock.now()).await.unwrap();
        page.records.first().map(|loaded| loaded.record.header.clone())
    };
    let first = header().await.unwrap();

    clock.advance(minutes(2));
    visitor.get(&app, "/read").await.ok();
    assert_eq!(store.log(), ["create", "load"], "a tenth of the idle time has not passed");
    clock.advance(minutes(2));
    visitor.get(&app, "/untouched").await.ok();
    visitor.get(&app, "/read").await.ok();
    assert_eq!(store.log(), ["create", "load", "load", "touch"]);
    visitor.get(&app, "/read").await.ok();
    assert_eq!(store.log().len(), 5, "a touch is not repeated so soon");
    let touched = header().await.unwrap();
    assert_eq!(touched.idle_deadline.since(first.idle_deadline), minutes(4));
    assert_eq!(touched.absolute_deadline, first.absolute_deadline);
    assert_eq!(touched.counter, first.counter, "a touch carries no data");

    clock.advance(minutes(30) - Duration::from_millis(1));
    assert!(visitor.get(&app, "/read").await.ok().body.contains("views"), "just before the end");
    clock.advance(minutes(30));
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "{}", "at the end");
    let body = visitor.get(&app, "/").await.ok().body;
    assert_eq!(body, "1 views for \"Hallo Welt\"", "a new session under a new id");

    // However often it is used, it ends at the absolute deadline.
    for _ in 0..6 {
        clock.advance(minutes(11));
        visitor.get(&app, "/").await.ok();
    }
    clock.advance(minutes(4) - Duration::from_millis(1));
    assert_eq!(visitor.get(&app, "/").await.ok().body, "8 views for \"Hallo Welt\"");
    clock.advance(Duration::from_millis(1));
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "{}");
}

#[tokio::test]
async fn the_commit_runs_to_its_end_when_the_client_hangs_up() {
    tokio::time::pause();
    let (_, store) = faulty();
    let app = all(&layer(store.clone()));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    for path in ["/", "/insert"] {
        store.on(Step::Commit(1), Fault::Delay(Duration::from_millis(100)));
        let request = app.get(path, &visitor.cookie);
        assert!(tokio::time::timeout(Duration::from_millis(10), request).await.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let data = visitor.get(&app, "/read").await.ok().body;
    assert!(data.contains("\"views\":2") && data.contains("dark"), "{data}");
}

#[tokio::test]
async fn a_handler_that_panics_stores_none_of_its_edits() {
    let (memory, store) = faulty();
    let layer = layer(store);
    let app = all(&layer)
        .on("/panic", async |session: Session| -> &'static str {
            session.insert("edit", 1).unwrap();
            panic!("in the handler")
        })
        .on("/panic-in-update", async |session: Session| session.update(explode::<Visit>).await);
    for path in ["/panic", "/panic-in-update"] {
        let app = app.clone();
        let request = tokio::spawn(async move { app.get(path, "").await });
        assert!(request.await.unwrap_err().is_panic(), "{path}");
    }
    assert!(memory.is_empty());
    // A panic in one visitor's closure leaves the session usable.
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    let (other_app, cookie) = (app.clone(), visitor.cookie.clone());
    let request = tokio::spawn(async move { other_app.get("/panic-in-update", &cookie).await });
    assert!(request.await.unwrap_err().is_panic());
    assert_eq!(visitor.get(&app, "/").await.ok().body, "2 views for \"Hallo Welt\"");
}

#[tokio::test]
async fn each_message_is_taken_once() {
    let (_, store) = faulty();
    let app = all(&layer(store))
        .on("/flash", async |session: Session| {
            session.push_flash("one")?;
            session.push_flash("two")
        })
        .on("/take", async |session: Session| {
            session.take_flashes::<String>().await.map(|messages| messages.join(","))
        });
    let mut visitor = Visitor::default();
    visitor.get(&app, "/flash").await.ok();
    let (mut a, mut b) = (visitor.clone(), visitor.clone());
    let (a, b) = tokio::join!(a.get(&app, "/take"), b.get(&app, "/take"));
    let mut taken = [a.ok().body, b.ok().body];
    taken.sort();
    assert_eq!(taken, ["", "one,two"]);
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "{}");
}

#[tokio::test]
async fn a_request_reads_its_own_edits_and_an_update_commits_them() {
    let (_, store) = faulty();
    let app = all(&layer(store.clone())).on("/own", async |session: Session| {
        session.insert("a", 1)?;
        session.increment("a", 1)?;
        session.push("list", "x")?;
        assert_eq!(session.get::<i64>("a").await?, Some(2));
        let sum = session
            .update(|data: &mut BTreeMap<String, Value>| {
                data.insert("b".into(), json!(true));
                data.len()
            })
            .await?;
        assert_eq!(sum, 3);
        // After its own update the request may overwrite what it read before.
        session.insert("a", 5)?;
        assert_eq!(session.field("a").get::<i64>().await?, Some(5));
        session.field("n").update(|n: &mut i64| *n += 7).await?;
        session.remove("list")
    });
    let mut visitor = Visitor::default();
    visitor.get(&app, "/own").await.ok();
    assert_eq!(visitor.get(&app, "/read").await.ok().body, r#"{"a":5,"b":true,"n":7}"#);
    assert_eq!(store.log(), ["create", "replace", "replace", "load"]);
}

#[tokio::test]
async fn a_session_goes_on_after_the_response_but_cannot_begin_there() {
    let (_, store) = faulty();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let app = all(&layer(store)).on("/socket", move |session: Session| {
        let sender = sender.clone();
        async move { drop(sender.send(session)) }
    });
    let mut visitor = Visitor::default();
    app.get("/socket", "").await.ok();
    let anonymous = receiver.recv().await.unwrap();
    assert!(matches!(home(anonymous).await, Err(Error::ResponseSent)));

    visitor.get(&app, "/").await.ok();
    visitor.get(&app, "/socket").await.ok();
    let session = receiver.recv().await.unwrap();
    session.insert("late", true).unwrap();
    session.commit().await.unwrap();
    assert!(visitor.get(&app, "/read").await.ok().body.contains("late"));
    visitor.get(&app, "/").await.ok();
    assert_eq!(session.get::<u64>("views").await.unwrap(), Some(2), "read anew each time");
    assert!(matches!(session.renew().await, Err(Error::ResponseSent)));
    visitor.get(&app, "/logout").await.ok();
    assert!(matches!(home(session.clone()).await, Err(Error::Interrupted)));
    assert!(matches!(session.get::<u64>("views").await, Err(Error::Interrupted)));
}

#[tokio::test]
async fn errors_are_answers_that_tell_no_more_than_they_must() {
    let (_, store) = faulty();
    let app = all(&layer(store))
        .on("/large", async |session: Session| session.insert("a", "x".repeat(70_000)))
        .on("/large-together", async |session: Session| {
            session.insert("a", "x".repeat(40_000))?;
            session.insert("b", "x".repeat(40_000))
        })
        .on("/nan", async |session: Session| session.insert("a", f64::NAN))
        .on("/text", async |session: Session| session.insert("views", "many"));
    for (path, status) in [
        ("/large", StatusCode::PAYLOAD_TOO_LARGE),
        ("/large-together", StatusCode::PAYLOAD_TOO_LARGE),
        ("/nan", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let answer = app.get(path, "").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.set_cookie(), "", "{path}");
    }
    let mut visitor = Visitor::default();
    visitor.get(&app, "/text").await.ok();
    let answer = visitor.get(&app, "/").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.contains("views"), "{answer:?}");
    assert!(visitor.get(&app, "/read").await.ok().body.contains("many"), "nothing was overwritten");
}

#[tokio::test]
async fn the_cookie_s_settings_reach_the_browser() {
    let (_, store) = faulty();
    let config = CookieConfig { persistent: true, ..CookieConfig::development() };
    let app = all(&layer(store).cookie(Cookie::new(config).unwrap()));
    let answer = app.get("/", "").await.ok();
    let (pair, attributes) = answer.set_cookie().split_once("; ").unwrap();
    assert!(pair.starts_with("id="));
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=43200");
}

#[tokio::test]
async fn the_app_cannot_make_a_response_with_our_cookie_public() {
    let (_, store) = faulty();
    let app = all(&layer(store)).on("/public", async |session: Session| {
        home(session).await?;
        let headers = [
            ("cache-control", "public, max-age=600"),
            ("set-cookie", "__Host-id=mine"),
            ("vary", "Accept"),
        ];
        Ok::<_, Error>((headers, "hello"))
    });
    let answer = app.get("/public", "").await.ok();
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 1);
    assert!(!answer.set_cookie().contains("mine"));
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept", "Cookie"]);
}

#[tokio::test]
async fn two_namespaces_share_a_store_and_no_session() {
    let (memory, store) = faulty();
    let shop = all(&layer(store.clone()).namespace("shop"));
    let admin = all(&layer(store).namespace("admin"));
    let mut visitor = Visitor::default();
    visitor.get(&shop, "/").await.ok();
    assert_eq!(admin.get("/read", &visitor.cookie).await.ok().body, "{}");
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn a_handler_without_a_layer_or_with_two_says_so() {
    use tower::ServiceExt as _;
    let request = || http::Request::get("/").body(axum::body::Body::empty()).unwrap();
    let router = || axum::Router::new().route("/", axum::routing::get(home));
    let answer = router().oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains(".layer(SessionLayer::new(store))"));

    let layer = layer(faulty().1);
    let twice = router().layer(layer.clone()).layer(layer);
    let answer = twice.oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn dead_records_are_swept() {
    tokio::time::pause();
    let (memory, store) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let layer = layer(store.clone())
        .clock(Arc::new(clock.clone()))
        .sweep_every(Some(Duration::from_secs(60)));
    let app = all(&layer);
    for _ in 0..600 {
        app.get("/", "").await.ok();
    }
    assert_eq!(memory.len(), 600);
    clock.advance(Duration::from_secs(30 * 60));
    app.get("/", "").await.ok();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(memory.len(), 1, "in several batches, and the live one stays");
    let sweeps = store.sweeps();
    drop((app, layer));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(store.sweeps() <= sweeps + 1, "the sweeps end with the layer");
}

#[tokio::test]
async fn an_update_that_is_refused_leaves_the_edits_before_it() {
    let (_, store) = faulty();
    let app = all(&layer(store)).on("/refused", async |session: Session| {
        session.insert("views", "many")?;
        session.insert("theme", "dark")?;
        let wrong = session.update(|visit: &mut Visit| visit.views += 1).await;
        assert!(matches!(wrong, Err(Error::WrongType(_))), "{wrong:?}");
        Ok::<_, Error>(())
    });
    let mut visitor = Visitor::default();
    visitor.get(&app, "/refused").await.ok();
    assert_eq!(visitor.get(&app, "/read").await.ok().body, r#"{"theme":"dark","views":"many"}"#);
}

#[tokio::test]
async fn what_was_read_before_a_refused_update_is_not_overwritten_unseen() {
    let (_, store) = faulty();
    let layer = layer(store);
    let (app, mut visitor) = (all(&layer), Visitor::default());
    visitor.get(&app, "/").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    assert_eq!(held.session.get::<u64>("views").await.unwrap(), Some(1));
    visitor.get(&app, "/").await.ok();
    let wrong = held.session.field("views").update(|views: &mut String| views.clear()).await;
    assert!(matches!(wrong, Err(Error::WrongType(_))), "{wrong:?}");
    held.session.insert("views", 2).unwrap();
    assert_eq!(held.respond(StatusCode::OK).await.status, StatusCode::CONFLICT);
    let data = visitor.get(&app, "/read").await.ok().body;
    assert!(data.contains(r#""views":2"#), "{data}");
}

#[tokio::test]
async fn data_that_outgrew_the_limit_can_be_made_smaller() {
    let (_, store) = faulty();
    let roomy = layer(store.clone());
    let tight = layer(store).limits(ingle::Limits { bytes_max: 100, ..ingle::Limits::default() });
    let grow = app(&roomy).on("/", async |session: Session| session.insert("a", vec!["x"; 100]));
    let shrink = all(&tight)
        .on("/more", async |session: Session| {
            session.field("a").update(|a: &mut Vec<String>| a.push("more".into())).await
        })
        .on("/less", async |session: Session| {
            session.field("a").update(|a: &mut Vec<String>| a.truncate(90)).await
        });
    let mut visitor = Visitor::default();
    visitor.get(&grow, "/").await.ok();
    assert_eq!(visitor.get(&shrink, "/more").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    visitor.get(&shrink, "/less").await.ok();
    assert_eq!(visitor.get(&shrink, "/read").await.ok().body.matches("\"x\"").count(), 90);
}

#[tokio::test]
async fn a_map_that_outgrew_the_limit_can_lose_a_field() {
    let (_, store) = faulty();
    let roomy = layer(store.clone());
    let tight = layer(store).limits(ingle::Limits { bytes_max: 100, ..ingle::Limits::default() });
    let grow = app(&roomy).on("/", async |session: Session| {
        let change = |data: &mut ingle::data::Data| {
            data.extend((0..50).map(|n| (format!("name{n}"), n.into())))
        };
        session.update(change).await
    });
    let shrink = all(&tight).on("/fewer", async |session: Session| {
        session.update(|data: &mut ingle::data::Data| drop(data.remove("name0"))).await
    });
    let mut visitor = Visitor::default();
    visitor.get(&grow, "/").await.ok();
    visitor.get(&shrink, "/fewer").await.ok();
    assert_eq!(visitor.get(&shrink, "/read").await.ok().body.matches("name").count(), 49);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_write_can_still_be_read() {
    let (memory, store) = faulty();
    let app = all(&layer(store.clone()).deadline(Duration::from_millis(50)));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/").await.ok();
    for commit in 1..200 {
        store.on(Step::Commit(commit), Fault::Refuse);
    }
    for _ in 0..20 {
        assert_eq!(visitor.get(&app, "/").await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(visitor.get(&app, "/read").await.ok().body.contains("\"views\":1"));
    }
    assert_eq!(memory.len(), 1);
}
