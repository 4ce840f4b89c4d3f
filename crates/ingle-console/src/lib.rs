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
mod context;
mod cursor;
mod edit;
mod end;
mod find;
mod form;
mod gate;
mod live;
mod pages;
mod problem;
mod reveal;
mod routes;
mod serve;
mod sign_in;
mod view;

use std::sync::Arc;

use axum::Router;
use ingle::Sessions;

pub use access::{Access, Grant, Role};
pub use serve::serve;

/// What all requests share.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    sessions: Sessions,
    /// The values of Host that are answered, in lower case.
    hosts: Vec<String>,
    cursors: cursor::Cursors,
    watchers: Arc<tokio::sync::Semaphore>,
}

impl Console {
    fn new(sessions: Sessions, hosts: Vec<String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        let cursors = cursor::Cursors::for_store(&sessions.store_info());
        let watchers = Arc::new(tokio::sync::Semaphore::new(live::WATCHERS_MAX));
        Self(Arc::new(Inner { sessions, hosts, cursors, watchers }))
    }
}

/// The console as routes of an app, at its root or nested below a path.
///
/// Every request needs a [`Grant`], as `access` says. One without is answered 403. Do not put the layer of
/// the app's own [same-origin check](ingle::SameOriginLayer) around it: the console has one.
pub fn router(sessions: Sessions, access: Access) -> Router {
    let Access::ByApp { hosts } = access;
    let console = Console::new(sessions, hosts);
    gate::around(routes::routes(), &console)
}
