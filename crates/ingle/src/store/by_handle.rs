//! Finds a record by its handle, which is how its key begins.

use super::{Cursor, Error, List};
use crate::{
    clock::Timestamp,
    id::{Handle, Key},
    record::Loaded,
};

/// How many records are looked at with one call.
const PAGE: usize = 100;

/// Goes through the whole list.
pub(super) async fn in_any_order<L: List + ?Sized>(
    list: &L,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<Loaded>, Error> {
    let mut after = None;
    loop {
        let page = list.list(after.as_ref(), PAGE, now).await?;
        let found = page.records.into_iter().find(|loaded| is_of(loaded, handle));
        after = page.next;
        if found.is_some() || after.is_none() {
            return Ok(found);
        }
    }
}

/// The same where the list is in the order of keys, and a cursor is the text of the last one: the
/// record is the first behind all keys that are less than the handle.
pub(super) async fn in_order<L: List + ?Sized>(
    list: &L,
    handle: &Handle,
    now: Timestamp,
) -> Result<Option<Loaded>, Error> {
    let after = Key::before(handle).map(|key| Cursor(key.to_string()));
    let page = list.list(after.as_ref(), 1, now).await?;
    Ok(page.records.into_iter().find(|loaded| is_of(loaded, handle)))
}

fn is_of(loaded: &Loaded, handle: &Handle) -> bool {
    loaded.record.header.key.handle() == *handle
}
