//! Lists of records, and the sweep of what is dead.

use super::{
    codec::{self, Param, Unreadable},
    pool::Pool,
    statements::Kind,
};
use crate::{
    clock::Timestamp,
    id::Key,
    store::{Cursor, Damaged, Error, Page, Swept},
};

use std::sync::Arc;

/// How many rows one statement of a sweep looks at, so that none holds many locks for long.
const SWEEP_CHUNK: usize = 256;

/// A page of all records, or of one user's.
pub(super) async fn page(
    pool: &Arc<Pool>,
    user: Option<&str>,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let after = after.and_then(|cursor| cursor.0.parse::<Key>().ok());
    let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
    // One more than asked for tells whether this is the last page.
    let count = Param::count(limit.saturating_add(1));
    let mut params = vec![Param::Bytes(after), Param::Time(now), count];
    let kind = match user {
        None => Kind::List,
        Some(user) => {
            params.push(Param::Text(Some(user.to_owned())));
            Kind::ListByUser
        }
    };
    let rows = pool.ask(kind, params).await.map_err(|failure| failure.of_read(pool.names()))?;
    let (mut page, mut last) = (Page::default(), None);
    for row in rows.iter().take(limit) {
        // What has no key is nobody's session.
        let Ok(key) = codec::key_of(row) else { continue };
        last = Some(key);
        page.push(codec::record(row).map_err(|error| damaged(pool, key, &error)));
    }
    page.next = last.filter(|_| rows.len() > limit).map(|key| Cursor(key.to_string()));
    Ok(page)
}

fn damaged(pool: &Pool, key: Key, error: &Unreadable) -> Damaged {
    let (table, handle) = (&pool.names().table, key.handle());
    let look = format!("SELECT * FROM {table} WHERE encode(key, 'hex') LIKE '{handle}%'");
    Damaged { key, cause: error.to_string(), look }
}

/// Deletes records and marks that are dead.
pub(super) async fn sweep(pool: &Arc<Pool>, now: Timestamp, limit: usize) -> Result<Swept, Error> {
    let (mut deleted, mut looked_at) = (0, 0);
    loop {
        let chunk = SWEEP_CHUNK.min(limit.saturating_sub(looked_at));
        if chunk == 0 {
            return Ok(Swept { deleted, more: true });
        }
        let (dead, more) = sweep_chunk(pool, now, chunk).await?;
        deleted += dead;
        looked_at += chunk;
        if !more {
            return Ok(Swept { deleted, more: false });
        }
    }
}

/// One statement of a sweep: how many rows were deleted, and whether there may be more to see.
async fn sweep_chunk(
    pool: &Arc<Pool>,
    now: Timestamp,
    limit: usize,
) -> Result<(usize, bool), Error> {
    let params = vec![Param::Time(now), Param::count(limit)];
    let rows = pool.ask(Kind::Sweep, params).await;
    let rows = rows.map_err(|failure| failure.of_write(pool.names()))?;
    let count = |column| {
        let row = rows.first()?;
        usize::try_from(row.try_get::<_, i64>(column).ok()?).ok()
    };
    Ok((count(0).unwrap_or(0), count(1).unwrap_or(0) >= limit))
}
