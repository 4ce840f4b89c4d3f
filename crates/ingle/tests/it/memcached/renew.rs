//! A renew, stopped after each of its steps: exactly one live session is there, on one server and
//! with both keys on different ones.

use super::*;

/// A renew that is about to be made, by a process that is going to crash.
struct Crash {
    scene: Scene,
    store: Memcached,
    base: Loaded,
    record: Arc<Record>,
    /// On the servers of the old and the new key.
    shells: [Shell; 2],
}

impl Crash {
    /// On one server, and on two such that each has one of the keys.
    async fn each() -> [Self; 2] {
        let [one, two, _] = testbed::memcached::shared();
        let crash = Self::begin(Scene::on([one]), [one, one]).await;
        loop {
            let other = Self::begin(Scene::on([one, two]), [one, two]).await;
            // Not all keys are on the servers where this one needs them.
            let Some(other) = other.well_placed().await else { continue };
            return [crash, other];
        }
    }

    async fn begin(scene: Scene, [old, new]: [SocketAddr; 2]) -> Self {
        let store = scene.store().await;
        let base = scene.create(&store, scene.record(1)).await;
        let record = renewed(&base);
        Self { scene, store, base, record, shells: [Shell::new(old), Shell::new(new)] }
    }

    async fn well_placed(mut self) -> Option<Self> {
        let old = self.scene.name(&self.base.record.header.key);
        self.shells[0].get(&old)?;
        let probe = self.scene.create(&self.store, Record::clone(&self.record)).await;
        let name = self.scene.name(&probe.record.header.key);
        self.shells[1].get(&name)?;
        self.shells[1].delete(&name);
        Some(self)
    }

    fn keys(&self) -> [Key; 2] {
        [self.base.record.header.key, self.record.header.key]
    }

    fn names(&self) -> [String; 2] {
        self.keys().map(|key| self.scene.name(&key))
    }

    /// What the process does before it crashes.
    fn step(&mut self, step: u32) {
        let ([old_key, new_key], [old, new]) = (self.keys(), self.names());
        let Record { header, data } = &*self.record;
        let op = format!("{:016x}", header.ops.iter().last().unwrap().to_bits());
        let answer = match step {
            1 => {
                let arriving = json!({ "arriving_from": old_key, "header": header, "data": data });
                self.shells[1].set(&new, &arriving.to_string(), "ME T600")
            }
            2 => {
                // Where the item is gone meanwhile, no token is right.
                let arrived = self.shells[1].get(&new).map_or(0, |item| item.token);
                let until = self.scene.now.after(MARK_TIME);
                let left = json!({
                    "left_for": new_key, "op": op, "arrived": arrived, "until": until.as_millis(),
                });
                let condition = format!("C{} T660", self.base.version.0);
                self.shells[0].set(&old, &left.to_string(), &condition)
            }
            _ => {
                let token = self.shells[1].get(&new).unwrap().token;
                let here = json!({ "header": header, "data": data });
                self.shells[1].set(&new, &here.to_string(), &format!("C{token} T3600"))
            }
        };
        assert_eq!(answer, "HD");
    }

    /// The live records under the old and the new key.
    async fn found(&self) -> [Option<Loaded>; 2] {
        let [old, new] = self.look_up().await;
        [old.live(), new.live()]
    }

    async fn look_up(&self) -> [Lookup; 2] {
        let [old, new] = self.keys();
        let now = self.scene.now;
        [self.store.load(&old, now).await.unwrap(), self.store.load(&new, now).await.unwrap()]
    }

    async fn touch(&self, key: &Key) -> Result<(), CommitError> {
        let now = self.scene.now;
        self.store.touch(key, now.after(2 * HOUR), now).await
    }

    async fn destroy(&self, key: &Key) -> Destroyed {
        self.store.destroy(key, self.scene.now).await.unwrap()
    }

    async fn commit(&self, write: Write<'_>) -> Result<ingle::record::Version, CommitError> {
        self.store.commit(write, self.scene.now).await
    }

    async fn renew_again(&self) -> Result<ingle::record::Version, CommitError> {
        self.commit(Write::Renew { base: &self.base, record: &self.record }).await
    }

