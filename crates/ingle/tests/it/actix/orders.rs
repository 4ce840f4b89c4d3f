//! What the door decides, seen through actix-web: several ids, other sites, a cookie that is kept; and
//! the layer among other middleware, in each order.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, task::Poll, time::Duration};

use actix_web::{
    App, HttpResponse,
    body::MessageBody,
    dev::{Service as _, ServiceRequest, ServiceResponse},
    error,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::{Next, from_fn},
    test::{self, TestRequest},
    web,
};
use ingle::{
    Cookie, CookieConfig, Error, Lifetime, Named, Session,
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Fault, Memory},
};
use tokio::{sync::mpsc, time::timeout};

use super::{Admin, Answer, Served, admin_cookie, faulty, layer, layer_as_it_comes, routes};

fn sent(method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> TestRequest {
    let request = TestRequest::with_uri(path).method(method);
    headers.iter().fold(request, |request, header| request.insert_header(*header))
}

#[tokio::test]
async fn of_several_ids_the_live_one_counts_and_a_logout_ends_all() {
    let memory = Memory::new();
    let app = app!(layer(memory.clone()));
    let (one, other) = (app.get("/", "").await.ok(), app.get("/", "").await.ok());
    let dead = format!("__Host-id={}", "A".repeat(43));
    let beside = format!("__Host-id=5; {dead}; {}", one.pair());
    assert_eq!(app.get("/", &beside).await.ok().body, "2");
    let both = format!("{}; {}", one.pair(), other.pair());
    assert_eq!(app.get("/read", &both).await.ok().body, "{}", "nobody can say which");
    let many: String = (10..20).map(|n| format!("__Host-id={n}{}; ", "A".repeat(41))).collect();
    assert_eq!(app.get("/logout", &many).await.status, StatusCode::BAD_REQUEST);
    app.get("/logout", &both).await.ok();
    assert!(memory.is_empty());
}

#[tokio::test]
async fn a_post_from_another_site_does_not_take_the_place_of_the_browser_s_session() {
    let memory = Memory::new();
    let login = async |session: Session| {
        session.insert("user", "ada")?;
        session.renew().await.map(|()| "ok")
    };
    let app = served!(
        App::new()
            .route("/flash", web::to(async |s: Session| s.push_flash("hello").map(|()| "ok")))
            .route("/login", web::to(login))
            .wrap(layer(memory.clone()))
    );
    let form_post = [
        ("host", "app.example"),
        ("origin", "https://accounts.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
    ];
    for headers in [&form_post[..], &form_post[..2]] {
        let answer = (app.0)(sent(Method::POST, "/flash", headers)).await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::FORBIDDEN, ""));
    }
    assert!(memory.is_empty());
    (app.0)(sent(Method::POST, "/login", &form_post)).await.ok().pair();
    for (method, headers) in [(Method::GET, &form_post[..]), (Method::POST, &form_post[..1])] {
        assert!(!(app.0)(sent(method, "/flash", headers)).await.ok().set_cookie().is_empty());
    }
}

#[tokio::test]
async fn a_cookie_that_is_kept_is_sent_again_in_time() {
    let day = Duration::from_secs(24 * 60 * 60);
    let clock = ManualClock::new(SystemClock.now());
    let config = CookieConfig { persistent: true, ..CookieConfig::default() };
    let layer = layer(Memory::new())
        .cookie(Cookie::new(config).unwrap())
        .lifetime(Lifetime::new(100 * day, 1500 * day).unwrap())
        .clock(Arc::new(clock.clone()));
    let app = app!(layer);
    let first = app.get("/", "").await.ok();
    for path in ["/read", "/"] {
        clock.advance(38 * day);
        assert_eq!(app.get(path, first.pair()).await.ok().set_cookie(), "");
        clock.advance(3 * day);
        let again = app.get(path, first.pair()).await.ok();
        assert_eq!(again.set_cookie(), first.set_cookie());
        assert_eq!(app.get(path, first.pair()).await.ok().set_cookie(), "");
    }
}

#[tokio::test]
async fn a_socket_that_only_reads_uses_its_session_and_a_poll_does_not() {
    let minute = Duration::from_secs(60);
    let clock = ManualClock::new(SystemClock.now());
    let (give, mut given) = mpsc::unbounded_channel();
    let socket = move |session: Session| {
        drop(give.send(session));
        async { "upgraded" }
    };
    let poll = async |session: Session| {
        session.skip_touch();
        session.get::<u64>("views").await.map(|views| format!("{views:?}"))
    };
    let sessions = layer(Memory::new()).clock(Arc::new(clock.clone()));
    let app = app!(sessions, "/socket" => socket, "/poll" => poll);
    let begun = app.get("/", "").await.ok();
    app.get("/socket", begun.pair()).await.ok();
    let socket = given.recv().await.unwrap();
    for _ in 0..10 {
        clock.advance(20 * minute);
        assert_eq!(socket.get::<u64>("views").await.unwrap(), Some(1));
    }
    for expected in ["Some(1)", "None"] {
        clock.advance(20 * minute);
        assert_eq!(app.get("/poll", begun.pair()).await.ok().body, expected);
    }
}

