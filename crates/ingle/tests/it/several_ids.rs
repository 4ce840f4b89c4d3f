//! A request with more than one value of our cookie. Browsers send two where a cookie was changed from
//! host-only to a domain, or where another host of the domain has set one ("cookie tossing").

use http::StatusCode;
use ingle::{
    Cookie, CookieConfig, Error, OnOutage, Session, SessionLayer,
    store::{Fault, Faulty, Memory, Step},
};

use crate::common::{Answer, App, Visitor, app, faulty, layer, layer_as_it_comes};

/// Another name than `__Host-…`: no other host can set a cookie with that prefix.
fn named_id(layer: SessionLayer) -> SessionLayer {
    layer.cookie(Cookie::new(CookieConfig::development()).unwrap())
}

fn routes(layer: &SessionLayer) -> App {
    app(layer)
        .on("/read", async |session: Session| {
            Ok::<_, Error>(session.get::<String>("name").await?.unwrap_or_default())
        })
        .on("/data", async |session: Session| {
            Ok::<_, Error>(serde_json::Value::Object(session.data().await?).to_string())
        })
        .on("/count", async |session: Session| {
            let n = session.field("n").update(|n: &mut u64| {
                *n += 1;
                *n
            });
            Ok::<_, Error>(n.await?.to_string())
        })
        .on("/insert", async |session: Session| session.insert("late", true))
        .on("/flash", async |session: Session| session.push_flash("saved"))
        .on("/handle", async |session: Session| format!("{:?}", session.handle()))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/login", async |session: Session| session.login("mary").await)
        .on("/user", async |session: Session| {
            Ok::<_, Error>(session.user().await?.map(|user| user.name).unwrap_or_default())
        })
        .on("/logout", async |session: Session| session.logout().await)
        .on("/destroy", async |session: Session| {
            // Also where the session was looked up before.
            session.get::<String>("name").await?;
            session.destroy().await
        })
}

/// An app, and the cookies of two visitors.
struct Scene {
    memory: Memory,
    store: Faulty,
    app: App,
    ada: String,
    eve: String,
}

