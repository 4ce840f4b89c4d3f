//! Leaks: no response holds another session's data (I7), and no record is used under another key
//! than it was written under (I8), no matter who hangs up when, and what comes late.
//!
//! The library is asked in this process, where a request can be dropped at any moment, and
//! `greetings` over HTTP. A proxy stands before the store, `users.rs` knows whose data it is.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use anyhow::{Context as _, Result};
use ingle::SessionLayer;
use testbed::{
    http::{Answer, Browser},
    proxy::{Fault, Often, Proxy},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    inside::{Work, request},
    lab::Lab,
    options::Options,
    report::Section,
};

mod stores;
mod users;

use stores::{Kind, Place};
use users::{CANARY, NOTE, Seen, USERS, User, canary};

/// In one request of so many the client goes before the answer.
const HANGS_UP: u32 = 3;

/// The library's time for one operation, and how late answers come then: before and after its end.
const DEADLINE: Duration = Duration::from_millis(250);
const LATE: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(450));

/// The same over HTTP, where the time is the app's second.
const LATE_HTTP: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(1400));

/// The most steps of a request after which its client goes, if it does.
const POLLS_MAX: u32 = 6;

/// How long a client waits that was told to try again later. As long as the library leaves a store
/// alone every request would be refused.
const BREATHER: Duration = Duration::from_millis(250);

/// How long the sessions may take to begin, or to be read at the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is tried.
#[derive(Clone, Copy, Debug)]
struct Scene {
    kind: Kind,
    /// Requests at once.
    clients: usize,
    /// What meets the answer to one request of so many.
    fault: Fault,
    one_in: u64,
    /// Requests in CI, and by default.
    short: u64,
    usual: u64,
    over_http: bool,
}

const LATER: Fault = Fault::Late(LATE.0, LATE.1);
const LATER_HTTP: Fault = Fault::Late(LATE_HTTP.0, LATE_HTTP.1);

/// One that an answer which is late holds up all that follow is asked of more seldom. On Firestore a crowd's
/// requests come together, so there are fewer to meet.
#[rustfmt::skip]
const SCENES: [Scene; 17] = [
    Scene { kind: Kind::Sqlite, clients: 32, fault: LATER, one_in: 1, short: 3000, usual: 30_000, over_http: false },
    Scene { kind: Kind::Redis, clients: 32, fault: LATER, one_in: 20, short: 2000, usual: 20_000, over_http: false },
    Scene { kind: Kind::Redis, clients: 2, fault: LATER, one_in: 20, short: 500, usual: 10_000, over_http: false },
    Scene { kind: Kind::Valkey, clients: 32, fault: LATER, one_in: 20, short: 2000, usual: 20_000, over_http: false },
    Scene { kind: Kind::Memcached, clients: 32, fault: LATER, one_in: 40, short: 3000, usual: 20_000, over_http: false },
    Scene { kind: Kind::Memcached, clients: 2, fault: LATER, one_in: 20, short: 1000, usual: 10_000, over_http: false },
    Scene { kind: Kind::Postgres { pool: 1 }, clients: 4, fault: LATER, one_in: 40, short: 750, usual: 10_000, over_http: false },
    Scene { kind: Kind::Postgres { pool: 2 }, clients: 8, fault: LATER, one_in: 40, short: 1500, usual: 20_000, over_http: false },
    Scene { kind: Kind::Redis, clients: 16, fault: LATER_HTTP, one_in: 20, short: 600, usual: 4000, over_http: true },
    Scene { kind: Kind::Valkey, clients: 16, fault: LATER_HTTP, one_in: 20, short: 600, usual: 4000, over_http: true },
    Scene { kind: Kind::Memcached, clients: 16, fault: LATER_HTTP, one_in: 30, short: 1000, usual: 4000, over_http: true },
    Scene { kind: Kind::Postgres { pool: 2 }, clients: 16, fault: LATER_HTTP, one_in: 100, short: 1000, usual: 4000, over_http: true },
    Scene { kind: Kind::Redis, clients: 8, fault: Fault::Again, one_in: 30, short: 2000, usual: 10_000, over_http: false },
    Scene { kind: Kind::Valkey, clients: 8, fault: Fault::Again, one_in: 30, short: 2000, usual: 10_000, over_http: false },
    Scene { kind: Kind::Memcached, clients: 8, fault: Fault::Again, one_in: 60, short: 2000, usual: 10_000, over_http: false },
    Scene { kind: Kind::Firestore, clients: 32, fault: LATER, one_in: 12, short: 1200, usual: 20_000, over_http: false },
    Scene { kind: Kind::Firestore, clients: 16, fault: LATER_HTTP, one_in: 60, short: 1000, usual: 4000, over_http: true },
];

