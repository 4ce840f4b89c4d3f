//! The layer as middleware of actix-web: whole requests, without a socket.

use std::{pin::Pin, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse,
    body::MessageBody,
    dev::{Service as _, ServiceRequest, ServiceResponse},
    error,
    http::{StatusCode, header::HeaderMap},
    middleware::{Next, from_fn},
    test::{self, TestRequest},
    web,
};
use ingle::{
    Cookie, CookieConfig, Error, Named, Session, SessionName,
    store::{Fault, Memory, Step},
    testing::TestSessions,
};
use tokio::{
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::timeout,
};

use crate::common::{faulty, layer, layer_as_it_comes};

async fn home(session: Session) -> Result<String, Error> {
    let add_one = |views: &mut u64| {
        *views += 1;
        *views
    };
    Ok(session.field("views").update(add_one).await?.to_string())
}

async fn read(session: Session) -> Result<String, Error> {
    let data: serde_json::Map<String, serde_json::Value> = session.data().await?;
    Ok(serde_json::Value::Object(data).to_string())
}

async fn insert(session: Session) -> Result<&'static str, Error> {
    session.insert("theme", "dark")?;
    Ok("ok")
}

async fn renew(session: Session) -> Result<&'static str, Error> {
    session.renew().await?;
    Ok("ok")
}

async fn logout(session: Session) -> Result<&'static str, Error> {
    session.logout().await?;
    Ok("bye")
}

fn routes(app: &mut web::ServiceConfig) {
    app.route("/", web::get().to(home))
        .route("/read", web::get().to(read))
        .route("/untouched", web::get().to(async |_: Session| "hello"))
        .route("/insert", web::get().to(insert))
        .route("/renew", web::get().to(renew))
        .route("/logout", web::get().to(logout));
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn set_cookie(&self) -> &str {
        self.header("set-cookie")
    }

    /// The name and the value of the cookie that it sets.
    fn pair(&self) -> &str {
        self.set_cookie().split(';').next().unwrap()
    }

    fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self
    }
}

/// An app that is asked without a socket.
struct Served(Box<dyn Fn(TestRequest) -> Answering>);

type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// actix-web does not name the types of an app. This makes one of all.
macro_rules! served {
    ($app:expr) => {{
        let app = std::rc::Rc::new(test::init_service($app).await);
        Served(Box::new(move |request| {
            let app = std::rc::Rc::clone(&app);
            Box::pin(async move {
                let response = match app.call(request.to_request()).await {
                    Ok(done) => done.into_parts().1.map_into_boxed_body(),
                    // As the server does.
                    Err(error) => error.error_response(),
                };
                let (status, headers) = (response.status(), response.headers().clone());
                let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
                Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
            })
        }))
    }};
}

/// An app with the routes above, and with others.
macro_rules! app {
    ($layer:expr $(, $path:literal => $handler:expr)* $(,)?) => {
        served!(
            App::new().configure(routes)$(.route($path, web::get().to($handler)))*.wrap($layer)
        )
    };
}

impl Served {
    fn get(&self, path: &str, cookie: &str) -> Answering {
        let request = TestRequest::with_uri(path);
        (self.0)(match cookie {
            "" => request,
            cookie => request.insert_header(("cookie", cookie)),
        })
    }
}

// Below the macros, which it uses.
mod orders;
mod same_origin;

#[tokio::test]
async fn a_session_begins_goes_on_is_renewed_and_logged_out() {
    let (memory, store) = faulty();
    let app = app!(layer(store));
    let first = app.get("/", "").await.ok();
    assert_eq!(first.body, "1");
    let (pair, attributes) = first.set_cookie().split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
    assert_eq!((first.header("vary"), first.header("cache-control")), ("Cookie", "no-store"));

    let second = app.get("/", pair).await.ok();
    assert_eq!((&*second.body, second.set_cookie()), ("2", ""), "the browser has it already");
    assert_eq!((second.header("vary"), second.header("cache-control")), ("Cookie", ""));

    let renewed = app.get("/renew", pair).await.ok();
    assert_ne!(renewed.pair(), pair);
    let late = app.get("/", pair).await;
    assert_eq!((late.status, late.set_cookie()), (StatusCode::CONFLICT, ""), "it is the old id");
    assert_eq!(app.get("/", renewed.pair()).await.ok().body, "3");

    let last = app.get("/logout", renewed.pair()).await.ok();
    assert!(last.set_cookie().starts_with("__Host-id=; "), "{last:?}");
    assert!(last.set_cookie().ends_with("Max-Age=0"), "{last:?}");
    assert_eq!(app.get("/", renewed.pair()).await.status, StatusCode::CONFLICT);
    assert!(memory.is_empty());
}

