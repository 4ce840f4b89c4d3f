//! A store that is opened when it is first needed, so that an app can start before its store.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    Applied, CommitError, Cursor, Destroyed, Error, ErrorKind, Info, List, Listener, Lookup,
    OpenError, Page, Store, Swept, Transactions, Warning, Write,
};
use crate::{
    clock::Timestamp,
    detach,
    id::{HandlePrefix, Key},
    record::Version,
};

/// The pause after a failed attempt to open a store.
const PAUSE: Duration = Duration::from_secs(1);

/// How long calls wait for a store that is being opened; later ones fail at once. It is shorter than the
/// time that the engine gives a call, since what does not answer in that time may have been sent.
const WAIT: Duration = Duration::from_millis(300);

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, OpenError>> + Send>>;

/// What [`Store::can_renew`] says of two keys, which an open store is not needed for.
pub(super) type CanRenew = fn(&Key, &Key) -> bool;

/// A store that its first call opens. If that fails, one call a second tries again.
pub(super) struct Lazy(Arc<Shared>);

struct Shared {
    info: Info,
    can_renew: CanRenew,
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    opened: OnceLock<Arc<dyn Store>>,
    /// When the last attempt to open it failed, and why. Held while an attempt runs.
    failed: Mutex<Option<(Instant, OpenError)>>,
    /// When it was last begun to be opened, if that has not come to an end.
    began: std::sync::Mutex<Option<Instant>>,
}

impl Lazy {
    /// A store that says this of itself until it is open.
    pub(super) fn new(
        info: Info,
        can_renew: CanRenew,
        open: impl Fn() -> Opening + Send + Sync + 'static,
    ) -> Self {
        let (open, opened) = (Box::new(open), OnceLock::new());
        let (failed, began) = (Mutex::default(), std::sync::Mutex::default());
        Self(Arc::new(Shared { info, can_renew, open, opened, failed, began }))
    }

    async fn store(&self) -> Result<&dyn Store, Error> {
        if self.0.opened.get().is_none() {
            let too_slow = || self.0.unopened().with_source("it is still being opened");
            let until = self.0.began().unwrap_or_else(Instant::now) + WAIT;
            if until <= Instant::now() && self.0.failed.try_lock().is_err() {
                return Err(too_slow());
            }
            // To its end, also where the call that began it gives up.
            let shared = Arc::clone(&self.0);
            let opening = detach::run_to_end(async move { shared.open().await });
            let opened = timeout_at(until, opening).await.map_err(|_| too_slow())?;
            opened.map_err(|error| self.0.unopened().with_source(error))?;
        }
        self.0.opened.get().map(|store| &**store).ok_or_else(|| self.0.unopened())
    }
}

impl Shared {
    async fn open(&self) -> Result<(), OpenError> {
        let mut failed = self.failed.lock().await;
        if self.opened.get().is_some() {
            return Ok(());
        }
        if let Some((when, error)) = &*failed
            && when.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        self.begin(Some(Instant::now()));
        let opened = (self.open)().await;
        self.begin(None);
        match opened {
            Ok(store) => {
                let _ = self.opened.set(store);
                Ok(())
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn began(&self) -> Option<Instant> {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, began: Option<Instant>) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    fn unopened(&self) -> Error {
        Error::new(self.info.name, ErrorKind::Unavailable, Applied::No)
    }
}

impl fmt::Debug for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.opened.get() {
            Some(store) => store.fmt(f),
            None => write!(f, "Lazy({})", self.0.info.name),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Lazy {
    fn info(&self) -> Info {
        self.0.opened.get().map_or_else(|| self.0.info.clone(), |store| store.info())
    }

    fn can_renew(&self, from: &Key, to: &Key) -> bool {
        // A renew may be the call that opens the store, and its new id is drawn before.
        (self.0.can_renew)(from, to)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        self.store().await?.load(key, now).await
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        self.store().await?.commit(write, now).await
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.store().await?.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        self.store().await?.destroy(key, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        self.store().await?.sweep(now, limit).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.store().await?.ping().await
    }

    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        self.store().await?.check(now).await
    }

    fn as_list(&self) -> Option<&dyn List> {
        self.0.info.capabilities.lists_by_user.then_some(self)
    }

    /// None before it is open. The line of an act is begun before the act, which opens it.
    fn as_transactions(&self) -> Option<&dyn Transactions> {
        self.0.opened.get()?.as_transactions()
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        self.store().await?.listen().await
    }
}

impl Lazy {
    async fn list(&self) -> Result<&dyn List, Error> {
        let refused = || Error::new(self.0.info.name, ErrorKind::Refused, Applied::No);
        self.store().await?.as_list().ok_or_else(refused)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl List for Lazy {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        Self::list(self).await?.list(after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        Self::list(self).await?.list_by_user(user, after, limit, now).await
    }

    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        Self::list(self).await?.list_by_handle(prefix, after, limit, now).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        SessionLayer,
        adapter::HandlerOutcome,
        store::{Memory, OpenErrorKind},
    };

    const NOW: Timestamp = Timestamp::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_not_there_yet_is_tried_once_a_second_and_then_used() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let lazy = Lazy::new(
            Info::new("later", "nothing"),
            |_, _| true,
            move || {
                let n = counted.fetch_add(1, Ordering::SeqCst);
                Box::pin(async move {
                    let error =
                        OpenError::new("later", OpenErrorKind::Unreachable, "nobody answers", "");
                    if n < 2 { Err(error) } else { Ok(Arc::new(Memory::new()) as Arc<dyn Store>) }
                })
            },
        );
        let key = Key::from_bytes([1; 32]);
        for _ in 0..5 {
            let error = lazy.load(&key, NOW).await.unwrap_err();
            assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        tokio::time::sleep(PAUSE).await;
        assert!(lazy.ping().await.is_err());
        tokio::time::sleep(PAUSE).await;
        assert_eq!(lazy.load(&key, NOW).await.unwrap(), Lookup::Missing);
        assert_eq!(lazy.info().name, "memory");
        lazy.ping().await.unwrap();
        assert_eq!(tries.load(Ordering::SeqCst), 3);
    }

    fn opened(make: impl Fn() -> Opening + Send + Sync + 'static) -> Lazy {
        Lazy::new(Info::new("later", "nothing"), |_, _| true, make)
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_slow_to_open_was_surely_sent_nothing() {
        let lazy = opened(|| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(Arc::new(Memory::new()) as Arc<dyn Store>)
            })
        });
        let door = SessionLayer::new(lazy).sweep_every(None).door();
        for _ in 0..5 {
            let in_flight = door.begin([]);
            in_flight.session().insert("n", 1).unwrap();
            let finished = in_flight.finish(HandlerOutcome::Success).await;
            assert!(matches!(finished.error(), Some(crate::Error::Unavailable(_))), "{finished:?}");
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let in_flight = door.begin([]);
        in_flight.session().insert("n", 1).unwrap();
        assert!(in_flight.finish(HandlerOutcome::Success).await.error().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_is_opened_once_for_all_who_need_it_and_also_where_they_give_up() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let lazy = Arc::new(opened(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(Arc::new(Memory::new()) as Arc<dyn Store>)
            })
        }));
        let impatient = tokio::time::timeout(Duration::from_millis(10), lazy.ping()).await;
        assert!(impatient.is_err());
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let lazy = Arc::clone(&lazy);
            calls.spawn(async move { lazy.ping().await });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap().unwrap();
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
    }
}
