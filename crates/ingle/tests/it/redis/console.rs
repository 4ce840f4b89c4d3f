//! What a person sees and does with `redis-cli`.

use std::time::Duration;

use ingle::store::{Applied, ErrorKind, MARK_TIME};

use super::*;
use crate::common::Visitor;

#[tokio::test]
async fn a_session_is_what_a_person_expects_to_see() {
    let scene = Scene::new();
    let app = scene.app().await.on("/fill", async |session: Session| {
        session.insert("greeting", "Hallo Welt")?;
        session.insert("whole", 3)?;
        session.insert("double", 3.0)
    });
    Visitor::default().get(&app, "/fill").await.ok();
    let name = scene.only();
    let shown = |field: &str| scene.ask(&format!("HGET {name} {field}"));
    let data = shown("data");
    assert!(
        data.ends_with(r#"{"greeting":"Hallo Welt","whole":3,"double":3.0}"#)
            || data.ends_with(r#"{"double":3.0,"greeting":"Hallo Welt","whole":3}"#),
        "{data}"
    );
    let head = shown("head");
    let [idle, counter, op] = head.lines().last().unwrap().split(' ').collect::<Vec<_>>()[..]
    else {
        panic!("{head}")
    };
    assert!(Timestamp::from_millis(idle.parse().unwrap()) > now());
    assert_eq!((counter, op.len()), ("1", 16));
    assert_eq!(shown("user"), "$-1");
}

#[tokio::test]
async fn redis_deletes_a_record_after_its_deadline() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), Some("mary"))).await;
    let ttl = |name: &str| -> u64 {
        scene.ask(&format!("PTTL {name}")).trim_start_matches(':').parse().unwrap()
    };
    let near = |ttl: u64, expected: Duration| {
        let expected = expected.as_millis() as u64;
        assert!(ttl <= expected && ttl + 60_000 > expected, "{ttl} is not near {expected}");
    };
    let name = scene.name(&base.record.header.key);
    near(ttl(&name), minutes(60 + 15));
    let to = now().after(minutes(90));
    store.touch(&base.record.header.key, to, now()).await.unwrap();
    near(ttl(&name), minutes(90 + 15));
    replace(&store, &base, |record| record.header.idle_deadline = now().after(minutes(20)))
        .await
        .unwrap();
    near(ttl(&name), minutes(20 + 15));
    let users = scene.ask(&format!("KEYS {}:user:*", scene.config.prefix));
    near(ttl(users.lines().last().unwrap()), minutes(120 + 15));
}

/// It takes Redis a tenth of the time of a commit, so the commits of a busy session share one.
#[tokio::test]
async fn the_expiry_moves_with_the_minute_of_the_deadline() {
    let scene = Scene::new();
    let store = scene.store().await;
    let at = |seconds: u64| {
        Timestamp::from_millis(now().as_millis() / 60_000 * 60_000)
            .after(minutes(60) + Duration::from_secs(seconds))
    };
    let base = create(&store, &record(random_key(), None)).await;
    let until = |deadline| move |record: &mut Record| record.header.idle_deadline = deadline;
    let base = replace(&store, &base, until(at(10))).await.unwrap();
    let name = scene.name(&base.record.header.key);
    scene.ask(&format!("PERSIST {name}"));
    let base = replace(&store, &base, until(at(50))).await.unwrap();
    assert_eq!(scene.ask(&format!("PTTL {name}")), ":-1");
    replace(&store, &base, until(at(60))).await.unwrap();
    assert_ne!(scene.ask(&format!("PTTL {name}")), ":-1");
}

