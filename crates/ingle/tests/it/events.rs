//! What an app is told of the life of its sessions: each thing once, and in order.

use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::extract::Path;
use http::StatusCode;
use ingle::{
    Error, Handle, OnUserLimit, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    event::{EndedBy, Event, EventKind, Refusal},
    operator::Operator,
    store::{Fault, Memory, Step},
};

use crate::common::{App, Held, Visitor, app, faulty, generator, layer};

const MINUTE: Duration = Duration::from_secs(60);

/// All that an app was told.
#[derive(Clone, Default)]
struct Story(Arc<Mutex<Vec<Event>>>);

impl Story {
    fn told_by(&self, layer: SessionLayer) -> SessionLayer {
        let story = self.clone();
        layer.on_event(move |event| story.0.lock().unwrap().push(event.clone()))
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// What was told since the last call, a line each. The sessions are called by letters, in the order
    /// in which they came.
    fn lines(&self, names: &mut Names) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap()).iter().map(|event| names.line(event)).collect()
    }
}

#[derive(Default)]
struct Names(HashMap<Handle, char>);

impl Names {
    fn name(&mut self, handle: Handle) -> char {
        let next = ('a'..).nth(self.0.len()).unwrap();
        *self.0.entry(handle).or_insert(next)
    }

    fn line(&mut self, event: &Event) -> String {
        let what = match &event.kind {
            EventKind::Began => "began".to_owned(),
            EventKind::Renewed { before } => format!("was {}", self.name(*before)),
            EventKind::LoggedIn(user) => {
                let actor = user.actor.as_deref().map(|actor| format!(" by {actor}"));
                format!("logged in{}", actor.unwrap_or_default())
            }
            EventKind::Reauthenticated => "reauthenticated".to_owned(),
            EventKind::Ended { why, by } => match by {
                EndedBy::Session(handle) => format!("{why:?} by {}", self.name(*handle)),
                by => format!("{why:?} by {by:?}"),
            },
            EventKind::Expired => "expired".to_owned(),
            EventKind::Refused(why) => format!("refused {why:?}"),
            _ => unreachable!("an event that no test knows: {event:?}"),
        };
        let session = event.session.map(|handle| self.name(handle)).unwrap_or('-');
        let user = event.user.as_deref().map(|user| format!("{user} ")).unwrap_or_default();
        format!("{session} {user}{what}")
    }
}

fn shop(layer: &SessionLayer) -> App {
    app(layer)
        .on("/", async || "a page")
        .on("/add", async |session: Session| session.increment("n", 1))
        .on("/read", async |session: Session| session.get::<u64>("n").await.map(drop))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/login/{user}", |session: Session, Path(user): Path<String>| async move {
            session.login(user).await
        })
        .on("/again", async |session: Session| session.reauthenticate().await)
        .on("/destroy", async |session: Session| session.destroy().await)
        .on("/logout", async |session: Session| session.logout().await)
        .on("/end-others", async |session: Session| session.end_others().await.map(drop))
        .on("/end-all", async |session: Session| session.end_all().await.map(drop))
        .on("/end-oldest", async |session: Session| {
            let oldest = session.siblings().await?.pop().unwrap();
            session.end_sibling(&oldest.handle).await.map(drop)
        })
}

#[tokio::test]
async fn the_life_of_a_session_is_told_from_its_beginning_to_its_end() {
    let (story, mut names) = (Story::default(), Names::default());
    let layer = story.told_by(layer(Memory::new()));
    let app = shop(&layer);
    let mut visitor = Visitor::default();
    for (path, expected) in [
        ("/", vec![]),
        ("/read", vec![]),
        ("/logout", vec![]),
        ("/add", vec!["a began"]),
        ("/add", vec![]),
        ("/renew", vec!["b was a"]),
        ("/login/ada", vec!["c ada was b", "c ada logged in"]),
        ("/again", vec!["d ada was c", "d ada reauthenticated"]),
        ("/login/bob", vec!["e bob was d", "e bob logged in"]),
        ("/end-others", vec!["f bob was e"]),
        ("/logout", vec!["f bob Logout by Itself"]),
        ("/login/ada", vec!["g ada began", "g ada logged in"]),
        ("/destroy", vec!["g ada Destroyed by Itself"]),
        ("/destroy", vec![]),
    ] {
        // A visitor who was logged out and has no cookie has nothing that could end.
        visitor.get(&app, path).await.ok();
        assert_eq!(story.lines(&mut names), expected, "{path}");
    }
}

