//! The console by itself: who has the code signs in, once.

use std::time::Duration;

use ingle::{SessionLayer, store::Memory};
use ingle_console::{Grant, Role, serve};
use tokio::net::TcpListener;

use crate::{
    http::raw,
    scene::{Loopback, cookie},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_signs_in_once_and_the_session_is_of_ingles_own() {
    let console = Loopback::start().await;
    let address = console.first();
    let own = console.address.to_string();
    assert!(address.starts_with(&format!("http://{own}/sign-in#code=")), "{address}");
    let refused = console.get("/", "").await;
    assert_eq!((refused.status, refused.header("location")), (303, Some("/sign-in")));
    assert_eq!(console.post("/sessions/end", "", &[]).await.status, 401);
    for code in ["", "x", &"a".repeat(22), &"a".repeat(100_000)] {
        assert_eq!(console.post("/sign-in", "", &[("code", code)]).await.status, 403);
    }
    let signed_in = console.sign_in(&address).await;
    assert_eq!(signed_in.status, 303);
    let set = signed_in.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = cookie(&signed_in);
    let home = console.get("/", &cookie).await;
    assert_eq!(home.status, 200);
    assert!(home.body.contains("grace") && home.body.contains("Sign out"), "{}", home.body);
    // The code is used.
    assert_eq!(console.sign_in(&address).await.status, 403);
    // The operator's session is none of the app's.
    assert!(console.get("/sessions", &cookie).await.body.contains("There is no session yet."));
    let out = console.post("/sign-out", &cookie, &[]).await;
    assert_eq!(out.status, 303);
    assert_eq!(console.get("/", &cookie).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_signed_in_is_told_so_by_each_route() {
    let console = Loopback::start().await;
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../../src/openapi.json")).unwrap();
    let mut n = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            let operation = &operations[method.to_lowercase()];
            if operation.is_null() {
                continue;
            }
            let path = path.replace("{handle}", "3f9a2c41d0b7e856");
            let own = console.address;
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n");
            let answer = raw(own, &(head + "Connection: close\r\n\r\n")).await;
            let kind = "application/problem+json";
            assert_eq!((answer.status, answer.header("content-type")), (401, Some(kind)), "{path}");
            n += 1;
        }
    }
    assert!(n > 8, "{n}");
    let page = console.get("/api/v1/", "").await;
    assert_eq!((page.status, page.header("location")), (303, Some("/sign-in?then=%2Fapi%2Fv1%2F")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_expires_and_another_one_comes_only_then() {
    let console = Loopback::start().await;
    let first = console.first();
    let asked = console.post("/sign-in/code", "", &[]).await;
    assert_eq!((asked.status, console.announced()), (303, None), "the first one is still good");
    console.clock.advance(Duration::from_secs(10 * 60));
    assert_eq!(console.sign_in(&first).await.status, 403);
    console.post("/sign-in/code", "", &[]).await;
    let second = console.announced().unwrap();
    assert_ne!(first, second);
    assert_eq!(console.sign_in(&second).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_leaves_is_signed_out() {
    let console = Loopback::start().await;
    let cookie = cookie(&console.sign_in(&console.first()).await);
    let minutes = |n: u64| Duration::from_secs(60 * n);
    for _ in 0..4 {
        console.clock.advance(minutes(14));
        assert_eq!(console.get("/", &cookie).await.status, 200);
    }
    // A page that is open by itself is no use.
    let handle = console.holding(serde_json::json!({ "views": 1 })).await;
    console.clock.advance(minutes(10));
    let session = console.layer.sessions().find(&handle).await.unwrap().unwrap();
    session.end().await.unwrap();
    let live = console.get(&format!("/sessions/{handle}/live"), &cookie).await;
    assert_eq!(live.status, 404, "it is past the sign-in");
    console.clock.advance(minutes(5));
    assert_eq!(console.get("/", &cookie).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_listens_on_no_address_that_others_reach() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let sessions = SessionLayer::new(Memory::new()).sessions();
    let refused = serve(listener, sessions, Grant::new("grace", Role::Editor), |_| {}).await;
    assert!(refused.unwrap_err().to_string().contains("loopback"));
}
