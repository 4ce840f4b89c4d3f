//! Users: logins, the sessions of each, and ends that reach all of them, from two processes, on every
//! store.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use axum::extract::Path;
use http::StatusCode;
use ingle::{
    Error, Label, Lifetime, Login, OnOutage, OnUserLimit, Session, SessionEnd, SessionLayer, User,
    clock::{Clock as _, ManualClock, SystemClock},
    record::Record,
    store::{Fault, Faulty, List as _, Memory, Step, Store, Write, conformance::Place},
};

use tokio::task::JoinHandle;

use crate::common::{App, Held, LONG, Visitor, app, faulty, layer, layer_as_it_comes};

mod every_store;
mod interleaved;
pub(crate) mod listening;
mod operators;

use operators::{
    a_line_of_the_audit_log_is_no_session, an_edit_whose_answer_was_lost_is_one_line_and_done_once,
    an_edit_whose_line_was_removed_fails_no_request, an_operator_ends_every_session_that_had_begun,
    an_operator_finds_a_session_and_changes_and_ends_it,
    an_operator_finds_sessions_by_how_their_handles_begin,
    an_operator_follows_a_session_to_its_end, an_operator_sees_what_has_expired_until_it_is_swept,
    an_operators_acts_are_lines_of_the_audit_log,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Two processes with one store, on one clock that the test moves.
struct Scene {
    layers: [SessionLayer; 2],
    store: Arc<dyn Store>,
    clock: ManualClock,
    _place: Place,
}

impl Scene {
    fn new(stores: [Arc<dyn Store>; 2], place: Place) -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let store = Arc::clone(&stores[0]);
        let layers = stores.map(|store| layer(store).clock(Arc::new(clock.clone())));
        Self { layers, store, clock, _place: place }
    }

    /// The app on each process.
    fn apps(&self) -> [App; 2] {
        self.layers.clone().map(|layer| shop(&layer))
    }

    /// All live records of a user that the store lists.
    async fn records_of(&self, user: &str) -> Vec<Arc<Record>> {
        let list = self.store.as_list().unwrap();
        let (mut records, mut after) = (Vec::new(), None);
        loop {
            let page = list.list_by_user(user, after.as_ref(), 50, self.clock.now()).await.unwrap();
            records.extend(page.records.into_iter().map(|loaded| loaded.record));
            match page.next {
                Some(next) => after = Some(next),
                None => return records,
            }
        }
    }

    fn lists(&self) -> bool {
        self.store.as_list().is_some()
    }
}

/// An app with a cart and logins.
fn shop(layer: &SessionLayer) -> App {
    let sessions = layer.sessions();
    app(layer)
        .on("/cart/{item}", |session: Session, Path(item): Path<String>| async move {
            session.push("cart", item)
        })
        .on("/cart", |session: Session| async move {
            let cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
            Ok::<_, Error>(cart.join(","))
        })
        .on("/login/{user}", |session: Session, Path(user): Path<String>| async move {
            session.login(user).await
        })
        .on("/remember/{user}", |session: Session, Path(user): Path<String>| async move {
            session.login(Login::new(user).remember(30 * DAY)).await
        })
        .on("/user", |user: User| async move { user.name })
        .on("/visitor", |user: Option<User>| async move {
            user.map_or("nobody".to_owned(), |user| user.name)
        })
        .on("/fresh", |session: Session| async move {
            session.require_fresh(10 * MINUTE).await.map(|user| user.name)
        })
        .on("/again", |session: Session| async move { session.reauthenticate().await })
        .on("/renew", |session: Session| async move { session.renew().await })
        .on("/logout", |session: Session| async move { session.logout().await })
        .on("/count", |session: Session| async move {
            Ok::<_, Error>(session.siblings().await?.len().to_string())
        })
        .on("/end-others", |session: Session| async move {
            session.end_others().await.map(|ended| ended.to_string())
        })
        .on("/end-all", |session: Session| async move {
            session.end_all().await.map(|ended| ended.to_string())
        })
        .on("/end-all-of/{user}", move |Path(user): Path<String>| {
            let sessions = sessions.clone();
            async move { sessions.end_all_of(&user).await.map(|ended| ended.to_string()) }
        })
}

/// A visitor whom a login has given a session.
async fn logged_in(app: &App, user: &str) -> Visitor {
    let mut visitor = Visitor::default();
    visitor.get(app, &format!("/login/{user}")).await.ok();
    visitor
}

/// Whom a visitor is logged in as.
async fn who(app: &App, visitor: &Visitor) -> String {
    app.get("/visitor", &visitor.cookie).await.ok().body
}

async fn a_login_keeps_the_cart_and_leaves_the_old_id_dead(scene: Scene) {
    let [here, there] = scene.apps();
    let mut visitor = Visitor::default();
    visitor.get(&here, "/cart/book").await.ok();
    let before = visitor.clone();
    assert_eq!(here.get("/user", &before.cookie).await.status, StatusCode::UNAUTHORIZED);
    visitor.get(&there, "/login/ada").await.ok();
    assert_ne!(visitor.cookie, before.cookie);
    for app in [&here, &there] {
        assert_eq!(who(app, &visitor).await, "ada");
        assert_eq!(app.get("/cart", &visitor.cookie).await.ok().body, "book");
        assert_eq!(app.get("/cart", &before.cookie).await.status, StatusCode::CONFLICT);
    }
}

async fn nothing_of_one_user_is_in_the_session_of_the_next(scene: Scene) {
    let [here, there] = scene.apps();
    let mut visitor = logged_in(&here, "ada").await;
    visitor.get(&here, "/cart/secret").await.ok();
    let adas = visitor.clone();
    visitor.get(&there, "/login/bob").await.ok();
    assert_eq!(who(&here, &visitor).await, "bob");
    assert_eq!(here.get("/cart", &visitor.cookie).await.ok().body, "");
    assert_eq!(there.get("/user", &adas.cookie).await.status, StatusCode::CONFLICT);
    // The same user keeps what they have.
    visitor.get(&here, "/cart/pen").await.ok();
    visitor.get(&there, "/login/bob").await.ok();
    assert_eq!(there.get("/cart", &visitor.cookie).await.ok().body, "pen");
}