#[tokio::test]
async fn what_someone_edits_is_what_the_next_request_reads() {
    let scene = Scene::new();
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let name = scene.only();
    let edit = |data: &str| {
        let script = edit_script();
        scene.ask(&format!("EVAL \"{script}\" 1 {name} '{data}'"))
    };
    edit(r#"{"views":41}"#);
    // What this process has cached is older.
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "42");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "Some(42)");

    for broken in [r#"{"views":"#, "[]", "7", ""] {
        edit(broken);
        for path in ["/read", "/add"] {
            assert_eq!(visitor.get(&app, path).await.status, 500, "{broken} at {path}");
        }
        let data = scene.ask(&format!("HGET {name} data"));
        assert!(data.trim_end().ends_with(broken), "nothing is lost: {data}");
    }
    edit(r#"{"views":7}"#);
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "8", "mended, and all works again");

    scene.ask(&format!("DEL {name}"));
    assert_eq!(edit(r#"{"views":1}"#), ":0", "what is gone stays gone");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");

    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let name = scene.only();
    visitor.get(&app, "/logout").await.ok();
    let script = edit_script();
    let edited = scene.ask(&format!("EVAL \"{script}\" 1 {name} '{{}}'"));
    assert_eq!(edited, ":0", "no edit makes a session of a mark");
    assert_eq!(scene.ask(&format!("HGET {name} format")), "$5\r\nended");
}

/// What the page says to change a session with.
fn edit_script() -> &'static str {
    let page = include_str!("../../../docs/redis.md");
    let (_, rest) = page.split_once("EVAL \"").unwrap();
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn a_field_that_is_set_on_nothing_makes_no_session() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    scene.ask(&format!("DEL {}", scene.name(&key)));
    scene.ask(&format!("HSET {} data {{}}", scene.name(&key)));
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Missing);
    assert!(matches!(replace(&store, &base, |_| {}).await, Err(CommitError::Gone)));
    let touched = store.touch(&key, now().after(minutes(90)), now()).await;
    assert!(matches!(touched, Err(CommitError::Gone)));
    let again = create(&store, &record(key, None)).await;
    assert_eq!(live(&store, &key).await, Some(again));
}

#[tokio::test]
async fn a_mark_is_what_a_person_can_read_and_goes_by_itself() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), Some("mary"))).await;
    let moved = renew(&store, &base).await;
    let (from, to) = (base.record.header.key, moved.record.header.key);
    let field = |key: &Key, field: &str| {
        let said = scene.ask(&format!("HGET {} {field}", scene.name(key)));
        said.lines().last().unwrap().to_owned()
    };
    assert_eq!((field(&from, "format"), field(&from, "key")), ("moved".to_owned(), to.to_string()));
    let until: u64 = field(&from, "absolute_deadline").parse().unwrap();
    let until = Timestamp::from_millis(until);
    assert!(until > now() && until <= now().after(MARK_TIME), "{until:?}");
    destroy(&store, &to).await;
    assert_eq!(field(&to, "format"), "ended");
    for key in [from, to] {
        let name = scene.name(&key);
        assert_eq!(scene.ask(&format!("HEXISTS {name} data")), ":0", "no data stays behind");
        let ttl = scene.ask(&format!("PTTL {name}"));
        let ttl: u64 = ttl.trim_start_matches(':').parse().unwrap();
        assert!(ttl > 5 * 60_000 && ttl <= 10 * 60_000, "{ttl}");
    }
    // What is dead for the app may still be there, and is in nobody's way.
    let later = now().after(MARK_TIME);
    let fresh = record(to, None);
    store.commit(Write::Create { record: &fresh }, later).await.unwrap();
    assert_eq!(store.load(&to, later).await.unwrap().live().unwrap().record, fresh);
}

#[tokio::test]
async fn what_is_deleted_by_hand_leaves_no_mark() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    scene.ask(&format!("DEL {}", scene.name(&key)));
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Missing);
    destroy(&store, &key).await;
    assert_eq!(scene.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_record_is_ended_and_leaves_its_mark() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    scene.ask(&format!("HDEL {} head", scene.name(&key)));
    let Err(CommitError::Failed(error)) = store.touch(&key, now(), now()).await else {
        panic!("a record without a head was touched")
    };
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
    destroy(&store, &key).await;
    assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Ended);
}

