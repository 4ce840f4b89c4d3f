//! What memcached does with times, sizes and memory, and what others write into it.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn no_deadline_is_a_trap() {
    let mut scene = Scene::shared();
    let store = scene.store().await;
    let mut shell = Shell::new(testbed::memcached::shared()[0]);
    let month = 30 * DAY;
    let second = Duration::from_secs(1);
    let year = 365 * DAY;
    for left in [
        Duration::ZERO,
        second,
        HOUR,
        month - 400 * second,
        month - 301 * second,
        month - 300 * second,
        month - second,
        month,
        month + second,
        3 * year,
        30 * year,
        5000 * year,
        Duration::MAX,
    ] {
        let mut record = scene.record(1);
        record.header.idle_deadline = scene.now.after(left);
        record.header.absolute_deadline = Timestamp::MAX;
        let base = scene.create(&store, record).await;
        let item = shell.get(&scene.name(&base.record.header.key)).expect("no item ends at once");
        let slack = 24 * 3600 + 60;
        let left = left.as_secs();
        match item.seconds {
            -1 => assert!(left > 10 * 365 * 24 * 3600, "for ever, in the place of {left} s"),
            stands => {
                let stands = stands.unsigned_abs();
                assert!(stands > left + 290 && stands < left + slack, "{stands}, not {left} s");
            }
        }
        if left > 0 {
            assert_eq!(scene.found(&store, &base.record.header.key).await, Some(base));
        }
    }
    // An app whose clock stands in 1970 keeps its sessions all the same.
    scene.now = Timestamp::from_millis(1000);
    for left in [HOUR, 60 * DAY] {
        let mut record = scene.record(1);
        record.header.idle_deadline = scene.now.after(left);
        record.header.absolute_deadline = scene.now.after(90 * DAY);
        let base = scene.create(&store, record).await;
        assert_eq!(scene.found(&store, &base.record.header.key).await, Some(base));
    }
}

#[tokio::test]
async fn a_touch_moves_the_lifetime_too_and_keeps_what_others_write() {
    let scene = Scene::shared();
    let store = scene.store().await;
    let mut shell = Shell::new(testbed::memcached::shared()[0]);
    let base = scene.create(&store, scene.record(1)).await;
    let key = base.record.header.key;
    let name = scene.name(&key);
    let touch = |to: Duration| {
        let (store, now) = (store.clone(), scene.now);
        async move { store.touch(&key, now.after(to), now).await }
    };
    touch(3 * HOUR).await.unwrap();
    assert!((10_800..11_200).contains(&shell.get(&name).unwrap().seconds));
    touch(2 * HOUR).await.unwrap();
    assert!(shell.get(&name).unwrap().seconds > 10_700, "never back");
    touch(100 * HOUR).await.unwrap();
    let item = shell.get(&name).unwrap();
    assert!((43_200..43_600).contains(&item.seconds), "not past the absolute deadline: {item:?}");
    let newest = scene.found(&store, &key).await.unwrap();
    assert_eq!(newest.version.0, item.token);
}

#[tokio::test]
async fn an_item_is_what_a_person_can_read_edit_and_delete() {
    let scene = Scene::shared();
    let store = scene.store().await;
    let mut shell = Shell::new(testbed::memcached::shared()[0]);
    let base = scene.create(&store, scene.record(1)).await;
    let key = base.record.header.key;
    let name = scene.name(&key);
    let item = shell.get(&name).unwrap();
    assert_eq!(item.value["data"], json!({ "n": 1 }));
    assert_eq!(item.value["header"]["key"], json!(key.to_string()));
    assert_eq!(item.value["header"]["counter"], json!(1));
    assert_eq!((item.flags, item.token), (0, base.version.0), "text, for the clients of others");

    let mut edited = item.value;
    edited["data"] = json!({ "n": 41, "note": "checked" });
    assert_eq!(shell.set(&name, &edited.to_string(), &format!("C{} T600", item.token)), "HD");
    let stale =
        store.commit(Write::Replace { base: &base, record: &next(&base, 2) }, scene.now).await;
    let Err(CommitError::Conflict(Some(newer))) = stale else { panic!("{stale:?}") };
    assert_eq!((n_of(&newer), newer.record.data.len()), (41, 2), "the newer one comes along");
    let record = next(&newer, 42);
    store.commit(Write::Replace { base: &newer, record: &record }, scene.now).await.unwrap();

    assert_eq!(shell.delete(&name), "HD");
    assert_eq!(store.load(&key, scene.now).await.unwrap(), Lookup::Missing);
    let late = store.commit(Write::Replace { base: &newer, record: &record }, scene.now).await;
    assert!(matches!(late, Err(CommitError::Gone)), "{late:?}");
}

