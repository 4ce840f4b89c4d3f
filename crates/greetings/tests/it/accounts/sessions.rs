//! The page of a user's sessions, and the headers that all pages have.

use testbed::http::{Browser, raw::Raw};

use super::{Scene, handles, heading, location, on_both_stores, said, who};
use crate::process::Process;

on_both_stores! {
    each_session_is_named_by_its_browser_and_the_own_one_is_first
    one_session_ends_and_the_others_live
    the_own_session_ends_as_by_a_logout
    a_session_of_another_user_is_not_found
    all_others_end_and_this_one_lives
    all_end_and_nobody_is_logged_in
    no_page_is_kept_or_framed_or_runs_a_script
    a_visitor_is_greeted_and_can_log_in
}

/// A browser that says what it is, in which ada is logged in.
async fn logged_in_with(process: &Process, user_agent: &str) -> Browser {
    let mut connection = Raw::open(process.address).await.expect("a connection");
    let form = "name=ada&password=correct+horse+battery";
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: test\r\nUser-Agent: {user_agent}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    connection.write(request.as_bytes()).await.expect("sent");
    let answer = connection.read().await.expect("an answer");
    Browser::with_cookie(process.address, answer.begun().expect("a cookie"))
}

async fn each_session_is_named_by_its_browser_and_the_own_one_is_first(scene: Scene) {
    let firefox = "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0";
    let mut one = logged_in_with(scene.first(), firefox).await;
    let mut other = logged_in_with(scene.first(), "<script>alert(1)</script>").await;
    for (browser, first, second) in [
        (&mut one, "Firefox on Windows", "Another browser"),
        (&mut other, "Another browser", "Firefox on Windows"),
    ] {
        let page = browser.get("/sessions").await;
        let names: Vec<&str> = page.body.split("<h2>").skip(1).collect();
        let [own, sibling] = names[..] else { panic!("not two sessions: {page:?}") };
        assert!(own.starts_with(&format!("{first} <span class=\"badge\">This one</span></h2>")));
        assert!(sibling.starts_with(&format!("{second}</h2>")), "{page:?}");
        assert!(own.contains("<dd>now</dd>") && sibling.contains("<dd>in the last hour</dd>"));
        assert!(!page.body.contains("<script"), "{page:?}");
    }
}

async fn one_session_ends_and_the_others_live(scene: Scene) {
    let mut own = scene.logged_in("ada").await;
    let mut ended = scene.logged_in("ada").await;
    let mut other = scene.logged_in("ada").await;
    let handle = handles(&mut ended).await.remove(0);
    let answer = own.submit("/sessions/end", &[("handle", &handle)]).await;
    assert_eq!((answer.status, location(&answer)), (303, "/sessions"));
    assert_eq!(said(&own.get("/sessions").await), "The session has ended.");
    assert_eq!(location(&ended.get("/").await), "/login?said=ended");
    assert_eq!(who(&mut other).await.as_deref(), Some("ada"));
    let left = handles(&mut own).await;
    assert!(left.len() == 2 && !left.contains(&handle), "{left:?}");
    for handle in [handle.as_str(), "", "nonsense", "../..", "<script>"] {
        own.submit("/sessions/end", &[("handle", handle)]).await;
        let page = own.get("/sessions").await;
        assert_eq!(said(&page), "That session had ended before.", "{handle}");
    }
    assert_eq!(handles(&mut own).await, left);
}

async fn the_own_session_ends_as_by_a_logout(scene: Scene) {
    let mut own = scene.logged_in("ada").await;
    let mut other = scene.logged_in("ada").await;
    let handle = handles(&mut own).await.remove(0);
    let answer = own.submit("/sessions/end", &[("handle", &handle)]).await;
    assert_eq!(location(&answer), "/login?said=logged-out");
    assert_eq!(own.cookie, None, "and no message begins another one");
    assert_eq!(handles(&mut other).await.len(), 1);
}

