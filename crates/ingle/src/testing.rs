//! For the tests of apps: sessions without a server, a browser or a wait.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use ingle::{Error, Session, testing::TestSessions};
//! use tower::ServiceExt as _;
//!
//! async fn whoami(session: Session) -> Result<String, Error> {
//!     Ok(session.get("user").await?.unwrap_or_else(|| "nobody".to_owned()))
//! }
//!
//! let sessions = TestSessions::new();
//! let app = Router::new().route("/", get(whoami)).layer(sessions.layer());
//! // A visitor who is logged in, in one line.
//! let cookie = sessions.cookie(async |session| session.insert("user", "ada")).await;
//!
//! let ask = async |cookie: &str| {
//!     let request = Request::get("/").header("cookie", cookie).body(Body::empty()).unwrap();
//!     let response = app.clone().oneshot(request).await.unwrap();
//!     axum::body::to_bytes(response.into_body(), 100).await.unwrap()
//! };
//! assert_eq!(ask(&cookie).await, "ada");
//! // Half an hour later, without a wait.
//! sessions.clock().advance(Duration::from_secs(30 * 60));
//! assert_eq!(ask(&cookie).await, "nobody");
//! # });
//! ```

use std::sync::Arc;

use crate::{
    clock::{Clock as _, ManualClock, SystemClock},
    http::SessionLayer,
    session::{Error, Session},
    store::Memory,
};

/// Sessions in the memory of a test, on a clock that the test moves. Clones share both.
#[derive(Clone, Debug)]
pub struct TestSessions {
    layer: SessionLayer,
    clock: ManualClock,
    store: Memory,
}

impl TestSessions {
    /// Sessions with the default settings. The clock shows the current time, and stands still.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|layer| layer)
    }

    /// Sessions with the app's own settings, such as its cookie and lifetime.
    #[must_use]
    pub fn with(set: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let (store, clock) = (Memory::new(), ManualClock::new(SystemClock.now()));
        let layer = SessionLayer::new(store.clone()).sweep_every(None);
        let layer = set(layer).clock(Arc::new(clock.clone()));
        Self { layer, clock, store }
    }

    /// The layer to put around the app.
    pub fn layer(&self) -> SessionLayer {
        self.layer.clone()
    }

    /// The clock that decides how long sessions live.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The store, to look at what it holds.
    #[must_use]
    pub fn store(&self) -> &Memory {
        &self.store
    }

    /// A session without a request, to call a handler or a function of the app with.
    /// [`Session::commit`] stores what is recorded in it.
    #[must_use]
    pub fn session(&self) -> Session {
        self.layer.door().begin([]).session().clone()
    }

    /// The value of the header Cookie of a visitor whose session `fill` has filled.
    ///
    /// # Panics
    /// If `fill` fails, or stores nothing: then there is no session.
    pub async fn cookie<F>(&self, fill: F) -> String
    where
        F: AsyncFnOnce(&Session) -> Result<(), Error>,
    {
        let new = self.layer.create_session(fill).await;
        assert!(new.is_ok(), "the session could not be filled: {new:?}");
        let new = new.ok().flatten();
        assert!(new.is_some(), "nothing was stored, so there is no session and no cookie");
        new.map(|new| new.cookie().to_owned()).unwrap_or_default()
    }
}

impl Default for TestSessions {
    fn default() -> Self {
        Self::new()
    }
}
