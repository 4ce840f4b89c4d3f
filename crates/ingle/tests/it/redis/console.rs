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
    let text = scene.text(&scene.only());
    for data in [
        r#","data":{"greeting":"Hallo Welt","whole":3,"double":3.0}}"#,
        r#","data":{"double":3.0,"greeting":"Hallo Welt","whole":3}}"#,
    ] {
        if text.ends_with(data) {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            let idle = json["idle_deadline"].as_u64().unwrap();
            assert!(Timestamp::from_millis(idle) > now());
            assert_eq!((json["counter"].as_u64(), json.get("user")), (Some(1), None));
            assert_eq!(json["ops"].as_str().unwrap().len(), 11);
            return;
        }
    }
    panic!("{text}");
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
    near(ttl(&name), minutes(60 + 20));
    let to = now().after(minutes(90));
    store.touch(&base.record.header.key, to, now()).await.unwrap();
    near(ttl(&name), minutes(90 + 20));
    let base = replace(&store, &base, |record| record.header.idle_deadline = to).await.unwrap();
    let sooner = now().after(minutes(20));
    replace(&store, &base, |record| record.header.idle_deadline = sooner).await.unwrap();
    near(ttl(&name), minutes(20 + 20));
    let users = scene.ask(&format!("KEYS {}:user:*", scene.config.prefix));
    near(ttl(users.lines().last().unwrap()), minutes(120 + 15));
}

/// As when it was edited without `KEEPTTL`.
#[tokio::test]
async fn an_expiry_that_is_missing_is_set_again() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    let name = scene.name(&key);
    let lose_expiry = || {
        scene.ask(&format!("PERSIST {name}"));
        assert_eq!(scene.ask(&format!("PTTL {name}")), ":-1");
    };
    let is_set = |what: &str| assert_ne!(scene.ask(&format!("PTTL {name}")), ":-1", "{what}");
    lose_expiry();
    store.touch(&key, now().after(minutes(90)), now()).await.unwrap();
    is_set("by a touch");
    let mut base = live(&store, &key).await.unwrap();
    lose_expiry();
    base = replace(&store, &base, |_| {}).await.unwrap();
    is_set("by a commit on what this process did not write");
    lose_expiry();
    base = replace(&store, &base, |record| record.header.idle_deadline = now().after(minutes(30)))
        .await
        .unwrap();
    is_set("by a deadline that moves far");
    lose_expiry();
    for _ in 0..16 {
        base = replace(&store, &base, |_| {}).await.unwrap();
    }
    is_set("by one commit of sixteen");
}

/// Where `SET … IFEQ` commits, it tells the time of expiry each time.
#[tokio::test]
async fn a_commit_keeps_the_expiry_of_what_this_process_wrote() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    let name = scene.name(&key);
    // In the middle of a span.
    let span = minutes(5).as_millis() as u64;
    let idle = now().after(minutes(60)).as_millis() / span * span + span / 2;
    let move_by = |by: i64| {
        let idle = Timestamp::from_millis(idle.saturating_add_signed(by));
        move |record: &mut Record| record.header.idle_deadline = idle
    };
    let base = replace(&store, &base, move_by(0)).await.unwrap();
    let until = format!(":{}", now().after(minutes(70)).as_millis());
    let set = || {
        assert_eq!(scene.ask(&format!("PEXPIREAT {name} {}", &until[1..])), ":1");
        assert_eq!(scene.ask(&format!("PEXPIRETIME {name}")), until);
    };
    set();
    let base = replace(&store, &base, move_by(120_000)).await.unwrap();
    let base = replace(&store, &base, move_by(-120_000)).await.unwrap();
    let is_kept = scene.ask(&format!("PEXPIRETIME {name}")) == until;
    assert_eq!(is_kept, !is_native(&store));
    set();
    let other = scene.store().await;
    let base = replace(&other, &base, move_by(0)).await.unwrap();
    assert_ne!(scene.ask(&format!("PEXPIRETIME {name}")), until, "another process wrote");
    set();
    replace(&other, &base, move_by(300_000)).await.unwrap();
    assert_ne!(scene.ask(&format!("PEXPIRETIME {name}")), until, "in another span");
}