const DEAD: &str = "id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl Scene {
    async fn new() -> Self {
        Self::with(layer).await
    }

    async fn with(make: fn(Faulty) -> SessionLayer) -> Self {
        let (memory, store) = faulty();
        let layer = named_id(make(store.clone()));
        let begin = async |name: &'static str| {
            let enter = async move |session: Session| session.insert("name", name);
            let mut visitor = Visitor::default();
            visitor.get(&app(&layer).on("/", enter), "/").await.ok();
            visitor.cookie
        };
        let (ada, eve) = (begin("ada").await, begin("eve").await);
        // Another process, which remembers neither.
        let app = routes(&named_id(make(store.clone())));
        Self { memory, store, app, ada, eve }
    }

    async fn read(&self, cookie: &str) -> String {
        self.app.get("/read", cookie).await.ok().body
    }

    /// The app with its store, which answers again.
    fn well(&self) -> App {
        routes(&named_id(layer(self.memory.clone())))
    }

    /// What the store was asked by one request.
    async fn asked(&self, path: &str, cookie: &str) -> (Answer, Vec<String>) {
        let before = self.store.log().len();
        let answer = self.app.get(path, cookie).await;
        (answer, self.store.log()[before..].to_vec())
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_an_id_does_not_count() {
    let scene = Scene::new().await;
    let id = &scene.ada;
    let long = format!("id={}", "A".repeat(8 * 1024));
    for cookie in [
        format!("id=5; {id}"),
        format!("{id}; id=5"),
        format!("id=; {id}; id="),
        format!("id={{}}; id=\"x\"; {id}; id=%41"),
        format!("{id}x; {id}"),
        format!("{long}; {id}"),
    ] {
        assert_eq!(scene.read(&cookie).await, "ada", "{cookie}");
    }
    assert_eq!(scene.read("id=5; id=6; id=").await, "", "there is none");
    let (answer, asked) = scene.asked("/logout", &format!("id=5; {id}")).await;
    assert!(answer.ok().set_cookie().ends_with("Max-Age=0"));
    assert_eq!(asked, ["destroy"]);
    assert_eq!(scene.memory.len(), 1, "the other visitor's is left");
}

#[tokio::test]
async fn of_several_ids_the_one_that_is_live_is_the_session() {
    for path in ["/read", "/data", "/count", "/insert", "/flash", "/renew"] {
        let scene = Scene::new().await;
        for cookie in [
            format!("{DEAD}; {}", scene.ada),
            format!("{}; {DEAD}", scene.ada),
            format!("{DEAD}; id=B{}; {}", &DEAD[4..], scene.ada),
        ] {
            let answer = scene.app.get(path, &cookie).await.ok();
            assert!(path == "/renew" || answer.set_cookie().is_empty(), "{path}: {answer:?}");
            assert_eq!(scene.memory.len(), 2, "{path}: none began");
            if path == "/renew" {
                let renewed = answer.set_cookie().split(';').next().unwrap();
                assert_eq!(scene.read(&format!("{DEAD}; {renewed}")).await, "ada");
                break;
            }
            assert_eq!(scene.read(&cookie).await, "ada", "{path}");
        }
    }
    let scene = Scene::new().await;
    let cookie = format!("{DEAD}; {}", scene.ada);
    assert_eq!(scene.app.get("/handle", &cookie).await.ok().body, "None", "not known yet");
    for (n, path) in (1..).zip(["/count", "/count"]) {
        assert_eq!(scene.app.get(path, &cookie).await.ok().body, n.to_string());
    }
}

#[tokio::test]
async fn of_ids_that_are_all_dead_none_is_adopted() {
    let scene = Scene::new().await;
    let dead = format!("{DEAD}; id=B{}", &DEAD[4..]);
    assert_eq!(scene.app.get("/data", &dead).await.ok().body, "{}");
    let answer = scene.app.get("/count", &dead).await.ok();
    let begun = answer.set_cookie().split(';').next().unwrap();
    assert!(!dead.contains(begun), "{answer:?}");
}

#[tokio::test]
async fn of_two_live_sessions_nobody_can_say_which_is_the_visitor_s() {
    let scene = Scene::new().await;
    for cookie in
        [format!("{}; {}", scene.ada, scene.eve), format!("{}; {DEAD}; {}", scene.eve, scene.ada)]
    {
        let answer = scene.app.get("/data", &cookie).await.ok();
        assert_eq!((&*answer.body, answer.set_cookie()), ("{}", ""));
        // What is stored begins a session of its own, and changes neither.
        let answer = scene.app.get("/count", &cookie).await.ok();
        assert_eq!(answer.body, "1");
        let begun = answer.set_cookie().split(';').next().unwrap();
        assert!(begun.len() > 3 && !cookie.contains(begun), "{answer:?}");
        scene.app.get("/logout", begun).await.ok();
    }
    let name_alone = r#"{"name":"ada"}"#;
    assert_eq!(scene.app.get("/data", &scene.ada).await.ok().body, name_alone);
}

#[tokio::test]
async fn one_id_twice_is_one_id() {
    let scene = Scene::new().await;
    let (answer, asked) = scene.asked("/read", &format!("{0}; {0}", scene.ada)).await;
    assert_eq!((&*answer.ok().body, &*asked), ("ada", &["load".to_owned()][..]));
}

#[tokio::test]
async fn a_logout_ends_every_session_that_was_presented() {
    for path in ["/logout", "/destroy"] {
        let scene = Scene::new().await;
        let cookie = format!("{}; {DEAD}; {}", scene.ada, scene.eve);
        let answer = scene.app.get(path, &cookie).await.ok();
        assert!(answer.set_cookie().ends_with("Max-Age=0"), "{path}: {answer:?}");
        assert!(scene.memory.is_empty(), "{path}");

        // Where one of them is the visitor's, the others end with it.
        let scene = Scene::new().await;
        scene.app.get(path, &format!("{DEAD}; {}", scene.ada)).await.ok();
        assert_eq!(scene.memory.len(), 1, "{path}");
    }
}

/// With the session that began in their place as well.
#[tokio::test]
async fn a_logout_after_a_change_ends_what_began_and_what_was_presented() {
    let (memory, store) = faulty();
    let layer = named_id(layer(store));
    let enter = async |session: Session| session.insert("name", "ada");
    let app = app(&layer).on("/", enter).on("/begin-and-end", async |session: Session| {
        session.insert("name", "new")?;
        session.commit().await?;
        session.logout().await
    });
    let (mut one, mut other) = (Visitor::default(), Visitor::default());
    one.get(&app, "/").await.ok();
    other.get(&app, "/").await.ok();
    app.get("/begin-and-end", &format!("{}; {}", one.cookie, other.cookie)).await.ok();
    assert!(memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_could_not_end_one_of_them_is_an_error() {
    for broken in [1, 2] {
        let scene = Scene::with(layer_as_it_comes).await;
        let cookie = format!("{}; {}", scene.ada, scene.eve);
        for call in broken..50 {
            scene.store.on(Step::Commit(call), Fault::Refuse);
        }
        let answer = scene.app.get("/logout", &cookie).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.set_cookie(), "", "the browser keeps what lives");
        assert!(!scene.memory.is_empty());
        scene.well().get("/logout", &cookie).await.ok();
        assert!(scene.memory.is_empty());
    }
}

/// A load that fails tells nothing: another id that is live may be somebody else's.
#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_answer_for_one_of_them_none_is_taken() {
    let scene = Scene::with(layer_as_it_comes).await;
    let cookie = format!("{}; {DEAD}", scene.ada);
    for call in 2..50 {
        scene.store.on(Step::Load(call), Fault::Refuse);
    }
    for path in ["/read", "/count", "/insert"] {
        let answer = scene.app.get(path, &cookie).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer:?}");
        assert_eq!(answer.set_cookie(), "", "{path}");
    }
    assert_eq!(scene.well().get("/read", &cookie).await.ok().body, "ada");

    let anonymous = Scene::with(|store| layer_as_it_comes(store).on_outage(OnOutage::Anonymous));
    let scene = anonymous.await;
    scene.store.fail_all(Some(Fault::Refuse));
    assert_eq!(scene.read(&format!("{}; {DEAD}", scene.ada)).await, "");
}

