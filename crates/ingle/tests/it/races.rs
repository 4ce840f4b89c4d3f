//! Many requests of one session at once, in one process and in two, and a number that must be exact.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ingle::{
    Error, Session,
    store::{Fault, Memory, seed_waits},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::common::{App, Visitor, app, faulty, layer, layer_as_it_comes};

async fn update(session: Session) -> Result<(), Error> {
    session.field("n").update(|n: &mut u64| *n += 1).await
}

async fn increment(session: Session) -> Result<(), Error> {
    session.increment("n", 1)
}

async fn append(session: Session) -> Result<(), Error> {
    session.push("list", "x")
}

fn explode<T>(_: &mut T) {
    panic!("in the closure")
}

async fn read(session: Session) -> Result<String, Error> {
    let data: BTreeMap<String, Value> = session.data().await?;
    Ok(serde_json::to_string(&data).unwrap())
}

/// So many processes with the same sessions: each has its own queues and hints.
fn processes(n: usize) -> Vec<App> {
    let memory = Memory::new();
    let process = || {
        app(&layer(memory.clone()))
            .on("/update", update)
            .on("/increment", increment)
            .on("/append", append)
            .on("/read", read)
            .on("/renew", async |session: Session| session.renew().await)
            .on("/logout", async |session: Session| session.logout().await)
            .on("/panic", async |session: Session| {
                session.update(explode::<BTreeMap<String, Value>>).await
            })
            .on(
                "/insert/{field}",
                async |axum::extract::Path(field): axum::extract::Path<String>,
                       session: Session| { session.insert(field, true) },
            )
    };
    (0..n).map(|_| process()).collect()
}

/// Lets all requests go at once, dealt over the processes, and counts the answers by status.
async fn all_at_once(apps: &[App], visitor: &Visitor, paths: Vec<String>) -> BTreeMap<u16, usize> {
    let mut requests = JoinSet::new();
    for (index, path) in paths.into_iter().enumerate() {
        let (app, cookie) = (apps[index % apps.len()].clone(), visitor.cookie.clone());
        requests.spawn(async move { app.get(&path, &cookie).await.status.as_u16() });
    }
    let mut statuses = BTreeMap::new();
    while let Some(status) = requests.join_next().await {
        // A handler that panics has no answer.
        *statuses.entry(status.unwrap_or(0)).or_default() += 1;
    }
    statuses
}

