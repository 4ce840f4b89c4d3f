//! A cluster whose parts move, end and come back. Every test here has `cluster` in its path.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use ingle::store::{ErrorKind, open};
use testbed::{
    Server,
    redis::{
        NEW_REDIS, SYNCED, add_own_replica, ask, start_own_cluster, start_own_mixed_cluster,
        wait_for_cluster,
    },
};
use tokio::{task::JoinSet, time::sleep};

use super::{faults::Crowd, *};
use crate::common::Visitor;

#[tokio::test]
async fn a_cluster_is_recognized_and_a_session_lives_in_it() {
    let scene = Scene::on(testbed::redis::cluster());
    let app = scene.app().await;
    for _ in 0..20 {
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        let old = visitor.cookie.clone();
        visitor.get(&app, "/renew").await.ok();
        assert_eq!(visitor.get(&app, "/add").await.ok().body, "2");
        assert_eq!(app.get("/read", &old).await.status, 409, "it moved on a moment ago");
        visitor.get(&app, "/logout").await.ok();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");
    }
    let error = open(&format!("redis://{}/1", scene.server)).await.unwrap_err().to_string();
    assert!(error.contains("a cluster has one"), "{error}");
    // One that is down does not matter where another answers.
    open(&format!("redis://127.0.0.1:1,{}", scene.server)).await.unwrap();
}

/// As a server that was made anew, and has not met the others yet.
#[tokio::test]
async fn a_cluster_is_found_also_where_the_first_server_knows_of_none() {
    let alone = start_own_cluster(1, &[]);
    ask(alone[0].address(), "CLUSTER FLUSHSLOTS").unwrap();
    let url = format!("redis://{}", alone[0].address());
    let error = open(&url).await.unwrap_err().to_string();
    assert!(error.contains("has no server for some of its slots"), "{error}");
    open(&format!("{url},{}", testbed::redis::cluster())).await.unwrap();
}

/// What it says of the cluster is not taken for what is so: a list would lack its sessions, and nobody would
/// know.
#[tokio::test]
async fn a_server_that_forgets_its_slots_is_still_asked_for_its_sessions() {
    let servers = start_own_cluster(2, &[]);
    let store = Scene::on(servers[0].address()).store().await;
    let mut bases = Vec::new();
    for _ in 0..20 {
        bases.push(create(&store, &record(random_key(), None)).await);
    }
    // The server that has the first partition, and so is the first to be asked.
    let forgetful = servers[1].address();
    ask(forgetful, "CLUSTER DELSLOTSRANGE 8192 16383").unwrap();
    for _ in 0..3 {
        for base in &bases {
            // Who is refused has the cluster asked anew.
            let _ = store.load(&base.record.header.key, now()).await;
        }
        sleep(Duration::from_millis(150)).await;
    }
    match store.list(None, 100, now()).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        // Redis 8 answers a scan with the keys of its own slots alone, so nothing can be told there.
        Ok(_) => {
            let server = store.info().server.unwrap();
            assert!(server.contains("Redis 8"), "{server}");
            return;
        }
    }
    ask(forgetful, "CLUSTER ADDSLOTSRANGE 8192 16383").unwrap();
    finds_its_server(&store).await;
    assert_eq!(store.list(None, 100, now()).await.unwrap().records.len(), bases.len());
}

#[tokio::test]
async fn a_cluster_says_how_each_of_its_servers_commits() {
    let store = Scene::on(testbed::redis::cluster()).store().await;
    let said = store.info().server.unwrap();
    let way = if is_native(&store) { "each commit is `SET … IFEQ`" } else { "a script" };
    assert!(said.starts_with("3 servers of a cluster: ") && said.ends_with(way), "{said}");
}

