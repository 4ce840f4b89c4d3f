//! Where the sessions of a test are: in a store, apart from those of all other tests.

use std::{fmt, path::PathBuf, pin::Pin, sync::Arc};

use ingle::{
    clock::{Clock as _, SystemClock},
    store::Store,
};
use tempfile::TempDir;

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
    pub(crate) fn embedded() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = format!("embedded://{}", folder.path().join("sessions").display());
        let place = Self::elsewhere(url, Vec::new(), |place| {
            Box::pin(async { ingle::store::open(&place.url).await.expect("the store opens") })
        });
        Self { folder: Some(folder), ..place }
    }

    /// What a URL names, where the environment says.
    pub(crate) fn elsewhere(
        url: String,
        environment: Vec<(&'static str, String)>,
        open: fn(&Self) -> Opening<'_>,
    ) -> Self {
        Self { url, environment, open, folder: None }
    }

    /// The folder of an embedded store.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.as_ref().expect("a folder").path().join("sessions")
    }

    /// How many sessions it holds, of which none may come or go meanwhile.
    pub(crate) async fn count(&self) -> usize {
        let store = (self.open)(self).await;
        let lists = store.inspect().expect("it lists");
        let page = lists.list(None, 100_000, SystemClock.now()).await.expect("it answers");
        assert!(page.next.is_none());
        page.records.len()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.url).finish()
    }
}
