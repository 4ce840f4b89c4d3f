//! Which of several ids is the session's.
//!
//! It takes nobody's session on a guess: a load that fails is an error, and of two sessions that live
//! neither is taken.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    error::Error,
    state::{Shared, Standing},
};
use crate::{
    engine::commit::MOVES_MAX,
    id::{Key, SessionId},
    meter,
    record::{Loaded, Record},
    store::Lookup,
};

/// What stands under one of the ids.
struct Seen {
    id: SessionId,
    /// Its record, if it is live.
    loaded: Option<Loaded>,
    /// A renew or a destroy left a mark: a request with this id alone would be late.
    has_mark: bool,
    /// Where its session lives.
    lives_under: Option<Key>,
}

impl Shared {
    /// Takes the one that is live, if exactly one is. Its record, if there is one.
    ///
    /// The old id of a renewed session names the session that it became. Where the browser does not
    /// know the new id, the request is late, as one with the old id alone is.
    pub(super) async fn choose(
        &self,
        ids: Vec<SessionId>,
        deadline: Instant,
    ) -> Result<Option<Arc<Record>>, Error> {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push(self.follow(id, deadline).await?);
        }
        let keys: Vec<Key> = all.iter().map(|seen| seen.id.key()).collect();
        let mut live: Vec<Key> = all.iter().filter_map(|seen| seen.lives_under).collect();
        live.sort_unstable();
        live.dedup();
        let is_late = |seen: &Seen| match seen.lives_under {
            Some(key) => !keys.contains(&key),
            None => live.is_empty() && seen.has_mark,
        };
        let place = match (all.iter().position(is_late), &*live) {
            (Some(late), _) => Some(late),
            (None, [one]) => keys.iter().position(|key| key == one),
            (None, _) => None,
        };
        let Some(place) = place else {
            return self.none_of(all, &live).map(|()| None);
        };
        let Seen { id, loaded, .. } = all.swap_remove(place);
        self.state().others.extend(all.into_iter().map(|seen| seen.id));
        match loaded {
            Some(loaded) => Ok(Some(self.found(id, loaded))),
            None => Err(self.interrupted(&id)),
        }
    }

    /// The other ids that the browser brought, but for old ids of the session that is taken.
    pub(super) async fn of_others(
        &self,
        own: Option<Key>,
        deadline: Instant,
    ) -> Result<Vec<SessionId>, Error> {
        let ids = self.state().others.clone();
        let mut others = Vec::with_capacity(ids.len());
        for id in ids {
            let seen = self.follow(id, deadline).await?;
            if own.is_none() || seen.lives_under != own {
                others.push(seen.id);
            }
        }
        Ok(others)
    }

    /// There is no session, or there are two.
    fn none_of(&self, all: Vec<Seen>, live: &[Key]) -> Result<(), Error> {
        if let [one, other, ..] = live {
            meter::duplicate_cookie();
            let (session, other) = (one.handle(), other.handle());
            tracing::info!(%session, %other, "a request has the ids of two live sessions; it is served as without");
        } else {
            all.iter().try_for_each(|seen| self.missing(&seen.id, false))?;
        }
        let mut state = self.state();
        state.standing = Standing::None;
        state.others.extend(all.into_iter().map(|seen| seen.id));
        Ok(())
    }

    async fn follow(&self, id: SessionId, deadline: Instant) -> Result<Seen, Error> {
        let mut seen = Seen { id, loaded: None, has_mark: false, lives_under: None };
        let mut key = seen.id.key();
        for moves in 0..MOVES_MAX {
            match self.look_up(&key, deadline).await? {
                Lookup::Live(loaded) => {
                    seen.lives_under = Some(key);
                    seen.loaded = (moves == 0).then_some(loaded);
                    return Ok(seen);
                }
                Lookup::Moved { to } => (seen.has_mark, key) = (true, to),
                Lookup::Ended => {
                    seen.has_mark = true;
                    return Ok(seen);
                }
                Lookup::Missing => return Ok(seen),
            }
        }
        let client = &self.engine.context().client;
        Err(client.too_late("the session was renewed again and again").into())
    }
}
