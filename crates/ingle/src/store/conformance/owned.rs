//! A write that outlives its caller: for writes that are raced in tasks of their own, or
//! that land late.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    id::Key,
    record::{Loaded, Record, Version},
    store::{CommitError, Replace, Store, Transactions, Write},
};

/// A commit, a touch or a destroy that owns what it writes.
#[derive(Clone, Debug)]
pub(super) enum OwnedWrite {
    Create { record: Arc<Record> },
    Replace { base: Loaded, record: Arc<Record> },
    Renew { base: Loaded, record: Arc<Record> },
    Touch { key: Key, idle_deadline: Timestamp },
    Destroy { key: Key },
    ReplaceWith { act: OwnedReplace, line: OwnedReplace },
    DestroyWith { key: Key, line: OwnedReplace },
}

/// A [`Replace`] that owns what it writes.
#[derive(Clone, Debug)]
pub(super) struct OwnedReplace {
    pub(super) base: Loaded,
    pub(super) record: Arc<Record>,
}

impl OwnedReplace {
    pub(super) fn new(base: &Loaded, record: Record) -> Self {
        Self { base: base.clone(), record: Arc::new(record) }
    }

    pub(super) fn borrowed(&self) -> Replace<'_> {
        Replace { base: &self.base, record: &self.record }
    }
}

impl From<Replace<'_>> for OwnedReplace {
    fn from(Replace { base, record }: Replace<'_>) -> Self {
        Self { base: base.clone(), record: Arc::clone(record) }
    }
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
            Self::ReplaceWith { .. } => "replace with a line",
            Self::DestroyWith { .. } => "destroy with a line",
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
            Self::ReplaceWith { act, line } => {
                let (act, line) = (act.borrowed(), line.borrowed());
                return transactions(store).replace_with(act, line, now).await;
            }
            Self::DestroyWith { key, line } => {
                let destroyed = transactions(store).destroy_with(key, line.borrowed(), now).await;
                return Ok(destroyed.map(|_| Version(0))?);
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

fn transactions(store: &dyn Store) -> &dyn Transactions {
    store.as_transactions().expect("law 13: a store has its transactions for good")
}