async fn fifty_logins_at_once_are_fifty_sessions(scene: Scene) {
    let apps = scene.apps();
    let logins = (0..50).map(|number| {
        let app = apps[number % 2].clone();
        tokio::spawn(async move { logged_in(&app, "ada").await })
    });
    let mut visitors = Vec::new();
    for login in logins.collect::<Vec<_>>() {
        visitors.push(login.await.unwrap());
    }
    for (number, visitor) in visitors.iter().enumerate() {
        assert_eq!(who(&apps[number % 2], visitor).await, "ada");
    }
    let count = apps[0].get("/count", &visitors[0].cookie).await;
    if scene.lists() {
        assert_eq!(count.ok().body, "50");
        assert_eq!(scene.records_of("ada").await.len(), 50);
    } else {
        assert_eq!(count.status, StatusCode::INTERNAL_SERVER_ERROR, "it cannot list");
    }
}

async fn an_end_of_all_ends_each_and_the_logins_under_way(scene: Scene) {
    let apps = scene.apps();
    let mut before = Vec::new();
    for number in 0..100 {
        before.push(logged_in(&apps[number % 2], "ada").await);
    }
    let bob = logged_in(&apps[0], "bob").await;
    let logins = (0..20).map(|number| {
        let app = apps[number % 2].clone();
        tokio::spawn(async move {
            let mut visitor = Visitor::default();
            let answer = visitor.get(&app, "/login/ada").await;
            (answer.status, visitor)
        })
    });
    let logins: Vec<_> = logins.collect();
    tokio::task::yield_now().await;
    apps[1].get("/end-all-of/ada", "").await.ok();
    for (number, visitor) in before.iter().enumerate() {
        let answer = apps[number % 2].get("/user", &visitor.cookie).await;
        let told = [StatusCode::UNAUTHORIZED, StatusCode::CONFLICT];
        assert!(told.contains(&answer.status), "{number}: {answer:?}");
    }
    let later = logged_in(&apps[0], "ada").await;
    let mut alive = 1;
    for login in logins {
        let (status, visitor) = login.await.unwrap();
        assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&status), "{status}");
        assert_eq!(visitor.cookie.is_empty(), status == StatusCode::CONFLICT);
        let answer = apps[0].get("/user", &visitor.cookie).await;
        alive += usize::from(answer.status == StatusCode::OK);
    }
    assert_eq!(who(&apps[1], &bob).await, "bob", "another user's session lives on");
    assert_eq!(who(&apps[1], &later).await, "ada");
    if scene.lists() {
        let records = scene.records_of("ada").await;
        let generation = |record: &Arc<Record>| record.header.user.as_ref().unwrap().generation;
        let newest = records.iter().map(generation).max().unwrap();
        assert!(records.iter().all(|record| generation(record) == newest), "one is of before");
        assert_eq!(records.len(), alive, "one lives that nobody has the cookie of");
    }
}

async fn a_login_after_an_end_of_all_lives(scene: Scene) {
    let [here, there] = scene.apps();
    // Where each login waits for a disk or for many calls, fewer will do.
    let is_slow = ["firestore", "postgres"].contains(&scene.store.info().name);
    for round in 0..if is_slow { 200 } else { 1000 } {
        let app = [&here, &there][round % 2];
        app.get("/end-all-of/ada", "").await.ok();
        let visitor = logged_in(app, "ada").await;
        assert_eq!(who(&here, &visitor).await, "ada");
        assert_eq!(who(&there, &visitor).await, "ada");
        if scene.lists() {
            assert_eq!(there.get("/count", &visitor.cookie).await.ok().body, "1");
        }
    }
}

async fn of_two_logins_at_once_none_loses_the_cart(scene: Scene) {
    let apps = scene.apps();
    for _ in 0..200 {
        let mut visitor = Visitor::default();
        visitor.get(&apps[0], "/cart/book").await.ok();
        let logins = apps.clone().map(|app| {
            let cookie = visitor.cookie.clone();
            tokio::spawn(async move { app.get("/login/ada", &cookie).await })
        });
        let [one, other] = logins;
        let answers = [one.await.unwrap(), other.await.unwrap()];
        let mut statuses = answers.each_ref().map(|answer| answer.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT]);
        // In whatever order they reach the browser.
        for order in [[0, 1], [1, 0]] {
            let mut visitor = visitor.clone();
            order.into_iter().for_each(|n: usize| visitor.take(&answers[n]));
            assert_eq!(who(&apps[0], &visitor).await, "ada");
            let cart = apps[1].get("/cart", &visitor.cookie).await.ok();
            assert_eq!(cart.body, "book");
        }
    }
}

async fn the_other_sessions_end_and_this_one_stays(scene: Scene) {
    let [here, there] = scene.apps();
    let mut own = logged_in(&here, "ada").await;
    let others = [logged_in(&there, "ada").await, logged_in(&here, "ada").await];
    let old = own.clone();
    let ended = own.get(&there, "/end-others").await.ok().body;
    assert_eq!(ended, if scene.lists() { "2" } else { "0" });
    assert_eq!(who(&here, &own).await, "ada");
    assert_ne!(own.cookie, old.cookie);
    for other in others.iter().chain([&old]) {
        let status = here.get("/user", &other.cookie).await.status;
        assert_eq!(status, StatusCode::CONFLICT);
    }
    // Whose session was ended elsewhere can log in at once, with the old cookie still in the browser.
    let [mut other, _] = others;
    other.get(&there, "/login/bob").await.ok();
    assert_eq!(who(&here, &other).await, "bob");
    let answer = own.get(&here, "/end-all").await;
    assert_eq!(answer.ok().body, if scene.lists() { "1" } else { "0" });
    assert_eq!(own.cookie, "", "the browser forgets it");
}

