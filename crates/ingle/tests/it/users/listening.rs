//! What a process hears of ends in other processes, and what it does then.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use ingle::{
    clock::Timestamp,
    record::{Key, Version},
    store::{
        self, Applied, CommitError, Destroyed, ErrorKind, Info, List, Listener, Lookup, Swept,
        Write,
    },
};
use tokio::{
    sync::{Semaphore, broadcast},
    time::{Instant, sleep},
};

use super::*;

/// A store in which a process sees the end of a session only by what it hears: as long as it hears nothing, a
/// load finds what the last one of that key found. It begins anew with each connection to listen on.
#[derive(Clone, Debug)]
pub(crate) struct OnlyEars {
    store: Arc<dyn Store>,
    /// What is heard in the place of what the store tells: keys, and the end of the connection.
    script: Option<broadcast::Sender<Option<Key>>>,
    /// Closed, nobody can listen anew.
    door: Arc<Semaphore>,
    /// How often it was tried to listen, and how many of the tries to come fail.
    tries: Arc<AtomicUsize>,
    failures: Arc<AtomicUsize>,
    listeners: Arc<AtomicUsize>,
    loads: Arc<AtomicUsize>,
    found: Arc<Mutex<HashMap<Key, Lookup>>>,
}

impl OnlyEars {
    pub(crate) fn on(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            script: None,
            door: Arc::new(Semaphore::new(1)),
            tries: Arc::default(),
            failures: Arc::default(),
            listeners: Arc::default(),
            loads: Arc::default(),
            found: Arc::default(),
        }
    }

    /// Hears what a test says.
    fn scripted(store: Memory) -> (Self, broadcast::Sender<Option<Key>>) {
        let (script, _) = broadcast::channel(1024);
        (Self { script: Some(script.clone()), ..Self::on(Arc::new(store)) }, script)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<Key, Lookup>> {
        self.found.lock().unwrap()
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    fn tries(&self) -> usize {
        self.tries.load(Ordering::SeqCst)
    }

    /// Keeps it from listening anew, until it is let.
    fn shut(&self) {
        self.door.forget_permits(1);
    }

    fn let_listen(&self) {
        self.door.add_permits(1);
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::SeqCst)
    }

    /// Waits until it listens, and has seen that so many sessions live. From then on it only hears.
    pub(crate) async fn only_hears(&self, sessions: usize) {
        until(|| self.listeners() == 1 && self.found().len() == sessions).await;
    }
}

/// Waits as long as a busy machine may take.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waits).await.expect("it never came about");
}

#[async_trait]
impl Store for OnlyEars {
    fn info(&self) -> Info {
        self.store.info()
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        self.store.can_renew(from, to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, store::Error> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if let Some(found) = self.found().get(key) {
            return Ok(found.clone());
        }
        let found = self.store.load(key, now).await?;
        self.found().insert(*key, found.clone());
        Ok(found)
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        self.store.commit(write, now).await
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.store.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, store::Error> {
        self.store.destroy(key, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, store::Error> {
        self.store.sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), store::Error> {
        self.store.ping().await
    }

    fn as_list(&self) -> Option<&dyn List> {
        self.store.as_list()
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, store::Error> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        let fails = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(broken());
        }
        let _open = self.door.acquire().await.unwrap();
        let inner: Box<dyn Listener> = match &self.script {
            Some(script) => Box::new(Scripted(script.subscribe())),
            None => match self.store.listen().await? {
                Some(listener) => listener,
                None => return Ok(None),
            },
        };
        self.found().clear();
        self.listeners.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Box::new(Noted { inner, ears: self.clone() })))
    }
}

fn broken() -> store::Error {
    store::Error::new("ears", ErrorKind::Unavailable, Applied::No).with_source("on purpose")
}

struct Noted {
    inner: Box<dyn Listener>,
    ears: OnlyEars,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.ears.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Listener for Noted {
    async fn next(&mut self) -> Result<Key, store::Error> {
        let key = self.inner.next().await?;
        self.ears.found().remove(&key);
        Ok(key)
    }
}

struct Scripted(broadcast::Receiver<Option<Key>>);

#[async_trait]
impl Listener for Scripted {
    async fn next(&mut self) -> Result<Key, store::Error> {
        self.0.recv().await.unwrap().ok_or_else(broken)
    }
}

/// Sessions of users in one process, and in the other requests that wait for their ends and only hear.
pub(crate) struct Sockets {
    pub(crate) here: App,
    pub(crate) ears: OnlyEars,
    layer: SessionLayer,
    pub(crate) visitors: Vec<Visitor>,
    held: Vec<Held>,
    waiting: Vec<JoinHandle<SessionEnd>>,
}

impl Sockets {
    /// One session of each of these users.
    pub(crate) async fn open(here: &SessionLayer, ears: OnlyEars, users: &[&str]) -> Self {
        let (layer, here) = (layer(ears.clone()), shop(here));
        let mut sockets =
            Self { here, ears, layer, visitors: vec![], held: vec![], waiting: vec![] };
        for user in users {
            let visitor = logged_in(&sockets.here, user).await;
            sockets.add(visitor).await;
        }
        sockets
    }

