//! Logins for the tutorial's app, with `--accounts`: what a reader of the tutorial would build next.
//!
//! Forms and pages without a script, but for the page that counts along. All of it is a use of the library: `login.rs` begins and ends a
//! session of a user, `yours.rs` shows a user theirs and asks again for the password, `live.rs` tells a page what changes, `pages.rs` is
//! what a browser sees. Who has which password is in `file.rs`, whether one is right in `password.rs`,
//! and how often one may try in `attempts.rs`.

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    http::{HeaderName, header},
    response::Response,
    routing::{get, post},
};
use ingle::{SameOriginLayer, Session};

use crate::app;

mod attempts;
pub(crate) mod command;
mod file;
mod live;
mod login;
mod pages;
mod password;
mod yours;

use attempts::Attempts;
use file::AccountsFile;
pub(crate) use live::Streams;
pub(crate) use pages::refusal;
use pages::{Home, Problem, respond};
use password::Passwords;

/// The accounts of the app. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    /// How many there were at the start, for the banner.
    pub(crate) count: usize,
    passwords: Passwords,
    logins: Arc<Attempts>,
    /// Apart from those at the login: who tries passwords there must not keep a user who is logged in
    /// from what is theirs.
    confirmations: Arc<Attempts>,
}

impl Accounts {
    /// Why not is one line.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = AccountsFile::new(path);
        let count = file.count().map_err(|error| error.to_string())?;
        if file.is_public() {
            tracing::warn!("everybody on this machine may read the accounts; chmod o-r the file");
        }
        let passwords = Passwords::new(file).map_err(|error| error.to_string())?;
        Ok(Self { count, passwords, logins: Arc::default(), confirmations: Arc::default() })
    }
}

/// The pages of the app, and those of the accounts. A GET changes nothing but the count of views and
/// the messages that were shown.
pub(crate) fn routes(accounts: Accounts, streams: Streams) -> Router {
    let forms = Router::new()
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/sessions", get(yours::sessions))
        .route("/sessions/end", post(yours::end_one))
        .route("/sessions/end-others", post(yours::end_others))
        .route("/sessions/end-all", post(yours::end_all))
        .route("/password", get(yours::password).post(yours::change_password))
        .route("/confirm", get(yours::confirm).post(yours::confirm_password))
        .layer(SameOriginLayer::new());
    let page = Router::new().route("/", get(home)).route("/live", get(live::page));
    let stream = Router::new().route("/live/events", get(live::events)).with_state(streams);
    let files = Router::new()
        .route("/style.css", get(async || file_of("text/css", pages::STYLE)))
        .route("/icon.svg", get(async || file_of("image/svg+xml", pages::ICON)))
        .route("/live.js", get(async || file_of("text/javascript", pages::SCRIPT)));
    forms.with_state(accounts).merge(page).merge(stream).merge(files)
}

async fn home(session: Session) -> Result<Response, Problem> {
    let visit = app::visit(&session).await?;
    let user = session.user().await?.map(|user| user.name);
    Ok(respond(Home { user, greeting: visit.greeting, views: visit.views }))
}

fn file_of(
    kind: &'static str,
    text: &'static str,
) -> ([(HeaderName, &'static str); 2], &'static str) {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")], text)
}
