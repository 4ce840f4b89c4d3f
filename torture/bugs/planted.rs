//! Says which of the bugs in this copy of the library is active.

use std::{
    collections::BTreeSet,
    env,
    sync::{LazyLock, Mutex, PoisonError},
};

use crate::id::Key;

static ACTIVE: LazyLock<Option<String>> = LazyLock::new(|| env::var("INGLE_PLANTED").ok());

/// Whether the bug of this name is the active one.
pub(crate) fn is(bug: &str) -> bool {
    ACTIVE.as_deref() == Some(bug)
}

/// For b14: the sessions that what stands for one process believes to have ended.
pub(crate) fn believes_ended(process: usize, key: &Key, ends: bool) -> bool {
    static ENDED: Mutex<BTreeSet<(usize, Key)>> = Mutex::new(BTreeSet::new());
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    if ends { ended.insert((process, *key)) } else { ended.contains(&(process, *key)) }
}