/// A request has seen the session alive, and changes or touches it when it has ended.
async fn what_comes_after_the_end_revives_nothing(scene: Scene) {
    let [here, there] = scene.apps();
    let counted = Faulty::new(Arc::clone(&scene.store));
    let slow = layer(counted.clone()).clock(Arc::new(scene.clock.clone()));
    for (ends_all, writes) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut own = logged_in(&here, "ada").await;
        let visitor = logged_in(&here, "ada").await;
        scene.clock.advance(20 * MINUTE);
        let held = Held::begin(&slow, &visitor.cookie).await;
        held.session.user().await.unwrap().unwrap();
        if writes {
            held.session.insert("draft", "late").unwrap();
        }
        let mut ended = visitor.clone();
        if ends_all {
            there.get("/end-all-of/ada", "").await.ok();
        } else if scene.lists() {
            let handle = held.session.handle().unwrap();
            let other = Held::begin(&scene.layers[1], &own.cookie).await;
            assert!(other.session.end_sibling(&handle).await.unwrap());
            other.respond(StatusCode::OK).await.ok();
        } else {
            ended.get(&there, "/logout").await.ok();
        }
        let before = counted.commits();
        let answer = held.respond(StatusCode::OK).await;
        // Where each request looks whether all sessions were ended, this one has looked before.
        let is_refused = writes && (scene.lists() || !ends_all);
        let told = if is_refused { StatusCode::CONFLICT } else { StatusCode::OK };
        assert_eq!(answer.status, told, "{ends_all} {writes}");
        assert!(writes || counted.commits() == before + 1, "the touch came after the end");
        for app in [&here, &there] {
            let answer = app.get("/user", &visitor.cookie).await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{ends_all} {writes}");
        }
        // Its mark is gone by then, and the session of before would live on.
        scene.clock.advance(15 * MINUTE);
        for app in [&here, &there] {
            assert_eq!(who(app, &visitor).await, "nobody", "{ends_all} {writes}");
        }
        own.get(&here, "/logout").await;
    }
}

/// An update of a session that this process knows, logged in: one call of the store.
async fn a_warm_update_costs_a_user_no_second_trip(scene: Scene) {
    let counted = Faulty::new(Arc::clone(&scene.store));
    let app = shop(&layer(counted.clone()).clock(Arc::new(scene.clock.clone())));
    let mut visitor = logged_in(&app, "ada").await;
    visitor.get(&app, "/cart/book").await.ok();
    let before = counted.loads() + counted.commits();
    for _ in 0..100 {
        visitor.get(&app, "/cart/pen").await.ok();
    }
    let calls = counted.loads() + counted.commits() - before;
    // Where no list of a user's sessions is kept, each request looks whether they were ended.
    assert!(calls <= if scene.lists() { 110 } else { 210 }, "{calls}");
}

async fn a_ticket_from_before_an_end_of_all_logs_nobody_in(scene: Scene) {
    let [one, other] = scene.layers.clone();
    let door = one.door();
    let session = door.begin([]).session().clone();
    let ticket = session.login_ticket("ada").await.unwrap();
    let fresh = session.login_ticket("ada").await.unwrap();
    session.login(Login::new("ada").ticket(fresh)).await.unwrap();
    other.sessions().end_all_of("ada").await.unwrap();
    let session = door.begin([]).session().clone();
    let refused = session.login(Login::new("ada").ticket(ticket.clone())).await.unwrap_err();
    assert!(matches!(refused, Error::Interrupted), "{refused}");
    let session = door.begin([]).session().clone();
    let refused = session.login(Login::new("bob").ticket(ticket)).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidValue(_)), "{refused}");
    if scene.lists() {
        assert!(scene.records_of("ada").await.is_empty());
        assert!(scene.records_of("bob").await.is_empty());
    }
}

async fn only_a_proof_moves_the_absolute_deadline(scene: Scene) {
    let [here, there] = scene.apps();
    let mut visitor = logged_in(&here, "ada").await;
    let deadline = async |visitor: &Visitor| {
        let held = Held::begin(&scene.layers[0], &visitor.cookie).await;
        let user = held.session.user().await.unwrap().unwrap();
        let ends = match held.session.siblings().await {
            Ok(siblings) => siblings[0].ends,
            // Where nothing is listed, it is told by when the session is still there.
            Err(_) => user.at.after(Duration::from_secs(12 * 60 * 60)),
        };
        held.respond(StatusCode::OK).await.ok();
        ends
    };
    let at_login = deadline(&visitor).await;
    scene.clock.advance(10 * MINUTE - Duration::from_secs(1));
    assert_eq!(there.get("/fresh", &visitor.cookie).await.ok().body, "ada");
    scene.clock.advance(Duration::from_secs(2));
    let answer = there.get("/fresh", &visitor.cookie).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::UNAUTHORIZED, "Please enter your password again.\n")
    );
    visitor.get(&here, "/cart/book").await.ok();
    visitor.get(&here, "/renew").await.ok();
    assert_eq!(deadline(&visitor).await, at_login, "a touch, a change and a renew move nothing");
    // Kept alive until just before its end.
    for _ in 0..27 {
        scene.clock.advance(26 * MINUTE);
        here.get("/user", &visitor.cookie).await.ok();
    }
    let left = at_login.since(scene.clock.now());
    assert!(left > Duration::ZERO && left < 10 * MINUTE, "{left:?}");
    visitor.get(&there, "/again").await.ok();
    assert_eq!(
        deadline(&visitor).await,
        scene.clock.now().after(Duration::from_secs(12 * 60 * 60))
    );
    here.get("/fresh", &visitor.cookie).await.ok();
    scene.clock.advance(left + MINUTE);
    assert_eq!(here.get("/cart", &visitor.cookie).await.ok().body, "book");
}

async fn a_session_that_is_remembered_lives_beside_one_that_is_not(scene: Scene) {
    let [here, there] = scene.apps();
    let visitor = logged_in(&here, "ada").await;
    let mut remembered = Visitor::default();
    let cookie = remembered.get(&here, "/remember/ada").await.ok().set_cookie().to_owned();
    assert!(cookie.ends_with("; Max-Age=34560000"), "{cookie}");
    scene.clock.advance(31 * MINUTE);
    assert_eq!(who(&there, &visitor).await, "nobody");
    // After a tenth of its time the browser gets the cookie again.
    for (days, is_sent) in [(15, false), (29, true)] {
        scene.clock.advance(days * DAY);
        let answer = there.get("/user", &remembered.cookie).await.ok();
        assert_eq!(
            (answer.body.as_str(), answer.set_cookie().contains("Max-Age=")),
            ("ada", is_sent)
        );
    }
    scene.clock.advance(31 * DAY);
    assert_eq!(who(&here, &remembered).await, "nobody");
    // A login without it is an ordinary one again.
    let mut visitor = Visitor::default();
    visitor.get(&here, "/remember/bob").await.ok();
    let cookie = visitor.get(&there, "/login/bob").await.ok().set_cookie().to_owned();
    assert!(!cookie.contains("Max-Age"), "{cookie}");
    scene.clock.advance(31 * MINUTE);
    assert_eq!(who(&here, &visitor).await, "nobody");
}

