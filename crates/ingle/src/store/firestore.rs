//! The store on Google Cloud's Firestore: any number of instances, and no server to look after.
//!
//! It has the type and the contract. What a call does is in the modules below.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use googleapis_tonic_google_firestore_v1::google::firestore::v1::DocumentMask;
use tonic::{Code, Status};

use super::{
    CommitError, Cursor, Destroyed, Error, Ids, Info, List, Lookup, OpenError, Page, Store, Swept,
    Warning, Write,
};
use crate::{
    clock::Timestamp,
    detach,
    id::{HandlePrefix, Key},
    record::Version,
    store::{by_handle, floor::platform::Platform, in_any_order},
};

mod batch;
mod check;
mod codec;
mod config;
mod connect;
mod error;
mod fields;
mod find;
mod identity;
mod list;
pub(crate) mod plain;
mod value;
mod write;

use connect::Client;
use error::{NAME, Server};
use find::{Found, find};
use identity::Identity;
use write::Writer;

pub use config::FirestoreConfig;

/// The store on Google Cloud's Firestore. Clones share the connections.
///
/// | law | how it is kept |
/// |---|---|
/// | 1 | reads outside of transactions are strongly consistent |
/// | 2 | the deadlines in the document are compared with the caller's time; expired documents still read |
/// | 3 | a write on the condition that there is no document; in the place of a dead one, that it did not change |
/// | 4 | a write on the condition that the document was last changed at the base's microsecond |
/// | 5 | the same condition; a touch has it, too, so a commit on a version before a touch is a conflict |
/// | 6 | one Commit of all the writes |
/// | 7 | a destroy of what is not there writes nothing |
/// | 8 | only the deadlines are in the mask of a touch |
/// | 9 | [`Applied::No`](super::Applied) where the code is proof or nothing was sent, else `Unknown` |
/// | 10 | a query on one indexed field |
/// | 11 | Firestore decides the conditions |
/// | 12 | a mark takes the document's place in the same Commit; that of a [plain id](super::Ids::Plain) is a document beside it |
///
/// No call is in a transaction: a transaction's read takes a lock, and concurrent requests would wait
/// for each other until Firestore ends them all. The client beneath makes no call twice.
///
/// [`ping`](Store::ping) reads a document that nobody has, which Google bills as one read. It tells that
/// the database answers and may be read, and not that it may be written.
///
#[doc = include_str!("../../docs/firestore.md")]
#[derive(Clone)]
pub struct Firestore {
    client: Arc<Client>,
    writer: Arc<Writer>,
    /// Whether the missing index for sweeps was logged.
    no_index: Arc<AtomicBool>,
}

impl Firestore {
    /// Opens the store and asks Firestore once whether it can be used.
    ///
    /// The credentials are [those of the configuration](FirestoreConfig::credentials), or else the
    /// application default ones. If FIRESTORE_EMULATOR_HOST is set, the emulator there is used in the
    /// place of Google's Firestore, as by Google's own clients; a warning is logged then.
    ///
    /// An app that installs a provider of rustls' cryptography does so before it calls this. Where none
    /// is installed, this installs the one that is compiled in.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and which command mends it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(config: FirestoreConfig) -> Result<Self, OpenError> {
        let client = Arc::new(Client::new(config)?);
        let asked = ask(&client).await;
        // A start that succeeds does not wait for words.
        match asked {
            Ok(()) => {
                let client = Arc::clone(&client);
                detach::spawn(async move { learn(&client).await });
            }
            Err(_) => learn(&client).await,
        }
        asked.map_err(|status| client.server.explain_opening(&status))?;
        match (&client.server.emulator, Platform::here()) {
            (Some(host), Some(platform)) => {
                tracing::warn!("{}", error::emulator_in_production(host, platform));
            }
            (Some(host), None) => tracing::warn!(
                host,
                "sessions are kept in a Firestore emulator (FIRESTORE_EMULATOR_HOST), for tests only"
            ),
            (None, _) => {}
        }
        let writer = Arc::new(Writer::new(Arc::clone(&client)));
        Ok(Self { client, writer, no_index: Arc::default() })
    }
}

/// Finds out who the app is, where that is not known yet, for messages.
async fn learn(client: &Client) {
    let Server { emulator, identity, .. } = &client.server;
    // An app's own credentials, and an emulator's, say nothing of themselves.
    if client.config.credentials.is_none() && emulator.is_none() && identity.get().is_none() {
        let _ = identity.set(Identity::find().await);
    }
}

/// Reads a document that nobody has: it tells whether the database is there and may be read.
async fn ask(client: &Client) -> Result<(), Status> {
    let nobody = client.names.document(&Key::from_bytes([0; 32]));
    client.get(nobody, Some(DocumentMask::default())).await.map(drop)
}

impl fmt::Debug for Firestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Firestore")
            .field("config", &self.client.config)
            .field("emulator", &self.client.server.emulator)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Firestore {
    fn info(&self) -> Info {
        let durability = match self.client.server.emulator {
            Some(_) => "nothing: FIRESTORE_EMULATOR_HOST names an emulator, which is for tests",
            None => "the loss of a zone",
        };
        Info::new(NAME, durability).with_ids(self.client.config.ids)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        Ok(match find(&self.client, key, now).await? {
            Found::Live(loaded) => Lookup::Live(loaded),
            Found::Marked(mark) => mark.lookup(now),
            Found::Free(_) => Lookup::Missing,
        })
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match write {
            Write::Create { record } => self.writer.create(record, now).await,
            Write::Replace { base, record } => self.writer.replace(base, record, now).await,
            Write::Renew { base, record } => self.writer.renew(base, record, now).await,
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        self.writer.touch(key, idle_deadline, now).await
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        self.writer.destroy(key, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        match list::sweep(&self.client, now, limit).await {
            // Without the index, the TTL policy deletes them.
            Err(status) if status.code() == Code::FailedPrecondition => {
                if !self.no_index.swap(true, Ordering::Relaxed) {
                    let why = self.client.server.no_index_for_sweeps(&status);
                    tracing::warn!(%why, "expired sessions are left to the TTL policy");
                }
                Ok(Swept::default())
            }
            swept => swept.map_err(|status| self.client.server.commit_failed(&status)),
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        ask(&self.client).await.map_err(|status| self.client.server.read_failed(&status))
    }

    /// Beside the index and the clock, it looks at the TTL policy and the location, where the app's account may.
    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Error> {
        self.ping().await?;
        learn(&self.client).await;
        let checked = check::check(&self.client, now).await;
        checked.map_err(|status| self.client.server.read_failed(&status))
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }
}

#[async_trait]
impl List for Firestore {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        list::page(&self.client, None, after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        list::page(&self.client, Some(user), after, limit, now).await
    }

    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        // Documents with plain ids are in the order of these.
        match self.info().ids {
            Ids::Hashed => by_handle::in_order(self, prefix, after, limit, now).await,
            _ => in_any_order(self, prefix, after, limit, now).await,
        }
    }
}

#[cfg(test)]
mod tests;
