//! The app over HTTP, as a browser sees it.

use std::net::SocketAddr;

use browser::{Browser, Page};
use ingle::store::{Fault, Faulty};
use tokio::net::TcpListener;

use super::*;

async fn served(app: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// Calls the server function `view`, which answers in JSON.
async fn view(browser: &Browser) -> Page {
    browser.submit("/api/view", "").await
}

#[tokio::test]
async fn a_session_survives_two_requests_and_ends_with_a_logout() {
    let browser = Browser::new(served(app(Arc::new(Memory::new())).expect("an app")).await);
    assert_eq!(browser.submit("/api/greet", "greeting=Hola").await.status, 200);
    let cookie = browser.cookie().expect("the greeting begins a session");
    assert_eq!(view(&browser).await.body, r#""1 views for \"Hola\"""#);
    assert_eq!(view(&browser).await.body, r#""2 views for \"Hola\"""#);
    assert_eq!(browser.cookie(), Some(cookie.clone()));

    assert_eq!(browser.submit("/api/logout", "").await.status, 200);
    assert_eq!(browser.cookie(), None);
    let late = view(&browser.with_cookie(&cookie)).await;
    assert_eq!(late.status, 409, "{late:?}");
    assert_eq!(view(&browser).await.body, r#""1 views for \"\"""#);
}

#[tokio::test]
async fn a_page_that_is_rendered_whole_begins_a_session() {
    let browser = Browser::new(served(app(Arc::new(Memory::new())).expect("an app")).await);
    for page in ["1 views for", "2 views for"] {
        let rendered = browser.get("/").await;
        assert_eq!(rendered.status, 200);
        assert!(rendered.body.contains(page), "{rendered:?}");
        assert!(browser.cookie().is_some());
    }
}

#[tokio::test]
async fn a_form_without_script_leads_back_to_the_page() {
    let browser = Browser::new(served(app(Arc::new(Memory::new())).expect("an app")).await);
    assert!(browser.get("/").await.body.contains("1 views for \"\""));
    let page = browser.submit_from("/", "/api/greet", "greeting=Hola").await;
    assert!(page.body.contains("2 views for \"Hola\""), "{page:?}");
    let page = browser.submit_from("/", "/api/logout", "").await;
    assert!(page.body.contains("1 views for \"\""), "{page:?}");
}

#[tokio::test]
async fn an_outage_of_the_store_is_503_and_logs_nobody_out() {
    let store = Faulty::new(Arc::new(Memory::new()));
    let browser = Browser::new(served(app(Arc::new(store.clone())).expect("an app")).await);
    assert_eq!(view(&browser).await.status, 200);
    let cookie = browser.cookie();

    store.fail_all(Some(Fault::Refuse));
    // The server function's answer, that of the layer, and that of a page.
    assert_eq!(view(&browser).await.status, 503);
    assert_eq!(browser.submit("/api/greet", "greeting=Hola").await.status, 503);
    assert_eq!(browser.get("/").await.status, 503);
    assert_eq!(browser.cookie(), cookie);
}

#[tokio::test]
async fn a_stream_of_text_changes_a_session_that_the_browser_has() {
    let browser = Browser::new(served(app(Arc::new(Memory::new())).expect("an app")).await);
    assert_eq!(view(&browser).await.body, r#""1 views for \"\"""#);
    assert_eq!(browser.submit_and_watch("/api/live").await.body, "2 views for \"\"");
    assert_eq!(view(&browser).await.body, r#""3 views for \"\"""#);
}