pub(crate) async fn run(options: &Options) -> Result<Section> {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut section = Section { name: "leak", ..Section::default() };
    section.text += "| store | asked | clients | requests | answered | hung up | errors, of these \
                     500 | faults | leaks |\n|---|---|---|---|---|---|---|---|---|\n";
    let mut all = Seen::default();
    for scene in SCENES {
        if !scene.kind.is_installed() {
            println!("{} is not installed, and left out.", scene.kind.name());
            section.text += &format!("| {} | not installed |||||||||\n", scene.kind.name());
            continue;
        }
        let n = options.count(scene.short, scene.usual);
        let (seen, faults) = play(scene, n, &mut rng)
            .await
            .with_context(|| format!("on {}, {:?}", scene.kind.name(), scene.fault))?;
        let how = match (scene.over_http, scene.fault) {
            (true, _) => "over HTTP",
            (false, Fault::Again) => "in process, answers shifted",
            (false, _) => "in process",
        };
        let Scene { kind, clients, .. } = scene;
        let Seen { requests, ok, hung_up, failed, closed, leaks, empty } = seen;
        let row = format!(
            "| {} | {how} | {clients} | {requests} | {ok} | {hung_up} | {failed}, {closed} | \
             {faults} | {leaks} |\n",
            kind.name()
        );
        print!("{row}");
        section.text += &row;
        let mut complain = |what| {
            let place = format!("leak, {}, {how}", kind.name());
            section.broken.push(format!("{place}: {what}"));
        };
        if leaks > 0 {
            complain(format!("I7: {leaks} answers hold another session's data"));
        }
        if empty > 0 {
            complain(format!("{empty} answers lack what the session holds"));
        }
        if ok == 0 {
            complain("nothing was answered".to_owned());
        }
        if faults == 0 && kind != Kind::Sqlite {
            complain("no answer was late or not in its turn, so nothing was shown".to_owned());
        }
        all.add(&seen);
    }
    section.text += &format!("\n{} requests, of {USERS} users for each row.\n", all.requests);
    Ok(section)
}

/// All requests of one scene, and how often an answer was late or not in its turn.
async fn play(scene: Scene, n: u64, rng: &mut fastrand::Rng) -> Result<(Seen, u64)> {
    let place = scene.kind.start().await?;
    let direct = place.address().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let proxy = Proxy::start(direct).await?;
    proxy.seed(rng.u64(..));
    let calm = SessionLayer::new(place.open(direct).await?);
    let (seen, calm_users) = if scene.over_http {
        over_http(scene, &place, &proxy, n, rng).await?
    } else {
        let users = begin(&calm, rng).await?;
        let layer = SessionLayer::new(place.open(proxy.address).await?).deadline(DEADLINE);
        (in_process(scene, layer, &users, &proxy, n, rng).await, Some(users))
    };
    let mut seen = seen;
    for user in calm_users.iter().flatten() {
        // What is stored must be as true as what was answered.
        let answer = request(&calm, Some(&user.cookie), Work::Read).await;
        if answer.is_ok() {
            seen.look(user, &answer.body);
        }
    }
    Ok((seen, proxy.met().values().sum()))
}

/// A session for each user, made without any fault.
async fn begin(layer: &SessionLayer, rng: &mut fastrand::Rng) -> Result<Vec<User>> {
    let mut users = Vec::new();
    for number in 0..USERS {
        let canary = canary(number, rng);
        let work = Work::Insert { field: CANARY, value: canary.clone() };
        let answer = request(layer, None, work).await;
        let cookie = answer.cookie.with_context(|| format!("no session: {:?}", answer.status))?;
        users.push(User { canary, cookie });
    }
    Ok(users)
}

async fn in_process(
    scene: Scene,
    layer: SessionLayer,
    users: &[User],
    proxy: &Proxy,
    n: u64,
    rng: &mut fastrand::Rng,
) -> Seen {
    proxy.begin(scene.fault, Often::OneIn(scene.one_in));
    let users: Arc<[User]> = users.into();
    let mut clients = JoinSet::new();
    for _ in 0..scene.clients {
        let (layer, users, mut rng) = (layer.clone(), Arc::clone(&users), rng.fork());
        let share = n.div_ceil(scene.clients as u64);
        clients.spawn(async move {
            let mut seen = Seen::default();
            for number in 0..share {
                let Some(user) = users.get(rng.usize(..users.len())) else { continue };
                ask(&layer, user, number, &mut seen, &mut rng).await;
            }
            seen
        });
    }
    let mut all = Seen::default();
    for seen in clients.join_all().await {
        all.add(&seen);
    }
    proxy.end();
    all
}

