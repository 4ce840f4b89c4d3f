//! Which documents of which database the sessions are.

use crate::{
    id::{Ids, Key},
    store::OpenError,
};

/// Where a [`Firestore`](super::Firestore) store keeps its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The host and port of an emulator to use in the place of Google's Firestore. Default what the
    /// variable FIRESTORE_EMULATOR_HOST says when the store is opened.
    pub emulator: Option<String>,
}

const FORM: &str = "takes firestore://PROJECT/COLLECTION or firestore://PROJECT/DATABASE/COLLECTION, \
                    and may end in `?ids=plain` or `?ids=upgrade`";

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
            emulator: None,
        }
    }

    /// Reads what follows `firestore:` in a URL.
    pub(in crate::store) fn parse(rest: &str) -> Result<Self, OpenError> {
        let wrong = |problem| OpenError::BadUrl { scheme: "firestore", problem };
        let (path, options) = match rest.split_once('?') {
            Some((path, options)) => (path, Some(options)),
            None => (rest, None),
        };
        let path = path.strip_prefix("//").ok_or(wrong(FORM))?;
        let parts: Vec<&str> = path.split('/').collect();
        let mut config = match parts.as_slice() {
            [project, collection] => Self::new(*project, *collection),
            [project, database, collection] => {
                Self { database: (*database).to_owned(), ..Self::new(*project, *collection) }
            }
            _ => return Err(wrong(FORM)),
        };
        config.ids = match options {
            None => Ids::Hashed,
            Some("ids=plain") => Ids::Plain,
            Some("ids=upgrade") => Ids::Upgrade,
            Some(_) => {
                return Err(wrong("has one option, which is `ids=plain` or `ids=upgrade`"));
            }
        };
        config.check().map_err(wrong)?;
        Ok(config)
    }

    /// Checks the names, so that none of them can lead to another place.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let of = |text: &str, signs: &str| {
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || signs.as_bytes().contains(&byte);
            !text.is_empty() && text.len() <= 100 && text.bytes().all(allowed)
        };
        // A project of a domain has its name before a colon.
        if !of(&self.project, "-.:") || !self.project.starts_with(char::is_alphanumeric) {
            return Err("names the project by its id: letters, digits and `-`");
        }
        if self.database != "(default)" && !of(&self.database, "-") {
            return Err("names a database with letters, digits and `-`, or `(default)`");
        }
        let printable = |c: char| !c.is_control() && !matches!(c, '%' | '#' | '?' | '/');
        if !is_id(&self.collection) || !self.collection.chars().all(printable) {
            return Err(
                "names a collection, which is neither `.` nor `..` nor `__…__` and has no \
                        `/`, `?`, `#` or `%`",
            );
        }
        Ok(())
    }

    /// The name of the database.
    pub(super) fn database(&self) -> String {
        format!("projects/{}/databases/{}", self.project, self.database)
    }
}

/// The names of things in the requests to one place.
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
        let database = config.database();
        let documents = format!("{database}/documents");
        let collection = config.collection.clone();
        let prefix = format!("{documents}/{collection}/");
        Self { database, documents, collection, prefix, ids: config.ids }
    }

    /// The name of the document of a key.
    pub(super) fn document(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
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
        let key: Key = self.id(name)?.parse().ok()?;
        (!key.is_plain() || self.ids != Ids::Hashed).then_some(key)
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
