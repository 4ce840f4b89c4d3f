//! The app over HTTP, as a browser sees it.

use std::net::SocketAddr;

use browser::{Browser, greeting};
use ingle::store::{Fault, Faulty};
use salvo::websocket::{Message, WebSocket, WebSocketUpgrade};

use super::*;

async fn served(store: Arc<dyn Store>) -> SocketAddr {
    served_app(app(store).expect("an app")).await
}

async fn served_app(app: Router) -> SocketAddr {
    let listener = TcpListener::new("127.0.0.1:0").bind().await;
    let address = listener.local_addr().expect("an address");
    tokio::spawn(Server::new(listener).serve(app));
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
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match view(&session).await {
            Ok(page) if message.is_text() => Message::text(page),
            _ => return,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

#[handler]
async fn open(request: &mut Request, response: &mut Response) -> Result<(), StatusError> {
    let session = session(request);
    let talk = |socket| talk(socket, session);
    WebSocketUpgrade::new().upgrade(request, response, talk).await
}

#[tokio::test]
async fn a_web_socket_changes_a_session_that_the_browser_has() {
    let app = app(Arc::new(Memory::new())).expect("an app");
    let app = app.push(Router::with_path("socket").get(open));
    let browser = Browser::new(served_app(app).await);
    greeting::web_socket_changes_the_session(&browser).await;
}