#[tokio::test]
async fn each_end_says_why_and_by_whom() {
    let (story, mut names) = (Story::default(), Names::default());
    let clock = ManualClock::new(SystemClock.now());
    let layer = story.told_by(layer(Memory::new()).clock(Arc::new(clock.clone())));
    let (app, sessions) = (shop(&layer), layer.sessions());
    let mut visitors: Vec<Visitor> = Vec::new();
    for _ in 0..6 {
        let mut visitor = Visitor::default();
        visitor.get(&app, "/login/ada").await.ok();
        visitors.push(visitor);
        clock.advance(2 * MINUTE);
    }
    let handles: Vec<Handle> = story.events().iter().filter_map(|event| event.session).collect();
    assert_eq!(story.lines(&mut names).len(), 12, "each began and was logged in");
    visitors[5].get(&app, "/end-oldest").await.ok();
    assert_eq!(story.lines(&mut names), ["a ada PickedOut by f"]);
    sessions.find(&handles[2]).await.unwrap().unwrap().end().await.unwrap();
    assert_eq!(story.lines(&mut names), ["b ada PickedOut by Operator(None)"]);
    visitors[5].get(&app, "/end-others").await.ok();
    let mut lines = story.lines(&mut names);
    lines.sort_unstable();
    let others = ["c", "d", "e"].map(|other| format!("{other} ada AllOfUser by f"));
    assert_eq!((&lines[..3], lines[3].as_str()), (&others[..], "g ada was f"));
    visitors[5].get(&app, "/end-all").await.ok();
    assert_eq!(story.lines(&mut names), ["g ada AllOfUser by g"]);
    visitors[0] = Visitor::default();
    visitors[0].get(&app, "/login/ada").await.ok();
    sessions.operated_by(Operator::new("root")).end_all_of("ada").await.unwrap();
    let lines = story.lines(&mut names);
    assert_eq!(
        lines,
        ["h ada began", "h ada logged in", "h ada AllOfUser by Operator(Some(\"root\"))"]
    );
}

#[tokio::test]
async fn a_session_that_gives_its_place_to_a_newer_one_is_told_before_it() {
    let (story, mut names) = (Story::default(), Names::default());
    let limited = layer(Memory::new())
        .sessions_per_user(NonZeroUsize::new(1).unwrap(), OnUserLimit::EndOldest);
    let app = shop(&story.told_by(limited));
    for visitor in &mut [Visitor::default(), Visitor::default()] {
        visitor.get(&app, "/login/ada").await.ok();
    }
    let newer = story.events()[3].session.unwrap();
    let lines = story.lines(&mut names);
    assert_eq!(lines[..2], ["a ada began", "a ada logged in"]);
    assert_eq!(lines[3..], ["b ada began", "b ada logged in"]);
    assert_eq!((lines[2].as_str(), names.name(newer)), ("a ada OverLimit by b", 'b'));
}

