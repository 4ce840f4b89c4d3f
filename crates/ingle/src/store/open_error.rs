//! Why a store could not be opened, and what to do.

use std::{fmt, sync::Arc};

use super::{BoxError, floor::text::on_one_line};

/// A store could not be opened.
///
/// Its text says what is wrong and what to do, on one line and without a password.
#[derive(Clone, Debug)]
pub struct OpenError {
    store: &'static str,
    kind: OpenErrorKind,
    problem: String,
    help: String,
    source: Option<Arc<BoxError>>,
}

/// What is wrong, for a program to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The URL or the configuration is wrong.
    Config,
    /// This program was built without the store.
    NotBuilt,
    /// No server answers there, or not in time. It may answer later.
    Unreachable,
    /// TLS failed, or the server does not offer it.
    Tls,
    /// The server or the file system does not give this user the rights that the store needs.
    Denied,
    /// Something must be created first: a database, a table, an index, a folder.
    Missing,
    /// What is there belongs to another program, or to a newer version of this library.
    Foreign,
    /// The server's version or its settings do not meet the requirements.
    Unsupported,
    /// Something else failed.
    Failed,
}

impl OpenError {
    /// An error of the store called `store`: what is wrong, and what to do. Each is a part of a
    /// sentence. What breaks lines in them is made a blank.
    pub fn new(
        store: &'static str,
        kind: OpenErrorKind,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let [problem, help] = [problem.into(), help.into()].map(|part| on_one_line(&part));
        Self { store, kind, problem, help, source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(Arc::new(source.into()));
        self
    }

    /// The kind of store, such as `redis`.
    #[must_use]
    pub fn store(&self) -> &'static str {
        self.store
    }

    /// What is wrong, for a program to branch on.
    #[must_use]
    pub fn kind(&self) -> OpenErrorKind {
        self.kind
    }

    /// What is wrong, as a part of a sentence.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do, as a part of a sentence.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, problem, help, .. } = self;
        write!(f, "could not open the {store} store: {problem}")?;
        if help.is_empty() { Ok(()) } else { write!(f, "; {help}") }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &***source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_whatever_it_is_made_of() {
        let error =
            OpenError::new("mine", OpenErrorKind::Failed, "a\r\nb\n", "c\u{1b}[2J\u{2028}d");
        assert_eq!(error.to_string(), "could not open the mine store: a b; c [2J d");
    }
}