#[tokio::test]
async fn what_others_leave_under_a_key_is_an_error_and_can_be_destroyed() {
    let scene = Scene::shared();
    let store = scene.store().await;
    let mut shell = Shell::new(testbed::memcached::shared()[0]);
    let other = scene.create(&store, scene.record(1)).await;
    let stranger = shell.get(&scene.name(&other.record.header.key)).unwrap().value.to_string();
    for value in ["hunter2", "{}", "", &stranger] {
        let base = scene.create(&store, scene.record(1)).await;
        let key = base.record.header.key;
        let name = scene.name(&key);
        assert_eq!(shell.set(&name, value, "T60"), "HD");
        let error = store.load(&key, scene.now).await.unwrap_err();
        assert_eq!(said(&error), (ErrorKind::Corrupt, Applied::No), "{value}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let touch = store.touch(&key, scene.now.after(2 * HOUR), scene.now).await;
        assert_eq!(failure(touch).kind(), ErrorKind::Corrupt);
        assert_eq!(store.destroy(&key, scene.now).await.unwrap(), Destroyed::Ended);
        assert_eq!(store.load(&key, scene.now).await.unwrap(), Lookup::Ended);
    }
}

/// A record whose item has so many bytes as JSON.
fn sized(scene: &Scene, base: &Loaded, bytes: usize) -> Arc<Record> {
    let mut record = Record::clone(&next(base, 2));
    record.data.insert("fill".to_owned(), json!(""));
    let empty = json!({ "header": record.header, "data": record.data }).to_string().len();
    record.data.insert("fill".to_owned(), json!("x".repeat(bytes - empty)));
    let name = scene.name(&record.header.key).len();
    assert_eq!(json!({ "header": record.header, "data": record.data }).to_string().len(), bytes);
    assert!(name < 100);
    Arc::new(record)
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    const MIB: usize = 1024 * 1024;
    for (options, limit) in [([].as_slice(), MIB), (&["-I", "2m"], 2 * MIB)] {
        let server = testbed::memcached::start(options);
        let scene = Scene::on([server.address()]);
        let store = scene.store().await;
        let base = scene.create(&store, scene.record(1)).await;
        let key = base.record.header.key;
        let fits = limit - 128 - scene.name(&key).len();
        let record = sized(&scene, &base, fits + 1);
        for write in
            [Write::Replace { base: &base, record: &record }, Write::Create { record: &record }]
        {
            let error = failure(store.commit(write, scene.now).await);
            assert_eq!(said(&error), (ErrorKind::TooLarge, Applied::No));
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("start it with a higher limit, as with `-I 2m`"), "{cause}");
        }
        // Memcached itself would have deleted what it could not replace.
        assert_eq!(scene.found(&store, &key).await, Some(base.clone()));
        let record = sized(&scene, &base, fits);
        let replace = Write::Replace { base: &base, record: &record };
        let version = store.commit(replace, scene.now).await.unwrap();
        assert_eq!(scene.found(&store, &key).await, Some(Loaded { record, version }));
    }
}

#[tokio::test]
async fn without_memory_and_evictions_a_write_fails_and_says_so() {
    let server = testbed::memcached::start(&["-M", "-m", "2"]);
    let scene = Scene::on([server.address()]);
    let store = scene.store().await;
    let mut all = Vec::new();
    let error = loop {
        let base = scene.create(&store, scene.record(1)).await;
        let record = sized(&scene, &base, 100_000);
        match store.commit(Write::Replace { base: &base, record: &record }, scene.now).await {
            Ok(version) => all.push(Loaded { record, version }),
            Err(CommitError::Failed(error)) => {
                // It has no memory for the new one, and deletes the old one.
                let found = scene.found(&store, &base.record.header.key).await;
                assert_eq!(found, None);
                break error;
            }
            other => panic!("{other:?}"),
        }
        assert!(all.len() < 100);
    };
    assert_eq!(said(&error), (ErrorKind::Unavailable, Applied::No));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("has no memory for an item of this size"), "{cause}");
    for base in all {
        let found = scene.found(&store, &base.record.header.key).await;
        assert_eq!(found, Some(base), "all others are whole");
    }
}

#[tokio::test]
async fn a_server_that_is_added_takes_its_share_and_nothing_else_moves() {
    let [one, two, three] = testbed::memcached::shared();
    let before = Scene::on([one, two]);
    let mut after = Scene::on([three, two, one]);
    after.config.prefix.clone_from(&before.config.prefix);
    let (store, grown) = (before.store().await, after.store().await);
    let mut stayed = 0;
    for n in 0..120 {
        let base = before.create(&store, before.record(n)).await;
        let key = base.record.header.key;
        if let Lookup::Live(found) = grown.load(&key, before.now).await.unwrap() {
            assert_eq!(found, base);
            stayed += 1;
        }
    }
    assert!((55..105).contains(&stayed), "two of three stay where they are, not {stayed} of 120");
}

