//! How many sessions a user may have at once, exactly.
//!
//! Each session has a place in the user's record. A login reserves one before its session is there,
//! and holds it when the session is. So no instant sees more sessions than places. A session
//! that ends gives no place back: who finds none free looks which sessions have ended.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    account::{Account, Place, PlaceState},
    coalesce::Coalescer,
    commit,
    context::Context,
    events::Cause,
    failure::Failure,
    policy::{OnUserLimit, UserLimit},
    retry::Backoff,
    users,
};
use crate::{
    clock::Timestamp,
    detach::DetachHandle,
    id::Key,
    store::{Lookup, MARK_TIME},
};

/// A session on its way to a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) key: Key,
    /// The key from which it moves, if there is one.
    pub(crate) from: Option<Key>,
    /// Whether it is the user's there already, so that it has a place.
    pub(crate) is_users: bool,
}

/// A place that is reserved for a session.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// The key of the user's record.
    pub(crate) user: Key,
    /// That of the session.
    pub(crate) key: Key,
    /// Sessions that ended for it.
    pub(crate) ended: Vec<Key>,
}

/// Why there is no place.
#[derive(Debug)]
pub(crate) enum NoPlace {
    /// The user has as many sessions as they may have.
    Full,
    Failed(Failure),
}

impl From<Failure> for NoPlace {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a look at the places came to.
enum Look {
    /// One is reserved, and the sessions of these must end before it is used.
    Reserved(Vec<Place>),
    /// All of these are taken.
    Full(Vec<Place>),
}

/// Reserves a place for a session that is about to be stored, and ends those that it takes the place of.
pub(crate) async fn reserve(
    coalescer: &Arc<Coalescer>,
    user: Key,
    arrival: Arrival,
    limit: UserLimit,
    over_limit: &Cause,
    deadline: Instant,
    handle: &DetachHandle,
) -> Result<Reservation, NoPlace> {
    let context = &coalescer.context;
    let mut rivalry = Backoff::of_rivals();
    // Those that are known to have ended, and the one that is to.
    let (mut ended, mut oldest) = (Vec::new(), None);
    loop {
        let now = context.policy.now();
        let (gone, ends) = (std::mem::take(&mut ended), oldest.take());
        let change = move |account: &mut Account| {
            account.places.retain(|place| !gone.contains(place));
            look(&mut account.places, arrival, limit, ends.as_ref(), now)
        };
        let looked = users::update(coalescer, user, deadline, handle, change).await?;
        let taken = match looked {
            Look::Reserved(ending) => {
                for key in ending.iter().flat_map(Place::keys) {
                    commit::destroy(context, &key, over_limit.clone(), deadline).await?;
                }
                let ended = ending.into_iter().map(|place| place.key).collect();
                return Ok(Reservation { user, key: arrival.key, ended });
            }
            Look::Full(taken) => taken,
        };
        let mut unknown = None;
        for place in &taken {
            match fate(context, place, now, deadline).await? {
                Fate::Ended => ended.push(place.clone()),
                Fate::Unknown => unknown = Some(place.clone()),
                Fate::Taken => {}
            }
        }
        if !ended.is_empty() {
            continue;
        }
        // Of two logins of one visitor, the later one must not end the session of the other. A place
        // that was held before this look is that of a session which had moved before it.
        if let Some(from) = &arrival.from {
            context.load_live(from, deadline).await?;
        }
        let held = taken.into_iter().filter(|place| place.state == PlaceState::Held);
        oldest = match limit.beyond {
            _ if unknown.is_some() => unknown,
            OnUserLimit::Refuse => return Err(NoPlace::Full),
            OnUserLimit::EndOldest => held.min_by_key(|place| place.since),
        };
        // Where other logins are about to take all places, there is none to end yet.
        if oldest.is_none() && !rivalry.wait(deadline).await {
            let why = "other logins of the user were not done";
            return Err(Failure::from(context.client.too_late(why)).into());
        }
    }
}

fn look(
    places: &mut Vec<Place>,
    Arrival { key, from, is_users }: Arrival,
    limit: UserLimit,
    oldest: Option<&Place>,
    now: Timestamp,
) -> Look {
    let own = |place: &&mut Place| is_users && from.is_some_and(|from| place.is_of(&from));
    if let Some(own) = places.iter_mut().find(own) {
        // A session that is ending moves nowhere.
        if own.state != PlaceState::Ending {
            own.moves_to.push(key);
        }
    } else {
        if let Some(oldest) = oldest
            && let Some(place) = places.iter_mut().find(|place| *place == oldest)
        {
            place.state = PlaceState::Ending;
        }
        let taken = places.iter().filter(|place| place.state != PlaceState::Ending);
        // A session that began without a place, before there was a limit, is not refused one.
        if !is_users && taken.clone().count() >= limit.max.get() {
            return Look::Full(taken.cloned().collect());
        }
        let state = PlaceState::Reserved;
        places.push(Place { key, moves_to: Vec::new(), since: now, state });
    }
    let ending = places.iter().filter(|place| place.state == PlaceState::Ending);
    Look::Reserved(ending.cloned().collect())
}

/// What became of the session of a place.
enum Fate {
    Taken,
    /// It lives, and no browser knows its id: what stored it was cut off before it held the place.
    Unknown,
    Ended,
}

/// The session of a login under way is not there yet.
async fn fate(
    context: &Context,
    place: &Place,
    now: Timestamp,
    deadline: Instant,
) -> Result<Fate, Failure> {
    let is_reserved = place.state == PlaceState::Reserved;
    if is_reserved && now.since(place.since) < MARK_TIME {
        return Ok(Fate::Taken);
    }
    for from in place.keys() {
        let mut key = from;
        for _ in 0..commit::MOVES_MAX {
            match users::look_up(context, &key, deadline).await? {
                // The mark of a move is gone, and nobody has held the place since.
                Lookup::Live(_) if is_reserved || from != place.key => return Ok(Fate::Unknown),
                Lookup::Live(_) => return Ok(Fate::Taken),
                Lookup::Moved { to } => key = to,
                Lookup::Ended | Lookup::Missing => break,
            }
        }
    }
    Ok(Fate::Ended)
}