async fn a_handle_of_another_user_finds_nothing(scene: Scene) {
    if !scene.lists() {
        return;
    }
    let [here, there] = scene.apps();
    let ada = logged_in(&here, "ada").await;
    let bob = logged_in(&here, "bob").await;
    let held = Held::begin(&scene.layers[1], &bob.cookie).await;
    let bobs = held.session.siblings().await.unwrap();
    let [bobs_own] = &bobs[..] else { panic!("{bobs:?}") };
    assert!(bobs_own.is_current);
    let hers = scene.records_of("ada").await[0].header.key.handle();
    assert!(!held.session.end_sibling(&hers).await.unwrap());
    held.respond(StatusCode::OK).await.ok();
    assert_eq!(who(&there, &ada).await, "ada");

    // One's own is found.
    let other = logged_in(&there, "ada").await;
    let held = Held::begin(&scene.layers[0], &other.cookie).await;
    assert!(held.session.end_sibling(&hers).await.unwrap());
    assert!(!held.session.end_sibling(&hers).await.unwrap(), "it has ended");
    held.respond(StatusCode::OK).await.ok();
    assert_eq!(there.get("/user", &ada.cookie).await.status, StatusCode::CONFLICT);
    assert_eq!(who(&here, &other).await, "ada");
}

async fn what_a_login_says_is_there_on_every_process(scene: Scene) {
    let [one, other] = &scene.layers;
    let finished = one.door().begin([]);
    let session = finished.session().clone();
    let label =
        Label::coarse("Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0");
    let lifetime = Lifetime::new(MINUTE, 2 * MINUTE).unwrap();
    session.login(Login::new("ada \u{1f512}\"'").lifetime(lifetime).label(label)).await.unwrap();
    let user = session.user().await.unwrap().unwrap();
    let cookie = finished.finish(ingle::adapter::HandlerOutcome::Success).await;
    let cookie = cookie.headers().iter().find(|header| header.name() == "set-cookie").unwrap();
    let cookie = cookie.value().split_once(';').unwrap().0.to_owned();
    let seen = Held::begin(other, &cookie).await;
    assert_eq!(seen.session.user().await.unwrap().unwrap(), user);
    assert_eq!(user.label.as_deref(), Some("Firefox on Windows"));
    assert_eq!(
        (user.name.as_str(), user.actor, user.at),
        ("ada \u{1f512}\"'", None, scene.clock.now())
    );
    seen.respond(StatusCode::OK).await.ok();
    scene.clock.advance(MINUTE);
    let seen = Held::begin(other, &cookie).await;
    assert!(seen.session.user().await.unwrap().is_none(), "its own lifetime is over");
    seen.respond(StatusCode::OK).await.ok();
}

async fn an_actor_is_told_beside_the_user(scene: Scene) {
    let [here, _] = scene.apps();
    let admin = logged_in(&here, "root").await;
    let held = Held::begin(&scene.layers[0], &admin.cookie).await;
    let root = held.session.user().await.unwrap().unwrap();
    let refused = held.session.impersonate("ada", &root).await.unwrap_err();
    assert!(matches!(refused, Error::AlreadyLoggedIn), "{refused}");
    held.respond(StatusCode::OK).await.ok();
    let door = scene.layers[1].door();
    let session = door.begin([]).session().clone();
    session.impersonate("ada", &root).await.unwrap();
    let acted = session.user().await.unwrap().unwrap();
    assert_eq!((acted.name.as_str(), acted.actor.as_deref()), ("ada", Some("root")));
    session.push("cart", "mine").unwrap();
    session.commit().await.unwrap();
    // Whoever acts through one who acts is still who they are.
    session.impersonate("bob", &acted).await.unwrap();
    let acted = session.user().await.unwrap().unwrap();
    assert_eq!((acted.name.as_str(), acted.actor.as_deref()), ("bob", Some("root")));
    assert_eq!(session.get::<Vec<String>>("cart").await.unwrap(), None, "it was another user's");
    // The user's own login is not the actor's session.
    session.login("bob").await.unwrap();
    assert_eq!(session.user().await.unwrap().unwrap().actor, None);
    assert_eq!(who(&here, &admin).await, "root");
    // Nobody acts for another one for longer than an hour, used or not.
    let acting = door.begin([]).session().clone();
    acting.impersonate("ada", &root).await.unwrap();
    for _ in 0..4 {
        scene.clock.advance(14 * MINUTE);
        acting.increment("n", 1).unwrap();
        acting.commit().await.unwrap();
    }
    scene.clock.advance(5 * MINUTE);
    acting.increment("n", 1).unwrap();
    let ended = acting.commit().await.unwrap_err();
    assert!(matches!(ended, Error::Interrupted), "{ended}");
}

async fn a_name_that_no_store_can_look_up_is_refused(scene: Scene) {
    let session = scene.layers[0].door().begin([]).session().clone();
    for name in ["", "a\0b", "\u{1b}[2J", &"x".repeat(257)] {
        let refused = session.login(name).await.unwrap_err();
        assert!(matches!(refused, Error::InvalidValue(_)), "{refused}");
    }
    assert!(session.user().await.unwrap().is_none());
    session.login("x".repeat(256)).await.unwrap();
}

impl Scene {
    fn limited(self, max: usize, beyond: OnUserLimit) -> Self {
        let max = NonZeroUsize::new(max).unwrap();
        Self {
            layers: self.layers.clone().map(|layer| layer.sessions_per_user(max, beyond)),
            ..self
        }
    }

    /// Logs a user in so many times at once, on both processes.
    fn log_in_at_once(&self, n: usize) -> Vec<JoinHandle<(StatusCode, Visitor)>> {
        let apps = self.apps();
        let login = |number: usize| {
            let app = apps[number % 2].clone();
            tokio::spawn(async move {
                let mut visitor = Visitor::default();
                (visitor.get(&app, "/login/ada").await.status, visitor)
            })
        };
        (0..n).map(login).collect()
    }
}