#[tokio::test]
async fn a_request_that_does_not_look_at_its_session_asks_and_says_nothing() {
    let (_, store) = faulty();
    let app = app!(layer(store.clone()));
    for cookie in ["", &*format!("__Host-id={}", "A".repeat(43))] {
        let answer = app.get("/untouched", cookie).await.ok();
        assert_eq!((answer.header("vary"), answer.set_cookie()), ("", ""), "{answer:?}");
    }
    assert_eq!(store.log(), [""; 0]);
    assert_eq!(app.get("/unknown", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_whose_session_ends_under_it_is_told() {
    for other in ["/logout", "/renew"] {
        let (memory, store) = faulty();
        let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (has_read, wait) = (Arc::clone(&reached), Arc::clone(&go_on));
        let slow = move |session: Session| {
            let (has_read, wait) = (Arc::clone(&has_read), Arc::clone(&wait));
            async move {
                session.insert("late", true)?;
                has_read.notify_one();
                wait.notified().await;
                Ok::<_, Error>("ok")
            }
        };
        let app = app!(layer(store), "/slow" => slow);
        let begun = app.get("/", "").await.ok();
        let outpaced = async {
            reached.notified().await;
            app.get(other, begun.pair()).await.ok();
            go_on.notify_one();
        };
        let (answer, ()) = tokio::join!(app.get("/slow", begun.pair()), outpaced);
        assert_eq!(answer.status, StatusCode::CONFLICT, "{other}: {answer:?}");
        assert_eq!(answer.set_cookie(), "", "{other}: the newer cookie must stay");
        assert_eq!(memory.len(), usize::from(other == "/renew"), "{other}");
    }
}

#[tokio::test]
async fn errors_of_a_handler_and_of_the_commit_are_their_responses() {
    let (_, store) = faulty();
    let layer = layer_as_it_comes(store.clone());
    let app = app!(
        layer.clone(),
        "/large" => async |session: Session| session.insert("x", "y".repeat(70_000)).map(|()| ""),
    );
    let begun = app.get("/", "").await.ok();
    store.fail_all(Some(Fault::Refuse));
    // The first fails in the handler, the second when it is done.
    for path in ["/", "/insert"] {
        let answer = app.get(path, begun.pair()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer:?}");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{path}");
        assert_eq!((answer.header("vary"), answer.set_cookie()), ("Cookie", ""), "{path}");
        assert!(answer.body.starts_with("Sessions are not available right now."), "{answer:?}");
    }
    store.fail_all(None);
    assert_eq!(app.get("/large", "").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let minutes = layer.sessions().activity().minutes;
    assert_eq!(minutes.iter().map(|minute| minute.unavailable).sum::<u64>(), 2);
    assert_eq!(app.get("/", begun.pair()).await.ok().body, "2", "the session is as it was");
}

#[tokio::test]
async fn the_app_can_replace_every_error_s_response() {
    let (_, store) = faulty();
    let layer = layer_as_it_comes(store.clone()).on_error(|error| {
        let body = format!("{{\"error\":{}}}", error.status().as_u16());
        http::Response::builder().status(418).header("x-own", "yes").body(body.into()).unwrap()
    });
    let app = app!(layer, "/own" => async || HttpResponse::Conflict().body("mine"));
    store.fail_all(Some(Fault::Refuse));
    for path in ["/", "/insert"] {
        let answer = app.get(path, "").await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (418, "{\"error\":503}"), "{path}");
        assert_eq!((answer.header("x-own"), answer.header("vary")), ("yes", "Cookie"), "{path}");
    }
    let own = app.get("/own", "").await;
    assert_eq!((own.status, &*own.body), (StatusCode::CONFLICT, "mine"), "it is the app's");
}

#[tokio::test]
async fn a_server_error_drops_edits_and_keeps_what_was_committed() {
    let (_, store) = faulty();
    let app = app!(layer(store), "/fail" => async |session: Session| {
        home(session.clone()).await.unwrap();
        session.insert("theme", "dark").unwrap();
        HttpResponse::BadGateway().finish()
    });
    let answer = app.get("/fail", "").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(app.get("/read", answer.pair()).await.ok().body, "{\"views\":1}");
}

#[tokio::test]
async fn the_app_s_own_cookie_of_our_name_gives_way_and_others_stay() {
    let app = app!(layer(faulty().1), "/own" => async |session: Session| {
        home(session).await?;
        let mut response = HttpResponse::Ok();
        for header in [
            ("cache-control", "public, max-age=600"),
            ("vary", "Accept"),
            ("set-cookie", "theme=dark"),
            ("set-cookie", "__Host-id=mine"),
        ] {
            response.append_header(header);
        }
        Ok::<_, Error>(response.body("hello"))
    });
    let answer = app.get("/own", "").await.ok();
    let all = |name| answer.headers.get_all(name).map(|value| value.to_str().unwrap());
    let cookies: Vec<&str> = all("set-cookie").map(|set| set.split('=').next().unwrap()).collect();
    assert_eq!(cookies, ["__Host-id", "theme"]);
    assert!(!answer.set_cookie().contains("mine"), "{answer:?}");
    assert_eq!(all("cache-control").collect::<Vec<_>>(), ["no-store"]);
    assert_eq!(all("vary").collect::<Vec<_>>(), ["Accept", "Cookie"]);
    let is_sensitive = answer.headers.get_all("set-cookie").next().unwrap().is_sensitive();
    assert!(is_sensitive, "no log of headers has the id");
}

async fn fails(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let done = next.call(request).await?;
    if done.status().is_success() { Err(error::ErrorForbidden("not you\n")) } else { Ok(done) }
}

/// A handler may have renewed the session before: without its cookie, the visitor would be lost.
#[tokio::test]
async fn the_error_of_a_middleware_below_has_the_cookie_as_well() {
    let (_, store) = faulty();
    let below = layer_as_it_comes(store.clone());
    let whole = app!(below.clone());
    let app = served!(App::new().configure(routes).wrap(from_fn(fails)).wrap(below));
    let begun = app.get("/", "").await;
    assert_eq!((begun.status, &*begun.body), (StatusCode::FORBIDDEN, "not you\n"));
    assert_eq!((begun.header("vary"), begun.header("cache-control")), ("Cookie", "no-store"));
    let renewed = app.get("/renew", begun.pair()).await;
    assert_eq!(renewed.status, StatusCode::FORBIDDEN);
    assert_eq!(whole.get("/", renewed.pair()).await.ok().body, "2");

    assert_eq!(app.get("/insert", renewed.pair()).await.status, StatusCode::FORBIDDEN);
    let data = whole.get("/read", renewed.pair()).await.ok().body;
    assert!(data.contains("dark"), "{data}: an answer below 500 keeps the edits");
    let untouched = app.get("/untouched", renewed.pair()).await;
    assert_eq!((untouched.header("vary"), untouched.set_cookie()), ("", ""));

    // What could not be committed is what the browser is told.
    store.fail_all(Some(Fault::Refuse));
    let lost = app.get("/insert", renewed.pair()).await;
    assert_eq!((lost.status.as_u16(), lost.header("retry-after")), (503, "1"), "{lost:?}");
    assert_eq!(lost.header("vary"), "Cookie");
}

#[tokio::test]
async fn a_middleware_may_return_an_error_of_a_session() {
    async fn guarded(
        session: Session,
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
        session.get::<u64>("views").await?;
        next.call(request).await
    }
    let (_, store) = faulty();
    let plain = layer_as_it_comes(store.clone());
    let own = plain.clone().on_error(|_| http::Response::new("mine".into()));
    let cookie = app!(plain.clone()).get("/", "").await.ok().pair().to_owned();
    store.fail_all(Some(Fault::Refuse));
    for (layer, expected) in [(plain, (503, "Sessions are not")), (own, (200, "mine"))] {
        let sessions = layer.sessions();
        let app = served!(App::new().configure(routes).wrap(from_fn(guarded)).wrap(layer));
        let answer = app.get("/", &cookie).await;
        assert_eq!(answer.status.as_u16(), expected.0, "{answer:?}");
        let minutes = sessions.activity().minutes;
        let unavailable: u64 = minutes.iter().map(|minute| minute.unavailable).sum();
        assert_eq!(unavailable, u64::from(expected.0 == 503));
        assert!(answer.body.starts_with(expected.1), "{answer:?}");
        assert_eq!(answer.header("vary"), "Cookie");
    }
}

struct Admin;
impl SessionName for Admin {}

fn admin_cookie() -> Cookie {
    let config = CookieConfig { name: "__Host-admin".into(), ..CookieConfig::default() };
    Cookie::new(config).unwrap()
}

#[tokio::test]
async fn two_sessions_of_one_request_are_apart() {
    let store = Memory::new();
    let visitors = layer(store.clone());
    let admins = layer(store.clone()).named::<Admin>().cookie(admin_cookie()).namespace("admin");
    let app = served!(
        App::new()
            .route(
                "/both",
                web::get().to(async |visitor: Session, admin: Named<Admin>| {
                    visitor.increment("views", 1)?;
                    Ok::<_, Error>(format!("{:?}", admin.get::<String>("name").await?))
                })
            )
            .route(
                "/enter",
                web::get()
                    .to(async |admin: Named<Admin>| admin.insert("name", "ada").map(|()| "ok"))
            )
            .wrap(visitors)
            .wrap(admins)
    );
    let first = app.get("/both", "").await.ok();
    assert!(first.set_cookie().starts_with("__Host-id="), "{first:?}");
    let entered = app.get("/enter", first.pair()).await.ok();
    assert!(entered.set_cookie().starts_with("__Host-admin="), "{entered:?}");
    let both = format!("{}; {}", first.pair(), entered.pair());
    assert_eq!(app.get("/both", &both).await.ok().body, "Some(\"ada\")");
    let swapped = both.replace("__Host-id", "__Host-x").replace("admin", "id");
    assert_eq!(app.get("/both", &swapped).await.ok().body, "None", "it is nobody in the other");
}

#[tokio::test]
async fn two_layers_that_would_share_a_name_or_a_cookie_are_refused() {
    let named = || layer(Memory::new()).named::<Admin>();
    let default = || layer(Memory::new());
    let cases = [
        (default(), default()),
        (default(), default().cookie(admin_cookie())),
        (default(), named()),
        (named(), named().cookie(admin_cookie())),
    ];
    for (place, (inner, outer)) in cases.into_iter().enumerate() {
        let page = web::get().to(async || "never");
        let app = served!(App::new().route("/", page).wrap(inner).wrap(outer));
        let answer = app.get("/", "").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{place}: {answer:?}");
    }
}

#[tokio::test]
async fn a_handler_without_a_layer_says_which_line_is_missing_or_does_without() {
    let optional = async |session: Option<Session>| format!("{}", session.is_some());
    let bare = served!(
        App::new()
            .configure(routes)
            .route("/named", web::get().to(async |_: Named<Admin>| "never"))
            .route("/optional", web::get().to(optional))
    );
    for path in ["/", "/named"] {
        let answer = bare.get(path, "").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(answer.body.contains(".wrap(SessionLayer::new(store))"), "{path}: {answer:?}");
    }
    assert_eq!(bare.get("/optional", "").await.ok().body, "false");
    let app = app!(layer(Memory::new()), "/optional" => optional);
    assert_eq!(app.get("/optional", "").await.ok().body, "true");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_does_not_stop_a_commit() {
    let (_, store) = faulty();
    let app = app!(layer(store.clone()));
    let begun = app.get("/", "").await.ok();
    for path in ["/", "/insert"] {
        store.on(Step::Commit(1), Fault::Delay(Duration::from_millis(100)));
        let request = app.get(path, begun.pair());
        assert!(timeout(Duration::from_millis(10), request).await.is_err(), "{path}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let data = app.get("/read", begun.pair()).await.ok().body;
    assert!(data.contains("\"views\":2") && data.contains("dark"), "{data}");
}

#[tokio::test]
async fn a_handler_that_panics_stores_none_of_its_edits() {
    let (memory, store) = faulty();
    let app = app!(layer(store), "/panic" => async |session: Session| -> &'static str {
        session.insert("edit", 1).unwrap();
        panic!("in the handler")
    });
    let tasks = LocalSet::new();
    let request = tasks.run_until(async { spawn_local(app.get("/panic", "")).await });
    assert!(request.await.unwrap_err().is_panic());
    assert!(memory.is_empty());
}

/// Each worker of a server makes an app of its own, with a clone of the layer.
#[tokio::test]
async fn the_apps_of_one_layer_share_its_queues() {
    let (_, store) = faulty();
    let layer = layer(store.clone());
    let workers = [app!(layer.clone()), app!(layer)];
    let begun = workers[0].get("/", "").await.ok();
    let asked = store.log().len();
    assert_eq!(workers[1].get("/", begun.pair()).await.ok().body, "2");
    // The second knew the record from the first, so it did not have to load it.
    assert_eq!(store.log()[asked..], ["replace"]);
}

#[tokio::test]
async fn the_kit_for_tests_serves_actix_web_as_well() {
    let sessions = TestSessions::new();
    let app = app!(sessions.layer());
    let cookie = sessions.cookie(async |session| session.insert("views", 41)).await;
    assert_eq!(app.get("/", &cookie).await.ok().body, "42");
    sessions.clock().advance(Duration::from_secs(30 * 60));
    assert_eq!(app.get("/read", &cookie).await.ok().body, "{}", "it has expired");
}