    async fn add(&mut self, visitor: Visitor) {
        let held = Held::begin(&self.layer, &visitor.cookie).await;
        self.waiting.push(tokio::spawn(held.session.ended()));
        self.held.push(held);
        self.visitors.push(visitor);
    }

    fn told(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.is_finished()).count()
    }

    /// Nobody waits any more.
    pub(crate) fn hang_up(&mut self) {
        self.waiting.drain(..).for_each(|waiting| waiting.abort());
        self.held.clear();
    }

    /// The end of the first session that is waited for, which must have been heard of.
    pub(crate) async fn heard(&mut self) -> SessionEnd {
        let (waiting, _held) = (self.waiting.remove(0), self.held.remove(0));
        learn(async { waiting.await.unwrap() }).await
    }
}

/// The tests on a store that tells of ends, and of renews if it says so.
macro_rules! listening_on {
    ($store:ident, $renews:expr, $open:expr) => {
        mod $store {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn an_end_elsewhere_is_heard_of() {
                let place = Place::new();
                let open = $open;
                let stores: [Arc<dyn Store>; 2] =
                    [Arc::new(open(place.clone()).await), Arc::new(open(place.clone()).await)];
                ends_are_heard_of(stores, $renews).await;
            }
        }
    };
}

async fn ends_are_heard_of([here, there]: [Arc<dyn Store>; 2], tells_renews: bool) {
    let here = layer(here);
    let users = ["ada", "bob", "cid", "dan"];
    let mut sockets = Sockets::open(&here, OnlyEars::on(there), &users).await;
    sockets.ears.only_hears(users.len()).await;
    let tries = sockets.ears.tries();
    let [ada, _bob, _cid, dan] = &mut sockets.visitors[..] else { panic!("there are four") };
    ada.get(&sockets.here, "/logout").await.ok();
    if tells_renews {
        dan.get(&sockets.here, "/renew").await.ok();
    }
    assert_eq!(sockets.heard().await, SessionEnd::Ended);
    sockets.here.get("/end-all-of/bob", "").await.ok();
    assert_eq!(sockets.heard().await, SessionEnd::Ended);
    let [of_cid] = &here.sessions().of_user("cid").await.unwrap()[..] else { panic!("he has one") };
    here.sessions().find(&of_cid.handle).await.unwrap().unwrap().end().await.unwrap();
    assert_eq!(sockets.heard().await, SessionEnd::Ended);
    if tells_renews {
        assert_eq!(sockets.heard().await, SessionEnd::Renewed);
    }
    // Where one connection follows another, all are looked at each time, and nothing need be heard.
    assert_eq!(sockets.ears.tries(), tries);
    sockets.hang_up();
    until(|| sockets.ears.listeners() == 0).await;
}

#[cfg(feature = "sqlite")]
listening_on!(sqlite, true, |place: Place| async move {
    ingle::store::Sqlite::open(place.folder()).await.unwrap()
});

#[cfg(feature = "redis")]
listening_on!(redis, true, |place: Place| async move {
    crate::stores::redis(place.name().to_owned(), testbed::redis::server()).await
});

#[cfg(feature = "redis")]
listening_on!(redis_cluster, true, |place: Place| async move {
    crate::stores::redis(place.name().to_owned(), testbed::redis::cluster()).await
});

#[cfg(feature = "postgres")]
listening_on!(postgres, false, |place: Place| async move {
    crate::stores::postgres(&place, testbed::postgres::shared(), "").await
});

/// The keys of all live sessions.
async fn keys(memory: &Memory) -> Vec<Key> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = memory.as_list().unwrap().list(after.as_ref(), 1000, SystemClock.now()).await;
        let page = page.unwrap();
        keys.extend(page.records.iter().map(|loaded| loaded.record.header.key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

/// As long as whatever is due at once takes, in paused time.
const AT_ONCE: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn of_ten_thousand_sessions_those_that_are_heard_of_are_looked_at_and_no_others() {
    let memory = Memory::new();
    let (ears, script) = OnlyEars::scripted(memory.clone());
    let mut sockets = Sockets::open(&layer(memory.clone()), ears.clone(), &[]).await;
    for _ in 0..10_000 {
        let visitor = logged_in(&sockets.here, "ada").await;
        sockets.add(visitor).await;
    }
    sockets.ears.only_hears(10_000).await;
    let before = keys(&memory).await;
    for visitor in &mut sockets.visitors[..100] {
        visitor.get(&sockets.here, "/logout").await.ok();
    }
    let after: std::collections::HashSet<_> = keys(&memory).await.into_iter().collect();
    let (live, ended): (Vec<_>, Vec<_>) = before.into_iter().partition(|key| after.contains(key));
    assert_eq!(ended.len(), 100);
    // Right behind a load of all of them, so that the next one is far.
    let loads = ears.loads();
    until(|| ears.loads() >= loads + 10_000).await;
    let (loads, began) = (ears.loads(), Instant::now());
    // What is heard proves nothing, and may be about anybody.
    let stranger = Key::from_bytes([7; 32]);
    for key in ended.iter().chain(&live[..1]).chain([&stranger]) {
        script.send(Some(*key)).unwrap();
        sleep(AT_ONCE).await;
    }
    assert_eq!((sockets.told(), ears.loads() - loads), (100, 101));
    // By what was heard, and not by the next load of all.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_again_and_what_ended_meanwhile_is_told() {
    let memory = Memory::new();
    let (ears, script) = OnlyEars::scripted(memory.clone());
    let breaks = async || {
        script.send(None).unwrap();
    };
    let (_, took) = hears_again(&layer(memory), ears, breaks).await;
    // At once, and not by the next load of all: the last one was just made.
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// Breaks the connection that a process listens on, ends a session before it has another, and checks that the
/// end is told. One session goes on. Also how long it took from the new connection on.
pub(crate) async fn hears_again(
    here: &SessionLayer,
    ears: OnlyEars,
    kill: impl AsyncFnOnce(),
) -> (Sockets, Duration) {
    let mut sockets = Sockets::open(here, ears.clone(), &["ada", "bob"]).await;
    ears.only_hears(2).await;
    ears.shut();
    kill().await;
    until(|| ears.tries() == 2).await;
    sockets.visitors[0].get(&sockets.here, "/logout").await.ok();
    // It goes on to look at them.
    let loads = ears.loads();
    until(|| ears.loads() >= loads + 2).await;
    assert_eq!((sockets.told(), ears.listeners()), (0, 0));
    let began = Instant::now();
    ears.let_listen();
    assert_eq!(sockets.heard().await, SessionEnd::Ended);
    let took = began.elapsed();
    ears.only_hears(2).await;
    assert_eq!(sockets.told(), 0);
    (sockets, took)
}

/// The same on servers, of which `connections` asks how many connections of a process listen there.
pub(crate) async fn hears_again_on(
    [here, there]: [Arc<dyn Store>; 2],
    kill: impl AsyncFnOnce(),
    connections: impl AsyncFn() -> usize,
) {
    let ears = OnlyEars::on(there);
    let (mut sockets, _) = hears_again(&layer(here), ears, kill).await;
    assert_eq!(connections().await, 1);
    sockets.visitors[1].get(&sockets.here, "/logout").await.ok();
    assert_eq!(sockets.heard().await, SessionEnd::Ended);
    // Nobody waits any more.
    let closes = async {
        while connections().await > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, closes).await.expect("the connection stays");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_listened_to_is_tried_ever_less_often_and_told_of_once() {
    let (log, _guard) = crate::log::Log::catch();
    let memory = Memory::new();
    let (ears, _script) = OnlyEars::scripted(memory.clone());
    ears.failures.store(usize::MAX, Ordering::SeqCst);
    let _sockets = Sockets::open(&layer(memory), ears.clone(), &["ada"]).await;
    sleep(60 * MINUTE).await;
    assert!((60..=130).contains(&ears.tries()), "{}", ears.tries());
    let said = log.text().matches("cannot be listened to").count();
    assert_eq!(said, 1, "{}", log.text());
    ears.failures.store(0, Ordering::SeqCst);
    ears.only_hears(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_tells_of_no_ends_is_asked_once() {
    let (log, _guard) = crate::log::Log::catch();
    let memory = Memory::new();
    let ears = OnlyEars::on(Arc::new(memory.clone()));
    let mut sockets = Sockets::open(&layer(memory), ears.clone(), &["ada"]).await;
    sleep(60 * MINUTE).await;
    assert_eq!(ears.tries(), 1);
    assert!(!log.text().contains("listen"), "{}", log.text());
    sockets.hang_up();
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_where_nobody_waits() {
    let memory = Memory::new();
    let (ears, _script) = OnlyEars::scripted(memory.clone());
    let mut sockets = Sockets::open(&layer(memory), ears.clone(), &["ada"]).await;
    ears.only_hears(1).await;
    sockets.hang_up();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ears.listeners(), 0);
    sleep(60 * MINUTE).await;
    assert_eq!(ears.tries(), 1);
    let visitor = logged_in(&sockets.here, "ada").await;
    sockets.add(visitor).await;
    until(|| ears.listeners() == 1).await;
    assert_eq!(ears.tries(), 2);
}
