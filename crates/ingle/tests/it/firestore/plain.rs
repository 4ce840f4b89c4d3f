//! Plain ids: every law on keys of plain ids, and what the tutorial's app sees of them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use ingle::{
    ListOptions,
    clock::Timestamp as Instant,
    operator::{AuditOutcome, Operator},
    record::{Loaded, Record, Version},
    store::{
        Cursor, Destroyed, Info, List, MARK_TIME, Page, Store, Swept, Write, conformance::Place,
    },
};

use super::*;

/// A store of sessions with plain ids, for a suite whose keys are random: each has a plain id that
/// stands for it.
#[derive(Clone, Debug)]
struct ForAnyKey {
    store: Firestore,
    /// The key that the suite knows by the key of the plain id.
    keys: Arc<Mutex<HashMap<Key, Key>>>,
}

impl ForAnyKey {
    async fn open(place: &Place) -> Self {
        let mut config = FirestoreConfig::new("ingle-test", place.name());
        config.emulator = Some(testbed::firestore::hidane().to_string());
        config.ids = Ids::Plain;
        Self { store: Firestore::open(config).await.unwrap(), keys: Arc::default() }
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Key, Key>> {
        self.keys.lock().unwrap()
    }

    fn plain(&self, key: &Key) -> Key {
        let half = |number: u8| {
            let mut hasher = DefaultHasher::new();
            (number, key.as_bytes()).hash(&mut hasher);
            hasher.finish()
        };
        let digits = format!("{:016x}{:016x}", half(0), half(1));
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
        let plain = Key::of_plain_id(&parts.join("-")).unwrap();
        self.keys().insert(plain, *key);
        plain
    }

    fn plain_record(&self, record: &Record) -> Arc<Record> {
        let mut record = record.clone();
        record.header.key = self.plain(&record.header.key);
        Arc::new(record)
    }

    fn plain_loaded(&self, loaded: &Loaded) -> Loaded {
        Loaded { record: self.plain_record(&loaded.record), version: loaded.version }
    }

    fn known(&self, key: &Key) -> Key {
        self.keys()[key]
    }

    fn known_loaded(&self, loaded: &Loaded) -> Loaded {
        let mut record = Record::clone(&loaded.record);
        record.header.key = self.known(&record.header.key);
        Loaded { record: Arc::new(record), version: loaded.version }
    }

    fn known_error(&self, error: CommitError) -> CommitError {
        match error {
            CommitError::Conflict(Some(newer)) => {
                CommitError::Conflict(Some(self.known_loaded(&newer)))
            }
            other => other,
        }
    }

    fn known_page(&self, mut page: Page) -> Page {
        page.records = page.records.iter().map(|loaded| self.known_loaded(loaded)).collect();
        page
    }
}

#[async_trait]
impl Store for ForAnyKey {
    fn info(&self) -> Info {
        // Only this process knows which key a plain one stands for.
        let info = self.store.info();
        let capabilities = info.capabilities.in_one_process();
        info.with_capabilities(capabilities)
    }

    async fn load(&self, key: &Key, now: Instant) -> Result<Lookup, store::Error> {
        Ok(match self.store.load(&self.plain(key), now).await? {
            Lookup::Live(loaded) => Lookup::Live(self.known_loaded(&loaded)),
            Lookup::Moved { to } => Lookup::Moved { to: self.known(&to) },
            other => other,
        })
    }

    async fn commit(&self, write: Write<'_>, now: Instant) -> Result<Version, CommitError> {
        let record = &self.plain_record(write.record());
        let base = match write {
            Write::Create { .. } => None,
            Write::Replace { base, .. } | Write::Renew { base, .. } => {
                Some(self.plain_loaded(base))
            }
        };
        let write = match (write, &base) {
            (Write::Replace { .. }, Some(base)) => Write::Replace { base, record },
            (Write::Renew { .. }, Some(base)) => Write::Renew { base, record },
            _ => Write::Create { record },
        };
        self.store.commit(write, now).await.map_err(|error| self.known_error(error))
    }

