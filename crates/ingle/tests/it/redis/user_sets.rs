//! The set of a user's sessions, changed by hand.

use std::net::SocketAddr;

use ingle::ListOptions;
use testbed::redis::{ask, start};

use super::*;
use crate::common::Visitor;

/// Some sessions of a user, and the set that has them.
struct Listed {
    scene: Scene,
    app: App,
    sessions: ingle::Sessions,
    visitors: Vec<Visitor>,
}

impl Listed {
    async fn new(server: SocketAddr) -> Self {
        let scene = Scene::on(server);
        let layer = SessionLayer::new(Arc::new(scene.store().await));
        let layer = layer.deadline(minutes(5)).sweep_every(None);
        let app = app(&layer)
            .on("/login", async |session: Session| session.login("mary").await)
            .on("/renew", async |session: Session| session.renew().await)
            .on("/logout", async |session: Session| session.logout().await)
            .on("/user", async |user: ingle::User| user.name);
        let mut listed = Self { scene, app, sessions: layer.sessions(), visitors: Vec::new() };
        for _ in 0..5 {
            let visitor = listed.log_in().await;
            listed.visitors.push(visitor);
        }
        listed
    }

    async fn log_in(&self) -> Visitor {
        let mut visitor = Visitor::default();
        visitor.get(&self.app, "/login").await.ok();
        visitor
    }

    /// Asks the server that has the user's set. `@set` and `@size` are the names of its keys.
    fn by_hand(&self, command: &str) -> String {
        let prefix = &self.scene.config.prefix;
        let of = |what: &str| format!("{prefix}:{what}:{{69}}:mary");
        let command = command.replace("@set", &of("user")).replace("@size", &of("size"));
        let said = self.scene.ask(&command);
        match said.strip_prefix("-MOVED ") {
            Some(moved) => {
                ask(moved.rsplit(' ').next().unwrap().parse().unwrap(), &command).unwrap()
            }
            None => said,
        }
    }

    /// The members of the set, as they are.
    fn members(&self) -> Vec<String> {
        let said = self.by_hand("ZRANGE @set 0 -1");
        said.lines().filter(|line| line.len() > 64).map(str::to_owned).collect()
    }

    /// Whether the set has as many members as its size says.
    fn is_whole(&self) -> bool {
        let size = self.by_hand("GET @size");
        self.by_hand("ZCARD @set").trim_start_matches(':') == size.lines().last().unwrap()
    }

    async fn alive(&self) -> usize {
        let mut alive = 0;
        for visitor in &self.visitors {
            let answer = self.app.get("/user", &visitor.cookie).await;
            alive += usize::from(answer.status == 200);
        }
        alive
    }
}

async fn an_end_of_all_reaches_all(server: SocketAddr) {
    let ways: [&dyn Fn(&Listed); 6] = [
        &|listed| drop(listed.by_hand(&format!("ZREM @set {}", listed.members()[2]))),
        &|listed| drop(listed.by_hand("ZREMRANGEBYRANK @set 0 3")),
        &|listed| drop(listed.by_hand("DEL @set")),
        &|listed| drop(listed.by_hand("DEL @size")),
        &|listed| {
            listed.by_hand(&format!("ZREM @set {}", listed.members()[0]));
            listed.by_hand("SET @size nonsense");
        },
        &|listed| {
            listed.by_hand("ZREMRANGEBYRANK @set 0 2");
            listed.by_hand("ZADD @set 9999999999999 nobody");
        },
    ];
    for (number, change) in ways.into_iter().enumerate() {
        let listed = Listed::new(server).await;
        assert!(listed.is_whole());
        change(&listed);
        assert!(!listed.is_whole(), "{number}: {:?}", listed.members());
        assert_eq!(listed.alive().await, 5);
        assert_eq!(listed.sessions.end_all_of("mary").await.unwrap(), 5, "{number}");
        assert_eq!(listed.alive().await, 0, "{number}");
        // A later login is listed, and so is the one after a list.
        for expected in [1, 2] {
            listed.log_in().await;
            assert!(listed.is_whole(), "{number}");
            assert_eq!(listed.sessions.of_user("mary").await.unwrap().len(), expected);
        }
    }
}

#[tokio::test]
async fn an_end_of_all_reaches_whoever_was_removed_from_the_set_by_hand() {
    an_end_of_all_reaches_all(testbed::redis::server()).await;
}

#[tokio::test]
async fn an_end_of_all_reaches_whoever_was_removed_from_the_set_by_hand_in_a_cluster() {
    an_end_of_all_reaches_all(testbed::redis::cluster()).await;
}

/// The difference stays through all that the library does to the set.
async fn a_removed_member_is_missed_after(server: SocketAddr) {
    let mut listed = Listed::new(server).await;
    listed.by_hand(&format!("ZREM @set {}", listed.members()[2]));
    for (n, path) in [(0, "/renew"), (1, "/logout"), (2, "/renew"), (3, "/logout")] {
        let mut visitor = std::mem::take(&mut listed.visitors[n]);
        visitor.get(&listed.app, path).await.ok();
        listed.visitors[n] = visitor;
        let visitor = listed.log_in().await;
        listed.visitors.push(visitor);
    }
    assert!(!listed.is_whole());
    assert_eq!(listed.sessions.of_user("mary").await.unwrap().len(), 7);
    assert_eq!(listed.alive().await, 7);
    assert_eq!(listed.sessions.end_all_of("mary").await.unwrap(), 7);
    assert_eq!(listed.alive().await, 0);
}

