//! Finds a record by its handle, which is how its key begins.

use super::{Cursor, Error, List};
use crate::{
    clock::Timestamp,
    id::{Handle, Key},
    record::Loaded,
};

/// For a list in the order of keys, whose cursor is the text of the last one: the record is the first
/// behind all keys that are less than the handle.
pub(super) async fn in_order<L: List + ?Sized>(
    list: &L,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<Loaded>, Error> {
    let after = Key::before(handle).map(|key| Cursor(key.to_string()));
    let page = list.list(after.as_ref(), 1, now).await?;
    Ok(page.records.into_iter().find(|loaded| loaded.record.header.key.handle() == *handle))
}