async fn a_session_of_another_user_is_not_found(scene: Scene) {
    let mut ada = scene.logged_in("ada").await;
    let mut bob = scene.logged_in("bob").await;
    let handle = handles(&mut bob).await.remove(0);
    ada.submit("/sessions/end", &[("handle", &handle)]).await;
    assert_eq!(said(&ada.get("/sessions").await), "That session had ended before.");
    ada.post("/sessions/end-others").await;
    ada.post("/sessions/end-all").await;
    assert_eq!(handles(&mut bob).await, [handle]);
}

async fn all_others_end_and_this_one_lives(scene: Scene) {
    let mut own = scene.logged_in("ada").await;
    let mut others = [scene.logged_in("ada").await, scene.logged_in("ada").await];
    assert_eq!(location(&own.post("/sessions/end-others").await), "/sessions");
    let page = own.get("/sessions").await;
    assert_eq!(said(&page), "Your 2 other sessions have ended.");
    assert_eq!(handles(&mut own).await.len(), 1);
    for other in &mut others {
        assert_eq!(location(&other.get("/sessions").await), "/login?said=ended");
    }
    own.post("/sessions/end-others").await;
    assert_eq!(said(&own.get("/sessions").await), "You have no other session now.");
}

async fn all_end_and_nobody_is_logged_in(scene: Scene) {
    let mut own = scene.logged_in("ada").await;
    let mut other = scene.logged_in("ada").await;
    let answer = own.post("/sessions/end-all").await;
    assert_eq!((answer.status, location(&answer)), (303, "/login?said=all-ended"));
    assert_eq!(own.cookie, None);
    let form = own.get("/login?said=all-ended").await;
    assert_eq!(said(&form), "All your sessions have ended, in every browser.");
    assert_eq!(location(&other.get("/").await), "/login?said=ended");
    let mut again = scene.logged_in("ada").await;
    assert_eq!(handles(&mut again).await.len(), 1);
}

async fn no_page_is_kept_or_framed_or_runs_a_script(scene: Scene) {
    let mut browser = scene.logged_in("ada").await;
    for page in ["/", "/login", "/sessions", "/password", "/confirm"] {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{page}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{page}");
        assert!(!heading(&answer).is_empty());
    }
    for (file, kind) in [("/style.css", "text/css"), ("/icon.svg", "image/svg+xml")] {
        let answer = browser.get(file).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        assert_eq!(answer.set_cookie(), None);
    }
}

#[cfg(feature = "memcached")]
#[tokio::test(flavor = "multi_thread")]
async fn where_the_store_has_no_lists_all_can_be_ended_and_none_is_shown() {
    let _beside = crate::place::ALONE.read().await;
    let scene = Scene::start(crate::memcached::shared(), 1);
    let mut own = scene.logged_in("ada").await;
    let mut other = scene.logged_in("ada").await;
    assert!(handles(&mut own).await.is_empty());
    let page = own.get("/sessions").await;
    assert!(said(&page).contains("keeps no lists"), "{page:?}");
    for end in ["/sessions/end-others", "/sessions/end-all"] {
        assert!(page.body.contains(&format!("action=\"{end}\"")), "{page:?}");
    }
    assert_eq!(location(&own.post("/sessions/end-others").await), "/sessions");
    assert_eq!(other.get("/").await.status, 303);
    assert_eq!(who(&mut own).await.as_deref(), Some("ada"));
}

async fn a_visitor_is_greeted_and_can_log_in(scene: Scene) {
    let mut browser = scene.browser();
    assert_eq!(who(&mut browser).await, None);
    let page = browser.get("/").await;
    assert!(page.body.contains("<strong>2</strong> views"), "{page:?}");
    assert!(page.body.contains("<a href=\"/login\">Log in</a>"), "{page:?}");
    let cookie = scene.browser().get("/").await.set_cookie().unwrap().to_owned();
    assert!(!cookie.contains("Max-Age"), "the browser forgets a visitor: {cookie}");
}
