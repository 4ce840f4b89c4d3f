//! The layer among others: in each order that makes sense, and what the order changes.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode, header};
use ingle::{
    Error, Session, SessionLayer,
    store::{Fault, Faulty, Memory},
};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, cors::CorsLayer,
    limit::RequestBodyLimitLayer, set_header::SetResponseHeaderLayer, timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::common::{Answer, faulty, layer, layer_as_it_comes};

const TIMEOUT: Duration = Duration::from_secs(5);

async fn count(session: Session) -> Result<String, Error> {
    let n = session.field("n").update(|n: &mut u64| {
        *n += 1;
        *n
    });
    Ok(n.await?.to_string())
}

/// A handler that renews the session, as a login does, and then does not come to an answer.
async fn renew_and_panic(session: Session) -> Result<(), Error> {
    session.renew().await?;
    panic!("a bug in the app");
}

async fn renew_and_hang(session: Session) -> Result<(), Error> {
    session.renew().await?;
    std::future::pending().await
}

fn routes() -> Router {
    Router::new()
        .route("/", get(count))
        .route("/panic", get(renew_and_panic))
        .route("/hang", get(renew_and_hang))
}

async fn ask(app: &Router, path: &str, cookie: &str) -> Answer {
    let request = Request::get(path)
        .header(header::COOKIE, cookie)
        .header(header::ORIGIN, PAGE)
        .header("accept-encoding", "gzip");
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// The origin of a page that calls the app by `fetch`.
const PAGE: &str = "https://page.example";

fn pair(answer: &Answer) -> String {
    answer.set_cookie().split(';').next().unwrap().to_owned()
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT)
}

fn sessions() -> SessionLayer {
    layer(Memory::new())
}

/// The recommended order, and others that people write.
fn orders() -> [Router; 4] {
    [
        routes().layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(CompressionLayer::new())
                .layer(RequestBodyLimitLayer::new(1024))
                .layer(sessions())
                .layer(timeout())
                .layer(CatchPanicLayer::new()),
        ),
        routes().layer(
            ServiceBuilder::new()
                .layer(sessions())
                .layer(TraceLayer::new_for_http())
                .layer(timeout())
                .layer(CompressionLayer::new())
                .layer(CatchPanicLayer::new())
                .layer(RequestBodyLimitLayer::new(1024)),
        ),
        routes().layer(
            ServiceBuilder::new()
                .layer(CatchPanicLayer::new())
                .layer(TraceLayer::new_for_http())
                .layer(CompressionLayer::new())
                .layer(RequestBodyLimitLayer::new(1024))
                .layer(timeout())
                .layer(sessions()),
        ),
        routes()
            .layer(CompressionLayer::new())
            .layer(sessions())
            .layer(RequestBodyLimitLayer::new(1024))
            .layer(timeout())
            .layer(TraceLayer::new_for_http())
            .layer(CatchPanicLayer::new()),
    ]
}

#[tokio::test(start_paused = true)]
async fn in_every_order_each_view_is_counted() {
    for (place, app) in orders().into_iter().enumerate() {
        let first = ask(&app, "/", "").await.ok();
        let cookie = pair(&first);
        assert_eq!(ask(&app, "/", &cookie).await.ok().body, "2", "order {place}");
        let vary: Vec<_> = first.headers.get_all("vary").iter().collect();
        assert!(vary.iter().any(|value| *value == "Cookie"), "order {place}: {vary:?}");
    }
}

/// Inside the layer, a panic or a timeout is a response like any other, and has the new cookie.
#[tokio::test(start_paused = true)]
async fn inside_the_layer_a_panic_or_a_timeout_loses_no_renewed_id() {
    let [app, ..] = orders();
    for (path, status) in
        [("/panic", StatusCode::INTERNAL_SERVER_ERROR), ("/hang", StatusCode::GATEWAY_TIMEOUT)]
    {
        let before = pair(&ask(&app, "/", "").await.ok());
        let failed = ask(&app, path, &before).await;
        assert_eq!(failed.status, status, "{path}");
        assert_ne!(pair(&failed), before, "{path}");
        assert_eq!(ask(&app, "/", &pair(&failed)).await.ok().body, "2", "{path}");
    }
}

/// Outside of it, the browser learns no new id, and its visitor must log in again: the session is
/// safe, and nobody can reach it.
#[tokio::test(start_paused = true)]
async fn outside_of_the_layer_a_panic_or_a_timeout_loses_a_renewed_id() {
    let [_, _, app, _] = orders();
    for (path, status) in
        [("/panic", StatusCode::INTERNAL_SERVER_ERROR), ("/hang", StatusCode::GATEWAY_TIMEOUT)]
    {
        let before = pair(&ask(&app, "/", "").await.ok());
        let failed = ask(&app, path, &before).await;
        assert_eq!((failed.status, failed.set_cookie()), (status, ""), "{path}");
        assert_eq!(ask(&app, "/", &before).await.status, StatusCode::CONFLICT, "{path}");
    }
}

fn cors() -> CorsLayer {
    CorsLayer::new().allow_origin([PAGE.parse().unwrap()]).allow_credentials(true)
}

