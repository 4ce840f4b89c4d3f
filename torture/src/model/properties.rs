//! What must be true in every state of the model, and what must be reachable.

use stateright::Property;

use super::{
    protocol::Setup,
    state::{How, Outcome, State, Why},
};

/// Whether a state is as a property says.
type Condition = fn(&Setup, &State) -> bool;

pub(crate) const MADE_ONCE: &str = "an acknowledged change is there, once";
pub(crate) const NEVER_TWICE: &str = "no change is made twice";
pub(crate) const REFUSED_NEVER: &str = "a refused change never appears";
pub(crate) const DEAD_STAYS_DEAD: &str = "what was destroyed or renewed away never comes back";
pub(crate) const ONE_RECORD: &str = "a session is never two records";

/// The same sight, and both truths behind it: no client could have known.
pub(crate) const GONE_AND_MADE: &str = "unknown since it is gone, and it was made";
pub(crate) const GONE_AND_NOT: &str = "unknown since it is gone, and it was not made";
pub(crate) const BEYOND_AND_MADE: &str = "unknown beyond the ring, and it was made";
pub(crate) const BEYOND_AND_NOT: &str = "unknown beyond the ring, and it was not made";
pub(crate) const SILENCE_AND_MADE: &str = "unknown at the deadline, and it was made";
pub(crate) const SILENCE_AND_NOT: &str = "unknown at the deadline, and it was not made";
pub(crate) const BACK_AND_MADE: &str = "unknown since the store went back, and it was made";
pub(crate) const BACK_AND_NOT: &str = "unknown since the store went back, and it was not made";

pub(crate) const FOUND: &str = "a change whose answer was lost is found in the ring";
pub(crate) const RESENT: &str = "a change is made by its second sending";

/// The properties of a setup. What must be reachable is asked only where the setup says it is, so
/// that what it does not reach is told as broken.
pub(crate) fn of(setup: &Setup) -> Vec<Property<Setup>> {
    let mut all = vec![
        Property::<Setup>::always(MADE_ONCE, made_once),
        Property::<Setup>::always(NEVER_TWICE, never_twice),
        Property::<Setup>::always(DEAD_STAYS_DEAD, dead_stays_dead),
        Property::<Setup>::always(ONE_RECORD, |_, state| state.live().count() <= 1),
    ];
    // A store that has gone back may take a write that could never land before.
    if !setup.goes_back {
        all.push(Property::<Setup>::always(REFUSED_NEVER, refused_never));
    }
    let all_reachable: [(&'static str, Condition); 10] = [
        (GONE_AND_MADE, |_, state| unknown(state, Why::Gone, true)),
        (GONE_AND_NOT, |_, state| unknown(state, Why::Gone, false)),
        (BEYOND_AND_MADE, |_, state| unknown(state, Why::BeyondTheRing, true)),
        (BEYOND_AND_NOT, |_, state| unknown(state, Why::BeyondTheRing, false)),
        (SILENCE_AND_MADE, |_, state| unknown(state, Why::Deadline, true)),
        (SILENCE_AND_NOT, |_, state| unknown(state, Why::Deadline, false)),
        (BACK_AND_MADE, |_, state| unknown(state, Why::WentBack, true)),
        (BACK_AND_NOT, |_, state| unknown(state, Why::WentBack, false)),
        (FOUND, |_, state| made_by(state, How::FoundInTheRing)),
        (RESENT, |_, state| made_by(state, How::AnsweredAfterDoubt)),
    ];
    let reached = all_reachable.into_iter().filter(|(name, _)| setup.reached.contains(name));
    all.extend(reached.map(|(name, is)| Property::<Setup>::sometimes(name, is)));
    all
}

/// Where a record is left to look at: after a destroy of anyone's, none is.
fn made_once(setup: &Setup, state: &State) -> bool {
    Setup::outcomes(state).all(|(change, outcome)| match outcome {
        Outcome::Made(_) if setup.is_destroy(change) => true,
        Outcome::Made(_) if !state.made.has(change) => false,
        Outcome::Made(_) if state.excused.has(change) => true,
        Outcome::Made(_) => match state.live().next() {
            Some(record) => record.times(change) == 1,
            None => is_destroyed(setup, state),
        },
        Outcome::Refused | Outcome::Unknown(_) => true,
    })
}

fn is_destroyed(setup: &Setup, state: &State) -> bool {
    (0..16)
        .map(super::state::Change)
        .any(|change| setup.is_destroy(change) && state.made.has(change))
}

fn never_twice(_: &Setup, state: &State) -> bool {
    state.live().all(|record| record.data.iter().all(|change| record.times(*change) == 1))
}

fn refused_never(_: &Setup, state: &State) -> bool {
    Setup::outcomes(state)
        .filter(|(_, outcome)| *outcome == Outcome::Refused)
        .all(|(change, _)| !state.made.has(change))
}

fn dead_stays_dead(_: &Setup, state: &State) -> bool {
    state.dead.iter().zip(&state.records).all(|(dead, record)| !dead || record.is_none())
}

fn unknown(state: &State, why: Why, made: bool) -> bool {
    Setup::outcomes(state)
        .any(|(change, outcome)| outcome == Outcome::Unknown(why) && state.made.has(change) == made)
}

fn made_by(state: &State, how: How) -> bool {
    Setup::outcomes(state).any(|(_, outcome)| outcome == Outcome::Made(how))
}
