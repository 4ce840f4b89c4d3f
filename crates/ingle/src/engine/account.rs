//! What the record of a user holds beside their sessions: the generation, and the places of a limit.
//!
//! It knows how each changes, and nothing of where it is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::Draft;
use crate::{clock::Timestamp, data::Data, id::Key};

/// What the record of a user holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Sessions of an older generation end, but for the one that is spared.
    #[serde(default)]
    pub(crate) generation: u64,
    /// The session that ended the others, which is of an older generation until it is renewed for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spared: Option<Key>,
    /// Those of the user's sessions, where the app limits their number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) places: Vec<Place>,
}

/// How the sessions of a user were ended: those of older generations, but for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) generation: u64,
    pub(crate) spared: Option<Key>,
}

impl Account {
    /// Moves the generation on.
    ///
    /// The record may have ended because nothing changed it for a long time, and then it counts from
    /// zero. So a new generation is at least the present time: it is newer than any that there was.
    pub(crate) fn advance(&mut self, now: Timestamp) -> u64 {
        self.spared = None;
        self.generation = now.as_millis().max(self.generation.saturating_add(1));
        self.generation
    }

    /// Moves the generation on for a session, which alone lives on of the older ones. Returns in the error what
    /// there is if the sessions were ended meanwhile, this one too.
    pub(crate) fn advance_for(
        &mut self,
        own: Key,
        generation: u64,
        now: Timestamp,
    ) -> Result<u64, Ended> {
        if !self.is_present(&own, generation) {
            return Err(Ended { generation: self.generation, spared: self.spared });
        }
        let generation = self.advance(now);
        self.spared = Some(own);
        Ok(generation)
    }

    /// Lets the session end with the others that was spared in this generation.
    pub(crate) fn spare_nobody(&mut self, generation: u64) {
        if self.generation == generation {
            self.spared = None;
        }
    }

    /// Whether the session under `key`, of this generation, has not been ended with the others.
    pub(super) fn is_present(&self, key: &Key, generation: u64) -> bool {
        self.generation <= generation || self.spared.as_ref() == Some(key)
    }

    /// The same of a session that was stored under the key `to`. It was the user's before under the key `from`, if
    /// there is one.
    pub(crate) fn admits(&mut self, from: Option<&Key>, to: &Key, generation: u64) -> bool {
        let is_spared = from.is_some() && self.spared.as_ref() == from;
        if is_spared {
            self.spared = Some(*to);
        }
        is_spared || self.generation <= generation
    }

    /// None if it is not as this library wrote it: then nobody may take it for an empty one, which
    /// would let ended sessions live.
    pub(super) fn of(data: &Data) -> Option<Self> {
        serde_json::from_value(Value::Object(data.clone())).ok()
    }

    pub(super) fn write(&self, draft: &mut Draft<'_>) {
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            let gone = draft.stored().keys().filter(|name| !fields.contains_key(*name));
            for name in gone.cloned().collect::<Vec<_>>() {
                draft.set(name, None);
            }
            for (name, value) in fields {
                draft.set(name, Some(value));
            }
        }
    }
}

/// The place of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(super) key: Key,
    /// Where renews are about to move the session. Of several at once, one does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) moves_to: Vec<Key>,
    /// Since when it is in its state.
    pub(super) since: Timestamp,
    pub(super) state: PlaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PlaceState {
    /// A login is about to store its session.
    Reserved,
    /// The session was stored.
    Held,
    /// A newer session has taken the place, and this one ends before that one begins.
    Ending,
}

impl Place {
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.keys().any(|own| own == *key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        std::iter::once(&self.key).chain(&self.moves_to).copied()
    }
}

impl Account {
    /// Says that the session under `key` is stored, and that these have ended. False if its place was
    /// taken meanwhile.
    pub(crate) fn hold_place(&mut self, key: &Key, ended: &[Key], now: Timestamp) -> bool {
        let has_ended =
            |place: &Place| place.state == PlaceState::Ending && ended.contains(&place.key);
        self.places.retain(|place| !has_ended(place));
        let Some(place) = self.places.iter_mut().find(|place| place.is_of(key)) else {
            return false;
        };
        if place.state == PlaceState::Ending {
            return false;
        }
        let is_new = place.state == PlaceState::Reserved;
        let since = if is_new { now } else { place.since };
        *place = Place { key: *key, moves_to: Vec::new(), since, state: PlaceState::Held };
        true
    }

    /// Gives a place back that was reserved for a session which was surely not stored.
    pub(crate) fn leave_place(&mut self, key: &Key) {
        self.places.retain(|place| place.key != *key || place.state != PlaceState::Reserved);
        for place in &mut self.places {
            place.moves_to.retain(|to| to != key);
        }
    }
}

#[cfg(test)]
mod tests;