#[tokio::test]
async fn the_old_id_of_a_renewed_session_is_the_session_beside_its_new_one() {
    let scene = Scene::new().await;
    let mut cookies = vec![scene.ada.clone()];
    for _ in 0..3 {
        let renewed = scene.app.get("/renew", cookies.last().unwrap()).await.ok();
        cookies.push(renewed.set_cookie().split(';').next().unwrap().to_owned());
    }
    let (first, last) = (&cookies[0], &cookies[3]);
    assert_eq!(scene.read(&format!("{first}; {last}")).await, "ada");
    assert_eq!(scene.read(&format!("{last}; {first}")).await, "ada");
    assert_eq!(scene.app.get("/count", &cookies.join("; ")).await.ok().body, "1");
    // Alone, or beside somebody else's, it is late: the visitor's session has gone on without it.
    for cookie in [first.clone(), format!("{first}; {}", scene.eve), format!("{first}; {DEAD}")] {
        for path in ["/read", "/count", "/insert"] {
            let late = scene.app.get(path, &cookie).await;
            assert_eq!((late.status, late.set_cookie()), (StatusCode::CONFLICT, ""), "{path}");
        }
    }
    scene.app.get("/logout", &format!("{first}; {DEAD}")).await.ok();
    assert_eq!(scene.memory.len(), 1, "it ended where it went");
    // A session that ended keeps nobody from the next one.
    assert_eq!(scene.read(&format!("{last}; {}", scene.eve)).await, "eve");
    let late = scene.app.get("/count", &format!("{last}; {DEAD}")).await;
    assert_eq!((late.status, late.set_cookie()), (StatusCode::CONFLICT, ""));
}

