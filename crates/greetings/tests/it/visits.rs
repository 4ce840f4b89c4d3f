//! The page: greetings and counts, over restarts and for each visitor by itself.

use testbed::http::{Answer, Browser, raw::Raw};

use crate::{
    place::Place,
    process::{Instances, Process},
};

on_each_store! {
    the_page_counts_views_and_keeps_its_greeting
    another_browser_is_another_visitor
    two_processes_serve_the_same_visitors
    a_restart_keeps_the_visitors
    a_namespace_keeps_apps_apart
    fields_that_the_page_does_not_know_stay
    a_logout_ends_the_session_and_only_a_post_is_one
    renewing_keeps_the_data_and_ends_the_old_id
}

const GREETINGS: [&str; 5] =
    ["Hello World", "Hallo Welt", "Ciao Mondo", "Salut le Monde", "Hola Mundo"];

pub(crate) fn greeting(answer: &Answer) -> &str {
    answer.body.split('"').nth(1).expect("a greeting in quotes")
}

async fn the_page_counts_views_and_keeps_its_greeting(place: Place) {
    let instances = Instances::start(place, 1);
    let mut browser = instances.first().browser();
    let first = browser.get("/").await;
    let greeting = greeting(&first);
    assert!(GREETINGS.contains(&greeting), "{greeting}");
    assert_eq!(first.header("content-type"), Some("text/html; charset=utf-8"));
    for views in 2..=5 {
        let answer = browser.get("/").await;
        assert_eq!(answer.body, format!("<body>{views} views for \"{greeting}\"</body>"));
        assert_eq!(answer.set_cookie(), None, "the browser has it already");
    }
}

async fn another_browser_is_another_visitor(place: Place) {
    let instances = Instances::start(place, 1);
    let (mut one, mut other) = (instances.first().browser(), instances.first().browser());
    assert_eq!(one.get("/").await.views(), 1);
    assert_eq!(one.get("/").await.views(), 2);
    assert_eq!(other.get("/").await.views(), 1);
    assert_ne!(one.cookie, other.cookie);
}

async fn two_processes_serve_the_same_visitors(place: Place) {
    let instances = Instances::start(place, 2);
    let mut one = instances.first().browser();
    assert_eq!(one.get("/").await.views(), 1);
    let mut other = one.window(instances.last().address);
    assert_eq!(other.get("/").await.views(), 2);
    assert_eq!(one.get("/").await.views(), 3);
}

async fn a_restart_keeps_the_visitors(place: Place) {
    let process = Process::start(&place, &[]);
    let mut browser = process.browser();
    let before = browser.get("/").await;
    process.terminate();
    assert_eq!(process.ended().0, Some(0));

    let process = Process::start(&place, &[]);
    let after = browser.window(process.address).get("/").await;
    assert_eq!(after.views(), 2);
    assert_eq!(greeting(&after), greeting(&before));
}

async fn a_namespace_keeps_apps_apart(place: Place) {
    let one = Process::start(&place, &[]);
    let mut browser = one.browser();
    browser.get("/").await;
    let other = Process::start(&place, &["--namespace", "other"]);
    // The same id, as the cookie of the other: its key is another one.
    let id = browser.cookie.expect("a cookie").replacen("id=", "id-other=", 1);
    let mut window = Browser::with_cookie(other.address, id);
    assert_eq!(window.get("/").await.views(), 1);
}

/// Cookies do not tell ports apart, so the browser sends those of one app to the other as well.
#[tokio::test]
async fn two_apps_on_one_host_keep_their_sessions() {
    let place = Place::sqlite();
    for namespaces in [["greetings", "other"], ["a/b; é", "shop"]] {
        let apps = namespaces.map(|name| Process::start(&place, &["--namespace", name]));
        let mut browser = apps[0].browser();
        for views in 1..=3 {
            for app in &apps {
                browser = browser.window(app.address);
                assert_eq!(browser.get("/").await.views(), views, "{namespaces:?}");
            }
        }
        browser.post("/logout").await;
        browser = browser.window(apps[0].address);
        assert_eq!(browser.get("/").await.views(), 4, "a logout ends the session of its own app");
    }
}