async fn no_instant_sees_more_sessions_than_allowed(scene: Scene) {
    let scene = scene.limited(3, OnUserLimit::EndOldest);
    let logins = scene.log_in_at_once(50);
    while scene.lists() && !logins.iter().all(JoinHandle::is_finished) {
        let listed = scene.records_of("ada").await.len();
        assert!(listed <= 3, "{listed} at once");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let [here, _] = scene.apps();
    let (mut visitors, mut alive) = (Vec::new(), 0);
    for login in logins {
        let (status, visitor) = login.await.unwrap();
        assert_eq!(status, StatusCode::OK);
        visitors.push(visitor);
    }
    for visitor in visitors {
        alive += usize::from(here.get("/user", &visitor.cookie).await.status == StatusCode::OK);
    }
    assert_eq!(alive, 3);
    // The next one takes the place of one of them.
    let visitor = logged_in(&here, "ada").await;
    assert_eq!(who(&here, &visitor).await, "ada");
    if scene.lists() {
        assert_eq!(scene.records_of("ada").await.len(), 3);
    }
}

async fn beyond_the_limit_a_login_is_refused(scene: Scene) {
    let scene = scene.limited(3, OnUserLimit::Refuse);
    let mut visitors = Vec::new();
    for login in scene.log_in_at_once(50) {
        match login.await.unwrap() {
            (StatusCode::OK, visitor) => visitors.push(visitor),
            (status, visitor) => {
                assert_eq!((status, visitor.cookie.as_str()), (StatusCode::CONFLICT, ""));
            }
        }
    }
    assert_eq!(visitors.len(), 3);
    let [here, there] = scene.apps();
    for round in 0..100 {
        let visitor = &mut visitors[round % 3];
        visitor.get(&here, "/again").await.ok();
        if round % 10 > 0 {
            continue;
        }
        visitor.get(&there, "/renew").await.ok();
        visitor.get(&here, "/login/ada").await.ok();
        assert_eq!(who(&there, visitor).await, "ada", "it has its place");
    }
    assert_eq!(there.get("/login/ada", "").await.status, StatusCode::CONFLICT);
    visitors[0].get(&there, "/logout").await.ok();
    let visitor = logged_in(&here, "ada").await;
    assert_eq!(who(&there, &visitor).await, "ada", "one has ended, so one may begin");
    assert_eq!(there.get("/login/ada", "").await.status, StatusCode::CONFLICT);
    logged_in(&there, "bob").await;
    scene.clock.advance(31 * MINUTE);
    for _ in 0..3 {
        logged_in(&here, "ada").await;
    }
    assert_eq!(there.get("/login/ada", "").await.status, StatusCode::CONFLICT);
    // The user record holds no place of an ended session for ever, and an end of all frees all.
    there.get("/end-all-of/ada", "").await.ok();
    logged_in(&here, "ada").await;
}

/// The store goes while a login under way stores its session, so the login can neither hold its place
/// nor end the session.
#[tokio::test(start_paused = true)]
async fn a_session_that_a_login_left_behind_keeps_its_place_for_a_minute_at_most() {
    for beyond in [OnUserLimit::Refuse, OnUserLimit::EndOldest] {
        for is_renewed in [false, true] {
            let (memory, faulty) = faulty();
            let clock = ManualClock::new(SystemClock.now());
            let process = |store: Arc<dyn Store>| {
                let layer = layer_as_it_comes(store).clock(Arc::new(clock.clone()));
                layer.sessions_per_user(NonZeroUsize::MIN, beyond)
            };
            let layer = process(Arc::new(faulty.clone()));
            let session = layer.door().begin([]).session().clone();
            if is_renewed {
                session.login("ada").await.unwrap();
            }
            // The first commit reserves the place, and the second one stores the session.
            faulty.on(Step::Commit(2), Fault::Delay(Duration::from_millis(1)));
            let login = tokio::spawn(async move { session.login("ada").await });
            let before = faulty.commits();
            while faulty.commits() < before + 2 {
                tokio::task::yield_now().await;
            }
            faulty.fail_all(Some(Fault::Hang));
            let error = login.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::OutcomeUnknown), "{error}");
            let layer = process(Arc::new(memory.clone()));
            clock.advance(MINUTE);
            let session = layer.door().begin([]).session().clone();
            session.login("ada").await.unwrap();
            let list = memory.as_list().unwrap();
            let listed = list.list_by_user("ada", None, 9, clock.now()).await.unwrap();
            assert_eq!(listed.records.len(), 1, "{beyond:?} {is_renewed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_an_end_of_all_has_left_over_is_listed_and_can_be_ended() {
    let (_, faulty) = faulty();
    let layer = layer_as_it_comes(faulty.clone());
    let app = shop(&layer);
    let (visitor, other) = (logged_in(&app, "ada").await, logged_in(&app, "ada").await);
    // The store goes after the commit of the new generation, and before the sessions end.
    let before = faulty.commits();
    faulty.on(Step::Commit(1), Fault::Delay(Duration::from_millis(1)));
    let sessions = layer.sessions();
    let end = tokio::spawn(async move { sessions.end_all_of("ada").await });
    while faulty.commits() == before {
        tokio::task::yield_now().await;
    }
    faulty.fail_all(Some(Fault::Refuse));
    end.await.unwrap().unwrap_err();
    faulty.fail_all(None);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(who(&app, &other).await, "ada");
    assert_eq!(app.get("/count", &visitor.cookie).await.ok().body, "2");
    let held = Held::begin(&layer, &visitor.cookie).await;
    let listed = held.session.siblings().await.unwrap();
    let listed = listed.iter().find(|session| !session.is_current).unwrap();
    assert!(held.session.end_sibling(&listed.handle).await.unwrap());
    held.respond(StatusCode::OK).await.ok();
    assert_eq!(app.get("/user", &other.cookie).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_user_whose_record_is_damaged_is_not_taken_for_a_new_one() {
    let memory = Memory::new();
    layer(memory.clone()).sessions().end_all_of("ada").await.unwrap();
    let now = SystemClock.now();
    let base = memory.list(None, 10, now).await.unwrap().records.remove(0);
    assert!(base.record.header.key.is_of_user());
    let mut damaged = Record::clone(&base.record);
    damaged.header.counter += 1;
    damaged.data.insert("generation".to_owned(), "a text".into());
    let write = Write::Replace { base: &base, record: &Arc::new(damaged) };
    memory.commit(write, now).await.unwrap();
    let layer = layer(memory);
    let login = shop(&layer).get("/login/ada", "").await;
    assert_eq!(login.status, StatusCode::INTERNAL_SERVER_ERROR);
    match layer.sessions().end_all_of("ada").await {
        Err(Error::Damaged(error)) => {
            assert_eq!(error.to_string(), "the memory store holds what is not a readable record");
        }
        ended => panic!("{ended:?}"),
    }
}

/// Makes an end of the others fail after its new generation was stored.
async fn fail_to_end_the_others(layer: &SessionLayer, store: &Faulty, visitor: &Visitor) {
    let held = Held::begin(layer, &visitor.cookie).await;
    held.session.user().await.unwrap();
    let before = store.commits();
    store.on(Step::Commit(1), Fault::Delay(Duration::from_millis(1)));
    let session = held.session.clone();
    let ends = tokio::spawn(async move { session.end_others().await });
    while store.commits() == before {
        tokio::task::yield_now().await;
    }
    store.fail_all(Some(Fault::Refuse));
    let error = ends.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    store.fail_all(None);
    tokio::time::sleep(MINUTE).await;
    held.respond(StatusCode::OK).await.ok();
}

#[tokio::test]
async fn an_end_of_the_others_that_is_refused_ends_nobody() {
    let layer = layer(Memory::new());
    let app = shop(&layer);
    let [own, other] = [logged_in(&app, "ada").await, logged_in(&app, "ada").await];
    let held = Held::begin(&layer, &own.cookie).await;
    held.session.get::<Vec<String>>("cart").await.unwrap();
    app.get("/cart/pen", &own.cookie).await.ok();
    held.session.insert("cart", ["ink"]).unwrap();
    let refused = held.session.end_others().await.unwrap_err();
    assert!(matches!(refused, Error::LostUpdate { .. }), "{refused}");
    let session = held.session.clone();
    held.respond(StatusCode::OK).await.ok();
    let late = session.end_others().await.unwrap_err();
    assert!(matches!(late, Error::ResponseSent), "{late}");
    for visitor in [&own, &other] {
        assert_eq!(who(&app, visitor).await, "ada");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_could_not_end_the_others_lives_and_can_do_it_again() {
    for limit in [None, NonZeroUsize::new(5)] {
        let (_, faulty) = faulty();
        let layer = layer_as_it_comes(faulty.clone());
        let layer = match limit {
            Some(limit) => layer.sessions_per_user(limit, OnUserLimit::Refuse),
            None => layer,
        };
        let app = shop(&layer);
        let mut own = logged_in(&app, "ada").await;
        let [mut renewed, left] = [logged_in(&app, "ada").await, logged_in(&app, "ada").await];
        let (old_ticket, door) =
            (layer.sessions().login_ticket("ada").await.unwrap(), layer.door());
        fail_to_end_the_others(&layer, &faulty, &own).await;
        let late = app.get("/end-others", &left.cookie).await;
        assert_eq!(
            late.status,
            StatusCode::CONFLICT,
            "it has ended, and the one that ended it lives"
        );
        assert_eq!(renewed.get(&app, "/renew").await.status, StatusCode::CONFLICT, "it has ended");
        // As its user is asked for the password before that.
        for path in ["/again", "/renew", "/again"] {
            own.get(&app, path).await.ok();
            assert_eq!(who(&app, &own).await, "ada", "{path}");
        }
        let session = door.begin([own.cookie.as_bytes()]).session().clone();
        let refused = session.login(Login::new("ada").ticket(old_ticket)).await.unwrap_err();
        assert!(matches!(refused, Error::Interrupted), "its password was checked before");
        let mut own = logged_in(&app, "ada").await;
        fail_to_end_the_others(&layer, &faulty, &own).await;
        own.get(&app, "/end-others").await.ok();
        assert_eq!(who(&app, &own).await, "ada");
        assert_eq!(app.get("/count", &own.cookie).await.ok().body, "1");
        assert_eq!(app.get("/user", &left.cookie).await.status, StatusCode::CONFLICT);
        // An end of all that comes after it spares nobody.
        fail_to_end_the_others(&layer, &faulty, &own).await;
        let held = Held::begin(&layer, &own.cookie).await;
        held.session.user().await.unwrap();
        layer.sessions().end_all_of("ada").await.unwrap();
        assert!(matches!(held.session.renew().await, Err(Error::Interrupted)));
        held.respond(StatusCode::OK).await;
    }
}

/// The oldest must end before the new session is stored, or both would be there.
#[tokio::test(start_paused = true)]
async fn a_login_that_fails_has_ended_one_session_at_most_and_the_next_one_ends_no_other() {
    let (_, faulty) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let max = NonZeroUsize::new(3).unwrap();
    let layer = layer_as_it_comes(faulty.clone()).clock(Arc::new(clock.clone()));
    let layer = layer.sessions_per_user(max, OnUserLimit::EndOldest);
    let app = shop(&layer);
    let mut visitors = Vec::new();
    for _ in 0..3 {
        visitors.push(logged_in(&app, "ada").await);
        clock.advance(MINUTE);
    }
    let alive = async || {
        let mut alive = Vec::new();
        for visitor in &visitors {
            alive.push(app.get("/user", &visitor.cookie).await.status == StatusCode::OK);
        }
        alive
    };
    for _ in 0..2 {
        // The first call reserves the place, the second one ends the oldest, and the third one never comes.
        let before = faulty.commits();
        faulty.on(Step::Commit(2), Fault::Delay(Duration::from_millis(1)));
        let session = layer.door().begin([]).session().clone();
        let login = tokio::spawn(async move { session.login("ada").await });
        while faulty.commits() < before + 2 {
            tokio::task::yield_now().await;
        }
        faulty.fail_all(Some(Fault::Refuse));
        let error = login.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        faulty.fail_all(None);
        // Until the breaker asks the store again.
        tokio::time::sleep(MINUTE).await;
        clock.advance(MINUTE);
        assert_eq!(alive().await, [false, true, true]);
    }
    let visitor = logged_in(&app, "ada").await;
    assert_eq!(who(&app, &visitor).await, "ada");
    assert_eq!(alive().await, [false, true, true]);
}

/// Under a second id it would be a session without a place.
#[tokio::test(start_paused = true)]
async fn a_session_that_its_login_gave_up_and_that_comes_late_has_its_place() {
    let (memory, faulty) = faulty();
    let max = NonZeroUsize::new(3).unwrap();
    let layer = layer_as_it_comes(faulty.clone()).sessions_per_user(max, OnUserLimit::EndOldest);
    faulty.on(Step::Commit(2), Fault::Late(Duration::from_secs(2)));
    let given_up = layer.door().begin([]).session().login("ada").await.unwrap_err();
    assert!(matches!(given_up, Error::OutcomeUnknown), "{given_up}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..5 {
        layer.door().begin([]).session().login("ada").await.unwrap();
        let list = memory.as_list().unwrap();
        let listed = list.list_by_user("ada", None, 9, SystemClock.now()).await.unwrap();
        assert!(listed.records.len() <= 3, "{}", listed.records.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_beyond_the_limit_leaves_what_was_recorded() {
    let layer = layer(Memory::new()).sessions_per_user(NonZeroUsize::MIN, OnUserLimit::Refuse);
    layer.door().begin([]).session().login("ada").await.unwrap();
    let session = layer.door().begin([]).session().clone();
    session.insert("cart", "book").unwrap();
    let refused = session.login("ada").await.unwrap_err();
    assert!(matches!(refused, Error::TooManySessions), "{refused}");
    assert_eq!(session.get::<String>("cart").await.unwrap().as_deref(), Some("book"));
}

/// An end that did not come about must not look like one of somebody who is out already.
#[tokio::test(start_paused = true)]
async fn in_an_outage_nobody_is_told_that_they_are_not_logged_in_and_so_need_no_end() {
    let (_, faulty) = faulty();
    let layer = layer_as_it_comes(faulty.clone()).on_outage(OnOutage::Anonymous);
    let app = shop(&layer);
    let visitor = logged_in(&app, "ada").await;
    let held = Held::begin(&layer, &visitor.cookie).await;
    let (session, handle) = (&held.session, held.session.handle().unwrap());
    let admin = layer.door().begin([]).session().clone();
    admin.login("root").await.unwrap();
    let admin = admin.user().await.unwrap().unwrap();
    faulty.fail_all(Some(Fault::Refuse));
    let mut told = vec![
        session.siblings().await.map(drop),
        session.end_sibling(&handle).await.map(drop),
        session.end_others().await.map(drop),
        session.end_all().await.map(drop),
    ];
    // The store is back after the look whether the session is somebody's own.
    let back = async {
        tokio::time::sleep(Duration::from_millis(1005)).await;
        faulty.fail_all(None);
    };
    let (acted, ()) = tokio::join!(session.impersonate("bob", &admin), back);
    told.push(acted);
    for told in told {
        assert!(matches!(told, Err(Error::Unavailable(_))), "{told:?}");
    }
    // Until the breaker asks the store again.
    tokio::time::sleep(LONG).await;
    held.respond(StatusCode::OK).await.ok();
    assert_eq!(who(&app, &visitor).await, "ada");
}

#[tokio::test]
async fn a_session_begins_without_a_request() {
    let layer = layer(Memory::new());
    let app = shop(&layer);
    let paired = async |session: &Session| {
        session.push("cart", "book")?;
        session.login("ada").await
    };
    let new = layer.create_session(paired).await.unwrap().unwrap();
    assert_eq!(app.get("/user", new.cookie()).await.ok().body, "ada");
    assert_eq!(app.get("/cart", new.cookie()).await.ok().body, "book");
    assert!(new.set_cookie().starts_with(&format!("{}; ", new.cookie())), "{}", new.set_cookie());
    let found = layer.sessions().find(&new.handle()).await.unwrap().unwrap();
    assert_eq!(found.info().user.as_ref().unwrap().name, "ada");
    let (_, id) = new.cookie().split_once('=').unwrap();
    assert!(!format!("{new:?}").contains(id));

    let none = layer.create_session(async |_| Ok(())).await.unwrap();
    assert!(none.is_none(), "{none:?}");
    let refused = layer.create_session(async |session| session.insert("_flash", 1)).await;
    assert!(matches!(refused, Err(Error::InvalidValue(_))), "{refused:?}");
    let ended = layer.create_session(async |session| {
        session.login("bob").await?;
        session.logout().await
    });
    assert!(ended.await.unwrap().is_none());
    assert_eq!(layer.sessions().of_user("bob").await.unwrap(), []);
}

/// How a session ended, as a request that stays open learns it.
async fn learn(ended: impl Future<Output = SessionEnd>) -> SessionEnd {
    tokio::time::timeout(LONG, ended).await.expect("nobody told that the session ended")
}

async fn an_end_reaches_who_waits_on_another_process(scene: Scene) {
    let [here, there] = scene.apps();
    let mut visitors = Vec::new();
    for path in ["/logout", "/end-all", "/renew", "/login/bob"] {
        let user = path.replace('/', "-");
        visitors.push((path, logged_in(&here, &user).await));
    }
    let mut open = Vec::new();
    for (path, visitor) in &visitors {
        open.push((*path, Held::begin(&scene.layers[1], &visitor.cookie).await));
    }
    let waiting: Vec<_> = open
        .iter()
        .map(|(path, held)| (*path, tokio::spawn(learn(held.session.ended()))))
        .collect();
    for (path, visitor) in visitors.iter_mut().rev() {
        assert!(!waiting.iter().any(|(of, waiting)| of == path && waiting.is_finished()));
        visitor.get(&here, path).await.ok();
    }
    for (path, waiting) in waiting {
        let end = waiting.await.unwrap();
        let is_move = ["/renew", "/login/bob"].contains(&path);
        assert_eq!(end, if is_move { SessionEnd::Renewed } else { SessionEnd::Ended }, "{path}");
    }
    // An end before the wait began is found.
    for (_, held) in open {
        learn(held.session.ended()).await;
        held.respond(StatusCode::OK).await;
    }
    let other = logged_in(&there, "ada").await;
    let held = Held::begin(&scene.layers[1], &other.cookie).await;
    let waiting = tokio::spawn(learn(held.session.ended()));
    tokio::task::yield_now().await;
    scene.clock.advance(31 * MINUTE);
    assert_eq!(waiting.await.unwrap(), SessionEnd::Expired);
    held.respond(StatusCode::OK).await;
}

#[tokio::test(start_paused = true)]
async fn in_one_process_an_end_is_told_at_once() {
    let layer = layer(Memory::new());
    let app = shop(&layer);
    for (path, expected) in [
        ("/logout", SessionEnd::Ended),
        ("/end-all", SessionEnd::Ended),
        ("/renew", SessionEnd::Renewed),
    ] {
        let mut visitor = logged_in(&app, "ada").await;
        let held = Held::begin(&layer, &visitor.cookie).await;
        let waiting = tokio::spawn(held.session.ended());
        // It waits, and is not told by a look that finds the session.
        tokio::time::sleep(10 * MINUTE).await;
        assert!(!waiting.is_finished());
        let before = tokio::time::Instant::now();
        visitor.get(&app, path).await.ok();
        assert_eq!(waiting.await.unwrap(), expected);
        assert_eq!(before.elapsed(), Duration::ZERO, "{path}");
        held.respond(StatusCode::OK).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_by_the_same_request_after_the_call_is_told() {
    let layer = layer(Memory::new());
    let visitor = logged_in(&shop(&layer), "ada").await;
    let held = Held::begin(&layer, &visitor.cookie).await;
    held.session.user().await.unwrap();
    let ended = held.session.ended();
    held.session.logout().await.unwrap();
    assert_eq!(learn(ended).await, SessionEnd::Ended);
    held.respond(StatusCode::OK).await.ok();
}

#[test]
fn whoever_waits_after_a_runtime_has_ended_is_told_all_the_same() {
    let memory = Memory::new();
    let [here, there] = [(); 2].map(|()| layer(memory.clone()));
    let in_runtime = |test: &dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap().block_on(test());
    };
    let wait = || {
        let (here, there) = (here.clone(), there.clone());
        Box::pin(async move {
            let visitor = logged_in(&shop(&here), "ada").await;
            let session = here.door().begin([visitor.cookie.as_bytes()]).session().clone();
            let waiting = tokio::spawn(learn(session.ended()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            there.sessions().end_all_of("ada").await.unwrap();
            assert_eq!(waiting.await.unwrap(), SessionEnd::Ended);
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    };
    // Each ends while somebody still looks.
    in_runtime(&wait);
    in_runtime(&wait);
}

#[tokio::test(start_paused = true)]
async fn an_end_while_the_wait_begins_is_told_at_once() {
    let (_, faulty) = faulty();
    let layer = layer(faulty.clone());
    let app = shop(&layer);
    let mut visitor = logged_in(&app, "ada").await;
    let held = Held::begin(&layer, &visitor.cookie).await;
    // The look whether it has ended already takes its time.
    let second = Duration::from_secs(1);
    faulty.on(Step::Load(1), Fault::Delay(second));
    let before = tokio::time::Instant::now();
    let waiting = tokio::spawn(held.session.ended());
    tokio::task::yield_now().await;
    visitor.get(&app, "/logout").await.ok();
    assert_eq!(waiting.await.unwrap(), SessionEnd::Ended);
    assert!(before.elapsed() <= second, "{:?}", before.elapsed());
    held.respond(StatusCode::OK).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_wait_cost_one_load_each_in_five_seconds() {
    let (memory, faulty) = faulty();
    let layer = layer(faulty.clone());
    let app = shop(&layer);
    let other = shop(&crate::common::layer(memory));
    let mut visitors = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..10_000 {
        let visitor = logged_in(&app, "ada").await;
        let held = Held::begin(&layer, &visitor.cookie).await;
        waiting.push((tokio::spawn(held.session.ended()), held));
        visitors.push(visitor);
    }
    tokio::time::sleep(6 * Duration::from_secs(1)).await;
    let before = faulty.loads();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let looks = faulty.loads() - before;
    assert!((100_000..=140_000).contains(&looks), "{looks}");
    for visitor in &mut visitors[..100] {
        visitor.get(&other, "/logout").await.ok();
    }
    tokio::time::sleep(6 * Duration::from_secs(1)).await;
    let told = waiting.iter().filter(|(waiting, _)| waiting.is_finished()).count();
    assert_eq!(told, 100);
    // Who does not wait any more costs nothing.
    for (waiting, held) in waiting {
        waiting.abort();
        drop(held);
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    let before = faulty.loads();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(faulty.loads(), before);
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Cart {
    cart: Vec<String>,
}

#[tokio::test]
async fn a_user_costs_a_request_nothing() {
    let (_, faulty) = faulty();
    let layer = layer(faulty.clone());
    let app = shop(&layer);
    let mut visitor = logged_in(&app, "ada").await;
    visitor.get(&app, "/cart/book").await.ok();
    let before = (faulty.loads(), faulty.commits());
    for _ in 0..20 {
        visitor.get(&app, "/cart/pen").await.ok();
    }
    assert_eq!((faulty.loads(), faulty.commits()), (before.0, before.1 + 20), "one commit each");
    for _ in 0..20 {
        visitor.get(&app, "/user").await.ok();
    }
    assert_eq!((faulty.loads(), faulty.commits()), (before.0 + 20, before.1 + 20), "one load each");
}

#[tokio::test(start_paused = true)]
async fn no_end_between_a_handshake_and_a_wait_is_missed() {
    let layer = layer(Memory::new());
    let app = shop(&layer);
    let mut random = crate::common::generator(7);
    for _ in 0..1000 {
        let mut visitor = logged_in(&app, "ada").await;
        let held = Held::begin(&layer, &visitor.cookie).await;
        let (waits, ends) = (random(4), random(4));
        let ended = {
            let session = held.session.clone();
            tokio::spawn(async move {
                for _ in 0..waits {
                    tokio::task::yield_now().await;
                }
                session.ended().await
            })
        };
        for _ in 0..ends {
            tokio::task::yield_now().await;
        }
        visitor.get(&app, "/logout").await.ok();
        let before = tokio::time::Instant::now();
        assert_eq!(ended.await.unwrap(), SessionEnd::Ended);
        assert_eq!(before.elapsed(), Duration::ZERO);
        held.respond(StatusCode::OK).await;
    }
}

#[tokio::test]
async fn a_hundred_looks_keep_no_session_alive_and_write_nothing() {
    let (_, faulty) = faulty();
    let clock = ManualClock::new(SystemClock.now());
    let layer = layer(faulty.clone()).clock(Arc::new(clock.clone()));
    let app = shop(&layer).on("/look", |session: Session| async move {
        session.skip_touch();
        session.user().await.map(|user| user.is_some().to_string())
    });
    let visitor = logged_in(&app, "ada").await;
    let commits = faulty.commits();
    for _ in 0..100 {
        clock.advance(Duration::from_secs(17));
        assert_eq!(app.get("/look", &visitor.cookie).await.ok().body, "true");
    }
    assert_eq!(faulty.commits(), commits);
    clock.advance(Duration::from_secs(101));
    assert_eq!(app.get("/look", &visitor.cookie).await.ok().body, "false", "it ended on time");
}