/// One request in this process, which is dropped before its end or not.
async fn ask(
    layer: &SessionLayer,
    user: &User,
    number: u64,
    seen: &mut Seen,
    rng: &mut fastrand::Rng,
) {
    let work = match rng.u8(..4) {
        0 | 1 => Work::Read,
        2 => Work::Count,
        _ => Work::Insert { field: NOTE, value: format!("{} {number}", user.canary) },
    };
    let shows = !matches!(work, Work::Insert { .. });
    let answer = request(layer, Some(&user.cookie), work);
    seen.requests += 1;
    let answer = if rng.u32(..HANGS_UP) > 0 {
        Some(answer.await)
    } else if rng.bool() {
        timeout(Duration::from_millis(rng.u64(1..=50)), answer).await.ok()
    } else {
        // Most requests are done before any clock has moved, so this goes by their steps.
        within_polls(answer, rng.u32(1..=POLLS_MAX)).await
    };
    let Some(answer) = answer else {
        seen.hung_up += 1;
        return;
    };
    if !answer.is_ok() {
        seen.look_at_error(answer.status.as_u16(), &answer.body);
        if answer.status == 503 {
            sleep(BREATHER).await;
        }
        return;
    }
    seen.ok += 1;
    if shows {
        seen.look(user, &answer.body);
    }
}

/// Waits for it until it was polled so often.
async fn within_polls<T>(work: impl Future<Output = T>, polls: u32) -> Option<T> {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|context| {
        left = left.saturating_sub(1);
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The same by browsers, who close their connection when they go.
async fn over_http(
    scene: Scene,
    place: &Place,
    proxy: &Proxy,
    n: u64,
    rng: &mut fastrand::Rng,
) -> Result<(Seen, Option<Vec<User>>)> {
    let variables = place.variables(proxy.address);
    let app = Lab { variables, ..Lab::on(place.url(proxy.address)) }.start()?;
    let mut users = Vec::new();
    for number in 0..USERS {
        let canary = canary(number, rng);
        let mut browser = Browser::new(app.address());
        browser.try_get(&format!("/lab/insert/{CANARY}?value={canary}")).await?;
        let cookie = browser.cookie.context("an app has begun no session")?;
        users.push(User { canary, cookie });
    }
    proxy.begin(scene.fault, Often::OneIn(scene.one_in));
    let users: Arc<[User]> = users.into();
    let mut clients = JoinSet::new();
    for _ in 0..scene.clients {
        let (users, mut rng, address) = (Arc::clone(&users), rng.fork(), app.address());
        let share = n.div_ceil(scene.clients as u64);
        clients.spawn(async move {
            let (mut seen, mut browser) = (Seen::default(), Browser::new(address));
            for number in 0..share {
                let Some(user) = users.get(rng.usize(..users.len())) else { continue };
                ask_over_http(&mut browser, user, number, &mut seen, &mut rng).await;
            }
            seen
        });
    }
    let mut all = Seen::default();
    for seen in clients.join_all().await {
        all.add(&seen);
    }
    proxy.end();
    // What is stored must be as true as what was answered.
    for user in users.iter() {
        let mut browser = Browser::with_cookie(app.address(), &user.cookie);
        let calm = async {
            loop {
                let answer = browser.try_get("/lab/data").await;
                if let Some(answer) = answer.ok().filter(Answer::is_ok) {
                    break answer;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let answer = timeout(PATIENCE, calm).await.context("the app does not recover")?;
        all.look(user, &answer.body);
    }
    Ok((all, None))
}

/// One request on a connection that others used before.
async fn ask_over_http(
    browser: &mut Browser,
    user: &User,
    number: u64,
    seen: &mut Seen,
    rng: &mut fastrand::Rng,
) {
    browser.cookie = Some(user.cookie.clone());
    let shows = rng.bool();
    let target = if shows {
        "/lab/data".to_owned()
    } else {
        format!("/lab/insert/{NOTE}?value={}-{number}", user.canary)
    };
    seen.requests += 1;
    let wait = if rng.u32(..HANGS_UP) == 0 {
        Duration::from_micros(rng.u64(100..=20_000))
    } else {
        PATIENCE
    };
    match timeout(wait, browser.try_get(&target)).await {
        Ok(Ok(answer)) if answer.is_ok() => {
            seen.ok += 1;
            if shows {
                seen.look(user, &answer.body);
            }
        }
        Ok(Ok(answer)) => seen.look_at_error(answer.status, &answer.body),
        Ok(Err(_)) => seen.failed += 1,
        Err(_) => seen.hung_up += 1,
    }
}
