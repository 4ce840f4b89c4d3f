//! The app over HTTP, as a browser sees it.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::{
        Response,
        sse::{Event, Sse},
    },
};
use browser::Browser;
use futures_util::{Stream, stream};
use ingle::store::{Fault, Faulty};
use tokio::net::TcpListener;

use super::*;

async fn served(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

fn layer() -> SessionLayer {
    let cookie = Cookie::new(CookieConfig::development()).expect("a cookie");
    SessionLayer::new(Arc::new(Memory::new())).cookie(cookie)
}

#[tokio::test]
async fn a_session_survives_two_requests_and_ends_with_a_logout() {
    let browser = Browser::new(served(app(Arc::new(Memory::new())).expect("an app")).await);
    assert_eq!(browser.get("/").await.body, "1 views");
    let cookie = browser.cookie().expect("the first view begins a session");
    assert_eq!(browser.get("/").await.body, "2 views");
    assert_eq!(browser.cookie(), Some(cookie.clone()));

    assert_eq!(browser.post("/logout").await.body, "goodbye");
    assert_eq!(browser.cookie(), None);
    let late = browser.with_cookie(&cookie).get("/").await;
    assert_eq!(late.status, 409, "{late:?}");
    assert_eq!(browser.get("/").await.body, "1 views");
}

#[tokio::test]
async fn an_outage_of_the_store_is_503_and_logs_nobody_out() {
    let store = Faulty::new(Arc::new(Memory::new()));
    let browser = Browser::new(served(app(Arc::new(store.clone())).expect("an app")).await);
    assert_eq!(browser.get("/").await.body, "1 views");
    let cookie = browser.cookie();

    store.fail_all(Some(Fault::Refuse));
    let page = browser.get("/").await;
    assert_eq!((page.status, page.header("retry-after")), (503, Some("1")), "{page:?}");
    assert_eq!(browser.cookie(), cookie);
}

async fn live(session: Session) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::once(async move {
        let page = home(session).await.unwrap_or_else(|error| error.to_string());
        Ok(Event::default().data(page))
    }))
}

#[tokio::test]
async fn a_stream_of_events_changes_a_session_that_the_browser_has() {
    let app = Router::new().route("/", get(home)).route("/live", get(live)).layer(layer());
    let browser = Browser::new(served(app).await);
    let refused = browser.watch("/live").await.body;
    assert!(refused.starts_with("data: the response has left"), "{refused}");

    assert_eq!(browser.get("/").await.body, "1 views");
    assert_eq!(browser.watch("/live").await.body, "data: 2 views\n\n");
    assert_eq!(browser.get("/").await.body, "3 views");
}

/// Answers each message with one more view.
async fn talk(mut socket: WebSocket, session: Session) {
    while let Some(Ok(Message::Text(_))) = socket.recv().await {
        let Ok(page) = home(session.clone()).await else { return };
        if socket.send(Message::text(page)).await.is_err() {
            return;
        }
    }
}

async fn socket(upgrade: WebSocketUpgrade, session: Session) -> Response {
    upgrade.on_upgrade(|socket| talk(socket, session))
}

#[tokio::test]
async fn a_web_socket_changes_a_session_that_the_browser_has() {
    let app = Router::new().route("/", get(home)).route("/socket", get(socket)).layer(layer());
    let browser = Browser::new(served(app).await);
    assert_eq!(browser.get("/").await.body, "1 views");
    let answers = browser.talk("/socket", &["look", "look again"]).await;
    assert_eq!(answers, ["2 views", "3 views"]);
    assert_eq!(browser.get("/").await.body, "4 views");
}