    /// Checks that who comes late with the old version finds it gone, changes nothing, and is told
    /// where the record went.
    async fn old_is_gone(&self) {
        let [old, new] = self.keys();
        let record = next(&self.base, 9);
        let late = [
            self.commit(Write::Replace { base: &self.base, record: &record }).await.map(drop),
            self.touch(&old).await,
            self.commit(Write::Renew { base: &self.base, record: &renewed(&self.base) })
                .await
                .map(drop),
        ];
        for done in late {
            assert!(matches!(done, Err(CommitError::Gone)), "{done:?}");
        }
        assert_eq!(self.destroy(&old).await, Destroyed::Moved { to: new });
        let [found, moved] = self.look_up().await;
        assert_eq!(found, Lookup::Moved { to: new });
        let moved = moved.live().unwrap();
        assert_eq!(moved.record, self.record, "nothing of that reaches the new key");
    }
}

#[tokio::test]
async fn what_arrives_is_not_there_before_the_old_key_says_so() {
    for mut crash in Crash::each().await {
        crash.step(1);
        assert_eq!(crash.found().await, [Some(crash.base.clone()), None]);
        let [_, new] = crash.keys();
        assert!(matches!(crash.touch(&new).await, Err(CommitError::Gone)));
        let create = crash.commit(Write::Create { record: &crash.record }).await;
        assert!(matches!(create, Err(CommitError::Conflict(_))), "{create:?}");
        // Memcached forgets it soon.
        let [_, name] = crash.names();
        assert!((1..=600).contains(&crash.shells[1].get(&name).unwrap().seconds));
        // The old one goes on living, and the renew that crashed can never be made any more.
        let record = next(&crash.base, 5);
        let version =
            crash.commit(Write::Replace { base: &crash.base, record: &record }).await.unwrap();
        let lives = Some(Loaded { record, version });
        let again = crash.renew_again().await;
        assert!(
            matches!(&again, Err(CommitError::Conflict(newer)) if *newer == lives),
            "{again:?}"
        );
        assert_eq!(crash.found().await, [lives, None]);
        assert_eq!(crash.shells[1].get(&name), None, "who loses leaves nothing behind");
    }
}

#[tokio::test]
async fn a_renew_that_is_sent_again_goes_on_after_its_first_step() {
    for mut crash in Crash::each().await {
        crash.step(1);
        let version = crash.renew_again().await.unwrap();
        let moved = Loaded { record: Arc::clone(&crash.record), version };
        assert_eq!(crash.found().await, [None, Some(moved)]);
        crash.old_is_gone().await;
    }
}

#[tokio::test]
async fn another_renew_can_follow_one_that_crashed_after_its_first_step() {
    for mut crash in Crash::each().await {
        crash.step(1);
        let other = renewed(&crash.base);
        let version =
            crash.commit(Write::Renew { base: &crash.base, record: &other }).await.unwrap();
        assert_eq!(crash.found().await, [None, None]);
        let found = crash.scene.found(&crash.store, &other.header.key).await;
        assert_eq!(found, Some(Loaded { record: other, version }));
    }
}

#[tokio::test]
async fn a_destroy_after_the_first_step_is_final() {
    for mut crash in Crash::each().await {
        crash.step(1);
        let [old, _] = crash.keys();
        assert_eq!(crash.destroy(&old).await, Destroyed::Ended);
        assert_eq!(crash.look_up().await, [Lookup::Ended, Lookup::Missing]);
        assert!(matches!(crash.renew_again().await, Err(CommitError::Gone)));
        assert_eq!(crash.look_up().await, [Lookup::Ended, Lookup::Missing]);
        let [_, name] = crash.names();
        assert_eq!(crash.shells[1].get(&name), None, "who loses leaves nothing behind");
    }
}

#[tokio::test]
async fn the_next_load_finishes_a_renew_that_was_made() {
    for mut crash in Crash::each().await {
        crash.step(1);
        crash.step(2);
        let [_, name] = crash.names();
        assert!(crash.shells[1].get(&name).unwrap().value.get("arriving_from").is_some());
        // All who look at once find the same.
        let [_, new] = crash.keys();
        let now = crash.scene.now;
        let loads = (0..16).map(|_| {
            let store = crash.store.clone();
            tokio::spawn(async move { store.load(&new, now).await.unwrap().live().unwrap() })
        });
        let mut found = Vec::new();
        for load in loads.collect::<Vec<_>>() {
            found.push(load.await.unwrap());
        }
        let item = crash.shells[1].get(&name).unwrap();
        assert!(item.value.get("arriving_from").is_none(), "{item:?}");
        assert!(item.seconds > 3600, "it stands as long as any other: {item:?}");
        for loaded in found {
            assert_eq!(loaded.record, crash.record);
            assert_eq!(loaded.version.0, item.token);
        }
        crash.old_is_gone().await;
    }
}

