//! Finds records by the beginning of their handle, which is how their keys begin.

use super::{Cursor, Error, List, Page};
use crate::{
    clock::Timestamp,
    id::{HandlePrefix, Key},
};

/// For a list in the order of keys, whose cursor is the text of the last one: the records are those
/// behind all keys that are less.
pub(super) async fn in_order<L: List + ?Sized>(
    list: &L,
    prefix: &HandlePrefix,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let before = Key::before(prefix).map(|key| Cursor(key.to_string()));
    let limit = if prefix.is_whole() { 1 } else { limit };
    let mut page = list.list(after.or(before.as_ref()), limit, now).await?;
    let n_listed = page.len();
    page.retain(|key| prefix.is_of(&key.handle()));
    if page.len() < n_listed {
        // All that follow are greater.
        page.next = None;
    }
    Ok(page)
}