    async fn touch(&self, key: &Key, deadline: Instant, now: Instant) -> Result<(), CommitError> {
        self.store.touch(&self.plain(key), deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Instant) -> Result<Destroyed, store::Error> {
        Ok(match self.store.destroy(&self.plain(key), now).await? {
            Destroyed::Moved { to } => Destroyed::Moved { to: self.known(&to) },
            here => here,
        })
    }

    async fn sweep(&self, now: Instant, limit: usize) -> Result<Swept, store::Error> {
        self.store.sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), store::Error> {
        self.store.ping().await
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }
}

#[async_trait]
impl List for ForAnyKey {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Instant,
    ) -> Result<Page, store::Error> {
        Ok(self.known_page(self.store.list(after, limit, now).await?))
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Instant,
    ) -> Result<Page, store::Error> {
        Ok(self.known_page(self.store.list_by_user(user, after, limit, now).await?))
    }
}

ingle::conformance!(plain_keys, |place| async move { ForAnyKey::open(&place).await });

#[tokio::test]
async fn the_tutorials_app_never_finds_a_mark() {
    let scene = Scene::new().await.with(Ids::Plain);
    let app = scene
        .app()
        .await
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let id = |visitor: &Visitor| visitor.cookie.strip_prefix("session_id=").unwrap().to_owned();
    let first = id(&visitor);
    assert!(scene.document(&first).await.is_some(), "its name is the cookie");
    visitor.get(&app, "/renew").await.ok();
    let second = id(&visitor);
    visitor.get(&app, "/logout").await.ok();
    let store = scene.store().await;
    for (id, expected) in [
        (&first, Lookup::Moved { to: Key::of_plain_id(&second).unwrap() }),
        (&second, Lookup::Ended),
    ] {
        assert!(scene.document(id).await.is_none());
        let key = Key::of_plain_id(id).unwrap();
        assert_eq!(store.load(&key, SystemClock.now()).await.unwrap(), expected);
        assert!(scene.document(&key.to_string()).await.is_some(), "the mark is beside it");
    }
}

/// The tutorial's app makes a new document of any id that a browser brings.
#[tokio::test]
async fn a_session_that_the_tutorials_app_begins_anew_counts_more_than_a_mark() {
    let scene = Scene::new().await.with(Ids::Plain);
    let store = scene.store().await;
    let views = |n| HashMap::from([("views".to_owned(), Value { value_type: Some(integer(n)) })]);
    let key = Key::of_plain_id(UUID).unwrap();
    scene.set(UUID, views(7)).await;
    let now = SystemClock.now();
    assert_eq!(store.destroy(&key, now).await.unwrap(), Destroyed::Ended);
    assert_eq!(store.load(&key, now).await.unwrap(), Lookup::Ended);
    scene.set(UUID, views(1)).await;
    let live = store.load(&key, now).await.unwrap().live().unwrap();
    assert_eq!(live.record.data["views"], 1);
    assert_eq!(store.list(None, 10, now).await.unwrap().records, [live]);
    assert_eq!(store.destroy(&key, now.after(MARK_TIME)).await.unwrap(), Destroyed::Ended);
    let found = store.load(&key, now.after(MARK_TIME)).await.unwrap();
    assert_eq!(found, Lookup::Ended, "a new mark has taken the old one's place");
}

#[tokio::test]
async fn no_debug_output_of_the_store_tells_a_plain_id() {
    let scene = Scene::new().await.with(Ids::Plain);
    let store = scene.store().await;
    let views = HashMap::from([("views".to_owned(), Value { value_type: Some(integer(7)) })]);
    scene.set(UUID, views).await;
    let now = SystemClock.now();
    let page = store.list(None, 1, now).await.unwrap();
    let found = store.load(&Key::of_plain_id(UUID).unwrap(), now).await.unwrap();
    let text = format!("{store:?} {page:?} {found:?}");
    assert!(text.contains("views"), "{text}");
    for part in UUID.split('-').filter(|part| part.len() > 4) {
        assert!(!text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn what_an_operator_does_is_written_down_beside_plain_ids() {
    for ids in [Ids::Plain, Ids::Upgrade] {
        let scene = Scene::new().await.with(ids);
        let mut visitor = Visitor::default();
        visitor.get(&scene.app().await, "/add").await.ok();
        let sessions = scene.layer().await.sessions().operated_by(Operator::new("ada"));
        let options = ListOptions::new();
        let found = sessions.list(&options, None).await.unwrap().sessions.remove(0);
        let prefix = found.info().handle.to_string()[..6].parse().unwrap();
        assert_eq!(sessions.find_by_prefix(&prefix, 2).await.unwrap().sessions.len(), 1, "{ids:?}");
        found.update(|data: &mut ingle::data::Data| data.clear()).await.unwrap();
        found.end().await.unwrap();
        let lines = sessions.audit_log(None).await.unwrap().lines;
        assert_eq!(lines.len(), 2, "{ids:?}");
        assert!(lines.iter().all(|line| line.outcome == AuditOutcome::Done), "{lines:?}");
        assert!(sessions.list(&options, None).await.unwrap().sessions.is_empty(), "{ids:?}");
    }
}
