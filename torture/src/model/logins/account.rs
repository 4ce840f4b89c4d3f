//! What changes in the user's record: `crates/ingle/src/engine/{account,places}.rs`, without time.

use super::{
    setup::Limit,
    state::{Account, Key, Place, PlaceState, Said},
};

/// A session on its way to a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) key: Key,
    /// The key from which it moves, where it is the user's already.
    pub(crate) from: Option<Key>,
}

impl Account {
    pub(crate) fn advance(&mut self) -> u8 {
        self.generation += 1;
        self.generation
    }

    /// `places::look`, after the places are left out whose sessions have ended.
    pub(crate) fn reserve(
        &mut self,
        Arrival { key, from }: Arrival,
        limit: Limit,
        gone: &[Place],
        oldest: Option<&Place>,
    ) -> Said {
        self.places.retain(|place| !gone.contains(place));
        let own = |place: &&mut Place| from.is_some_and(|from| place.is_of(from));
        if let Some(own) = self.places.iter_mut().find(own) {
            if own.state != PlaceState::Ending {
                own.moves_to.push(key);
            }
        } else {
            if let Some(place) =
                self.places.iter_mut().find(|place| oldest.is_some_and(|oldest| *oldest == **place))
            {
                place.state = PlaceState::Ending;
            }
            let taken = self.places.iter().filter(|place| place.state != PlaceState::Ending);
            if from.is_none() && taken.clone().count() >= limit.max {
                return Said::Full(taken.cloned().collect());
            }
            self.places.push(Place { key, moves_to: Vec::new(), state: PlaceState::Reserved });
        }
        let ending = self.places.iter().filter(|place| place.state == PlaceState::Ending);
        Said::Reserved(ending.cloned().collect())
    }

    /// Whether nobody has taken the place of the session under `key`.
    pub(crate) fn hold_place(&mut self, key: Key, ended: &[Key]) -> bool {
        let has_ended =
            |place: &Place| place.state == PlaceState::Ending && ended.contains(&place.key);
        self.places.retain(|place| !has_ended(place));
        let Some(at) = self.places.iter().position(|place| place.is_of(key)) else {
            return false;
        };
        let place = self.places.remove(at);
        if place.state == PlaceState::Ending {
            self.places.insert(at, place);
            return false;
        }
        // One that is held anew is the newest of those that are held. A renew is no newer than before.
        let at = if place.state == PlaceState::Reserved { self.places.len() } else { at };
        self.places.insert(at, Place { key, moves_to: Vec::new(), state: PlaceState::Held });
        true
    }

    pub(crate) fn leave_place(&mut self, key: Key) {
        self.places.retain(|place| place.key != key || place.state != PlaceState::Reserved);
        for place in &mut self.places {
            place.moves_to.retain(|to| *to != key);
        }
    }
}
