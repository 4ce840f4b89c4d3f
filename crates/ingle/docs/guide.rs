// What the examples of the guide share: it calls a handler twice, as one visitor.

use axum::{Router, body::Body, handler::Handler, http::Request, routing::get};

pub fn run<T: 'static>(handler: impl Handler<T, ()>, check: impl FnOnce([&str; 2])) {
    use tower::ServiceExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let layer = ingle::SessionLayer::new(ingle::store::Memory::new());
        let app = Router::new().route("/", get(handler)).layer(layer);
        let mut cookie = String::from("none=1");
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let request = Request::get("/").header("cookie", &cookie).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            if let Some(set) = response.headers().get("set-cookie") {
                cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            }
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            bodies.push(String::from_utf8(body.to_vec()).unwrap());
        }
        check([&bodies[0], &bodies[1]]);
    });
}