#[tokio::test]
async fn a_cluster_lists_a_user_across_its_servers() {
    let scene = Scene::on(testbed::redis::cluster());
    let store = scene.store().await;
    let mut expected = Vec::new();
    for _ in 0..50 {
        let base = create(&store, &record(random_key(), Some("mary"))).await;
        expected.push(base.record.header.key);
    }
    expected.sort_unstable();
    let page = store.list_by_user("mary", None, 100, now()).await.unwrap();
    let keys: Vec<Key> = page.records.iter().map(|found| found.record.header.key).collect();
    assert_eq!(keys, expected);
    let page = store.list(None, 100, now()).await.unwrap();
    let keys: Vec<Key> = page.records.iter().map(|found| found.record.header.key).collect();
    assert_eq!(keys, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_slots_move_loses_and_doubles_nothing() {
    let servers = start_own_cluster(2, &[]);
    let scene = Scene::on(servers[0].address());
    let crowd = Crowd::gather(&scene, 24).await;
    for round in 0..4 {
        let (from, to) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        crowd.goes_on().await;
        let count = ask(servers[from].address(), "DBSIZE").unwrap();
        move_all(&servers[from], &servers[to], &scene);
        println!("moved {count}");
    }
    crowd.goes_on().await;
    let (acknowledged, unknown) = crowd.count(&scene).await;
    println!("{acknowledged} acknowledged, {unknown} unknown");
}

/// Moves every slot in which there is a record, as `redis-cli --cluster reshard` does it.
fn move_all(from: &Server, to: &Server, scene: &Scene) {
    let say = |server: &Server, command: &str| ask(server.address(), command).unwrap();
    let id = |server: &Server| say(server, "CLUSTER MYID").lines().last().unwrap().to_owned();
    let (from_id, to_id) = (id(from), id(to));
    let keys = say(from, &format!("KEYS {}:*", scene.config.prefix));
    let mut slots: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for key in keys.lines().filter(|line| line.contains(':')) {
        let slot = say(from, &format!("CLUSTER KEYSLOT {key}"));
        slots.entry(slot.trim_start_matches(':').to_owned()).or_default().push(key);
    }
    for (slot, keys) in slots {
        say(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
        say(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
        let place = to.address();
        for key in keys {
            // Requests meet the slot half way for a moment.
            std::thread::sleep(Duration::from_millis(30));
            say(from, &format!("MIGRATE {} {} {key} 0 60000", place.ip(), place.port()));
        }
        std::thread::sleep(Duration::from_millis(30));
        say(to, &format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
        say(from, &format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
}

#[tokio::test]
async fn a_cluster_is_pinged_on_each_of_its_servers() {
    let mut servers = start_own_cluster(2, &[]);
    let store = Scene::on(servers[0].address()).store().await;
    store.ping().await.unwrap();
    for n in [0, 1] {
        ask(servers[n].address(), "CONFIG SET maxmemory 1").unwrap();
        let error = store.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        ask(servers[n].address(), "CONFIG SET maxmemory 0").unwrap();
    }
    store.ping().await.unwrap();
    servers[1].kill();
    store.ping().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_which_one_is_killed_loses_no_acknowledged_view() {
    let mut servers = start_own_cluster(3, &SYNCED);
    let scene = Scene::on(servers[0].address());
    let crowd = Crowd::gather(&scene, 6).await;
    for n in [1, 0] {
        crowd.goes_on().await;
        servers[n].kill();
        sleep(Duration::from_millis(300)).await;
        servers[n].restart();
        wait_for_cluster(&servers).unwrap();
    }
    crowd.goes_on().await;
    crowd.count(&scene).await;
}

/// A failover that an operator asks for waits until the replica has all that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_told_to_fail_over_loses_and_doubles_nothing() {
    let mut servers = start_own_cluster(3, &[]);
    add_own_replica(&mut servers, 0, &[]);
    let scene = Scene::on(servers[1].address());
    let crowd = Crowd::gather(&scene, 12).await;
    for (replica, master) in [(3, 0), (0, 3)] {
        crowd.goes_on().await;
        becomes(&servers[replica], "master_link_status:up").await;
        fail_over(&servers[replica]).await;
        becomes(&servers[master], "role:slave").await;
    }
    crowd.goes_on().await;
    crowd.count(&scene).await;
}

/// A failover that nobody asked for may lose what the replica did not have yet, as the store says. What it had is there,
/// nothing is there twice, and the visitors go on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_master_dies_keeps_what_its_replica_had_and_doubles_nothing() {
    // Shorter than usual, and longer than a server of a busy machine says nothing to the others.
    let settings = ["--cluster-node-timeout", "5000"];
    let mut servers = start_own_cluster(3, &settings);
    add_own_replica(&mut servers, 0, &settings);
    let scene = Scene::on(servers[1].address());
    let (first, app) = (scene.app().await, scene.app_with(Duration::from_secs(1)).await);
    let mut visitors = Vec::new();
    for _ in 0..12 {
        let mut visitor = Visitor::default();
        for _ in 0..5 {
            visitor.get(&first, "/add").await.ok();
        }
        visitors.push((visitor.cookie, 5));
    }
    has_all(&servers[3], &servers[0]).await;

    let adding = Adding::begin(&app, &visitors);
    adding.goes_on().await;
    servers[0].kill();
    becomes(&servers[3], "role:master").await;
    adding.goes_on().await;
    let (acknowledged, unknown) = adding.end().await;
    let (last, mut added) = (scene.app().await, 0);
    for (cookie, replicated) in visitors {
        let stored = views(&last, &cookie).await;
        assert!(replicated <= stored, "the replica had {replicated}, {stored} are stored");
        added += stored - replicated;
    }
    println!("{acknowledged} acknowledged, {unknown} unknown, {added} stored");
    assert!(added <= acknowledged + unknown, "{added} stored of {acknowledged} + {unknown}");
}

/// Visitors that add until they are told to end. Their store may go back in time.
struct Adding {
    told: Arc<Tally>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    over: AtomicBool,
}

impl Adding {
    fn begin(app: &App, visitors: &[(String, u64)]) -> Self {
        let told = Arc::new(Tally::default());
        let mut tasks = JoinSet::new();
        for (cookie, _) in visitors {
            let (app, cookie, told) = (app.clone(), cookie.clone(), Arc::clone(&told));
            tasks.spawn(async move {
                while !told.over.load(Ordering::SeqCst) {
                    told.add(&app, &cookie).await;
                }
            });
        }
        Self { told, tasks }
    }

    async fn goes_on(&self) {
        let acknowledged = || self.told.acknowledged.load(Ordering::SeqCst);
        let before = acknowledged();
        let more = async {
            while acknowledged() < before + 200 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(minutes(5), more).await.expect("the app recovers");
    }

    async fn end(mut self) -> (u64, u64) {
        self.told.over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (count(&self.told.acknowledged), count(&self.told.unknown))
    }
}

impl Tally {
    async fn add(&self, app: &App, cookie: &str) {
        let answer = app.get("/add", cookie).await;
        assert_eq!(answer.set_cookie(), "", "an outage takes no cookie away");
        match answer.status {
            StatusCode::OK => self.acknowledged.fetch_add(1, Ordering::SeqCst),
            StatusCode::SERVICE_UNAVAILABLE if answer.body.starts_with("It is not known") => {
                self.unknown.fetch_add(1, Ordering::SeqCst)
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                sleep(Duration::from_millis(5)).await;
                0
            }
            status => panic!("{status}: {}", answer.body),
        };
    }
}

/// How many views a session has, as soon as it can be read.
async fn views(app: &App, cookie: &str) -> u64 {
    let found = app.get("/read", cookie).await.ok().body;
    found.trim_start_matches("Some(").trim_end_matches(')').parse().unwrap()
}

/// Waits until a replica has all that its master has.
async fn has_all(replica: &Server, master: &Server) {
    let offset = |server: &Server, name: &str| {
        let info = ask(server.address(), "INFO replication").unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let is_level = async {
        let wanted = offset(master, "master_repl_offset:");
        while offset(replica, "slave_repl_offset:") < wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(minutes(5), is_level).await.expect("the replica has all");
}

/// Has a replica take its master's place. The two give up when it takes five seconds, as on a busy machine.
async fn fail_over(replica: &Server) {
    let attempt = async || {
        let _ = ask(replica.address(), "CLUSTER FAILOVER");
        tokio::time::timeout(Duration::from_secs(6), becomes(replica, "role:master")).await
    };
    let made = async { while attempt().await.is_err() {} };
    tokio::time::timeout(minutes(5), made).await.expect("it fails over");
}

/// Waits until a server says this of its part in a replication.
async fn becomes(server: &Server, role: &str) {
    let says = async {
        while !ask(server.address(), "INFO replication").unwrap().contains(role) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(minutes(5), says).await.expect(role);
}

/// As during an upgrade: a server that commits by a script hands its slots to one that has a command for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_two_editions_commits_on_each_server_in_its_way() {
    let servers = start_own_mixed_cluster(&[NEW_REDIS]);
    let scene = Scene::on(servers[0].address());
    let said = scene.store().await.info().server.unwrap();
    for way in ["each commit is a script", "each commit is `SET … IFEQ`"] {
        assert!(said.contains(way), "{said}");
    }
    let crowd = Crowd::gather(&scene, 24).await;
    crowd.goes_on().await;
    move_all(&servers[0], &servers[1], &scene);
    crowd.goes_on().await;
    crowd.count(&scene).await;
}