#[tokio::test]
async fn what_a_request_is_refused_is_told() {
    let (story, mut names) = (Story::default(), Names::default());
    let limited = layer(Memory::new())
        .sessions_per_user(NonZeroUsize::new(1).unwrap(), OnUserLimit::Refuse)
        .new_sessions_per_second(NonZeroU32::new(2))
        .clock(Arc::new(ManualClock::new(SystemClock.now())));
    let app = shop(&story.told_by(limited));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/login/ada").await.ok();
    let mut other = Visitor::default();
    other.get(&app, "/add").await.ok();
    assert_eq!(story.lines(&mut names), ["a ada began", "a ada logged in", "b began"]);
    assert_eq!(other.get(&app, "/login/ada").await.status, StatusCode::CONFLICT);
    assert_eq!(story.lines(&mut names), ["b ada refused TooManySessions"]);
    assert_eq!(app.get("/add", "").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(story.lines(&mut names), ["- refused TooManyNewSessions"]);
    let unknown = format!("__Host-id={}", "A".repeat(43));
    app.get("/read", &unknown).await.ok();
    app.get("/logout", &unknown).await.ok();
    assert_eq!(story.lines(&mut names), ["c refused UnknownId"], "a logout looks nothing up");
    let late = visitor.clone();
    visitor.get(&app, "/renew").await.ok();
    assert_eq!(app.get("/add", &late.cookie).await.status, StatusCode::CONFLICT);
    assert_eq!(story.lines(&mut names), ["d ada was a", "a refused Interrupted"]);
}

#[tokio::test]
async fn an_expired_session_is_told_once_where_it_is_met() {
    let (story, mut names) = (Story::default(), Names::default());
    let clock = ManualClock::new(SystemClock.now());
    let app = shop(&story.told_by(layer(Memory::new()).clock(Arc::new(clock.clone()))));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/login/ada").await.ok();
    clock.advance(31 * MINUTE);
    app.get("/read", &visitor.cookie).await.ok();
    app.get("/read", &visitor.cookie).await.ok();
    let lines = story.lines(&mut names);
    assert_eq!(lines[2..], ["a ada expired", "a refused UnknownId"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_end_meets_the_expiry() {
    let (story, mut names) = (Story::default(), Names::default());
    let clock = ManualClock::new(SystemClock.now());
    let layer = story.told_by(layer(Memory::new()).clock(Arc::new(clock.clone())));
    let mut visitor = Visitor::default();
    visitor.get(&shop(&layer), "/add").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    let waiting = tokio::spawn(held.session.ended());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(story.lines(&mut names), ["a began"]);
    clock.advance(31 * MINUTE);
    waiting.await.unwrap();
    assert_eq!(story.lines(&mut names), ["a expired"]);
    held.respond(StatusCode::OK).await;
}

/// A browser may bring an id that never was one. That is no session that has expired.
#[tokio::test(start_paused = true)]
async fn who_waits_with_an_id_of_no_session_is_refused() {
    let (story, mut names) = (Story::default(), Names::default());
    let layer = story.told_by(layer(Memory::new()));
    let mut visitor = Visitor::default();
    visitor.get(&shop(&crate::common::layer(Memory::new())), "/add").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.ended().await;
    assert_eq!(story.lines(&mut names), ["a refused UnknownId"]);
    held.respond(StatusCode::OK).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_is_lost_is_told_once() {
    let (story, mut names) = (Story::default(), Names::default());
    let (_, store) = faulty();
    let app = shop(&story.told_by(layer(store.clone())));
    for fault in [Fault::LoseAnswer, Fault::Refuse] {
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        story.lines(&mut names);
        store.on(Step::Commit(1), fault);
        visitor.get(&app, "/logout").await.ok();
        let lines = story.lines(&mut names);
        assert!(matches!(&*lines, [line] if line.ends_with("Logout by Itself")), "{lines:?}");
    }
}

#[tokio::test]
async fn a_listener_that_panics_harms_nobody() {
    let layer = layer(Memory::new()).on_event(|event| panic!("{event:?}"));
    let (app, mut visitor) = (shop(&layer), Visitor::default());
    for path in ["/add", "/renew", "/login/ada", "/read", "/logout"] {
        visitor.get(&app, path).await.ok();
    }
}

#[tokio::test]
async fn an_event_holds_no_id() {
    let story = Story::default();
    let app = shop(&story.told_by(layer(Memory::new())));
    let (mut visitor, mut secrets) = (Visitor::default(), Vec::new());
    for path in ["/add", "/renew", "/login/ada", "/again", "/end-others", "/logout"] {
        visitor.get(&app, path).await.ok();
        secrets.extend(visitor.cookie.split_once('=').map(|(_, id)| id.to_owned()));
    }
    let told = format!("{:?}", story.events());
    assert!(secrets.len() > 4 && secrets.iter().all(|id| !told.contains(id.as_str())), "{told}");
}

/// Sessions that many tasks renew, log in and end at once, from two layers that stand for processes.
///
/// In the story of each process, nothing comes after the end of a session or the move to its next id, but
/// that a late request was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_storm_the_events_of_each_session_come_in_order() {
    let mut random = generator(16);
    for _ in 0..60 {
        let memory = Memory::new();
        let stories = [Story::default(), Story::default()];
        let layers = stories.each_ref().map(|story| story.told_by(layer(memory.clone())));
        let apps = layers.each_ref().map(shop);
        let mut visitor = Visitor::default();
        visitor.get(&apps[0], "/login/ada").await.ok();
        let paths = ["/renew", "/again", "/login/ada", "/logout", "/add", "/end-all", "/renew"];
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (app, mut visitor) = (apps[random(2) as usize].clone(), visitor.clone());
                let asks: Vec<_> = (0..3).map(|_| paths[random(7) as usize]).collect();
                tokio::spawn(async move {
                    for path in asks {
                        visitor.get(&app, path).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut over = HashMap::new();
        for story in stories {
            check_order(&story.events(), &mut over);
        }
    }
}

/// `over` holds how each session came to its end, as any process has told it.
fn check_order(events: &[Event], over: &mut HashMap<Handle, String>) {
    let mut last = HashMap::new();
    let mut is_over = |handle: Handle, how: String| {
        let before = over.insert(handle, how.clone());
        assert_eq!(before, None, "{handle} was told to be over twice, at last by {how}");
    };
    for event in events {
        let handle = event.session.unwrap();
        let said: Option<&EventKind> = last.insert(handle, &event.kind);
        let has_ended = matches!(said, Some(EventKind::Ended { .. } | EventKind::Refused(_)));
        match &event.kind {
            EventKind::Began => assert_eq!(said, None),
            EventKind::Renewed { before } => {
                assert_eq!(said, None, "a new id is first told of by the renew");
                let said = last.insert(*before, &event.kind);
                assert!(!matches!(said, Some(EventKind::Ended { .. })), "{before} had ended");
                assert!(!matches!(said, Some(EventKind::Refused(_))), "{before} was refused");
                is_over(*before, format!("{:?}", event.kind));
            }
            EventKind::LoggedIn(_) | EventKind::Reauthenticated => {
                assert!(matches!(said, Some(EventKind::Began | EventKind::Renewed { .. })));
            }
            EventKind::Ended { .. } => {
                assert!(!has_ended, "{handle} ended after {said:?}");
                is_over(handle, format!("{:?}", event.kind));
            }
            EventKind::Refused(Refusal::Interrupted) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_told_was_stored_before() {
    let memory = Memory::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (store, looks) = (memory.clone(), Arc::clone(&seen));
    let layer = layer(memory).on_event(move |event| {
        let (kind, n_records) = (format!("{:?}", event.kind), store.len());
        looks.lock().unwrap().push((kind.split([' ', '(']).next().unwrap().to_owned(), n_records));
    });
    let (app, mut visitor) = (shop(&layer), Visitor::default());
    for path in ["/add", "/logout"] {
        visitor.get(&app, path).await.ok();
    }
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|(kind, n)| (kind.clone(), *n)).collect();
    assert_eq!(seen, [("Began".to_owned(), 1), ("Ended".to_owned(), 0)]);
}

#[tokio::test]
async fn a_login_that_an_end_of_all_overtakes_is_told_as_an_end_and_not_as_a_login() {
    let (story, mut names) = (Story::default(), Names::default());
    let layer = story.told_by(layer(Memory::new()));
    let app = shop(&layer);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let held = Held::begin(&layer, &visitor.cookie).await;
    let ticket = held.session.login_ticket("ada").await.unwrap();
    layer.sessions().end_all_of("ada").await.unwrap();
    let login = held.session.login(ingle::Login::new("ada").ticket(ticket)).await;
    assert!(matches!(login, Err(Error::Interrupted)), "{login:?}");
    held.respond(StatusCode::OK).await;
    let lines = story.lines(&mut names);
    let ends = ["b ada was a", "b ada AllOfUser by Unknown", "b refused Interrupted"];
    assert_eq!(lines[0], "a began");
    assert_eq!(lines[1..], ends);
}