#[tokio::test]
async fn any_write_finishes_a_renew_that_was_made() {
    for which in 0..4 {
        for mut crash in Crash::each().await {
            crash.step(1);
            crash.step(2);
            let ([old, new], now) = (crash.keys(), crash.scene.now);
            match which {
                0 => {
                    crash.touch(&new).await.unwrap();
                    let [none, moved] = crash.found().await;
                    let deadline = moved.unwrap().record.header.idle_deadline;
                    assert_eq!((none, deadline), (None, now.after(2 * HOUR)));
                }
                1 => {
                    // The same renew, sent again: it was made, and its sender will find it so.
                    let again = crash.renew_again().await;
                    assert!(matches!(again, Err(CommitError::Gone)), "{again:?}");
                    crash.old_is_gone().await;
                }
                2 => {
                    // A destroy of the old key comes too late, and of the new one does not.
                    assert_eq!(crash.destroy(&old).await, Destroyed::Moved { to: new });
                    assert_eq!(crash.found().await[1].as_ref().unwrap().record, crash.record);
                    assert_eq!(crash.destroy(&new).await, Destroyed::Ended);
                    assert_eq!(crash.look_up().await, [Lookup::Moved { to: new }, Lookup::Ended]);
                }
                _ => {
                    assert_eq!(crash.destroy(&new).await, Destroyed::Ended);
                    assert_eq!(crash.look_up().await, [Lookup::Moved { to: new }, Lookup::Ended]);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_can_be_taken_when_its_mark_is_dead_and_the_record_arrives_all_the_same() {
    for mut crash in Crash::each().await {
        crash.step(1);
        crash.step(2);
        let [old, _] = crash.keys();
        let mut record = crash.scene.record(7);
        record.header.key = old;
        let record = Arc::new(record);
        let create = Write::Create { record: &record };
        let early = crash.commit(create).await;
        assert!(matches!(early, Err(CommitError::Conflict(_))), "the mark is live: {early:?}");
        let later = crash.scene.now.after(MARK_TIME);
        let version = crash.store.commit(create, later).await.unwrap();
        let [found, moved] = crash.found().await;
        assert_eq!(found, Some(Loaded { record, version }));
        assert_eq!(moved.unwrap().record, crash.record);
    }
}

#[tokio::test]
async fn after_the_last_step_nothing_is_left_to_do() {
    for mut crash in Crash::each().await {
        for step in 1..=3 {
            crash.step(step);
        }
        let [name, _] = crash.names();
        let left = crash.shells[0].get(&name).unwrap();
        assert!((600..=660).contains(&left.seconds), "{left:?}");
        crash.old_is_gone().await;
    }
}

#[tokio::test]
async fn a_renew_that_is_dropped_anywhere_leaves_one_session() {
    let scene = Scene::on(testbed::memcached::shared());
    let store = scene.store().await;
    let (mut stayed, mut moved) = (0, 0);
    for n in 0..400 {
        let base = scene.create(&store, scene.record(1)).await;
        let record = renewed(&base);
        let renew = store.commit(Write::Renew { base: &base, record: &record }, scene.now);
        let done = up_to(n % 10, renew).await;
        // What was sent on a connection that is closed since may still be done. Whether it was, nobody
        // knows, but at each moment there is one session.
        let (old, new) = loop {
            let before = store.load(&base.record.header.key, scene.now).await.unwrap();
            let new = store.load(&record.header.key, scene.now).await.unwrap();
            let after = store.load(&base.record.header.key, scene.now).await.unwrap();
            if before == after {
                break (after, new.live());
            }
        };
        match (old, new) {
            (Lookup::Live(old), None) => {
                assert!(done.is_none(), "an acknowledged renew was made");
                assert_eq!(old, base);
                stayed += 1;
            }
            (Lookup::Moved { to }, Some(new)) => {
                assert_eq!((to, &new.record), (record.header.key, &record));
                moved += 1;
            }
            other => panic!("after {n}: {other:?}"),
        }
    }
    assert!(stayed > 10 && moved > 10, "both ways were met: {stayed} and {moved}");
}

#[tokio::test]
async fn who_cannot_ask_the_old_keys_server_does_not_guess() {
    let (mut one, two) = (testbed::memcached::start(&[]), testbed::memcached::start(&[]));
    let (old, new) = (one.address(), two.address());
    let mut crash = loop {
        let crash = Crash::begin(Scene::on([old, new]), [old, new]).await;
        if let Some(crash) = crash.well_placed().await {
            break crash;
        }
    };
    crash.step(1);
    crash.step(2);
    let ([_, key], now) = (crash.keys(), crash.scene.now);
    one.kill();
    let found = crash.store.load(&key, now).await.unwrap_err();
    assert_eq!(said(&found), (ErrorKind::Unavailable, Applied::No));
    // Whoever brings back the server brings it back empty: the renew was never acknowledged.
    one.restart();
    assert_eq!(crash.found().await, [None, None]);
}

/// The first sending's first step was slow, so its caller gave up and sent the renew again. When it
/// comes at last, the session is logged out.
#[tokio::test]
async fn a_late_first_step_revives_nothing_that_was_destroyed() {
    for mut crash in Crash::each().await {
        crash.renew_again().await.unwrap();
        let ([_, new], [_, name]) = (crash.keys(), crash.names());
        assert_eq!(crash.destroy(&new).await, Destroyed::Ended);
        let ended = [Lookup::Moved { to: new }, Lookup::Ended];
        assert_eq!(crash.look_up().await, ended);
        // The mark is in its way. Without the mark, what arrives has another token than the old key's.
        assert_eq!(crash.shells[1].set(&name, "{}", "ME"), "NS");
        assert_eq!(crash.look_up().await, ended);
        assert_eq!(crash.shells[1].delete(&name), "HD");
        crash.step(1);
        assert_eq!(crash.found().await, [None, None]);
    }
}

/// Of two that would move a session to one key, none takes what the other has put there for its own.
#[tokio::test]
async fn a_renew_goes_on_from_no_first_step_but_its_own() {
    type Other = dyn Fn(&mut Record, &mut Key);
    let others: [&Other; 3] = [
        &|record, _| record.header.ops.push(Op::random().unwrap()),
        &|record, _| _ = record.data.insert("n".to_owned(), json!(7)),
        &|_, from| *from = random_key(),
    ];
    for change in others {
        for mut crash in Crash::each().await {
            let ([mut from, _], [_, name]) = (crash.keys(), crash.names());
            let mut record = Record::clone(&crash.record);
            change(&mut record, &mut from);
            let Record { header, data } = record;
            let arriving = json!({ "arriving_from": from, "header": header, "data": data });
            assert_eq!(crash.shells[1].set(&name, &arriving.to_string(), "ME T600"), "HD");
            let renewed = crash.renew_again().await;
            assert!(
                matches!(&renewed, Err(CommitError::Conflict(Some(old))) if *old == crash.base),
                "{renewed:?}"
            );
            assert_eq!(crash.found().await, [Some(crash.base.clone()), None]);
        }
    }
}

/// A load finishes the renew, and a commit follows, before the one who made the renew comes to its last step.
#[tokio::test]
async fn a_renew_that_others_went_on_from_hands_out_no_version_of_theirs() {
    for crash in Crash::each().await {
        let ([old, new], [name, _], now) = (crash.keys(), crash.names(), crash.scene.now);
        let Crash { scene, store, base, record, shells: [mut shell, _] } = crash;
        let renew = store.commit(Write::Renew { base: &base, record: &record }, now);
        let mut renew = std::pin::pin!(renew);
        // Until the answer to its second step is there, and not read.
        while shell.get(&name).unwrap().value.get("left_for").is_none() {
            assert!(up_to(1, renew.as_mut()).await.is_none());
        }
        let other = scene.store().await;
        let found = scene.found(&other, &new).await.unwrap();
        let theirs = next(&found, 7);
        other.commit(Write::Replace { base: &found, record: &theirs }, now).await.unwrap();
        let version = renew.await.unwrap();
        let renewed = Loaded { record: Arc::clone(&record), version };
        let late = next(&renewed, 8);
        let late = store.commit(Write::Replace { base: &renewed, record: &late }, now).await;
        assert!(
            matches!(&late, Err(CommitError::Conflict(Some(newer))) if newer.record == theirs),
            "{late:?}"
        );
        assert_eq!(store.load(&old, now).await.unwrap(), Lookup::Moved { to: new });
        assert_eq!(n_of(&scene.found(&store, &new).await.unwrap()), 7);
    }
}
