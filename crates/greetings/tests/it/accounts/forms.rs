//! The forms for logging in and out, and for another password.

use testbed::http::{Answer, raw::Raw};

use super::{
    NEW_PASSWORD, PASSWORD, Scene, handles, heading, location, log_in, on_both_stores, said, who,
};

on_both_stores! {
    a_login_gives_a_new_id_and_keeps_the_views
    a_wrong_password_and_an_unknown_name_get_the_same_answer
    too_many_attempts_with_a_name_are_told_when_to_come_back
    only_who_asks_for_it_is_remembered
    a_logout_ends_the_session_and_says_so
    a_login_leads_on_to_pages_of_the_app_alone
    a_form_without_a_login_changes_nothing_and_leads_to_the_login
    a_browser_whose_session_was_ended_elsewhere_logs_in_at_once
    of_two_logins_at_once_one_keeps_the_views
    a_login_as_another_user_leaves_nothing_of_the_first
    another_password_ends_the_other_sessions
    a_password_that_cannot_be_one_changes_nothing
    whatever_a_form_says_is_no_error_of_the_server
    a_name_is_shown_as_text
}

const WRONG: &str = "This name and this password do not belong together.";

async fn a_login_gives_a_new_id_and_keeps_the_views(scene: Scene) {
    let mut browser = scene.browser();
    browser.get("/").await;
    let mut thief = browser.window(browser.address());
    let answer = log_in(&mut browser, " ada ", PASSWORD).await;
    assert_eq!((answer.status, location(&answer)), (303, "/"));
    assert_ne!(browser.cookie, thief.cookie);
    let page = browser.get("/").await;
    assert!(page.body.contains("<strong>2</strong> views"), "{page:?}");
    assert_eq!(who(&mut browser).await.as_deref(), Some("ada"));
    let refused = thief.get("/").await;
    assert_eq!((refused.status, location(&refused)), (303, "/login?said=ended"));
    let form = browser.get("/login").await;
    assert_eq!(heading(&form), "You are logged in");
}

async fn a_wrong_password_and_an_unknown_name_get_the_same_answer(scene: Scene) {
    let mut browser = scene.browser();
    let wrong = log_in(&mut browser, "ada", "correct horse batterY").await;
    let unknown = log_in(&mut browser, "eve", PASSWORD).await;
    assert_eq!((wrong.status, said(&wrong)), (422, WRONG));
    let without_names = |answer: Answer| {
        let mut headers = answer.headers;
        headers.remove("date");
        (answer.status, headers, answer.body.replace("\"ada\"", "\"eve\""))
    };
    assert_eq!(without_names(wrong), without_names(unknown));
    // What no account can be called is no other case.
    for name in ["", "a:b", "#", "a\0b", "\u{1b}[2J", &"x".repeat(65)] {
        let answer = log_in(&mut browser, name, PASSWORD).await;
        assert!(matches!(answer.status, 422 | 429), "{name:?}: {answer:?}");
        assert!(!answer.body.contains(char::is_control) || !answer.body.contains(['\0', '\u{1b}']));
    }
    assert_eq!(browser.cookie, None, "nobody has a session");
}

async fn too_many_attempts_with_a_name_are_told_when_to_come_back(scene: Scene) {
    let mut browser = scene.browser();
    for name in ["ada", "eve"] {
        // One attempt comes back each minute, so on a slow machine there are more than five.
        let mut attempts = 0;
        let refused = loop {
            let answer = log_in(&mut browser, name, "wrong").await;
            if answer.status != 422 {
                break answer;
            }
            attempts += 1;
            assert!(attempts < 1000, "nothing bounds them");
        };
        assert!(attempts >= 5, "{attempts}");
        assert_eq!(refused.status, 429, "{refused:?}");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(said(&refused).contains("too many attempts"), "{refused:?}");
        assert!(refused.body.contains(&format!("value=\"{name}\"")), "{refused:?}");
    }
    scene.logged_in("bob").await;
}

async fn only_who_asks_for_it_is_remembered(scene: Scene) {
    let mut browser = scene.browser();
    let form = [("name", "ada"), ("password", PASSWORD), ("remember", "yes")];
    let answer = browser.submit("/login", &form).await;
    let cookie = answer.set_cookie().unwrap();
    assert!(cookie.ends_with("; Max-Age=2592000"), "{cookie}");
    let mut browser = scene.browser();
    let answer = log_in(&mut browser, "ada", PASSWORD).await;
    let cookie = answer.set_cookie().unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax"), "{cookie}");
    assert_eq!(handles(&mut browser).await.len(), 2);
}