#[tokio::test]
async fn what_is_no_record_is_told_and_left_alone() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    scene.ask(&format!("HDEL {} head", scene.name(&key)));
    let error = store.load(&key, now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let other = record(key, None);
    let created = store.commit(Write::Create { record: &other }, now()).await;
    assert!(matches!(created, Err(CommitError::Conflict(_))), "{created:?}");

    scene.ask(&format!("DEL {}", scene.name(&key)));
    scene.ask(&format!("SET {} hunter2", scene.name(&key)));
    let error = store.load(&key, now()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
    let Err(CommitError::Failed(error)) = replace(&store, &base, |_| {}).await else {
        panic!("a string was written over")
    };
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
    assert!(scene.ask(&format!("GET {}", scene.name(&key))).ends_with("hunter2"));
}

/// As after a failover: the counter went back, and others moved it on to the same number.
#[tokio::test]
async fn a_counter_that_is_the_same_by_other_commits_is_a_conflict() {
    let scene = Scene::new();
    let store = scene.store().await;
    let first = create(&store, &record(random_key(), None)).await;
    let lost = replace(&store, &first, |_| {}).await.unwrap();
    let header = &first.record.header;
    scene.set_head(header, header.idle_deadline);
    let other = replace(&store, &first, |_| {}).await.unwrap();
    assert_eq!(other.version, lost.version, "the number is the same");
    match replace(&store, &lost, |_| {}).await {
        Err(CommitError::Conflict(Some(newer))) => assert_eq!(newer, other),
        ended => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn a_users_set_repairs_itself_and_loses_nobody() {
    let scene = Scene::new();
    let store = scene.store().await;
    let mut expected = Vec::new();
    for n in 0..5 {
        let base = create(&store, &record(random_key(), Some("mary"))).await;
        let key = base.record.header.key;
        match n {
            // Ended behind the back of the library.
            0 => _ = scene.ask(&format!("DEL {}", scene.name(&key))),
            1 => destroy(&store, &key).await,
            2 => {
                let other = User { name: "john".to_owned(), generation: 0 };
                let johns = |record: &mut Record| record.header.user = Some(other);
                replace(&store, &base, johns).await.unwrap();
            }
            _ => expected.push(key),
        }
    }
    expected.sort_unstable();
    let listed = async |now| {
        let page = store.list_by_user("mary", None, 100, now).await.unwrap();
        page.records.iter().map(|loaded| loaded.record.header.key).collect::<Vec<_>>()
    };
    let users = scene.ask(&format!("KEYS {}:user:*:mary", scene.config.prefix));
    let users = users.lines().last().unwrap().to_owned();
    let members = async || {
        // What nobody waits for is sent when this test lets it, and before what is asked after it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        store.ping().await.unwrap();
        scene.ask(&format!("ZCARD {users}"))
    };
    assert_eq!(listed(now()).await, expected);
    assert_eq!(members().await, ":3", "what ended through the library has left");
    assert_eq!(listed(now().after(minutes(5))).await, expected);
    assert_eq!(members().await, ":3", "a young member may belong to a commit that is under way");
    assert_eq!(listed(now().after(minutes(15))).await, expected);
    assert_eq!(members().await, ":2");
    assert_eq!(listed(now()).await, expected);

    // A set that is lost altogether loses what it listed until the next login.
    scene.ask(&format!("DEL {users}"));
    assert!(listed(now()).await.is_empty());
    let again = create(&store, &record(random_key(), Some("mary"))).await;
    assert_eq!(listed(now()).await, [again.record.header.key]);
}

#[tokio::test]
async fn logins_do_not_fill_a_users_set_for_ever() {
    let scene = Scene::new();
    let store = scene.store().await;
    for _ in 0..20 {
        create(&store, &record(random_key(), Some("bot"))).await;
    }
    // Three hours later, when all of these are dead, nobody has ever listed them.
    let later = now().after(minutes(180));
    let mut record = Record::clone(&record(random_key(), Some("bot")));
    record.header.idle_deadline = later.after(minutes(60));
    record.header.absolute_deadline = later.after(minutes(60));
    let record = Arc::new(record);
    store.commit(Write::Create { record: &record }, later).await.unwrap();
    let users = scene.ask(&format!("KEYS {}:user:*:bot", scene.config.prefix));
    let card = scene.ask(&format!("ZCARD {}", users.lines().last().unwrap()));
    assert_eq!(card, ":1");
}

#[tokio::test]
async fn a_renew_goes_to_any_key_that_the_layer_draws() {
    let scene = Scene::new();
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    for views in 2..6 {
        let old = visitor.cookie.clone();
        visitor.get(&app, "/renew").await.ok();
        assert_ne!(visitor.cookie, old);
        assert_eq!(visitor.get(&app, "/add").await.ok().body, views.to_string());
        assert_eq!(app.get("/read", &old).await.status, 409, "it moved on a moment ago");
        scene.only();
    }
    visitor.get(&app, "/logout").await.ok();
    assert_eq!(scene.names().len(), 5, "four moved, and one ended");
    for name in scene.names() {
        assert_eq!(scene.ask(&format!("HEXISTS {name} head")), ":0", "only marks are left");
    }
}
