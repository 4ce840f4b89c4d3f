//! A store that is opened when it is first needed, so that an app can start before its store.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Applied, CommitError, Cursor, Destroyed, Error, ErrorKind, Info, List, Lookup, OpenError, Page,
    Store, Swept, Write,
};
use crate::{clock::Timestamp, detach, id::Key, record::Version};

/// The pause after a failed attempt to open a store.
const PAUSE: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, OpenError>> + Send>>;

/// A store that its first call opens. If that fails, one call a second tries again.
pub(super) struct Lazy(Arc<Shared>);

struct Shared {
    info: Info,
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    opened: OnceLock<Arc<dyn Store>>,
    /// When the last attempt to open it failed, and why. Held while an attempt runs.
    failed: Mutex<Option<(Instant, OpenError)>>,
}

impl Lazy {
    /// A store that says this of itself until it is open.
    pub(super) fn new(info: Info, open: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        let (open, opened) = (Box::new(open), OnceLock::new());
        Self(Arc::new(Shared { info, open, opened, failed: Mutex::new(None) }))
    }

    async fn store(&self) -> Result<&dyn Store, Error> {
        if self.0.opened.get().is_none() {
            // To its end, even if the call that began it is dropped.
            let shared = Arc::clone(&self.0);
            let opened = detach::run_to_end(async move { shared.open().await }).await;
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
        match (self.open)().await {
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
        self.0.opened.get().is_none_or(|store| store.can_renew(from, to))
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

    fn as_list(&self) -> Option<&dyn List> {
        self.0.info.capabilities.lists_by_user.then_some(self)
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
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::store::{Memory, OpenErrorKind};

    const NOW: Timestamp = Timestamp::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_not_there_yet_is_tried_once_a_second_and_then_used() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let lazy = Lazy::new(Info::new("later", "nothing"), move || {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                let error =
                    OpenError::new("later", OpenErrorKind::Unreachable, "nobody answers", "");
                if n < 2 { Err(error) } else { Ok(Arc::new(Memory::new()) as Arc<dyn Store>) }
            })
        });
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
}
