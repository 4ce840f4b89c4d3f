//! A cookie that the browser keeps, over a long life: browsers keep none longer than 400 days.

use std::{sync::Arc, time::Duration};

use ingle::{
    Cookie, CookieConfig, Error, Lifetime, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Fault, Faulty, Step},
};

use crate::common::{Answer, App, Held, app, faulty, layer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CAP: &str = "; Max-Age=34560000";

/// A browser that keeps a cookie as long as it was told to.
struct Browser {
    clock: ManualClock,
    cookie: Option<(String, ingle::clock::Timestamp)>,
}

impl Browser {
    fn cookie(&self) -> &str {
        match &self.cookie {
            Some((pair, until)) if self.clock.now() < *until => pair,
            _ => "",
        }
    }

    async fn get(&mut self, app: &App, path: &str) -> Answer {
        let answer = app.get(path, self.cookie()).await.ok();
        if let Some((pair, attributes)) = answer.set_cookie().split_once(';') {
            let age = attributes.split("Max-Age=").nth(1).unwrap().parse().unwrap();
            let until = self.clock.now().after(Duration::from_secs(age));
            self.cookie = Some((pair.to_owned(), until));
        }
        answer
    }
}

struct Scene {
    store: Faulty,
    layer: SessionLayer,
    app: App,
    browser: Browser,
}

fn scene(idle: Duration, absolute: Duration, persistent: bool) -> Scene {
    let (_, store) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let config = CookieConfig { persistent, ..CookieConfig::default() };
    let layer = layer(store.clone())
        .cookie(Cookie::new(config).unwrap())
        .lifetime(Lifetime::new(idle, absolute).unwrap())
        .clock(Arc::new(clock.clone()));
    let app = app(&layer)
        .on("/", async |session: Session| {
            let n = session.field("n").update(|n: &mut u64| {
                *n += 1;
                *n
            });
            Ok::<_, Error>(n.await?.to_string())
        })
        .on("/read", async |session: Session| {
            Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or_default().to_string())
        })
        .on("/untouched", async |_: Session| "hello")
        .on("/skip", async |session: Session| {
            session.skip_touch();
            Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or_default().to_string())
        })
        .on("/add", async |session: Session| session.increment("n", 1))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await);
    Scene { store, layer, app, browser: Browser { clock, cookie: None } }
}

#[tokio::test]
async fn a_daily_visitor_keeps_a_session_that_lives_for_years() {
    for path in ["/", "/read", "/add"] {
        let Scene { app, mut browser, .. } = scene(30 * DAY, 1500 * DAY, true);
        let first = browser.get(&app, "/").await;
        assert!(first.set_cookie().ends_with(CAP), "{first:?}");
        let id = browser.cookie().to_owned();
        let mut sent = Vec::new();
        for day in 1..1500 {
            browser.clock.advance(DAY);
            let answer = browser.get(&app, path).await;
            if !answer.set_cookie().is_empty() {
                sent.push(day);
                assert!(answer.set_cookie().starts_with(&id), "{path}, day {day}: {answer:?}");
                assert_eq!(answer.header("cache-control"), "no-store");
            }
            assert_eq!(browser.cookie(), id, "{path}, day {day}");
        }
        // In the last 30 days the cookie lasts until the end anyway.
        let tenths: Vec<u32> = (1..).map(|n| n * 40).take_while(|day| *day < 1470).collect();
        assert_eq!(sent, tenths, "{path}");
        browser.clock.advance(DAY);
        assert_eq!(browser.get(&app, "/read").await.body, "0", "it was as long as it could be");
    }
}

#[tokio::test]
async fn no_cookie_is_kept_longer_than_its_session_can_live() {
    let Scene { app, mut browser, .. } = scene(30 * DAY, 100 * DAY, true);
    let age = |answer: &Answer| -> u64 {
        let age = answer.set_cookie().split("Max-Age=").nth(1).unwrap_or("0");
        age.parse().unwrap()
    };
    assert_eq!(age(&browser.get(&app, "/").await), 100 * DAY.as_secs());
    browser.clock.advance(11 * DAY);
    assert_eq!(age(&browser.get(&app, "/read").await), 89 * DAY.as_secs());
    assert_eq!(browser.get(&app, "/read").await.set_cookie(), "", "a tenth is not gone again");
    browser.clock.advance(DAY);
    assert_eq!(age(&browser.get(&app, "/renew").await), 88 * DAY.as_secs());
}

#[tokio::test]
async fn a_cookie_that_is_kept_until_the_browser_closes_is_sent_once() {
    let Scene { app, browser, .. } = scene(30 * DAY, 1500 * DAY, false);
    let first = app.get("/", "").await.ok();
    let pair = first.set_cookie().split(';').next().unwrap();
    for _ in 0..100 {
        browser.clock.advance(20 * DAY / 3);
        assert_eq!(app.get("/read", pair).await.ok().set_cookie(), "");
    }
}

#[tokio::test]
async fn a_response_that_does_not_depend_on_the_session_carries_no_cookie() {
    let Scene { store, app, mut browser, .. } = scene(300 * DAY, 1500 * DAY, true);
    browser.get(&app, "/").await;
    browser.clock.advance(41 * DAY);
    let asked = store.log().len();
    assert_eq!(browser.get(&app, "/untouched").await.set_cookie(), "");
    assert_eq!(store.log().len(), asked);
    assert_eq!(browser.get(&app, "/skip").await.set_cookie(), "", "it only looks");
    assert!(browser.get(&app, "/read").await.set_cookie().ends_with(CAP));
    assert_eq!(browser.get(&app, "/read").await.set_cookie(), "", "a touch was made with it");
    assert_eq!(store.log()[asked..], ["load", "load", "touch", "load"]);
}

/// The browser would take the old id in the place of the new one.
#[tokio::test]
async fn a_request_that_is_late_does_not_send_an_id_that_is_dead() {
    for path in ["/renew", "/logout"] {
        for changes in [false, true] {
            let Scene { layer, app, mut browser, .. } = scene(300 * DAY, 1500 * DAY, true);
            browser.get(&app, "/").await;
            browser.clock.advance(41 * DAY);
            let late = Held::begin(&layer, browser.cookie()).await;
            match changes {
                true => late.session.field("n").update(|n: &mut u64| *n += 1).await.unwrap(),
                false => drop(late.session.get::<u64>("n").await.unwrap()),
            }
            app.get(path, browser.cookie()).await.ok();
            let answer = late.respond(http::StatusCode::OK).await.ok();
            assert_eq!(answer.set_cookie(), "", "{path}, changes: {changes}");
        }
    }
}

#[tokio::test]
async fn a_cookie_is_not_sent_again_while_the_store_cannot_say_that_its_session_lives() {
    let Scene { store, app, mut browser, .. } = scene(300 * DAY, 1500 * DAY, true);
    browser.get(&app, "/").await;
    browser.clock.advance(41 * DAY);
    store.on(Step::Commit(1), Fault::Refuse);
    assert_eq!(browser.get(&app, "/read").await.set_cookie(), "");
    assert!(browser.get(&app, "/read").await.set_cookie().ends_with(CAP), "the next one does");
}

/// The idle deadline cannot move any further, and so cannot tell when the session was used.
#[tokio::test]
async fn a_session_that_may_idle_as_long_as_it_lives_keeps_its_cookie() {
    let Scene { app, mut browser, .. } = scene(1500 * DAY, 1500 * DAY, true);
    browser.get(&app, "/").await;
    for n in 2..1500 {
        browser.clock.advance(DAY);
        assert_eq!(browser.get(&app, "/").await.body, n.to_string());
    }
}
