//! The app over HTTP, as a browser sees it, on two workers.

use std::{convert::Infallible, net::SocketAddr};

use actix_web::{HttpRequest, HttpResponse, web::Payload};
use actix_ws::Message;
use browser::Browser;
use futures_util::stream;
use ingle::store::{Fault, Faulty};

use super::*;

fn served(store: Arc<dyn Store>) -> SocketAddr {
    let sessions = sessions(store).expect("a layer");
    let app = move || {
        let app = App::new().configure(routes).route("/live", web::get().to(live));
        app.route("/socket", web::get().to(socket)).wrap(sessions.clone())
    };
    let server = HttpServer::new(app).workers(2).disable_signals();
    let server = server.bind("127.0.0.1:0").expect("a port");
    let address = *server.addrs().first().expect("an address");
    actix_web::rt::spawn(server.run());
    address
}

#[actix_web::test]
async fn a_session_survives_two_requests_and_ends_with_a_logout() {
    let browser = Browser::new(served(Arc::new(Memory::new())));
    assert_eq!(browser.get("/").await.body, "1 views");
    let cookie = browser.cookie().expect("the first view begins a session");
    assert_eq!(browser.get("/").await.body, "2 views");
    assert_eq!(browser.cookie(), Some(cookie.clone()));

    assert_eq!(browser.post("/logout").await.body, "goodbye");
    assert_eq!(browser.cookie(), None);
    assert_eq!(browser.with_cookie(&cookie).get("/").await.status, 409);
    assert_eq!(browser.get("/").await.body, "1 views");
}

#[actix_web::test]
async fn an_outage_of_the_store_is_503_and_logs_nobody_out() {
    let store = Faulty::new(Arc::new(Memory::new()));
    let browser = Browser::new(served(Arc::new(store.clone())));
    assert_eq!(browser.get("/").await.body, "1 views");
    let cookie = browser.cookie();

    store.fail_all(Some(Fault::Refuse));
    let page = browser.get("/").await;
    assert_eq!((page.status, page.header("retry-after")), (503, Some("1")), "{page:?}");
    assert_eq!(browser.cookie(), cookie);
}

async fn live(session: Session) -> HttpResponse {
    let event = stream::once(async move {
        let page = home(session).await.unwrap_or_else(|error| error.to_string());
        Ok::<_, Infallible>(web::Bytes::from(format!("data: {page}\n\n")))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(event)
}

#[actix_web::test]
async fn a_stream_of_events_changes_a_session_that_the_browser_has() {
    let browser = Browser::new(served(Arc::new(Memory::new())));
    let refused = browser.watch("/live").await.body;
    assert!(refused.starts_with("data: the response has left"), "{refused}");

    assert_eq!(browser.get("/").await.body, "1 views");
    assert_eq!(browser.watch("/live").await.body, "data: 2 views\n\n");
    assert_eq!(browser.get("/").await.body, "3 views");
}

/// Answers each message with one more view.
async fn socket(
    request: HttpRequest,
    payload: Payload,
    session: Session,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, mut socket, mut messages) = actix_ws::handle(&request, payload)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(Message::Text(_))) = messages.recv().await {
            let Ok(page) = home(session.clone()).await else { return };
            if socket.text(page).await.is_err() {
                return;
            }
        }
    });
    Ok(response)
}

#[actix_web::test]
async fn a_web_socket_changes_a_session_that_the_browser_has() {
    let browser = Browser::new(served(Arc::new(Memory::new())));
    assert_eq!(browser.get("/").await.body, "1 views");
    let answers = browser.talk("/socket", &["look", "look again"]).await;
    assert_eq!(answers, ["2 views", "3 views"]);
    assert_eq!(browser.get("/").await.body, "4 views");
}
