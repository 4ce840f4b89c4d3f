//! Makes a user's set anew that somebody has changed by hand, so that no session is missing from it.
//!
//! The records say whose they are, so all keys are looked at. A session that is there all the while is found.
//! One that is stored meanwhile, or moves to another key, joins the set before that, as all do. A login or a
//! renew whose member was removed while it was under way is found by neither. It looks after its commit whether
//! all sessions of its user were ended, so an end of all reaches it, too.
//!
//! It costs as much as a list of all sessions, and nobody pays for it but after such a change. It goes on where
//! its caller does not wait for so long. Those who ask again wait for the same look, or find the set mended.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    connect::Client,
    error::{NAME, contended},
    scan::{load_all, scan},
    user_set::{self, user_of},
};
use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    detach,
    record::Header,
    store::{Applied, Error},
};

/// How often it looks again, where somebody keeps changing the set by hand.
pub(super) const LOOKS_MAX: usize = 3;

/// One set is mended at a time.
pub(super) type Mends = Arc<Mutex<()>>;

/// The members of a user's set, none missing.
pub(super) async fn members(
    client: &Arc<Client>,
    mends: &Mends,
    user: &str,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let set = user_set::read(client, user).await?;
    if set.lacks == 0 {
        return Ok(set.members);
    }
    let (client, mends, user) = (Arc::clone(client), Arc::clone(mends), user.to_owned());
    let mended = detach::run_to_end(async move {
        let _turn = mends.lock().await;
        mend(&client, &user, now).await
    });
    mended.await
}

async fn mend(client: &Client, user: &str, now: Timestamp) -> Result<Vec<String>, Error> {
    for _ in 0..LOOKS_MAX {
        let set = user_set::read(client, user).await?;
        if set.lacks == 0 {
            return Ok(set.members);
        }
        tracing::warn!(
            "a user's set of sessions in Redis was changed by hand; all sessions are looked at, to make it anew"
        );
        let sessions = sessions_of(client, user, now).await.map_err(|error| unmended(&error))?;
        // A list may ask as of the past, to show also what has expired. A set that was written then would
        // never end.
        let written = now.max(SystemClock.now());
        user_set::mend(client, user, &set, &sessions, written).await?;
    }
    Err(contended().with_source("somebody keeps changing the user's set of sessions by hand"))
}

/// The headers of a user's live records, of all that there are.
async fn sessions_of(client: &Client, user: &str, now: Timestamp) -> Result<Vec<Header>, Error> {
    let mut sessions = Vec::new();
    for master in client.masters() {
        let mut cursor = 0;
        loop {
            let (next, keys) = scan(client, &master, &client.names.records(), cursor).await?;
            // What cannot be read names no user.
            for loaded in load_all(client, &keys).await?.into_iter().flatten().flatten() {
                let header = &loaded.record.header;
                if user_of(header) == Some(user) && !loaded.record.is_dead(now) {
                    sessions.push(header.clone());
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(sessions)
}

/// Why a set stays as it is, and its sessions are not told.
fn unmended(error: &Error) -> Error {
    let why =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let said =
        format!("a user's set of sessions was changed by hand, and was not made anew: {why}");
    Error::new(NAME, error.kind(), Applied::No).with_source(said)
}
