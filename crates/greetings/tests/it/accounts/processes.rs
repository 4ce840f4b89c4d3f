//! Two processes with one store and one file of accounts, and how fresh a login must be.

use std::{fs, sync::Arc, time::Duration};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
use ingle::{
    Cookie, CookieConfig, Login, SessionLayer,
    adapter::HandlerOutcome,
    clock::{Clock as _, ManualClock, SystemClock, Timestamp},
};
use testbed::http::Browser;
use tokio::{task::JoinSet, time::sleep};

use super::{
    NEW_PASSWORD, PASSWORD, Scene, handles, heading, location, log_in, logged_in, said, who,
};
use crate::place::Place;

on_each_store! {
    who_logs_in_on_one_process_is_logged_in_on_the_other
    an_end_of_all_on_one_process_reaches_the_other
    another_password_on_one_process_is_the_one_on_the_other
    where_the_login_is_too_old_the_password_is_asked_for_once_more
}

async fn who_logs_in_on_one_process_is_logged_in_on_the_other(place: Place) {
    let scene = Scene::start(place, 2);
    let there = scene.instances.last();
    let mut browser = scene.logged_in("ada").await.window(there.address);
    assert_eq!(who(&mut browser).await.as_deref(), Some("ada"));
    assert_eq!(location(&browser.post("/logout").await), "/login?said=logged-out");
    assert_eq!(who(&mut browser.window(scene.first().address)).await, None);
}

async fn an_end_of_all_on_one_process_reaches_the_other(place: Place) {
    let scene = Scene::start(place, 2);
    let there = scene.instances.last();
    let mut here = [scene.logged_in("ada").await, scene.logged_in("ada").await];
    let mut bob = scene.logged_in("bob").await;
    let mut own = logged_in(there, "ada").await;
    for end in ["/sessions/end-others", "/sessions/end-all"] {
        let answer = own.post(end).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        for browser in &mut here {
            assert!(location(&browser.get("/sessions").await).starts_with("/login?"), "{end}");
        }
        let is_left = end == "/sessions/end-others";
        let mut window = own.window(scene.first().address);
        assert_eq!(who(&mut window).await.is_some(), is_left, "{end}");
    }
    assert_eq!(who(&mut bob).await.as_deref(), Some("bob"));
    // A login after it is one.
    let mut again = scene.logged_in("ada").await.window(there.address);
    assert_eq!(who(&mut again).await.as_deref(), Some("ada"));
}

async fn another_password_on_one_process_is_the_one_on_the_other(place: Place) {
    let scene = Scene::start(place, 2);
    let there = scene.instances.last();
    let mut own = scene.logged_in("ada").await;
    let mut other = logged_in(there, "ada").await;
    let fields = [("password", NEW_PASSWORD), ("again", NEW_PASSWORD)];
    assert_eq!(location(&own.submit("/password", &fields).await), "/sessions");
    assert!(location(&other.get("/").await).starts_with("/login?"));
    assert_eq!(log_in(&mut there.browser(), "ada", PASSWORD).await.status, 422);
    assert_eq!(log_in(&mut there.browser(), "ada", NEW_PASSWORD).await.status, 303);
    assert_eq!(who(&mut own.window(there.address)).await.as_deref(), Some("ada"));
}

/// A browser in which ada logged in at this instant, on a process of which nothing is left.
async fn logged_in_at(scene: &Scene, at: Timestamp) -> Browser {
    let place = &scene.instances.place;
    let cookie = Cookie::new(CookieConfig::development()).unwrap();
    let layer = SessionLayer::new((place.open)(place).await).namespace("greetings");
    let layer = layer.cookie(cookie).clock(Arc::new(ManualClock::new(at))).sweep_every(None);
    let in_flight = layer.door().begin([]);
    in_flight.session().login(Login::new("ada")).await.expect("a login");
    let finished = in_flight.finish(HandlerOutcome::Success).await;
    let set = finished.headers().iter().find(|header| header.name() == "set-cookie");
    let cookie = set.expect("a cookie").value().split(';').next().unwrap_or_default().to_owned();
    Browser::with_cookie(scene.first().address, cookie)
}