/// As a middleware for CORS answers: on what comes from within.
async fn cors(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut done = next.call(request).await?;
    let headers = done.headers_mut();
    let (allow, page) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://page.example");
    headers.insert(allow, HeaderValue::from_static(page));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
    Ok(done)
}

#[tokio::test(start_paused = true)]
async fn in_both_orders_cors_is_on_the_session_s_own_errors() {
    for own in [false, true] {
        let (_, store) = faulty();
        let sessions = layer_as_it_comes(store.clone());
        let sessions = match own {
            true => sessions.on_error(|_| http::Response::new("own".into())),
            false => sessions,
        };
        let inside =
            served!(App::new().configure(routes).wrap(from_fn(cors)).wrap(sessions.clone()));
        let outside = served!(App::new().configure(routes).wrap(sessions).wrap(from_fn(cors)));
        store.fail_all(Some(Fault::Refuse));
        for (app, others) in [(inside, ""), (outside, "DENY")] {
            for path in ["/insert", "/"] {
                let answer = app.get(path, "").await;
                let what = format!("{path} {own} {others:?}: {answer:?}");
                assert_eq!(answer.status.as_u16(), if own { 200 } else { 503 }, "{what}");
                let allowed = answer.header("access-control-allow-origin");
                assert_eq!(allowed, "https://page.example", "{what}");
                let vary: Vec<_> = answer.headers.get_all("vary").collect();
                assert!(vary.iter().any(|value| *value == "Origin"), "{what}");
                assert!(vary.iter().any(|value| *value == "Cookie"), "{what}");
                // Without `on_error` the layer leaves a handler's own error as it is.
                let kept = if path == "/" && !own { "DENY" } else { others };
                assert_eq!(answer.header("x-frame-options"), kept, "{what}");
            }
        }
    }
}

/// Ends what takes too long, and what panics, with an answer.
async fn guarded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut handler = pin!(next.call(request));
    let handled = std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| handler.as_mut().poll(context));
        let panicked = |_| Poll::Ready(Err(error::ErrorInternalServerError("panicked\n")));
        std::panic::catch_unwind(poll).unwrap_or_else(panicked)
    });
    let late = |_| Err(error::ErrorGatewayTimeout("too late\n"));
    timeout(Duration::from_secs(5), handled).await.unwrap_or_else(late)
}

async fn renew_and_panic(session: Session) -> Result<HttpResponse, Error> {
    session.renew().await?;
    panic!("a bug in the app");
}

async fn renew_and_hang(session: Session) -> Result<HttpResponse, Error> {
    session.renew().await?;
    std::future::pending().await
}

fn guarded_routes(app: &mut web::ServiceConfig) {
    app.configure(routes)
        .route("/panic", web::get().to(renew_and_panic))
        .route("/hang", web::get().to(renew_and_hang));
}

const CUT_OFF: [(&str, StatusCode); 2] =
    [("/panic", StatusCode::INTERNAL_SERVER_ERROR), ("/hang", StatusCode::GATEWAY_TIMEOUT)];

#[tokio::test(start_paused = true)]
async fn inside_the_layer_a_panic_or_a_timeout_loses_no_renewed_id() {
    let sessions = layer(Memory::new());
    let app = served!(App::new().configure(guarded_routes).wrap(from_fn(guarded)).wrap(sessions));
    for (path, status) in CUT_OFF {
        let begun = app.get("/", "").await.ok();
        let failed = app.get(path, begun.pair()).await;
        assert_eq!(failed.status, status, "{path}");
        assert_ne!(failed.pair(), begun.pair(), "{path}");
        assert_eq!(app.get("/", failed.pair()).await.ok().body, "2", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn outside_of_the_layer_a_panic_or_a_timeout_loses_a_renewed_id() {
    let sessions = layer(Memory::new());
    let app = served!(App::new().configure(guarded_routes).wrap(sessions).wrap(from_fn(guarded)));
    for (path, status) in CUT_OFF {
        let begun = app.get("/", "").await.ok();
        let failed = app.get(path, begun.pair()).await;
        assert_eq!((failed.status, failed.set_cookie()), (status, ""), "{path}");
        assert_eq!(app.get("/", begun.pair()).await.status, StatusCode::CONFLICT, "{path}");
    }
}

/// The app's middleware, which has another opinion of what the handler did.
async fn refused(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let done = next.call(request).await?;
    match done.status().is_success() {
        true => Err(error::ErrorConflict("refused")),
        false => Ok(done),
    }
}

#[tokio::test]
async fn the_cookie_of_an_inner_session_is_told_also_where_the_outer_one_fails() {
    let (_, store) = faulty();
    let admins = layer_as_it_comes(store.clone()).named::<Admin>();
    let admins = admins.cookie(admin_cookie()).namespace("admin");
    let both = async |visitor: Session, admin: Named<Admin>| {
        admin.increment("n", 1)?;
        visitor.insert("n", 1)?;
        visitor.renew().await.map(|()| "ok")
    };
    let app = App::new().route("/", web::get().to(both)).wrap(from_fn(refused));
    let app = served!(app.wrap(layer(Memory::new())).wrap(admins));
    store.fail_all(Some(Fault::Refuse));
    let answer = app.get("/", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.set_cookie().starts_with("__Host-id="), "{answer:?}");
}
