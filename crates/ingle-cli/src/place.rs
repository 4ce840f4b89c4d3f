//! Where the sessions are: the store, and those who ask.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use ingle::{
    Handle, Lifetime, Limits, SessionLayer, SessionPage, Sessions, StoredSession,
    operator::{DamagedSession, HandlePrefix, Operator},
    store::{self, Store},
};
use ingle_operator::inert;

use crate::{exit::Failed, options::PlaceOptions};

/// Longer than any session lives.
const LONG: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How many candidates are shown for a shortened handle.
const CANDIDATES: usize = 10;

impl PlaceOptions {
    /// The URL of the store. It may hold a password, so nothing prints it.
    pub(crate) fn url(&self) -> Result<String, Failed> {
        self.url_if_any()?.ok_or_else(|| {
            Failed::usage("which store? Name it by --store URL, INGLE_STORE or --store-file FILE")
        })
    }

    /// The same, if one is named.
    pub(crate) fn url_if_any(&self) -> Result<Option<String>, Failed> {
        let url = match (&self.store, &self.store_file) {
            (_, Some(file)) => {
                let read = fs::read_to_string(file);
                Some(
                    read.map_err(|error| Failed::usage(format!("--store-file {file:?}: {error}")))?,
                )
            }
            (url, None) => {
                url.clone().filter(|value| is_given(value)).or_else(|| variable("INGLE_STORE"))
            }
        };
        Ok(url.map(|url| url.trim().to_owned()))
    }

    /// Opens the store.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>, Failed> {
        let url = self.url()?;
        is_there(&url)?;
        let opened = tokio::time::timeout(self.timeout, store::open(&url)).await;
        let late = || {
            let line = format!("the store was not opened within {:?} (--timeout)", self.timeout);
            Failed::unavailable(line)
        };
        Ok(opened.map_err(|_| late())??)
    }

    /// The sessions, for whoever runs this program, if the store can list them.
    pub(crate) async fn sessions(&self) -> Result<Sessions, Failed> {
        self.sessions_within(Limits::default()).await
    }

    /// The same, where the app's layer has these limits.
    pub(crate) async fn sessions_within(&self, limits: Limits) -> Result<Sessions, Failed> {
        let sessions = self.sessions_of_any_store(limits).await?;
        if !sessions.store_info().capabilities.lists_by_user {
            return Err(Failed::refused(
                "this store cannot list its sessions; `users end`, `sweep`, `migrate` and `doctor` work with it",
            ));
        }
        Ok(sessions)
    }

    /// The same, also where the store cannot list them.
    pub(crate) async fn sessions_of_any_store(&self, limits: Limits) -> Result<Sessions, Failed> {
        let layer = self.layer(self.open().await?)?.limits(limits);
        Ok(layer.sessions().operated_by(self.operator()))
    }

    pub(crate) fn layer(&self, store: Arc<dyn Store>) -> Result<SessionLayer, Failed> {
        let idle = self.idle_time.unwrap_or(LONG);
        let lifetime = Lifetime::new(idle, LONG.max(idle))
            .map_err(|error| Failed::usage(format!("--idle-time: {error}")))?;
        let layer = SessionLayer::new(store).sweep_every(None).lifetime(lifetime);
        let layer = layer.deadline(self.timeout);
        Ok(match &self.namespace {
            Some(namespace) => layer.namespace(namespace),
            None => layer,
        })
    }

    /// Whether it is known when a session was last used.
    pub(crate) fn knows_use(&self) -> bool {
        self.idle_time.is_some()
    }

    fn operator(&self) -> Operator {
        let (name, from) = self.who();
        Operator::new(name).at(from)
    }

    /// Who acts, and where from, for the audit log.
    pub(crate) fn who(&self) -> (String, String) {
        let name = self.operator.clone().filter(|value| is_given(value));
        let name = name.or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
        let machine = rustix::system::uname();
        let from = format!("ingle on {}", machine.nodename().to_string_lossy());
        // In a container, nobody may have told the program whose it is.
        let name = name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        (name, from)
    }
}

fn is_given(value: &str) -> bool {
    !value.trim().is_empty()
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| is_given(value))
}

/// The folder of a SQLite store.
fn folder(url: &str) -> Option<&Path> {
    let rest = url.strip_prefix("sqlite:")?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let is_plain = !path.is_empty() && !path.contains(['%', '?', '#']);
    is_plain.then_some(Path::new(path))
}

/// Fails if there is no SQLite store in a folder. To open it would make it, and then a mistyped URL would
/// be an empty store.
pub(crate) fn is_there(url: &str) -> Result<(), Failed> {
    let Some(folder) = folder(url) else { return Ok(()) };
    match folder.join("sessions.sqlite").try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failed::unavailable(format!(
            "there is no store in {folder:?}; correct the URL, or run `ingle migrate` with it to make one"
        ))),
        Err(error) => {
            let line = format!("could not look for a store in {folder:?} ({error})");
            Err(match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Failed::refused(format!("{line}; run this as the user that the app runs as"))
                }
                _ => Failed::usage(format!("{line}; name the folder of the app's store")),
            })
        }
    }
}

/// A session of a store.
pub(crate) enum Found {
    Session(Box<StoredSession>),
    /// One that cannot be read.
    Damaged(DamagedSession),
}

impl Found {
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Session(session) => session.info().handle,
            Self::Damaged(damaged) => damaged.handle(),
        }
    }

    pub(crate) async fn end(&self) -> Result<bool, ingle::Error> {
        match self {
            Self::Session(session) => session.end().await,
            Self::Damaged(damaged) => damaged.end().await,
        }
    }

    /// All of a page.
    pub(crate) fn all_of(page: SessionPage) -> impl Iterator<Item = Self> {
        let sessions = page.sessions.into_iter().map(|session| Self::Session(Box::new(session)));
        sessions.chain(page.damaged.into_iter().map(Self::Damaged))
    }

    /// Its handle and its user, as candidates are told.
    fn told(&self) -> String {
        let user = match self {
            Self::Session(session) => session.info().user.as_ref(),
            Self::Damaged(_) => None,
        };
        let user = user.map(|user| format!(" ({})", inert(&user.name)));
        format!("{}{}", self.handle(), user.unwrap_or_default())
    }
}

/// The one live session whose handle begins so.
pub(crate) async fn find(
    sessions: &Sessions,
    prefix: &HandlePrefix,
) -> Result<StoredSession, Failed> {
    match find_any(sessions, prefix).await? {
        Found::Session(session) => Ok(*session),
        Found::Damaged(damaged) => {
            let (handle, cause, look) = (damaged.handle(), damaged.cause(), damaged.look());
            Err(Failed::other(format!(
                "the session {handle} cannot be read: {cause}; it was neither used nor changed; look at it \
                 with: {look}; `ingle sessions end {handle}` ends it"
            )))
        }
    }
}

/// The one live session whose handle begins so, or the one that cannot be read.
pub(crate) async fn find_any(sessions: &Sessions, prefix: &HandlePrefix) -> Result<Found, Failed> {
    let found = sessions.find_by_prefix(prefix, CANDIDATES + 1).await?;
    let mut found: Vec<_> = Found::all_of(found).collect();
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Failed::not_found(format!("there is no live session {prefix}"))),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            let more = if found.len() > CANDIDATES { ", and more" } else { "" };
            let shown = found.iter().take(CANDIDATES).map(Found::told);
            let shown = shown.collect::<Vec<_>>().join(", ");
            Err(Failed::refused(format!(
                "{prefix} is the beginning of several handles, so nothing was done: {shown}{more}"
            )))
        }
    }
}