#[tokio::test]
async fn a_member_that_was_removed_is_missed_after_logins_renews_and_logouts() {
    a_removed_member_is_missed_after(testbed::redis::server()).await;
}

#[tokio::test]
async fn a_member_that_was_removed_is_missed_after_logins_renews_and_logouts_in_a_cluster() {
    a_removed_member_is_missed_after(testbed::redis::cluster()).await;
}

/// Somebody removes members all the while.
async fn nobody_survives_while_a_hand_removes_members(server: SocketAddr) {
    let listed = Arc::new(Listed::new(server).await);
    let at_work = (0..6).map(|_| {
        let listed = Arc::clone(&listed);
        tokio::spawn(async move {
            let mut visitor = listed.log_in().await;
            for _ in 0..5 {
                visitor.get(&listed.app, "/renew").await.ok();
            }
            visitor
        })
    });
    let at_work: Vec<_> = at_work.collect();
    while !at_work.iter().all(tokio::task::JoinHandle::is_finished) {
        listed.by_hand("ZPOPMAX @set");
        // Lists mend what they find.
        listed.sessions.of_user("mary").await.ok();
        tokio::task::yield_now().await;
    }
    listed.by_hand("ZPOPMAX @set");
    let ended = listed.sessions.end_all_of("mary").await.unwrap();
    assert_eq!(ended, 11);
    assert_eq!(listed.alive().await, 0);
    for visitor in at_work {
        let visitor = visitor.await.unwrap();
        assert_ne!(listed.app.get("/user", &visitor.cookie).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_survives_an_end_of_all_after_members_were_removed_all_the_while() {
    nobody_survives_while_a_hand_removes_members(testbed::redis::server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_survives_an_end_of_all_after_members_were_removed_all_the_while_in_a_cluster() {
    nobody_survives_while_a_hand_removes_members(testbed::redis::cluster()).await;
}

#[tokio::test]
async fn a_set_that_cannot_be_mended_fails_an_end_of_all() {
    let server = start(&[]);
    let at = server.address();
    let listed = Listed::new(at).await;
    ask(at, "ACL SETUSER default -scan").unwrap();
    let removed = listed.members()[2].clone();
    listed.by_hand(&format!("ZREM @set {removed}"));
    let failed = listed.sessions.end_all_of("mary").await.unwrap_err();
    let mut why = failed.to_string();
    let mut cause = std::error::Error::source(&failed);
    while let Some(source) = cause {
        why = format!("{why}: {source}");
        cause = source.source();
    }
    assert!(why.contains("changed by hand") && why.contains("+scan"), "{why}");
    assert_eq!(listed.alive().await, 5, "none ended");
    ask(at, "ACL SETUSER default +scan").unwrap();
    assert_eq!(listed.sessions.end_all_of("mary").await.unwrap(), 5);
    assert_eq!(listed.alive().await, 0);
}

/// A list may ask as of any instant: one that shows also what has expired asks as of 1970.
#[tokio::test]
async fn a_set_that_any_list_has_mended_ends_when_its_sessions_do() {
    let listed = Listed::new(testbed::redis::server()).await;
    let ends_in = |key: &str| -> u64 {
        listed.by_hand(&format!("PTTL {key}")).trim_start_matches(':').trim().parse().unwrap()
    };
    let before = ends_in("@set");
    let remove_one = || listed.by_hand(&format!("ZREM @set {}", listed.members()[2]));
    let is_mended = || {
        assert!(listed.is_whole());
        for key in ["@set", "@size"] {
            assert!(ends_in(key) <= before + 60_000, "{key} ends in {} ms", ends_in(key));
        }
        let written_then = |member: &String| member.ends_with(":0") || member.ends_with(":1");
        assert!(!listed.members().iter().any(written_then), "each has its time");
    };
    remove_one();
    let all = ListOptions::new().of_user("mary").with_expired(true);
    assert_eq!(listed.sessions.list(&all, None).await.unwrap().sessions.len(), 5);
    is_mended();
    remove_one();
    let (store, long_ago) = (listed.scene.store().await, Timestamp::from_millis(1));
    let page = store.list_by_user("mary", None, 100, long_ago).await.unwrap();
    assert_eq!(page.records.len(), 5);
    is_mended();
}

/// A user without sessions has no keys.
#[tokio::test]
async fn neither_a_set_nor_its_size_is_left_of_sessions_that_ended() {
    let mut listed = Listed::new(testbed::redis::server()).await;
    for visitor in &mut listed.visitors {
        visitor.get(&listed.app, "/logout").await.ok();
    }
    let gone = async {
        while listed.by_hand("EXISTS @set @size") != ":0" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(minutes(5), gone).await.expect("nothing is left");
}

/// On one server both are written in one step, or neither is.
#[tokio::test]
async fn a_session_whose_key_is_taken_does_not_join_its_users_set() {
    let scene = Scene::new();
    let store = scene.store().await;
    let taken = create(&store, &record(random_key(), None)).await;
    let late = record(taken.record.header.key, Some("mary"));
    let created = store.commit(Write::Create { record: &late }, now()).await;
    assert!(matches!(created, Err(CommitError::Conflict(_))), "{created:?}");
    let sets = scene.ask(&format!("KEYS {}:user:*:mary", scene.config.prefix));
    assert!(!sets.contains("mary"), "{sets}");
}
