//! The app over HTTP, as a browser sees it.

use std::net::SocketAddr;

use browser::{Browser, greeting};
use futures_util::{SinkExt as _, StreamExt as _};
use ingle::store::{Fault, Faulty};
use warp::ws::{Message, WebSocket, Ws};

use super::*;

async fn served(store: Arc<dyn Store>) -> SocketAddr {
    served_with(store, routes()).await
}

async fn served_with(
    store: Arc<dyn Store>,
    filters: impl Filter<Extract: Reply, Error = Rejection> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async { serve(listener, store, filters).await.expect("a server") });
    address
}

#[tokio::test]
async fn a_session_survives_two_requests_and_ends_with_a_logout() {
    let browser = Browser::new(served(Arc::new(Memory::new())).await);
    greeting::survives_two_requests_and_ends_with_a_logout(&browser).await;
}

#[tokio::test]
async fn an_outage_of_the_store_is_503_and_logs_nobody_out() {
    let store = Faulty::new(Arc::new(Memory::new()));
    let browser = Browser::new(served(Arc::new(store.clone())).await);
    let fail = || store.fail_all(Some(Fault::Refuse));
    greeting::outage_is_503_and_logs_nobody_out(&browser, fail).await;
}

#[tokio::test]
async fn a_stream_of_events_changes_a_session_that_the_browser_has() {
    let browser = Browser::new(served(Arc::new(Memory::new())).await);
    greeting::stream_of_events_changes_the_session(&browser).await;
}

/// Answers each message with one more view.
async fn talk(mut socket: WebSocket, session: Session) {
    while let Some(Ok(message)) = socket.next().await {
        let answer = match view(&session).await {
            Ok(page) if message.is_text() => Message::text(page),
            _ => return,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_web_socket_changes_a_session_that_the_browser_has() {
    let talk = |socket: Ws, session| socket.on_upgrade(|socket| talk(socket, session));
    let socket = warp::path!("socket").and(warp::ws()).and(warp::ext::get::<Session>()).map(talk);
    let filters = routes().or(socket);
    let browser = Browser::new(served_with(Arc::new(Memory::new()), filters).await);
    greeting::web_socket_changes_the_session(&browser).await;
}
