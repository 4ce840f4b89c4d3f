//! Where the sessions of a test are: in a store, apart from those of all other tests.

use std::{fmt, path::PathBuf, pin::Pin, sync::Arc};

use ingle::{
    clock::{Clock as _, SystemClock},
    store::Store,
};
use tempfile::TempDir;
use tokio::sync::RwLock;

/// Held by every test that works with a store: written by one that keeps the machine busy, beside which
/// a request of another could wait too long for its store.
pub(crate) static ALONE: RwLock<()> = RwLock::const_new(());

type Opening<'a> = Pin<Box<dyn Future<Output = Arc<dyn Store>> + Send + 'a>>;

/// A place in a store, what a program needs to find it, and how a test opens it itself.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) open: fn(&Self) -> Opening<'_>,
    /// Removed with this.
    folder: Option<TempDir>,
}

impl Place {
    /// A folder of its own.
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("sessions").display());
        Self { folder: Some(folder), ..Self::at(url) }
    }

    /// What a URL names by itself.
    pub(crate) fn at(url: String) -> Self {
        Self::elsewhere(url, Vec::new(), |place| {
            Box::pin(async { ingle::store::open(&place.url).await.expect("the store opens") })
        })
    }

    /// What a URL names, where the environment says.
    pub(crate) fn elsewhere(
        url: String,
        environment: Vec<(&'static str, String)>,
        open: fn(&Self) -> Opening<'_>,
    ) -> Self {
        Self { url, environment, open, folder: None }
    }

    /// The folder of a SQLite store.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.as_ref().expect("a folder").path().join("sessions")
    }

    /// How many sessions it holds, of which none may come or go meanwhile. None if it cannot list them.
    pub(crate) async fn count(&self) -> Option<usize> {
        let store = (self.open)(self).await;
        let lists = store.as_list()?;
        let (mut count, mut after) = (0, None);
        loop {
            let page = lists.list(after.as_ref(), 1000, SystemClock.now()).await;
            let page = page.expect("it answers");
            count += page.records.len();
            let Some(next) = page.next else { return Some(count) };
            after = Some(next);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.url).finish()
    }
}
