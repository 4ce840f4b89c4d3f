//! Which documents of which database the sessions are.
//!
//! It knows the names of things in Firestore, and nothing of connections.

use std::{fmt, time::Duration};

use google_cloud_auth::credentials::Credentials;

use super::{
    error::{bad_config, bad_url},
    plain,
};
use crate::{
    id::Key,
    store::{
        Ids, OpenError,
        floor::{
            text::is_tidy,
            url::{StoreUrl, Wrong},
        },
    },
};

/// Where a [`Firestore`](super::Firestore) store keeps its documents, and how it gets there.
///
#[doc = include_str!("../../../docs/firestore-tutorial.md")]
#[derive(Clone)]
#[non_exhaustive]
pub struct FirestoreConfig {
    /// The id of the Google Cloud project.
    pub project: String,
    /// The database. Default `(default)`.
    pub database: String,
    /// The collection, at the top of the database, that has one document for each session.
    pub collection: String,
    /// Which ids the sessions have. Default [`Ids::Hashed`].
    pub ids: Ids,
    /// The app's own credentials, for the scope `https://www.googleapis.com/auth/datastore`. Default
    /// the application default ones. An emulator needs none, and gets none.
    pub credentials: Option<Credentials>,
    /// The host and port of an emulator to use in the place of Google's Firestore. Default what the
    /// variable FIRESTORE_EMULATOR_HOST says when the store is opened.
    pub emulator: Option<String>,
    /// How long one call with the commits of several sessions is waited for, before each of them goes
    /// on alone. Default 300 ms; far away from the database it must be more than a call takes.
    pub batch_timeout: Duration,
}

const FORM: &str = "does not name a collection";

/// The longest name of a collection, and of a document, in bytes.
const ID_BYTES_MAX: usize = 1500;

impl FirestoreConfig {
    /// A collection of the default database of a project.
    #[must_use]
    pub fn new(project: impl Into<String>, collection: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            database: "(default)".to_owned(),
            collection: collection.into(),
            ids: Ids::Hashed,
            credentials: None,
            emulator: None,
            batch_timeout: Duration::from_millis(300),
        }
    }

    /// Reads `firestore://PROJECT/COLLECTION` or `firestore://PROJECT/DATABASE/COLLECTION`, with
    /// `?ids=plain` or `?ids=upgrade` behind it for sessions of the tutorial's app.
    ///
    /// # Errors
    /// The URL is none of these, or one of its names is not allowed.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        Self::read(url).map_err(|problem| bad_url(&problem))
    }

    fn read(url: &str) -> Result<Self, Wrong> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(FORM)?;
        if scheme != "firestore" {
            return Err("does not begin with `firestore://`".into());
        }
        // A project is no host: that of a domain has a colon and letters behind it.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (project, behind) = rest.split_at(end);
        let mut url = StoreUrl::parse(&format!("firestore://project{behind}"), FORM)?;
        let (database, collection) = match url.path.as_slice() {
            [collection] => (None, collection),
            [database, collection] => (Some(database.clone()), collection),
            _ => return Err(FORM.into()),
        };
        let mut config = Self::new(project, collection);
        config.database = database.unwrap_or(config.database);
        const OPTIONS: &str = "has an option other than `ids=plain` and `ids=upgrade`";
        if let Some(ids) = url.take("ids") {
            config.ids = plain::option(&ids).ok_or(OPTIONS)?;
        }
        url.no_more(OPTIONS)?;
        config.problem().map_or(Ok(config), |problem| Err(problem.into()))
    }

    /// Checks the names, so that none of them can lead to another place.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        self.problem().map_or(Ok(()), |problem| Err(bad_config(problem)))
    }

    fn problem(&self) -> Option<&'static str> {
        let of = |text: &str, signs: &str| {
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || signs.as_bytes().contains(&byte);
            !text.is_empty() && text.len() <= 100 && text.bytes().all(allowed)
        };
        // A project of a domain has its name before a colon.
        if !of(&self.project, "-.:") || !self.project.starts_with(char::is_alphanumeric) {
            return Some(
                "does not name the project by its id, which has letters, digits and `-` alone",
            );
        }
        if self.database != "(default)" && !of(&self.database, "-") {
            return Some(
                "names a database that is neither `(default)` nor letters, digits and `-` alone",
            );
        }
        let printable = |c: char| !c.is_control() && !matches!(c, '%' | '#' | '?' | '/');
        if !is_id(&self.collection)
            || !is_tidy(&self.collection)
            || !self.collection.chars().all(printable)
        {
            return Some(
                "names a collection that is empty, `.`, `..` or `__…__`, or has a `/`, `?`, `#` or \
                 `%`, or a blank around it",
            );
        }
        None
    }
}

impl fmt::Debug for FirestoreConfig {
    /// Of the credentials only whether there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, database, collection, ids, credentials, emulator, batch_timeout } =
            self;
        f.debug_struct("FirestoreConfig")
            .field("project", project)
            .field("database", database)
            .field("collection", collection)
            .field("ids", ids)
            .field("credentials", &credentials.as_ref().map(|_| "…"))
            .field("emulator", emulator)
            .field("batch_timeout", batch_timeout)
            .finish()
    }
}

/// The names of things in the requests of one store.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) database: String,
    /// The parent of the collection.
    pub(super) documents: String,
    pub(super) collection: String,
    /// The name of any document, up to its id.
    prefix: String,
    ids: Ids,
}

impl Names {
    pub(super) fn of(config: &FirestoreConfig) -> Self {
        let database = format!("projects/{}/databases/{}", config.project, config.database);
        let documents = format!("{database}/documents");
        let collection = config.collection.clone();
        let prefix = format!("{documents}/{collection}/");
        Self { database, documents, collection, prefix, ids: config.ids }
    }

    /// The name of the document of a key.
    pub(super) fn document(&self, key: &Key) -> String {
        self.document_with_id(&plain::document_id(key))
    }

    /// The name of the document with the mark of a key, where that is another one.
    pub(super) fn mark(&self, key: &Key) -> Option<String> {
        plain::mark_id(key).map(|id| self.document_with_id(&id))
    }

    /// The name of the document with this id.
    pub(super) fn document_with_id(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// The id of a document in this collection.
    pub(super) fn id<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.prefix).filter(|id| !id.contains('/'))
    }

    /// The key of a document, if it is a session's.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        plain::key_of_document(self.id(name)?, self.ids)
    }
}

/// Whether Firestore takes this as the id of a collection or a document.
pub(super) fn is_id(id: &str) -> bool {
    let reserved = id.len() >= 4 && id.starts_with("__") && id.ends_with("__");
    !id.is_empty()
        && id.len() <= ID_BYTES_MAX
        && !matches!(id, "." | "..")
        && !id.contains('/')
        && !reserved
}
