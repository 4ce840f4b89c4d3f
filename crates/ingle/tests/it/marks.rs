//! What a late request is told of a session that was renewed or ended (law 12): by a process of its
//! own, with answers lost and requests held up, and through whole requests.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Fault, Memory, Step},
};
use tokio::task::JoinSet;

use crate::common::{App, Held, Visitor, app, faulty, generator, layer, layer_as_it_comes};

fn process(layer: &SessionLayer) -> App {
    app(layer)
        .on("/add", async |session: Session| session.increment("n", 1))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await)
        .on("/read", async |session: Session| {
            Ok::<_, Error>(session.get::<u64>("n").await?.unwrap_or(0).to_string())
        })
}

/// A visitor whose session every process has in its memory of records.
async fn known_to(apps: &[App]) -> Visitor {
    let mut visitor = Visitor::default();
    for app in apps {
        visitor.get(app, "/add").await.ok();
    }
    visitor
}

const SOON: Duration = Duration::from_millis(700);

#[tokio::test(start_paused = true)]
async fn an_edit_that_reads_nothing_never_begins_a_session_in_the_place_of_one_that_moved_or_ended()
{
    for end in ["/renew", "/logout"] {
        let memory = Memory::new();
        let apps = [
            process(&layer_as_it_comes(memory.clone())),
            process(&layer_as_it_comes(memory.clone())),
        ];
        let mut visitor = known_to(&apps).await;
        let late = visitor.clone();
        visitor.get(&apps[0], end).await.ok();
        let left = memory.len();
        for app in &apps {
            for path in ["/add", "/read", "/renew"] {
                let answer = app.get(path, &late.cookie).await;
                assert_eq!(answer.status, StatusCode::CONFLICT, "{end} {path}");
                assert_eq!(answer.set_cookie(), "", "{end} {path}");
            }
        }
        assert_eq!(memory.len(), left, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_ends_a_session_whose_renew_landed_late() {
    // The renew lands before the logout, or finds the session ended.
    for logout_after in [Duration::from_millis(10), 2 * SOON] {
        let (memory, store) = faulty();
        let (renews, ends) = (
            process(&layer_as_it_comes(store.clone())),
            process(&layer_as_it_comes(memory.clone())),
        );
        let mut visitor = known_to(&[renews.clone(), ends.clone()]).await;
        store.on(Step::Commit(1), Fault::Late(SOON));
        (1..20).for_each(|load| store.on(Step::Load(load), Fault::Refuse));
        let answer = visitor.get(&renews, "/renew").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{:?}", store.log());
        assert_eq!(answer.header("retry-after"), "", "it may have been made");
        tokio::time::sleep(logout_after.saturating_sub(SOON)).await;
        let stolen = visitor.clone();
        visitor.get(&ends, "/logout").await.ok();
        tokio::time::sleep(2 * SOON).await;
        assert!(memory.is_empty(), "{logout_after:?}: {:?}", store.log());
        // How many of the refused loads are left hangs on how long each retry waited.
        let late = loop {
            let answer = renews.get("/add", &stolen.cookie).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                break answer;
            }
        };
        assert_eq!(late.status, StatusCode::CONFLICT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_whose_first_request_lands_late_ends_no_other_session() {
    let (memory, store) = faulty();
    let apps =
        [process(&layer_as_it_comes(store.clone())), process(&layer_as_it_comes(memory.clone()))];
    let mut visitor = known_to(&apps).await;
    store.on(Step::Commit(1), Fault::Late(SOON));
    visitor.get(&apps[0], "/logout").await.ok();
    visitor.get(&apps[1], "/add").await.ok();
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(visitor.get(&apps[1], "/read").await.ok().body, "1", "{:?}", store.log());
}

#[tokio::test(start_paused = true)]
async fn a_logout_follows_a_session_through_every_renew() {
    let memory = Memory::new();
    let apps =
        [process(&layer_as_it_comes(memory.clone())), process(&layer_as_it_comes(memory.clone()))];
    let mut visitor = known_to(&apps).await;
    let mut olds = vec![visitor.clone()];
    for index in 0..10 {
        visitor.get(&apps[index % 2], "/renew").await.ok();
        olds.push(visitor.clone());
    }
    let gone = apps[1].get("/logout", &olds[0].cookie).await.ok();
    assert!(gone.set_cookie().contains("Max-Age=0"), "{gone:?}");
    assert!(memory.is_empty());
    for old in &olds {
        for app in &apps {
            assert_eq!(app.get("/add", &old.cookie).await.status, StatusCode::CONFLICT);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_renew_is_told_that_the_session_moved() {
    let (memory, store) = faulty();
    let app = process(&layer_as_it_comes(store.clone()));
    let visitor = known_to(std::slice::from_ref(&app)).await;
    store.on(Step::Commit(1), Fault::Delay(Duration::from_millis(50)));
    let mut requests = JoinSet::new();
    for index in 0..20 {
        let path = if index == 7 { "/renew" } else { "/add" };
        let (app, cookie) = (app.clone(), visitor.cookie.clone());
        requests.spawn(async move { (path, app.get(path, &cookie).await) });
    }
    let (mut made, mut cookie) = (1, String::new());
    while let Some(done) = requests.join_next().await {
        let (path, answer) = done.unwrap();
        match (path, answer.status) {
            ("/renew", StatusCode::OK) => {
                cookie = answer.set_cookie().split(';').next().unwrap().to_owned();
            }
            ("/add", StatusCode::OK) => made += 1,
            (path, status) => assert_eq!(status, StatusCode::CONFLICT, "{path}"),
        }
        assert!(path == "/renew" || answer.set_cookie().is_empty());
    }
    assert_eq!(app.get("/read", &cookie).await.ok().body, made.to_string(), "{:?}", store.log());
    assert_eq!(memory.len(), 1);
}

#[tokio::test]
async fn a_request_that_saw_its_session_is_told_also_when_the_mark_is_gone() {
    for end in ["/renew", "/logout"] {
        let memory = Memory::new();
        let clock = ManualClock::new(SystemClock.now());
        let layer = || layer(memory.clone()).clock(Arc::new(clock.clone()));
        let (slow, other) = (layer(), process(&layer()));
        let mut visitor = known_to(std::slice::from_ref(&other)).await;
        let held = Held::begin(&slow, &visitor.cookie).await;
        assert_eq!(held.session.get::<u64>("n").await.unwrap(), Some(1));
        visitor.get(&other, end).await.ok();
        clock.advance(Duration::from_secs(61));
        held.session.insert("n", 5).unwrap();
        let left = memory.len();
        let answer = held.respond(StatusCode::OK).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{end}");
        assert_eq!(answer.set_cookie(), "", "{end}");
        assert!(memory.len() <= left, "{end}");
    }
}

/// Nothing of a request that only reads is moved to where the session went.
#[tokio::test]
async fn the_touch_of_a_session_that_ended_under_a_read_changes_nothing() {
    for end in ["/renew", "/logout"] {
        let memory = Memory::new();
        let clock = ManualClock::new(SystemClock.now());
        let layer = || layer(memory.clone()).clock(Arc::new(clock.clone()));
        let (slow, other) = (layer(), process(&layer()));
        let mut visitor = known_to(std::slice::from_ref(&other)).await;
        clock.advance(Duration::from_secs(600));
        let held = Held::begin(&slow, &visitor.cookie).await;
        held.session.get::<u64>("n").await.unwrap();
        let late = visitor.clone();
        visitor.get(&other, end).await.ok();
        let answer = held.respond(StatusCode::OK).await.ok();
        assert_eq!(answer.set_cookie(), "", "{end}");
        assert_eq!(other.get("/add", &late.cookie).await.status, StatusCode::CONFLICT, "{end}");
        assert_eq!(memory.len(), usize::from(end == "/renew"));
    }
}

/// Renews, logouts and edits on three processes, on a store that fails in every way that it can.
#[tokio::test(start_paused = true)]
async fn in_a_storm_of_renews_and_logouts_nothing_comes_back_and_nothing_is_made_twice() {
    const FAULTS: [Fault; 6] = [
        Fault::Refuse,
        Fault::LoseRequest,
        Fault::LoseAnswer,
        Fault::Delay(Duration::from_millis(30)),
        Fault::HangAfter,
        Fault::Late(Duration::from_millis(60)),
    ];
    for seed in 0..150_u64 {
        let (memory, store) = faulty();
        let apps = [(); 3].map(|()| process(&layer_as_it_comes(store.clone())));
        let visitor = known_to(&apps).await;
        let mut random = generator(seed);
        for call in 1..100 {
            if random(3) == 0 {
                store.on(Step::Commit(call), FAULTS[random(FAULTS.len() as u64) as usize]);
            }
            if random(6) == 0 {
                store.on(Step::Load(call), FAULTS[random(FAULTS.len() as u64) as usize]);
            }
        }
        let ends = seed % 2 == 0;
        let mut requests = JoinSet::new();
        for index in 0..30_usize {
            let path = match index {
                11 | 23 => "/renew",
                29 if ends => "/logout",
                _ => "/add",
            };
            let pause = Duration::from_millis(random(200));
            let (app, cookie) = (apps[index % 3].clone(), visitor.cookie.clone());
            requests.spawn(async move {
                tokio::time::sleep(pause).await;
                (path, app.get(path, &cookie).await)
            });
        }
        let (mut made, mut unknown, mut moves, mut may_have_moved) = (3, 0, Vec::new(), false);
        let mut ended = false;
        while let Some(done) = requests.join_next().await {
            let (path, answer) = done.unwrap();
            let in_doubt = answer.status == StatusCode::SERVICE_UNAVAILABLE
                && answer.header("retry-after").is_empty();
            match (path, answer.status) {
                ("/add", StatusCode::OK) => made += 1,
                ("/renew", StatusCode::OK) => moves.push(answer.set_cookie().to_owned()),
                ("/logout", StatusCode::OK) => ended = true,
                ("/renew", _) if in_doubt => may_have_moved = true,
                (_, StatusCode::SERVICE_UNAVAILABLE) => unknown += u64::from(in_doubt),
                (_, status) => assert_eq!(status, StatusCode::CONFLICT, "seed {seed} {path}"),
            }
            if path == "/add" {
                assert_eq!(answer.set_cookie(), "", "seed {seed}: no session begins");
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let story = || format!("seed {seed}: {moves:?} {:?}", store.log());
        assert!(moves.len() <= 1, "two renews of one id: {}", story());
        assert!(memory.len() <= 1, "{}", story());
        if ended {
            assert!(memory.is_empty(), "it ended: {}", story());
        }
        let calm = process(&layer_as_it_comes(memory.clone()));
        let now = moves.first().map_or(&*visitor.cookie, |set| set.split(';').next().unwrap());
        let answer = calm.get("/read", now).await;
        if answer.status == StatusCode::OK {
            let n: u64 = answer.body.parse().unwrap();
            assert!((made..=made + unknown).contains(&n), "{made}+{unknown}, {n}: {}", story());
        } else {
            assert!(ends || may_have_moved, "{answer:?}: {}", story());
        }
    }
}
