//! A console for operators: see, edit and end the sessions of an app, on any store that lists them.
//!
//! [`router`] is mounted in an app behind the app's own login. [`serve`] is the console by itself, on an
//! address of this machine alone. Both are pages without a framework, from this crate alone: nothing is
//! loaded from elsewhere, and everything works without JavaScript.
//!
//! ```
//! use axum::{Router, extract::Request, middleware::{Next, from_fn}};
//! use ingle::{SessionLayer, store::Memory};
//! use ingle_console::{Access, Grant, Role};
//!
//! let layer = SessionLayer::new(Memory::new());
//! let access = Access::ByApp { hosts: vec!["admin.example".to_owned()] };
//! let console = ingle_console::router(layer.sessions(), access);
//! // The app's own check of who asks, and what they may do.
//! let console = console.layer(from_fn(async |mut request: Request, next: Next| {
//!     request.extensions_mut().insert(Grant::new("ada@example.com", Role::Operator));
//!     next.run(request).await
//! }));
//! let app: Router = Router::new().nest("/console", console);
//! ```
//!
//! It uses the public API of ingle alone, so it knows no store and no id. What an operator does is in the
//! audit log of [`Sessions::operated_by`](ingle::Sessions::operated_by).
#![warn(missing_docs)]

mod access;
mod api;
mod assets;
mod carried;
mod context;
mod cursor;
mod edit;
mod end;
mod find;
mod form;
mod gate;
mod known;
mod live;
mod operators;
mod order;
mod pages;
mod problem;
#[cfg(feature = "oidc")]
mod provider;
mod reveal;
mod routes;
mod serve;
mod sign_in;
mod view;

use std::sync::Arc;

use axum::Router;
use ingle::Sessions;

use gate::Place;

pub use access::{
    Access, Grant, Identity, InvalidAccess, Proxy, Public, PublicUrl, Role, RoleTable,
};
#[cfg(feature = "oidc")]
pub use provider::{Claim, Iap, IapKeys, NotReady, Oidc, Roles};
pub use serve::{serve, serve_public};

/// What all requests share.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    sessions: Sessions,
    /// Where it is answered.
    place: Place,
    cursors: cursor::Cursors,
    kept: carried::Kept,
    watchers: Arc<tokio::sync::Semaphore>,
    /// Whether it is mounted in the app, whose process is then this one.
    is_in_app: bool,
}

impl Console {
    fn new(sessions: Sessions, place: Place, is_in_app: bool) -> Self {
        let cursors = cursor::Cursors::for_store(&sessions.store_info());
        let watchers = Arc::new(tokio::sync::Semaphore::new(live::WATCHERS_MAX));
        let kept = carried::Kept::default();
        Self(Arc::new(Inner { sessions, place, cursors, kept, watchers, is_in_app }))
    }
}

/// The console as routes of an app, at its root or nested below a path.
///
/// With [`Access::ByApp`] every request needs a [`Grant`], as `access` says. One without is answered 403.
/// With [`Access::Public`] the console knows who asks, and has to be nested below the path of its
/// [`PublicUrl`]. For a [`Proxy`], serve the app by `into_make_service_with_connect_info::<SocketAddr>()`,
/// so that the console sees which address a request is from.
///
/// Do not put the layer of the app's own [same-origin check](ingle::SameOriginLayer) around it: the console
/// has one.
pub fn router(sessions: Sessions, access: impl Into<Access>) -> Router {
    match access.into() {
        Access::ByApp { hosts } => {
            let console = Console::new(sessions, Place::of_app(hosts), true);
            gate::around(routes::routes(), &console)
        }
        Access::Public(public) => known::router(sessions, *public, true),
    }
}