async fn data(apps: &[App], visitor: &Visitor) -> Value {
    serde_json::from_str(&apps[0].get("/read", &visitor.cookie).await.ok().body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_or_doubled() {
    for n_processes in [1, 2] {
        let apps = processes(n_processes);
        let mut visitor = Visitor::default();
        visitor.get(&apps[0], "/update").await.ok();
        for _ in 0..20 {
            let paths = ["/update", "/increment"].iter().cycle().take(50);
            let statuses =
                all_at_once(&apps, &visitor, paths.map(|path| (*path).into()).collect()).await;
            assert_eq!(statuses, BTreeMap::from([(200, 50)]));
        }
        assert_eq!(data(&apps, &visitor).await["n"], 1001, "{n_processes} processes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_edit_different_fields_never_hurt_each_other() {
    for n_processes in [1, 2] {
        let apps = processes(n_processes);
        let mut visitor = Visitor::default();
        visitor.get(&apps[0], "/update").await.ok();
        let paths = (0..20).map(|field| format!("/insert/f{field}")).collect();
        let statuses = all_at_once(&apps, &visitor, paths).await;
        assert_eq!(statuses, BTreeMap::from([(200, 20)]));
        assert_eq!(data(&apps, &visitor).await.as_object().unwrap().len(), 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_takes_no_other_with_it() {
    let apps = processes(2);
    let mut visitor = Visitor::default();
    visitor.get(&apps[0], "/update").await.ok();
    let paths = ["/update", "/panic", "/append"].iter().cycle().take(300);
    let statuses = all_at_once(&apps, &visitor, paths.map(|path| (*path).into()).collect()).await;
    assert_eq!(statuses, BTreeMap::from([(0, 100), (200, 200)]));
    let data = data(&apps, &visitor).await;
    assert_eq!(data["n"], 101);
    assert_eq!(data["list"].as_array().unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_in_the_middle_is_final() {
    for n_processes in [1, 2] {
        for _ in 0..20 {
            let apps = processes(n_processes);
            let mut visitor = Visitor::default();
            visitor.get(&apps[0], "/update").await.ok();
            let mut paths = vec!["/update".to_owned(); 40];
            paths.insert(20, "/logout".into());
            let statuses = all_at_once(&apps, &visitor, paths).await;
            assert!(statuses.keys().all(|status| [200, 409].contains(status)), "{statuses:?}");
            // Also on the process that did not serve the logout.
            for app in &apps {
                assert_eq!(app.get("/read", &visitor.cookie).await.status, 409);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renew_in_the_middle_keeps_every_change_that_was_acknowledged() {
    for _ in 0..20 {
        let apps = processes(1);
        let mut visitor = Visitor::default();
        visitor.get(&apps[0], "/update").await.ok();
        let old = visitor.clone();
        let others = {
            let (apps, visitor) = (apps.clone(), visitor.clone());
            let paths = vec!["/update".to_owned(); 40];
            tokio::spawn(async move { all_at_once(&apps, &visitor, paths).await })
        };
        visitor.get(&apps[0], "/renew").await.ok();
        let statuses = others.await.unwrap();
        // One that came after the renew was told so, and began no session of its own.
        let n = data(&apps, &visitor).await["n"].as_u64().unwrap();
        let kept = statuses.get(&200).copied().unwrap_or(0) as u64 + 1;
        assert_eq!(n, kept);
        assert_eq!(apps[0].get("/read", &old.cookie).await.status, 409);
        assert!(statuses.keys().all(|status| [200, 409].contains(status)), "{statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_of_one_request_begin_one_session() {
    let memory = Memory::new();
    let app = app(&layer(memory.clone())).on("/", async |session: Session| {
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(update(session.clone()))).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    app.get("/", "").await.ok();
    assert_eq!(memory.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_process_keeps_a_session_to_itself() {
    const UPDATES: usize = 3600;
    seed_waits(Some(1));
    // Each call of the store takes a while, so a process that must load first is always slower.
    let (_, store) = faulty();
    let processes: Vec<App> = (0..2)
        .map(|_| app(&layer_as_it_comes(store.clone())).on("/update", update).on("/read", read))
        .collect();
    let mut visitor = Visitor::default();
    visitor.get(&processes[0], "/update").await.ok();
    store.fail_all(Some(Fault::Delay(Duration::from_millis(2))));
    let (mut clients, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    // Which process answered, in the order of the answers.
    let turns = Arc::new(Mutex::new(Vec::new()));
    for client in 0..16 {
        let process = client % 2;
        let (app, cookie) = (processes[process].clone(), visitor.cookie.clone());
        let (begun, turns) = (Arc::clone(&begun), Arc::clone(&turns));
        clients.spawn(async move {
            let mut n = 0;
            while begun.fetch_add(1, Ordering::Relaxed) < UPDATES {
                app.get("/update", &cookie).await.ok();
                turns.lock().unwrap().push(process);
                n += 1;
            }
            n
        });
    }
    let counts = clients.join_all().await;
    assert_eq!(counts.iter().sum::<usize>(), UPDATES);
    assert_eq!(data(&processes, &visitor).await["n"], 1 + UPDATES);
    // Each of the clients had its part, whichever process it was on.
    assert!(counts.iter().all(|n| *n > 100), "{counts:?}");
    let turns = turns.lock().unwrap();
    let longest = |turns: &[usize]| turns.chunk_by(|one, next| one == next).map(<[_]>::len).max();
    // A process does not know at once that it is not alone. Each lets the other one in all the same, and when
    // they have met, after a commit or two: both have eight clients.
    let (at_all, at_last) = (longest(&turns), longest(&turns[UPDATES / 2..]));
    assert!(at_all < Some(UPDATES / 3) && at_last < Some(100), "{at_all:?} {at_last:?}");
}