#[tokio::test]
async fn more_ids_than_any_browser_has_are_not_looked_up_and_not_logged_out() {
    let scene = Scene::new().await;
    let others =
        |n: usize| -> String { (0..n).map(|n| format!("; id=C{n:02}{}", &DEAD[6..])).collect() };
    let (answer, asked) = scene.asked("/read", &format!("{}{}", scene.ada, others(7))).await;
    assert_eq!((&*answer.ok().body, asked.len()), ("ada", 8));
    for n in [8, 100] {
        let cookie = format!("{}{}", scene.ada, others(n));
        let (answer, asked) = scene.asked("/read", &cookie).await;
        assert_eq!((&*answer.ok().body, asked.len()), ("", 0), "{n}");
        for path in ["/logout", "/destroy"] {
            let (answer, asked) = scene.asked(path, &cookie).await;
            assert_eq!((answer.status, asked.len()), (StatusCode::BAD_REQUEST, 0), "{n} {path}");
            assert_eq!(answer.set_cookie(), "", "{n} {path}");
        }
    }
    assert_eq!(scene.memory.len(), 2);
}

/// What a browser does after a release that gave the cookie a domain: it has the cookie twice.
#[tokio::test]
async fn a_cookie_that_is_changed_to_a_domain_locks_nobody_out() {
    let (_, store) = faulty();
    let of = |domain: Option<&str>| {
        let domain = domain.map(str::to_owned);
        let config = CookieConfig { name: "sid".into(), domain, ..CookieConfig::default() };
        routes(&layer(store.clone()).cookie(Cookie::new(config).unwrap()))
    };
    let (before, after) = (of(None), of(Some("example.com")));
    let mut visitor = Visitor::default();
    visitor.get(&before, "/count").await.ok();
    let host_only = visitor.cookie.clone();
    // The login moves the session to an id in the wider cookie. The narrower one stays beside it.
    let renewed = after.get("/renew", &host_only).await.ok();
    let wide = renewed.set_cookie().split(';').next().unwrap().to_owned();
    for cookie in [format!("{host_only}; {wide}"), format!("{wide}; {host_only}")] {
        assert_eq!(after.get("/data", &cookie).await.ok().body, r#"{"n":1}"#);
    }
    let both = format!("{host_only}; {wide}");
    // A login ends what else the browser brought. This is the same session.
    let login = after.get("/login", &both).await.ok();
    let wide = login.set_cookie().split(';').next().unwrap();
    let both = format!("{host_only}; {wide}");
    assert_eq!(after.get("/data", &both).await.ok().body, r#"{"n":1}"#);
    assert_eq!(after.get("/user", &both).await.ok().body, "mary");
    after.get("/logout", &both).await.ok();
    let again = after.get("/count", &host_only).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "it is a late request for a minute");
}

#[tokio::test]
async fn after_a_login_with_several_ids_the_login_counts() {
    for (n_live, data) in [(2, "{}"), (1, r#"{"name":"ada"}"#)] {
        let scene = Scene::new().await;
        let other = if n_live == 2 { &scene.eve } else { DEAD };
        let login = scene.app.get("/login", &format!("{}; {other}", scene.ada)).await.ok();
        let own = login.set_cookie().split(';').next().unwrap().to_owned();
        // The browser keeps the one of them that it has for the whole domain.
        for cookies in [format!("{own}; {other}"), format!("{other}; {own}")] {
            assert_eq!(scene.app.get("/user", &cookies).await.ok().body, "mary");
            assert_eq!(scene.app.get("/data", &cookies).await.ok().body, data);
        }
        let eve = scene.app.get("/read", &scene.eve).await;
        assert_eq!(eve.status == StatusCode::CONFLICT, n_live == 2, "{eve:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_end_the_other_sessions_logs_nobody_in() {
    let scene = Scene::with(layer_as_it_comes).await;
    let both = format!("{}; {}", scene.ada, scene.eve);
    for call in 1..50 {
        scene.store.on(Step::Commit(call), Fault::Refuse);
    }
    let refused = scene.app.get("/login", &both).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert_eq!(refused.set_cookie(), "");
    let app = scene.well();
    for (cookie, name) in [(&scene.ada, "ada"), (&scene.eve, "eve")] {
        assert_eq!(app.get("/read", cookie).await.ok().body, name);
    }
}
