//! What a browser sees of the app is the same in both forms.

use std::net::SocketAddr;

use browser::Browser;

use super::*;

const LOGIN: &str = "name=ada&password=horse";

async fn served(form: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = app(Some(form)).expect("an app");
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn a_cart_is_there_after_the_login_and_gone_after_the_logout() {
    for form in ["before", "after"] {
        let browser = Browser::new(served(form).await);
        assert_eq!(browser.get("/").await.body, "a visitor with 0 in the cart");
        for book in ["emma", "ulysses"] {
            assert_eq!(browser.post(&format!("/cart/{book}")).await.body, "added");
        }
        assert_eq!(browser.get("/").await.body, "a visitor with 2 in the cart");
        assert_eq!(browser.get("/orders").await.status, 401, "{form}");
        assert_eq!(browser.submit("/login", "name=ada&password=wrong").await.status, 401);
        let as_visitor = browser.cookie();
        assert_eq!(browser.submit("/login", LOGIN).await.body, "welcome");
        assert_ne!(browser.cookie(), as_visitor, "the id that a visitor had is no user's");
        assert_eq!(browser.get("/").await.body, "ada with 2 in the cart");
        assert_eq!(browser.get("/orders").await.body, "the orders of ada");
        assert_eq!(browser.post("/logout").await.body, "goodbye");
        assert_eq!(browser.get("/").await.body, "a visitor with 0 in the cart");
    }
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    // On ingle, a late request learns that its session has ended.
    for (form, status) in [("before", 401), ("after", 409)] {
        let address = served(form).await;
        let (one, other) = (Browser::new(address), Browser::new(address));
        for browser in [&one, &other] {
            assert_eq!(browser.submit("/login", LOGIN).await.body, "welcome");
        }
        assert_eq!(one.post("/password/zebra").await.body, "changed");
        assert_eq!(one.get("/orders").await.body, "the orders of ada");
        assert_eq!(other.get("/orders").await.status, status, "{form}");
        assert_eq!(other.submit("/login", LOGIN).await.status, 401);
    }
}

/// The other form keeps some of them.
#[tokio::test]
async fn on_ingle_all_that_is_added_at_once_is_in_the_cart() {
    let browser = Browser::new(served("after").await);
    browser.post("/cart/emma").await;
    let adding = (0..20).map(|_| {
        let browser = browser.clone();
        tokio::spawn(async move { browser.post("/cart/ulysses").await.body })
    });
    for added in adding.collect::<Vec<_>>() {
        assert_eq!(added.await.expect("it does not panic"), "added");
    }
    assert_eq!(browser.get("/").await.body, "a visitor with 21 in the cart");
}