/// An app whose handlers' edits cannot be committed, with and without the app's own answer to that.
fn failing(own: bool) -> (Faulty, SessionLayer, Router) {
    let (_, store) = faulty();
    let layer = layer_as_it_comes(store.clone());
    let layer = match own {
        true => layer.on_error(|_| {
            let response = http::Response::builder().status(418).header("vary", "Accept");
            response.body("own".into()).unwrap()
        }),
        false => layer,
    };
    let routes = Router::new()
        .route("/", get(count))
        .route("/insert", get(async |session: Session| session.insert("n", 1)))
        .route("/large", get(async |session: Session| session.insert("n", "x".repeat(70_000))));
    (store, layer, routes)
}

/// Without `Access-Control-Allow-Origin`, a page cannot even read the status of an answer.
#[tokio::test(start_paused = true)]
async fn in_both_orders_cors_is_on_the_session_s_own_errors() {
    for own in [false, true] {
        for inside in [false, true] {
            let (store, sessions, routes) = failing(own);
            let app = match inside {
                true => routes.layer(cors()).layer(sessions),
                false => routes.layer(sessions).layer(cors()),
            };
            store.fail_all(Some(Fault::Refuse));
            for (path, status) in [("/insert", 503), ("/", 503), ("/large", 413)] {
                let answer = ask(&app, path, "").await;
                let what = format!("{path}, inside: {inside}, own: {own}: {answer:?}");
                assert_eq!(answer.status.as_u16(), if own { 418 } else { status }, "{what}");
                assert_eq!(answer.header("access-control-allow-origin"), PAGE, "{what}");
                assert_eq!(answer.header("access-control-allow-credentials"), "true", "{what}");
                let names = ["access-control-allow-origin", "access-control-allow-credentials"];
                for name in names {
                    assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{what}");
                }
                let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
                let vary: Vec<_> = vary.iter().map(|value| value.to_str().unwrap()).collect();
                let vary = vary.join(", ").to_lowercase();
                assert!(vary.contains("origin"), "{what}");
                // What is too large is refused before the session is looked at.
                assert!(vary.contains("cookie") || path == "/large", "{what}");
                assert!(!own || vary.contains("accept"), "{what}");
            }
        }
    }
}

/// What the app says of the origin in its own answer is not said twice.
#[tokio::test(start_paused = true)]
async fn the_app_s_own_answer_has_the_last_word_on_cors() {
    let (store, sessions, routes) = failing(false);
    let sessions = sessions.on_error(|_| {
        let response = http::Response::builder().header("access-control-allow-origin", "*");
        response.body("own".into()).unwrap()
    });
    let app = routes.layer(cors()).layer(sessions);
    store.fail_all(Some(Fault::Refuse));
    let answer = ask(&app, "/insert", "").await;
    let all: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
    assert_eq!(all, ["*"]);
}

/// Whatever puts a header on each response is around the session layer, or errors lack it.
#[tokio::test(start_paused = true)]
async fn outside_of_the_layer_a_header_is_on_every_response() {
    let name = header::HeaderName::from_static("x-frame-options");
    let deny = header::HeaderValue::from_static("DENY");
    for (inside, expected) in [(false, "DENY"), (true, "")] {
        let (store, sessions, routes) = failing(false);
        let sets = SetResponseHeaderLayer::overriding(name.clone(), deny.clone());
        let app = match inside {
            true => routes.layer(sets).layer(sessions),
            false => routes.layer(sessions).layer(sets),
        };
        assert_eq!(ask(&app, "/", "").await.ok().header("x-frame-options"), "DENY");
        store.fail_all(Some(Fault::Refuse));
        let answer = ask(&app, "/insert", "").await;
        assert_eq!(answer.header("x-frame-options"), expected, "inside: {inside}");
    }
}

/// In both orders it is refused; outside, before the layer sees it.
#[tokio::test]
async fn in_both_orders_a_body_that_is_too_large_begins_no_session() {
    let limit = RequestBodyLimitLayer::new(10);
    for inside in [false, true] {
        let memory = Memory::new();
        let post = axum::routing::post(async |session: Session, body: String| {
            session.insert("body", body)
        });
        let routes = Router::new().route("/", post);
        let app = match inside {
            true => routes.layer(limit).layer(layer(memory.clone())),
            false => routes.layer(layer(memory.clone())).layer(limit),
        };
        for (bytes, status, sessions) in [(11, 413, 0), (10, 200, 1)] {
            let request = Request::post("/").header("content-length", bytes);
            let request = request.body(Body::from("x".repeat(bytes))).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "inside: {inside}");
            assert_eq!(memory.len(), sessions, "inside: {inside}");
        }
    }
}

/// A layer around the session layer can answer in its place with an empty body, whatever the app's
/// body is.
#[tokio::test(start_paused = true)]
async fn the_body_of_a_response_needs_nothing_that_tower_http_would_not_ask() {
    use http_body_util::{BodyExt as _, Full};
    type Response = http::Response<Full<bytes::Bytes>>;
    let inner = tower::service_fn(async |_: Request<Full<bytes::Bytes>>| {
        Ok::<_, std::convert::Infallible>(Response::new(Full::from("hello")))
    });
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(timeout())
        .layer(sessions())
        .service(inner);
    let response = service.oneshot(Request::new(Full::default())).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}
