//! The console by itself: who has the code signs in, once.

use std::time::Duration;

use ingle::{SessionLayer, store::Memory};
use ingle_console::{Grant, Role, serve};
use tokio::net::TcpListener;

use crate::scene::{Loopback, cookie};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_signs_in_once_and_the_session_is_of_ingles_own() {
    let console = Loopback::start().await;
    let address = console.first();
    let own = console.address.to_string();
    assert!(address.starts_with(&format!("http://{own}/sign-in#code=")), "{address}");
    let refused = console.get("/", "").await;
    assert_eq!((refused.status, refused.header("location")), (303, Some("/sign-in")));
    assert_eq!(console.post("/sessions/end", "", &[]).await.status, 401);
    // A program follows no one to a page.
    let refused = console.get("/api/v1/sessions", "").await;
    let kind = refused.header("content-type");
    assert_eq!((refused.status, kind), (401, Some("application/problem+json")));
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