async fn a_logout_ends_the_session_and_says_so(scene: Scene) {
    let mut browser = scene.logged_in("ada").await;
    let mut thief = browser.window(browser.address());
    assert_eq!(browser.get("/logout").await.status, 405);
    let answer = browser.post("/logout").await;
    assert_eq!((answer.status, location(&answer)), (303, "/login?said=logged-out"));
    assert_eq!(browser.cookie, None);
    let form = browser.get("/login?said=logged-out").await;
    assert_eq!(said(&form), "You are logged out.");
    assert_eq!(location(&thief.get("/sessions").await), "/login?said=ended");
}

async fn a_login_leads_on_to_pages_of_the_app_alone(scene: Scene) {
    for (next, leads_to) in [
        ("sessions", "/sessions"),
        ("password", "/password"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
    ] {
        let mut browser = scene.browser();
        let form = [("name", "ada"), ("password", PASSWORD), ("next", next)];
        assert_eq!(location(&browser.submit("/login", &form).await), leads_to);
    }
    let mut browser = scene.browser();
    let form = browser.get("/login?next=//evil.example&said=%3Cb%3E").await;
    assert!(!form.body.contains("evil") && !form.body.contains("<b>"), "{form:?}");
    let asked = browser.get("/sessions").await;
    assert_eq!((asked.status, location(&asked)), (303, "/login?said=log-in&next=sessions"));
    let form = browser.get("/login?said=log-in&next=sessions").await;
    assert_eq!(said(&form), "Please log in to see that page.");
    assert!(form.body.contains("<input type=\"hidden\" name=\"next\" value=\"sessions\">"));
}

async fn a_form_without_a_login_changes_nothing_and_leads_to_the_login(scene: Scene) {
    let mut other = scene.logged_in("ada").await;
    let before = scene.accounts.text();
    let handle = handles(&mut other).await.remove(0);
    let fields = [("handle", handle.as_str()), ("password", NEW_PASSWORD), ("again", NEW_PASSWORD)];
    for (target, next) in [
        ("/sessions/end", "sessions"),
        ("/sessions/end-others", "sessions"),
        ("/sessions/end-all", "sessions"),
        ("/password", "password"),
    ] {
        let mut browser = scene.browser();
        let answer = browser.submit(target, &fields).await;
        assert_eq!(location(&answer), format!("/login?said=expired&next={next}"), "{target}");
        assert_eq!(answer.status, 303);
        let form = browser.get(location(&answer)).await;
        assert!(said(&form).starts_with("You were not logged in any more"), "{form:?}");
        assert_eq!(browser.cookie, None);
        // A look at what a form is for does nothing either, logged in or not.
        if target != "/password" {
            assert_eq!(other.get(target).await.status, 405, "{target}");
        }
    }
    assert_eq!(location(&scene.browser().post("/confirm").await), "/login?said=expired");
    assert_eq!(scene.accounts.text(), before);
    assert_eq!(handles(&mut other).await, [handle]);
}

async fn a_browser_whose_session_was_ended_elsewhere_logs_in_at_once(scene: Scene) {
    let mut one = scene.logged_in("ada").await;
    let mut other = scene.logged_in("ada").await;
    one.post("/sessions/end-others").await;
    let sent = other.post("/sessions/end-others").await;
    assert_eq!(location(&sent), "/login?said=ended");
    let form = other.get("/login?said=ended").await;
    assert_eq!(said(&form), "Your session has ended. Nothing was changed. Please log in again.");
    let fields = [("name", "ada"), ("password", PASSWORD)];
    assert_eq!(location(&other.submit("/login", &fields).await), "/");
    assert_eq!(who(&mut other).await.as_deref(), Some("ada"));
    assert_eq!(who(&mut one).await.as_deref(), Some("ada"));
}

async fn of_two_logins_at_once_one_keeps_the_views(scene: Scene) {
    for _ in 0..5 {
        let mut browser = scene.browser();
        browser.get("/").await;
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let mut window = browser.window(browser.address());
            logins.spawn(async move {
                let answer = log_in(&mut window, "ada", PASSWORD).await;
                (location(&answer).to_owned(), window)
            });
        }
        let mut done = 0;
        for (location, mut window) in logins.join_all().await {
            if location == "/" {
                done += 1;
                let page = window.get("/").await;
                assert!(page.body.contains("<strong>2</strong> views"), "{page:?}");
            } else {
                assert_eq!(location, "/login?said=ended");
            }
        }
        assert_eq!(done, 1);
    }
}

