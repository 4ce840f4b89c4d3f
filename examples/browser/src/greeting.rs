//! What a browser sees of an app that counts views and keeps a greeting, whatever its framework is.

use crate::Browser;

/// A session begins, survives two requests, and ends with a logout.
pub async fn survives_two_requests_and_ends_with_a_logout(browser: &Browser) {
    assert_eq!(browser.post("/greeting/Hola").await.body, "saved");
    let cookie = browser.cookie().expect("the greeting begins a session");
    assert_eq!(browser.get("/").await.body, "1 views for \"Hola\"");
    assert_eq!(browser.get("/").await.body, "2 views for \"Hola\"");
    assert_eq!(browser.cookie(), Some(cookie.clone()));

    assert_eq!(browser.post("/logout").await.body, "goodbye");
    assert_eq!(browser.cookie(), None);
    let late = browser.with_cookie(&cookie).get("/").await;
    assert_eq!(late.status, 409, "{late:?}");
    assert_eq!(browser.get("/").await.body, "1 views for \"\"");
}

/// An outage of the store, which `fail` begins, is told and logs nobody out.
pub async fn outage_is_503_and_logs_nobody_out(browser: &Browser, fail: impl FnOnce()) {
    assert_eq!(browser.get("/").await.body, "1 views for \"\"");
    let cookie = browser.cookie();

    fail();
    // The first is what the handler answers, the second what the layer does.
    for page in [browser.get("/").await, browser.post("/greeting/Hola").await] {
        assert_eq!((page.status, page.header("retry-after")), (503, Some("1")), "{page:?}");
    }
    assert_eq!(browser.cookie(), cookie);
}

/// The events of `/live` change a session that the browser has.
pub async fn stream_of_events_changes_the_session(browser: &Browser) {
    assert_eq!(browser.get("/").await.body, "1 views for \"\"");
    let event = browser.watch("/live").await.body;
    assert_eq!(event.trim_end().replace("data: ", "data:"), "data:2 views for \"\"");
    assert_eq!(browser.get("/").await.body, "3 views for \"\"");
}

/// The WebSocket at `/socket` changes a session that the browser has.
pub async fn web_socket_changes_the_session(browser: &Browser) {
    assert_eq!(browser.get("/").await.body, "1 views for \"\"");
    let answers = browser.talk("/socket", &["look", "look again"]).await;
    assert_eq!(answers, ["2 views for \"\"", "3 views for \"\""]);
    assert_eq!(browser.get("/").await.body, "4 views for \"\"");
}
