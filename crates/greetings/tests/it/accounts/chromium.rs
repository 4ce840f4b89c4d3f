//! The pages in a real browser: without a script, in light and dark colours, on a phone and on a desk.

use serde_json::Value;
use testbed::chromium::Chromium;

use super::{NEW_PASSWORD, PASSWORD, Scene, handles};
use crate::place::Place;

/// A browser, and the app that it is at.
struct Visit {
    browser: Chromium,
    scene: Scene,
}

impl Visit {
    fn begin() -> Self {
        Self { browser: Chromium::start(), scene: Scene::start(Place::sqlite(), 1) }
    }

    fn open(&self, path: &str) {
        self.browser.open(&format!("http://{}{path}", self.scene.first().address));
    }

    /// Fills in the fields of the page's form and presses its button, as far as the browser lets.
    fn fill(&self, fields: &[(&str, &str)]) {
        for (id, value) in fields {
            self.browser.run(&format!("document.getElementById('{id}').value = '{value}'"));
        }
        self.browser.run("document.querySelector('main form button').click()");
    }

    fn press(&self, button: &str) {
        let is_it = format!("it => it.innerText.startsWith('{button}')");
        self.browser
            .run(&format!("[...document.querySelectorAll('button')].find({is_it}).click()"));
    }

    fn heading(&self) -> String {
        let heading = self.browser.run("return document.querySelector('h1').innerText");
        heading.as_str().unwrap_or_default().to_owned()
    }

    fn path(&self) -> String {
        let path = self.browser.run("return location.pathname + location.search");
        path.as_str().unwrap_or_default().to_owned()
    }

    fn log_in(&self) {
        self.open("/login?next=sessions");
        self.fill(&[("name", "ada"), ("password", PASSWORD)]);
        assert_eq!(self.heading(), "Your sessions");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_finds_the_way_through_all_pages() {
    let visit = Visit::begin();
    visit.open("/password");
    assert_eq!(visit.path(), "/login?said=log-in&next=password");
    // The browser itself asks for what is missing.
    visit.fill(&[("name", "ada")]);
    assert_eq!(visit.path(), "/login?said=log-in&next=password");
    visit.fill(&[("name", "ada"), ("password", "wrong")]);
    assert!(visit.browser.text().contains("do not belong together"));
    assert_eq!(visit.browser.run("return document.activeElement.id"), "password");
    visit.fill(&[("password", PASSWORD)]);
    assert_eq!(visit.path(), "/password");
    let mut other = visit.scene.logged_in("ada").await;
    visit.fill(&[("password", NEW_PASSWORD), ("again", NEW_PASSWORD)]);
    assert_eq!(visit.path(), "/sessions");
    assert!(visit.browser.text().contains("Your password was changed."));
    assert_eq!(other.get("/").await.status, 303);
    visit.press("Log out");
    assert_eq!(visit.path(), "/login?said=logged-out");
    assert_eq!(visit.browser.cookies(), Vec::<Value>::new());
    // The page before is not shown again from what the browser keeps.
    visit.browser.run("history.back()");
    visit.open("/sessions");
    assert_eq!(visit.heading(), "Log in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_ended_by_its_button_and_its_browser_logs_in_again() {
    let visit = Visit::begin();
    visit.log_in();
    let mut other = visit.scene.logged_in("ada").await;
    visit.open("/sessions");
    assert!(visit.browser.text().contains("Chrome on Linux"), "{}", visit.browser.text());
    visit.press("End all others");
    assert!(visit.browser.text().contains("Your other session has ended."));
    assert_eq!(other.get("/").await.status, 303);
    // Now it is the other way round.
    let mut other = visit.scene.logged_in("ada").await;
    visit.open("/sessions");
    let own = handles(&mut other).await.remove(1);
    other.submit("/sessions/end", &[("handle", &own)]).await;
    visit.press("End all, this one too");
    assert_eq!(visit.path(), "/login?said=ended");
    visit.fill(&[("name", "ada"), ("password", PASSWORD)]);
    assert!(visit.browser.text().contains("You are logged in as ada."));
    assert_eq!(handles(&mut other).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_wrong_with_any_page_at_any_width_in_light_and_dark() {
    let visit = Visit::begin();
    let check = |page: &str| {
        for (width, is_dark) in [(320, false), (390, true), (1440, false), (1440, true)] {
            visit.browser.look(width, is_dark);
            let faults = visit.browser.faults();
            assert!(faults.is_empty(), "{page} {width} {is_dark}: {faults:#?}");
        }
    };
    for page in ["/", "/login", "/login?said=expired&next=password"] {
        visit.open(page);
        check(page);
    }
    visit.fill(&[("name", "ada"), ("password", "wrong")]);
    assert!(visit.browser.text().contains("do not belong together"));
    check("a wrong password");
    visit.log_in();
    visit.scene.logged_in("ada").await;
    for page in ["/", "/login", "/sessions", "/live", "/password", "/confirm"] {
        visit.open(page);
        check(page);
    }
    visit.open("/confirm");
    visit.fill(&[("password", "wrong")]);
    assert!(visit.browser.text().contains("This is not your password."));
    check("not your password");
}
