//! More than one session in a request: every layer but one has a name.

use std::{fmt, marker::PhantomData, ops::Deref};

use crate::session::Session;

/// The name of a session, as a type of the app. Handlers ask for it.
///
/// ```
/// struct Admin;
/// impl ingle::SessionName for Admin {}
/// ```
pub trait SessionName: Send + Sync + 'static {}

/// The session of the layer that was [named](crate::SessionLayer::named) `N`.
///
/// An app may have two sessions in one request, such as a visitor's and an operator's. Each layer
/// has a cookie and a namespace of its own, and all but one have a name:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn build() -> Result<axum::Router, Box<dyn std::error::Error>> {
/// use ingle::{Cookie, CookieConfig, Named, Session, SessionLayer, SessionName, store::Memory};
///
/// struct Admin;
/// impl SessionName for Admin {}
///
/// async fn page(visitor: Session, admin: Named<Admin>) -> Result<(), ingle::Error> {
///     visitor.increment("views", 1)?;
///     admin.insert("seen", true)
/// }
///
/// let cookie = CookieConfig { name: "__Host-admin".into(), ..CookieConfig::default() };
/// let app = axum::Router::new()
///     .route("/", axum::routing::get(page))
///     .layer(SessionLayer::new(Memory::new()))
///     .layer(
///         SessionLayer::new(Memory::new())
///             .named::<Admin>()
///             .cookie(Cookie::new(cookie)?)
///             .namespace("admin"),
///     );
/// # Ok(app)
/// # }
/// ```
pub struct Named<N: SessionName>(Session, PhantomData<fn() -> N>);

impl<N: SessionName> Named<N> {
    pub(super) fn new(session: Session) -> Self {
        Self(session, PhantomData)
    }

    /// The session itself.
    #[must_use]
    pub fn into_inner(self) -> Session {
        self.0
    }
}

impl<N: SessionName> Clone for Named<N> {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl<N: SessionName> Deref for Named<N> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl<N: SessionName> fmt::Debug for Named<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Named").field(&self.0).finish()
    }
}
