//! A write that outlives its caller: for writes that are raced in tasks of their own, or
//! that land late.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
    store::{CommitError, Store, Write},
};

/// A commit, a touch or a destroy that owns what it writes.
#[derive(Clone, Debug)]
pub(super) enum OwnedWrite {
    Create { record: Arc<Record> },
    Replace { base: Loaded, record: Arc<Record> },
    Renew { base: Loaded, record: Arc<Record> },
    Touch { key: Key, idle_deadline: Timestamp },
    Destroy { key: Key },
}

impl OwnedWrite {
    pub(super) fn create(record: Record) -> Self {
        Self::Create { record: Arc::new(record) }
    }

    pub(super) fn replace(base: &Loaded, record: Record) -> Self {
        Self::Replace { base: base.clone(), record: Arc::new(record) }
    }

    pub(super) fn renew(base: &Loaded, record: Record) -> Self {
        Self::Renew { base: base.clone(), record: Arc::new(record) }
    }

    pub(super) fn touch(key: Key, idle_deadline: Timestamp) -> Self {
        Self::Touch { key, idle_deadline }
    }

    pub(super) fn destroy(key: Key) -> Self {
        Self::Destroy { key }
    }

    /// What this write is called in logs and messages.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Replace { .. } => "replace",
            Self::Renew { .. } => "renew",
            Self::Touch { .. } => "touch",
            Self::Destroy { .. } => "destroy",
        }
    }

    /// Makes the write. The version after a touch or a destroy means nothing.
    pub(super) async fn apply(
        &self,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        let write = match self {
            Self::Create { record } => Write::Create { record },
            Self::Replace { base, record } => Write::Replace { base, record },
            Self::Renew { base, record } => Write::Renew { base, record },
            Self::Touch { key, idle_deadline } => {
                return store.touch(key, *idle_deadline, now).await.map(|()| Version(0));
            }
            Self::Destroy { key } => {
                return Ok(store.destroy(key, now).await.map(|_| Version(0))?);
            }
        };
        store.commit(write, now).await
    }
}

impl From<Write<'_>> for OwnedWrite {
    fn from(write: Write<'_>) -> Self {
        match write {
            Write::Create { record } => Self::Create { record: Arc::clone(record) },
            Write::Replace { base, record } => {
                Self::Replace { base: base.clone(), record: Arc::clone(record) }
            }
            Write::Renew { base, record } => {
                Self::Renew { base: base.clone(), record: Arc::clone(record) }
            }
        }
    }
}
