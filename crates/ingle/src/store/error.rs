//! What a store could not do, and whether it was done all the same.

use std::fmt;

use crate::record::Loaded;

/// A store could not do what it was asked.
///
/// Its text names the store and the kind of failure, and nothing that belongs to a session.
#[derive(Debug, thiserror::Error)]
#[error("the {store} store {kind}")]
pub struct Error {
    store: &'static str,
    kind: ErrorKind,
    applied: Applied,
    #[source]
    source: Option<BoxError>,
}

/// The cause of an error, of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The kind of a store's failure, by what a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store did not answer, or not in time. Another attempt may help.
    Unavailable,
    /// The record is larger than the store takes.
    TooLarge,
    /// The store cannot hold such data, from any caller.
    Unfit,
    /// What the store holds is not a record that this version of the library can read.
    Corrupt,
    /// The store refused, and will refuse again: a permission or a setting.
    Refused,
    /// Another writer has locked the record at this moment. The store is well, and another attempt
    /// will help.
    Contended,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "is not available",
            Self::TooLarge => "takes no record of this size",
            Self::Unfit => "cannot hold this data",
            Self::Corrupt => "holds what is not a readable record",
            Self::Refused => "refuses to do this",
            Self::Contended => "has the record in another writer's hands",
        })
    }
}

/// Whether a write that failed was applied all the same (law 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was not applied, and never will be.
    No,
    /// It may have been applied, or may still be.
    Unknown,
}

impl Error {
    /// An error of the store called `store`.
    pub fn new(store: &'static str, kind: ErrorKind, applied: Applied) -> Self {
        Self { store, kind, applied, source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error where this is known of the write. For a write of several steps.
    #[must_use]
    pub fn with_applied(self, applied: Applied) -> Self {
        Self { applied, ..self }
    }

    /// The error of an act whose line of the audit log is no longer what it was. Nothing was changed.
    pub(super) fn of_line(store: &'static str) -> Self {
        let error = Self::new(store, ErrorKind::Refused, Applied::No);
        error.with_source("the act's line of the audit log was changed or removed meanwhile")
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the store refused the data, and surely did not write it.
    pub(crate) fn is_about_the_data(&self) -> bool {
        let data = matches!(self.kind, ErrorKind::TooLarge | ErrorKind::Unfit);
        data && self.applied == Applied::No
    }

    /// The causes, down to the first one.
    pub(crate) fn cause(&self) -> String {
        let mut text = String::new();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Whether the write may have been applied all the same.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied
    }
}

/// Why a commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The condition does not hold: the record moved on, or the key is taken. Nothing was changed.
    ///
    /// A store that has seen the record under the base's key meanwhile returns it here, which saves
    /// a load.
    #[error("the record moved on")]
    Conflict(Option<Loaded>),
    /// There is no live record. Nothing was changed.
    #[error("the record is gone")]
    Gone,
    /// The store failed. The error says what is true now.
    #[error(transparent)]
    Failed(#[from] Error),
}
