//! The layer among others: in each order that makes sense, and what the order changes.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode, header};
use ingle::{Error, Session, SessionLayer, store::Memory};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer, trace::TraceLayer,
};

use crate::common::{Answer, layer};

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
    let request =
        Request::get(path).header(header::COOKIE, cookie).header("accept-encoding", "gzip");
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    Answer { status: parts.status, headers: parts.headers, body }
}

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

#[tokio::test]
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

/// A layer around the session layer can answer in its place with an empty body, whatever the app's
/// body is.
#[tokio::test]
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