/// A script may write before it looks.
#[tokio::test]
async fn a_commit_that_is_refused_leaves_the_text_and_the_expiry_as_they_were() {
    let scene = Scene::new();
    let store = scene.store().await;
    let first = create(&store, &record(random_key(), None)).await;
    // What this process wrote, and what another one did.
    let own = replace(&store, &first, |_| {}).await.unwrap();
    let other = scene.store().await;
    let key = own.record.header.key;
    let name = scene.name(&key);
    let edited = with_data(&scene.text(&name), r#"{"views":41}"#);
    let until = now().after(minutes(45)).as_millis().to_string();
    for store in [&store, &other] {
        let stale = async || replace(store, &own, |_| {}).await.unwrap_err();
        for text in [edited.as_str(), "7", "[]", ""] {
            scene.set_text(&name, text);
            scene.ask(&format!("PEXPIREAT {name} {until}"));
            stale().await;
            assert_eq!(scene.text(&name), text);
            assert_eq!(scene.ask(&format!("PEXPIRETIME {name}")), format!(":{until}"));
        }
        scene.ask(&format!("DEL {name}"));
        assert!(matches!(stale().await, CommitError::Gone));
        assert_eq!(scene.ask(&format!("EXISTS {name}")), ":0");
        scene.ask(&format!("RPUSH {name} 1 2 3"));
        stale().await;
        assert_eq!(scene.ask(&format!("LLEN {name}")), ":3");
        scene.ask(&format!("DEL {name}"));
    }
}

/// A record's text with other data.
fn with_data(text: &str, data: &str) -> String {
    let (header, _) = text.split_once(",\"data\":").unwrap();
    format!("{header},\"data\":{data}}}")
}

#[tokio::test]
async fn what_someone_edits_is_what_the_next_request_reads() {
    let scene = Scene::new();
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let name = scene.only();
    let text = scene.text(&name);
    // What this process has cached is older, though its counter and its ops are the same.
    scene.set_text(&name, &with_data(&text, r#"{"views":41}"#));
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "42");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "Some(42)");

    let text = scene.text(&name);
    for broken in [r#"{"views":"#, "[]", "7", ""] {
        let broken = with_data(&text, broken);
        scene.set_text(&name, &broken);
        for path in ["/read", "/add"] {
            assert_eq!(visitor.get(&app, path).await.status, 500, "{broken} at {path}");
        }
        assert_eq!(scene.text(&name), broken, "nothing is lost");
    }
    scene.set_text(&name, &with_data(&text, r#"{"views":7}"#));
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "8", "mended, and all works again");
}

/// Tools sort fields, write numbers in their own way, and end a text with a line break.
#[tokio::test]
async fn what_is_the_same_in_another_form_is_no_conflict() {
    let scene = Scene::new();
    let store = scene.store().await;
    for what in ["replace", "touch", "renew", "destroy", "login"] {
        let mut record = Record::clone(&record(random_key(), Some("mary")));
        record.data = json!({ "views": 10.0, "é": "é" }).as_object().cloned().unwrap();
        let base = create(&store, &Arc::new(record)).await;
        let key = base.record.header.key;
        let name = scene.name(&key);
        let text = scene.text(&name);
        let json: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap();
        let sorted = serde_json::to_string(&json).unwrap();
        let sorted = sorted.replace("10.0", "1.0e1").replace('é', "\\u00e9").replace(':', " : ");
        assert_ne!(sorted, text);
        scene.set_text(&name, &sorted);
        match what {
            "replace" => {
                let after = replace(&store, &base, |_| {}).await.unwrap();
                assert_eq!(live(&store, &key).await, Some(after));
                assert!(scene.text(&name).starts_with(r#"{"format":1,"idle_deadline":"#));
            }
            "touch" => {
                let to = now().after(minutes(90));
                store.touch(&key, to, now()).await.unwrap();
                let found = live(&store, &key).await.unwrap();
                assert_eq!(found.record.header.idle_deadline, to);
                assert_eq!(found.record.data, base.record.data);
            }
            "renew" => {
                let moved = renew(&store, &base).await;
                assert_eq!(live(&store, &moved.record.header.key).await, Some(moved));
            }
            "login" => {
                let other = User::new("john", 0, Timestamp::from_millis(7));
                let johns = |record: &mut Record| record.header.user = Some(other);
                let after = replace(&store, &base, johns).await.unwrap();
                assert_eq!(live(&store, &key).await, Some(after));
            }
            _ => {
                destroy(&store, &key).await;
                assert_eq!(store.load(&key, now()).await.unwrap(), Lookup::Ended);
            }
        }
    }
}

/// What was edited between a load and a write of it is a conflict for every kind of write.
#[tokio::test]
async fn no_write_is_made_over_an_edit() {
    let scene = Scene::new();
    let store = scene.store().await;
    for user in [None, Some("john")] {
        let base = create(&store, &record(random_key(), None)).await;
        let key = base.record.header.key;
        let edited = with_data(&scene.text(&scene.name(&key)), r#"{"views":41}"#);
        scene.set_text(&scene.name(&key), &edited);
        let login = |record: &mut Record| {
            record.header.user = user.map(|name| User::new(name, 0, Timestamp::from_millis(7)));
        };
        let newer = match replace(&store, &base, login).await {
            Err(CommitError::Conflict(Some(newer))) => newer,
            made => panic!("{made:?}"),
        };
        assert_eq!(newer.record.data["views"], 41);
        assert_ne!(newer.version, base.version);
        let to = key_beside(&store, &key);
        let record = next(&base, |record| {
            record.header.key = to;
            login(record);
        });
        let renewed = store.commit(Write::Renew { base: &base, record: &record }, now()).await;
        assert!(matches!(renewed, Err(CommitError::Conflict(Some(_)))), "{renewed:?}");
        assert_eq!(live(&store, &to).await, None);
        assert_eq!(scene.text(&scene.name(&key)), edited);
        replace(&store, &newer, |_| {}).await.unwrap();
    }
}

/// Such an edit leaves the counter and the ops as they were.
#[tokio::test]
async fn no_write_is_made_over_an_edit_of_a_deadline() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let name = scene.name(&base.record.header.key);
    let end = now().after(minutes(100));
    scene.set_number(&name, "absolute_deadline", end.as_millis());
    match replace(&store, &base, |_| {}).await {
        Err(CommitError::Conflict(Some(newer))) => {
            assert_eq!(newer.record.header.absolute_deadline, end);
        }
        ended => panic!("{ended:?}"),
    }
}

/// The lines of the page, as a shell runs them.
struct Page<'a> {
    scene: &'a Scene,
    name: String,
}

impl Page<'_> {
    /// Runs the line that begins so, with this data as the new one, and returns what it prints.
    fn run(&self, begin: &str, data: &str) -> String {
        let page = include_str!("../../../docs/redis.md");
        let line = page.lines().find_map(|line| line.strip_prefix("$ ")?.strip_prefix(begin));
        let line = format!("{begin}{}", line.expect(begin));
        let port = self.scene.server.port();
        let line = line.replace("redis-cli", &format!("redis-cli -p {port}"));
        let line = line.replace("ingle:{7f}:7f…", &self.name);
        let line = line.replace(r#"s/"views":1/"views":41/"#, &format!("s/\"views\":1/{data}/"));
        let ran = std::process::Command::new("sh").arg("-c").arg(&line).output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{line}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }
}

/// How the lines begin that look at a session, edit it, and end it.
const LOOK: &str = "redis-cli GET ";
const EDIT: &str = "k='ingle:{7f}:7f…'; old=$(redis-cli GET \"$k\"); redis-cli EVAL ";
const NATIVE_EDIT: &str = "k='ingle:{7f}:7f…'; old=$(redis-cli GET \"$k\"); redis-cli SET ";
const END: &str = "redis-cli DEL ";

#[tokio::test]
async fn the_lines_of_the_page_do_what_it_says() {
    let scene = Scene::new();
    let store = scene.store().await;
    let app = scene.app().await;
    let edits = if is_native(&store) { &[EDIT, NATIVE_EDIT] as &[_] } else { &[EDIT] };
    for edit in edits {
        let mut visitor = Visitor::default();
        visitor.get(&app, "/add").await.ok();
        let page = Page { scene: &scene, name: scene.only() };
        let look = || page.run(LOOK, "");
        assert_eq!(look(), scene.text(&page.name));
        assert!(look().ends_with(r#","data":{"views":1}}"#), "{}", look());
        assert_eq!(page.run(edit, r#""views":41"#), "OK");
        assert_ne!(scene.ask(&format!("PTTL {}", page.name)), ":-1", "it keeps its expiry");
        assert_eq!(visitor.get(&app, "/add").await.ok().body, "42");
        assert_eq!(page.run(END, ""), "1");
        assert_eq!(page.run(edit, r#""views":41"#), "", "what is gone stays gone");
        assert_eq!(scene.ask(&format!("EXISTS {}", page.name)), ":0");
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "None");
    }
}

#[tokio::test]
async fn a_mark_is_what_a_person_can_read_and_goes_by_itself() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), Some("mary"))).await;
    let moved = renew(&store, &base).await;
    let (from, to) = (base.record.header.key, moved.record.header.key);
    let until = |text: &str| {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        Timestamp::from_millis(json["until"].as_u64().unwrap())
    };
    let text = scene.text(&scene.name(&from));
    assert!(text.starts_with(&format!(r#"{{"moved_to":"{to}","until":"#)), "{text}");
    assert!(until(&text) > now() && until(&text) <= now().after(MARK_TIME), "{text}");
    destroy(&store, &to).await;
    let text = scene.text(&scene.name(&to));
    assert!(text.starts_with(r#"{"ended":true,"until":"#), "no data stays behind: {text}");
    for key in [from, to] {
        let ttl = scene.ask(&format!("PTTL {}", scene.name(&key)));
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
    assert_eq!(store.destroy(&key, now()).await.unwrap(), Destroyed::Nothing);
    assert_eq!(scene.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_record_is_ended_and_leaves_its_mark() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    let name = scene.name(&key);
    scene.set_text(&name, &scene.text(&name).replace("idle_deadline", "deadline"));
    let Err(CommitError::Failed(error)) = store.touch(&key, now(), now()).await else {
        panic!("a record without an idle deadline was touched")
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
    let name = scene.name(&key);
    scene.set_text(&name, &scene.text(&name).replace("idle_deadline", "deadline"));
    let error = store.load(&key, now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let other = record(key, None);
    let created = store.commit(Write::Create { record: &other }, now()).await;
    assert!(matches!(created, Err(CommitError::Conflict(_))), "{created:?}");

    scene.ask(&format!("DEL {name}"));
    for other in ["HSET {} hunter2 1", "SET {} hunter2"] {
        scene.ask(&other.replace("{}", &name));
        let error = store.load(&key, now()).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
        let Err(CommitError::Failed(error)) = replace(&store, &base, |_| {}).await else {
            panic!("{other} was written over")
        };
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
    }
    assert_eq!(scene.text(&name), "hunter2");
}

/// As a tool writes it that puts a space between the parts.
#[tokio::test]
async fn a_dead_record_in_another_form_is_not_touched() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let key = base.record.header.key;
    let name = scene.name(&key);
    scene.set_number(&name, "idle_deadline", 1);
    let dead = scene.text(&name).replacen('{', "{ ", 1);
    scene.set_text(&name, &dead);
    let touched = store.touch(&key, now().after(minutes(90)), now()).await;
    assert!(matches!(touched, Err(CommitError::Gone)), "{touched:?}");
    assert_eq!(scene.text(&name), dead);
}

#[tokio::test]
async fn a_record_that_was_copied_to_another_key_is_nobodys_session_there() {
    let scene = Scene::new();
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let other = create(&store, &record(random_key(), None)).await;
    let (key, other_key) = (base.record.header.key, other.record.header.key);
    let name = scene.name(&key);
    let text = scene.text(&scene.name(&other_key));
    let copy = text.replacen('{', "{ ", 1);
    scene.set_text(&name, &copy);
    let Err(CommitError::Failed(error)) = store.touch(&key, now().after(minutes(90)), now()).await
    else {
        panic!("another's session was touched")
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for idle_deadline in [other.record.header.idle_deadline.as_millis(), 1] {
        scene.set_number(&name, "idle_deadline", idle_deadline);
        match replace(&store, &base, |_| {}).await {
            Err(CommitError::Conflict(Some(found))) => {
                let found = found.record.header.key;
                assert_eq!(found.handle(), other_key.handle(), "who asks sees whose it is");
                assert_ne!(found, key);
            }
            ended => panic!("{ended:?}"),
        }
    }
    let error = store.destroy(&key, now()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::Unknown));
    assert_eq!(scene.text(&scene.name(&other_key)), text, "its own session lives");
}

/// As after a failover: the counter went back, and others moved it on to the same number.
#[tokio::test]
async fn a_counter_that_is_the_same_by_other_commits_is_a_conflict() {
    let scene = Scene::new();
    let store = scene.store().await;
    let first = create(&store, &record(random_key(), None)).await;
    let name = scene.name(&first.record.header.key);
    let before = scene.text(&name);
    let lost = replace(&store, &first, |_| {}).await.unwrap();
    scene.set_text(&name, &before);
    let other = replace(&store, &first, |_| {}).await.unwrap();
    assert_eq!(other.record.header.counter, lost.record.header.counter);
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
                let other = User::new("john", 0, Timestamp::from_millis(7));
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
    assert_eq!(members().await, ":4", "what ended through the library has left");
    assert_eq!(listed(now().after(minutes(5))).await, expected);
    assert_eq!(members().await, ":4", "a young member may belong to a commit that is under way");
    assert_eq!(listed(now().after(minutes(15))).await, expected);
    assert_eq!(members().await, ":2");
    assert_eq!(listed(now()).await, expected);

    // A set that is lost altogether is made anew.
    scene.ask(&format!("DEL {users}"));
    assert_eq!(listed(now()).await, expected);
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
        assert!(scene.text(&name).contains("\"until\":"), "only marks are left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_whole_while_other_processes_open_their_stores() {
    let scene = Scene::new();
    let store = scene.store().await;
    create(&store, &record(random_key(), None)).await;
    let config = scene.config.clone();
    let opening = tokio::spawn(async move {
        for _ in 0..200 {
            Redis::open(config.clone()).await.unwrap();
        }
    });
    let mut looks = 0;
    while !opening.is_finished() || looks < 100 {
        let mut after = None;
        let mut n_records = 0;
        loop {
            let page = store.list(after.as_ref(), 100, now()).await.unwrap();
            n_records += page.records.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(n_records, 1);
        looks += 1;
    }
    opening.await.unwrap();
}