async fn a_login_as_another_user_leaves_nothing_of_the_first(scene: Scene) {
    let mut browser = scene.logged_in("ada").await;
    browser.get("/").await;
    let mut before = browser.window(browser.address());
    assert_eq!(location(&log_in(&mut browser, "bob", PASSWORD).await), "/");
    let page = browser.get("/").await;
    assert!(page.body.contains("<strong>1</strong> view<"), "{page:?}");
    assert_eq!(who(&mut browser).await.as_deref(), Some("bob"));
    assert_eq!(before.get("/sessions").await.status, 303, "it is no session of ada any more");
}

async fn another_password_ends_the_other_sessions(scene: Scene) {
    let mut own = scene.logged_in("ada").await;
    let mut others = [scene.logged_in("ada").await, scene.logged_in("ada").await];
    let mut bob = scene.logged_in("bob").await;
    let before = own.cookie.clone();
    let form = own.get("/password").await;
    assert_eq!((form.status, heading(&form)), (200, "Change your password"));
    let fields = [("password", NEW_PASSWORD), ("again", NEW_PASSWORD)];
    let answer = own.submit("/password", &fields).await;
    assert_eq!((answer.status, location(&answer)), (303, "/sessions"), "{answer:?}");
    assert_ne!(own.cookie, before);
    let page = own.get("/sessions").await;
    assert_eq!(said(&page), "Your password was changed. Your 2 other sessions have ended.");
    assert_eq!(said(&own.get("/sessions").await), "", "it is said once");
    for other in &mut others {
        assert_eq!(location(&other.get("/").await), "/login?said=ended");
    }
    assert_eq!(who(&mut bob).await.as_deref(), Some("bob"));
    let mut browser = scene.browser();
    assert_eq!(log_in(&mut browser, "ada", PASSWORD).await.status, 422);
    assert_eq!(log_in(&mut browser, "ada", NEW_PASSWORD).await.status, 303);
    assert_eq!(log_in(&mut scene.browser(), "bob", NEW_PASSWORD).await.status, 422);
}

async fn a_password_that_cannot_be_one_changes_nothing(scene: Scene) {
    let mut browser = scene.logged_in("ada").await;
    let mut other = scene.logged_in("ada").await;
    let before = scene.accounts.text();
    let long = "x".repeat(1025);
    for (password, again, why) in [
        (NEW_PASSWORD, "staple staple stable", "the two passwords differ"),
        (NEW_PASSWORD, "", "the two passwords differ"),
        ("fourteen-signs", "fourteen-signs", "at least 15 characters"),
        (&long, &long, "at most 1024 bytes"),
        ("", "", "at least 15 characters"),
    ] {
        let fields = [("password", password), ("again", again)];
        let answer = browser.submit("/password", &fields).await;
        assert_eq!(answer.status, 422);
        assert!(said(&answer).contains(why), "{answer:?}");
    }
    assert_eq!(scene.accounts.text(), before);
    assert_eq!(handles(&mut other).await.len(), 2);
}

async fn whatever_a_form_says_is_no_error_of_the_server(scene: Scene) {
    let mut browser = scene.logged_in("ada").await;
    let targets =
        ["/login", "/logout", "/sessions/end", "/sessions/end-others", "/password", "/confirm"];
    let bodies: [&[u8]; 6] = [
        b"",
        b"name=%ff%00&password=%ff&handle=%ff&next=%ff",
        b"name&password&&=&handle=0000000000000000",
        b"name=ada&name=bob&password=x&password=y&handle=1&handle=2&next=1&next=2",
        b"{\"name\":\"ada\"}",
        b"handle=../../x&next=https%3A%2F%2Fevil.example",
    ];
    for target in targets {
        for body in bodies {
            let mut connection = Raw::open(browser.address()).await.expect("a connection");
            let cookie = browser.cookie.as_deref().unwrap_or_default();
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            connection.write(&[head.as_bytes(), body].concat()).await.expect("sent");
            let answer = connection.read().await.expect("an answer");
            assert!(answer.status < 500, "{target}: {answer:?}");
            assert!(!location(&answer).contains("evil"), "{answer:?}");
        }
        browser = scene.logged_in("bob").await;
    }
}

async fn a_name_is_shown_as_text(scene: Scene) {
    let name = "<script>\"'&";
    let added = scene.accounts.add(name, format!("{PASSWORD}\r\n"));
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let mut browser = scene.browser();
    let refused = log_in(&mut browser, name, "wrong").await;
    assert_eq!(location(&log_in(&mut browser, name, PASSWORD).await), "/", "it was added just now");
    let pages = [
        refused,
        browser.get("/").await,
        browser.get("/login").await,
        browser.get("/sessions").await,
        browser.get("/password").await,
        browser.get("/confirm").await,
    ];
    for page in pages {
        assert!(page.body.contains("&#60;script&#62;&#34;&#39;&#38;"), "{page:?}");
        assert!(!page.body.contains("<script"), "{page:?}");
    }
}