#[tokio::test]
async fn a_greeting_that_was_edited_stays_text() {
    let instances = Instances::start(Place::sqlite(), 1);
    let mut browser = instances.first().browser();
    browser.get("/").await;
    browser.post("/lab/insert/greeting?value=%3Cscript%3E%22%26").await;
    let body = browser.get("/").await.body;
    assert_eq!(body, "<body>2 views for \"&lt;script&gt;&quot;&amp;\"</body>");
}

async fn fields_that_the_page_does_not_know_stay(place: Place) {
    let instances = Instances::start(place, 1);
    let mut browser = instances.first().browser();
    browser.post("/lab/insert/theme?value=dark").await;
    browser.get("/").await;
    browser.get("/lab/push/cart?value=tea").await;
    browser.get("/lab/push/cart?value=milk").await;
    browser.get("/lab/increment/clicks").await;
    let data = browser.data().await;
    assert_eq!((&data["theme"], &data["views"]), (&"dark".into(), &1.into()));
    assert_eq!((&data["cart"][1], &data["clicks"]), (&"milk".into(), &1.into()));
    browser.get("/lab/remove/theme").await;
    assert_eq!(browser.data().await.get("theme"), None);
}

async fn a_logout_ends_the_session_and_only_a_post_is_one(place: Place) {
    let instances = Instances::start(place, 1);
    let mut browser = instances.first().browser();
    browser.get("/").await;
    let mut thief = browser.window(instances.first().address);
    assert_eq!(browser.get("/logout").await.status, 405);
    assert_eq!(browser.get("/").await.views(), 2);
    assert_eq!(browser.post("/logout").await.status, 200);
    assert_eq!(browser.cookie, None, "the browser was told to forget it");
    assert_eq!(thief.get("/").await.status, 409);
    assert_eq!(browser.get("/").await.views(), 1);
    // Where nobody can count them, that the thief got none must do.
    assert!(matches!(instances.stop_and_count().await, Some(1) | None));
}

async fn renewing_keeps_the_data_and_ends_the_old_id(place: Place) {
    let instances = Instances::start(place, 2);
    let mut browser = instances.first().browser();
    browser.get("/").await;
    let mut thief = browser.window(instances.last().address);
    assert_eq!(thief.get("/").await.views(), 2);
    assert_eq!(browser.post("/lab/renew").await.status, 204);
    assert_ne!(browser.cookie, thief.cookie);
    assert_eq!(thief.get("/").await.status, 409);
    assert_eq!(browser.get("/").await.views(), 3);
}

#[tokio::test]
async fn what_only_reads_leaves_no_record_and_no_cookie() {
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 10_000;
    let instances = Instances::start(Place::sqlite(), 1);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let mut browser = instances.first().browser();
        clients.spawn(async move {
            for request in (client..REQUESTS).step_by(CLIENTS) {
                let answer = match request % 100 {
                    0 => browser.post("/logout").await,
                    1 => browser.post("/lab/renew").await,
                    2 => browser.get("/nowhere").await,
                    3 => browser.get("/lab/slow-read?ms=0").await,
                    _ => browser.get("/lab/data").await,
                };
                assert!(matches!(answer.status, 200 | 204 | 404), "{answer:?}");
                assert_eq!(answer.set_cookie(), None, "{answer:?}");
            }
        });
    }
    clients.join_all().await;
    assert_eq!(instances.stop_and_count().await, Some(0));
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_not_the_connection() {
    let instances = Instances::start(Place::sqlite(), 1);
    let mut connection = Raw::open(instances.first().address).await.expect("a connection");
    connection.write(b"GET /lab/panic HTTP/1.1\r\nHost: test\r\n\r\n").await.expect("sent");
    let answer = connection.read().await.expect("an answer");
    assert_eq!((answer.status, answer.set_cookie()), (500, None));
    connection.write(b"GET /lab/data HTTP/1.1\r\nHost: test\r\n\r\n").await.expect("sent");
    assert_eq!(connection.read().await.expect("an answer").status, 200);
    assert_eq!(instances.stop_and_count().await, Some(0));
}

#[tokio::test]
async fn health_and_readiness_are_asked_without_a_session() {
    let instances = Instances::start(Place::sqlite(), 1);
    for (path, body) in
        [("/health", "ok"), ("/healthz", "ok"), ("/ready", "ready\n"), ("/readyz", "ready\n")]
    {
        let answer = instances.first().browser().get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
        assert_eq!(answer.header("vary"), None);
    }
}