async fn where_the_login_is_too_old_the_password_is_asked_for_once_more(place: Place) {
    let scene = Scene::start(place, 1);
    let now = SystemClock.now().as_millis();
    let minutes_ago = |minutes: u64| {
        let age = Duration::from_secs(60 * minutes).as_millis();
        Timestamp::from_millis(now - u64::try_from(age).unwrap())
    };
    let mut browser = logged_in_at(&scene, minutes_ago(11)).await;
    assert_eq!(who(&mut browser).await.as_deref(), Some("ada"));
    let before = scene.accounts.text();
    let fields = [("password", NEW_PASSWORD), ("again", NEW_PASSWORD)];
    assert_eq!(location(&browser.get("/password").await), "/confirm?next=password");
    let refused = browser.submit("/password", &fields).await;
    assert_eq!((refused.status, location(&refused)), (303, "/confirm?next=password"));
    assert_eq!(scene.accounts.text(), before);

    let form = browser.get("/confirm?next=password").await;
    assert_eq!((form.status, heading(&form)), (200, "Is it you?"));
    let confirm = async |browser: &mut Browser, password| {
        browser.submit("/confirm", &[("password", password), ("next", "password")]).await
    };
    let wrong = confirm(&mut browser, "correct horse batterY").await;
    assert_eq!((wrong.status, said(&wrong)), (422, "This is not your password."));
    assert_eq!(location(&browser.get("/password").await), "/confirm?next=password");
    let old = browser.cookie.clone();
    let right = confirm(&mut browser, PASSWORD).await;
    assert_eq!((right.status, location(&right)), (303, "/password"));
    assert_ne!(browser.cookie, old);
    assert_eq!(heading(&browser.get("/password").await), "Change your password");
    assert_eq!(location(&browser.submit("/password", &fields).await), "/sessions");
    assert_ne!(scene.accounts.text(), before);
}

/// The old password was right when it was checked, and is not when the login is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_old_password_does_not_outlive_a_new_one() {
    let scene = Scene::start(Place::sqlite(), 2);
    let mut own = scene.logged_in("ada").await;
    // A hash that takes long to check, so that the login is under way when the password is changed.
    let params = Params::new(19 * 1024, 100, 1, None).unwrap();
    let slow = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = slow.hash_password(PASSWORD.as_bytes()).unwrap();
    fs::write(&scene.accounts.file, format!("ada:{hash}\n")).unwrap();
    let mut late = scene.instances.last().browser();
    let mut login = JoinSet::new();
    login.spawn(async move {
        let answer = log_in(&mut late, "ada", PASSWORD).await;
        (answer, late)
    });
    sleep(Duration::from_millis(500)).await;
    let fields = [("password", NEW_PASSWORD), ("again", NEW_PASSWORD)];
    assert_eq!(location(&own.submit("/password", &fields).await), "/sessions");
    let (answer, mut late) = login.join_next().await.unwrap().unwrap();
    // On a machine that is very slow it came before or after.
    assert!(matches!(answer.status, 303 | 422), "{answer:?}");
    assert_eq!(late.get("/sessions").await.status, 303);
    assert_eq!(handles(&mut own).await.len(), 1);
}

/// Whoever fails at the login cannot keep a user who is logged in from what is theirs.
#[tokio::test]
async fn attempts_at_the_login_take_none_from_those_who_are_asked_again() {
    let scene = Scene::start(Place::sqlite(), 1);
    let mut browser = scene.logged_in("ada").await;
    let mut stranger = scene.browser();
    while log_in(&mut stranger, "ada", "wrong").await.status == 422 {}
    let answer = browser.submit("/confirm", &[("password", PASSWORD)]).await;
    assert_eq!((answer.status, location(&answer)), (303, "/"));
    while browser.submit("/confirm", &[("password", "wrong")]).await.status == 422 {}
    let answer = browser.submit("/confirm", &[("password", PASSWORD)]).await;
    assert_eq!(answer.status, 429);
    assert_eq!(handles(&mut browser).await.len(), 1, "the session is what it was");
}

#[tokio::test]
async fn without_the_file_nobody_logs_in_and_the_log_says_why() {
    let scene = Scene::start(Place::sqlite(), 1);
    let mut browser = scene.logged_in("ada").await;
    fs::write(&scene.accounts.file, "s3cret\n").unwrap();
    let mut other = scene.browser();
    let answer = log_in(&mut other, "ada", PASSWORD).await;
    assert_eq!((answer.status, heading(&answer)), (500, "This did not work"));
    assert_eq!(other.cookie, None);
    fs::remove_file(&scene.accounts.file).unwrap();
    let fields = [("password", NEW_PASSWORD), ("again", NEW_PASSWORD)];
    assert_eq!(browser.submit("/password", &fields).await.status, 500);
    assert!(!scene.accounts.file.exists());
    assert_eq!(who(&mut browser).await.as_deref(), Some("ada"));
    let Scene { mut instances, .. } = scene;
    let process = instances.processes.remove(0);
    process.terminate();
    let (code, log) = process.ended();
    assert_eq!(code, Some(0));
    assert!(log.contains("the accounts were not used") && log.contains("line 1 is no account"));
    assert!(!log.contains("s3cret"), "{log}");
}