#[tokio::test]
async fn a_mark_is_a_small_item_that_outlasts_its_minute_and_has_nothing_of_the_session() {
    let scene = Scene::shared();
    let store = scene.store().await;
    let mut shell = Shell::new(testbed::memcached::shared()[0]);
    let until = scene.now.after(MARK_TIME).as_millis();
    let base = scene.create(&store, scene.record(1)).await;
    let (old, target) = (base.record.header.key, renewed(&base));
    let new = target.header.key;
    let renew = Write::Renew { base: &base, record: &target };
    store.commit(renew, scene.now).await.unwrap();
    assert_eq!(store.destroy(&new, scene.now).await.unwrap(), Destroyed::Ended);
    let left = shell.get(&scene.name(&old)).unwrap();
    let names: Vec<_> = left.value.as_object().unwrap().keys().collect();
    assert_eq!(names, ["arrived", "left_for", "op", "until"]);
    assert_eq!(left.value["until"], json!(until));
    let ended = shell.get(&scene.name(&new)).unwrap();
    assert_eq!(ended.value, json!({ "ended": true, "until": until }));
    for item in [left, ended] {
        // Far behind the mark's own time, since the clocks of app and server may differ.
        assert!((600..=660).contains(&item.seconds), "{item:?}");
    }
}

/// Law 12 in the weaker form that this store keeps.
#[tokio::test]
async fn where_a_mark_was_evicted_it_is_as_if_nothing_had_been_there() {
    let scene = Scene::shared();
    let store = scene.store().await;
    let mut shell = Shell::new(testbed::memcached::shared()[0]);
    let base = scene.create(&store, scene.record(1)).await;
    let (old, target) = (base.record.header.key, renewed(&base));
    let new = target.header.key;
    let renew = Write::Renew { base: &base, record: &target };
    store.commit(renew, scene.now).await.unwrap();
    assert_eq!(shell.delete(&scene.name(&old)), "HD");
    assert_eq!(store.load(&old, scene.now).await.unwrap(), Lookup::Missing);
    assert_eq!(store.destroy(&old, scene.now).await.unwrap(), Destroyed::Nothing);
    assert!(scene.found(&store, &new).await.is_some(), "the session lives where it went");
    store.destroy(&new, scene.now).await.unwrap();
    assert_eq!(shell.delete(&scene.name(&new)), "HD");
    assert_eq!(store.load(&new, scene.now).await.unwrap(), Lookup::Missing);
    // What was ended stays so: who has the record from before finds it gone.
    let late = next(&base, 2);
    let replace = Write::Replace { base: &base, record: &late };
    let late = store.commit(replace, scene.now).await;
    assert!(matches!(late, Err(CommitError::Gone)), "{late:?}");
}

#[tokio::test]
async fn nothing_is_told_of_a_session_in_a_message() {
    let mut server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let store = scene.store().await;
    let base = scene.create(&store, scene.record(1)).await;
    let key = base.record.header.key;
    server.kill();
    let error = store.load(&key, scene.now).await.unwrap_err();
    for text in [format!("{error:?}"), format!("{store:?}")] {
        assert!(!text.contains(&key.to_string()) && !text.contains("Key("), "{text}");
    }
}

/// How many commands each kind of request sends, as the page on memcached says.
#[tokio::test]
async fn each_request_costs_what_the_page_says() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let clock = ingle::clock::ManualClock::new(scene.now);
    let store: Arc<dyn ingle::store::Store> = Arc::new(scene.store().await);
    let layer = || {
        ingle::SessionLayer::new(Arc::clone(&store))
            .sweep_every(None)
            .deadline(crate::common::LONG)
            .clock(Arc::new(clock.clone()))
    };
    let process = |layer| {
        crate::common::app(&layer)
            .on("/none", async || "")
            .on("/read", async |session: ingle::Session| {
                session.get::<u64>("n").await.map(|n| format!("{n:?}"))
            })
            .on("/add", async |session: ingle::Session| {
                session.field("n").update(|n: &mut u64| *n += 1).await
            })
            .on("/renew", async |session: ingle::Session| session.renew().await)
            .on("/logout", async |session: ingle::Session| session.logout().await)
    };
    let (one, other) = (process(layer()), process(layer()));
    let mut visitor = crate::common::Visitor::default();
    let mut shell = Shell::new(server.address());
    let mut commands = || {
        let stats = ["cmd_get", "cmd_set", "delete_hits", "delete_misses"];
        stats.map(|stat| shell.stat(stat)).iter().sum::<u64>()
    };
    let mut all = commands();
    for (app, path, later, expected, what) in [
        (&one, "/none", 0, 0, "does not look"),
        (&one, "/add", 0, 1, "begins one"),
        (&one, "/none", 0, 0, "does not look"),
        (&one, "/read", 0, 1, "reads"),
        (&one, "/add", 0, 1, "changes what it knew"),
        (&other, "/add", 0, 2, "changes what it did not know"),
        (&one, "/add", 0, 3, "changes what another one changed"),
        (&one, "/read", 600, 3, "reads, and moves the deadline"),
        (&one, "/add", 0, 3, "changes what was touched"),
        (&one, "/renew", 0, 3, "renews what it knew"),
        (&one, "/logout", 0, 2, "ends"),
    ] {
        clock.advance(Duration::from_secs(later));
        visitor.get(app, path).await.ok();
        all += expected;
        // A touch may follow the answer.
        while commands() < all {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(commands(), all, "{what}");
    }
}
