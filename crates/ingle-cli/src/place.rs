//! Where the sessions are: the store, and those who ask.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use ingle::{
    HandlePrefix, Lifetime, Limits, Operator, SessionLayer, Sessions, StoredSession,
    store::{self, Store},
};
use ingle_operator::inert;

use crate::{exit::Failed, options::PlaceOptions};

/// Longer than any session lives.
const LONG: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// As much as any store takes: what the app allows, the app knows.
const LIMITS: Limits =
    Limits { bytes_max: 1024 * 1024, depth_max: Limits::DEPTH_MAX, fields_max: 100_000 };

/// How many candidates are shown for a shortened handle.
const CANDIDATES: usize = 10;

impl PlaceOptions {
    /// The URL of the store. It may hold a password, so nothing prints it.
    pub(crate) fn url(&self) -> Result<String, Failed> {
        let url = match (&self.store, &self.store_file) {
            (_, Some(file)) => {
                let read = fs::read_to_string(file);
                read.map_err(|error| Failed::usage(format!("--store-file {file:?}: {error}")))?
            }
            (url, None) => url
                .clone()
                .filter(|value| is_given(value))
                .or_else(|| variable("INGLE_STORE"))
                .ok_or_else(|| {
                    Failed::usage(
                        "which store? Name it by --store URL, INGLE_STORE or --store-file FILE",
                    )
                })?,
        };
        Ok(url.trim().to_owned())
    }

    /// Opens the store.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>, Failed> {
        let url = self.url()?;
        if let Some(folder) = folder(&url) {
            is_there(folder)?;
        }
        Ok(store::open(&url).await?)
    }

    /// The sessions, for whoever runs this program.
    pub(crate) async fn sessions(&self) -> Result<Sessions, Failed> {
        Ok(self.layer(self.open().await?)?.sessions().operated_by(self.operator()))
    }

    pub(crate) fn layer(&self, store: Arc<dyn Store>) -> Result<SessionLayer, Failed> {
        let idle = self.idle_time.unwrap_or(LONG);
        let lifetime = Lifetime::new(idle, LONG.max(idle))
            .map_err(|error| Failed::usage(format!("--idle-time: {error}")))?;
        let layer = SessionLayer::new(store).sweep_every(None).limits(LIMITS).lifetime(lifetime);
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
        Operator::new(name).from(from)
    }

    /// Who acts, and where from, for the audit log.
    pub(crate) fn who(&self) -> (String, String) {
        let name = self.operator.clone().filter(|value| is_given(value));
        let name = name.or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
        let machine = rustix::system::uname();
        let from = format!("ingle on {}", machine.nodename().to_string_lossy());
        (name.unwrap_or_else(|| "unknown".to_owned()), from)
    }
}

fn is_given(value: &str) -> bool {
    !value.trim().is_empty()
}

fn variable(name: &str) -> Option<String> {
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
fn is_there(folder: &Path) -> Result<(), Failed> {
    match folder.join("sessions.sqlite").try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failed::unavailable(format!(
            "there is no store in {folder:?}; `ingle migrate` makes one"
        ))),
        Err(error) => {
            let line = format!("could not look for a store in {folder:?}: {error}");
            Err(match error.kind() {
                io::ErrorKind::PermissionDenied => Failed::refused(line),
                _ => Failed::usage(line),
            })
        }
    }
}

/// The one live session whose handle begins so.
pub(crate) async fn find(
    sessions: &Sessions,
    prefix: &HandlePrefix,
) -> Result<StoredSession, Failed> {
    let mut found = sessions.find_by_prefix(prefix, CANDIDATES + 1).await?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Failed::not_found(format!("there is no live session {prefix}"))),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            let more = if found.len() > CANDIDATES { ", and more" } else { "" };
            let shown = found.iter().take(CANDIDATES).map(|session| {
                let info = session.info();
                let user = info.user.as_ref().map(|user| format!(" ({})", inert(&user.name)));
                format!("{}{}", info.handle, user.unwrap_or_default())
            });
            let shown = shown.collect::<Vec<_>>().join(", ");
            Err(Failed::refused(format!(
                "{prefix} is the beginning of several handles, so nothing was done: {shown}{more}"
            )))
        }
    }
}
