//! What must be true in every state, and what must be reachable.

use stateright::Property;

use super::{
    setup::{Setup, Step, Way},
    state::{FIRST, Outcome, Phase, PlaceState, State, Task, Update, Why},
};

/// Whether a state is as a property says.
type Condition = fn(&Setup, &State) -> bool;

pub(crate) const END_IS_FINAL: &str =
    "after an end of all, no browser has a session whose password was checked before";
pub(crate) const WITHIN_LIMIT: &str = "the user never has more sessions than allowed";
pub(crate) const LOGIN_LIVES: &str = "what a browser was told to have lives until somebody ends it";
pub(crate) const NONE_LEFT: &str = "if no call fails, no session is left that no browser has";
pub(crate) const REDEEMED_ONCE: &str = "a ticket is redeemed once at most";
pub(crate) const TAKER_KNOWS: &str = "who has taken a ticket has its value, or is told unknown";
pub(crate) const CAN_END: &str = "if no more calls fail, everybody comes to an end";

pub(crate) const OVERTAKEN_LOGIN: &str = "a login is overtaken by an end of all, and ends itself";
pub(crate) const OVERTAKEN_RENEW: &str = "a renew is overtaken by an end of all, and ends itself";
pub(crate) const LOGIN_AFTER_END: &str = "a login after an end of all lives";
pub(crate) const FOLLOWED: &str = "an end of all follows a session to its new id";
pub(crate) const SECOND_PASS: &str = "a second pass finds what the first one missed";
pub(crate) const LEFT_OVER: &str = "a login that was cut off leaves a session that no browser has";
pub(crate) const LEFT_AFTER_END: &str =
    "a session of before an end of all is left that no browser has";
pub(crate) const OLDEST_ENDED: &str = "a login has ended the oldest session";
pub(crate) const TOO_MANY: &str = "a login is refused, since the user has too many sessions";
pub(crate) const WAITED: &str = "a login waits for others that are about to take all places";
pub(crate) const FREED: &str = "the place of a login that was cut off is taken by another";
pub(crate) const MOVED_PLACE: &str = "a renew takes its place along";
pub(crate) const LATER_ONE: &str = "of two that redeem, the later one finds no ticket";
pub(crate) const FOUND: &str = "a redeem whose answer was lost is found to be done";
pub(crate) const UNKNOWN_TAKEN: &str = "a redeem is told unknown, and it has taken the ticket";
pub(crate) const UNKNOWN_NOT_TAKEN: &str = "a redeem is told unknown, and it has not taken it";

/// The properties of a setup.
pub(crate) fn of(setup: &Setup) -> Vec<Property<Setup>> {
    let always: [(&'static str, Condition); 7] = [
        (END_IS_FINAL, end_is_final),
        (WITHIN_LIMIT, within_limit),
        (LOGIN_LIVES, login_lives),
        (NONE_LEFT, none_left),
        (REDEEMED_ONCE, |_, state| redeemed(state) <= 1),
        (TAKER_KNOWS, taker_knows),
        (CAN_END, can_end),
    ];
    let reachable: [(&'static str, Condition); 16] = [
        (OVERTAKEN_LOGIN, |setup, state| overtaken(setup, state, false)),
        (OVERTAKEN_RENEW, |setup, state| overtaken(setup, state, true)),
        (LOGIN_AFTER_END, login_after_end),
        (FOLLOWED, |_, state| has_phase(state, is_followed)),
        (SECOND_PASS, |_, state| has_phase(state, is_second_pass)),
        (LEFT_OVER, left_over),
        (LEFT_AFTER_END, left_after_end),
        (OLDEST_ENDED, oldest_ended),
        (TOO_MANY, |_, state| state.outcomes().any(|outcome| outcome == Outcome::TooMany)),
        (WAITED, |_, state| has_phase(state, |phase| matches!(phase, Phase::WaitsForPlaces))),
        (FREED, freed),
        (MOVED_PLACE, moved_place),
        (LATER_ONE, |_, state| {
            redeemed(state) == 1 && state.outcomes().any(|outcome| outcome == Outcome::NoTicket)
        }),
        (FOUND, found),
        (UNKNOWN_TAKEN, |setup, state| unknown(setup, state, true)),
        (UNKNOWN_NOT_TAKEN, |setup, state| unknown(setup, state, false)),
    ];
    let reached = reachable.into_iter().filter(|(name, _)| setup.reached.contains(name));
    let always = always.into_iter().map(|(name, is)| Property::<Setup>::always(name, is));
    always.chain(reached.map(|(name, is)| Property::<Setup>::sometimes(name, is))).collect()
}

fn end_is_final(_: &Setup, state: &State) -> bool {
    state.outcomes().all(|outcome| match outcome {
        Outcome::EndedAll(generation) => {
            state.live().all(|(key, record)| record.proved >= generation || !state.is_known(key))
        }
        _ => true,
    })
}

fn within_limit(setup: &Setup, state: &State) -> bool {
    setup.limit.is_none_or(|limit| state.live().count() <= limit.max)
}

/// One ends by a newer generation, or as its place is taken.
fn login_lives(_: &Setup, state: &State) -> bool {
    state.outcomes().all(|outcome| match outcome {
        Outcome::Has(key, generation) => {
            state.session(key).live().is_some()
                || state.account.generation > generation
                || state.displaced.has(key)
        }
        _ => true,
    })
}

fn none_left(setup: &Setup, state: &State) -> bool {
    state.faults < setup.faults
        || !state.all_done()
        || state.live().all(|(key, _)| state.is_known(key))
}

fn redeemed(state: &State) -> usize {
    state.outcomes().filter(|outcome| *outcome == Outcome::Redeemed).count()
}

fn taker_knows(_: &Setup, state: &State) -> bool {
    state.actors.iter().enumerate().all(|(number, actor)| match actor.outcome() {
        Some(Outcome::Redeemed) => state.takers.has(number),
        Some(Outcome::Unknown) | None => true,
        Some(_) => !state.takers.has(number),
    })
}

/// Lets all go on in turn. That this one order ends is enough: no state is one from which none does.
fn can_end(setup: &Setup, state: &State) -> bool {
    let mut state = state.clone();
    for _ in 0..100 {
        if state.all_done() {
            return true;
        }
        for number in 0..state.actors.len() {
            if state.actor(number).outcome().is_none() {
                setup.step(&mut state, Step::Goes(number, Way::Through));
            }
        }
    }
    false
}

fn has_phase(state: &State, is: impl Fn(&Phase) -> bool) -> bool {
    state.actors.iter().any(|actor| is(&actor.phase))
}

fn is_followed(phase: &Phase) -> bool {
    matches!(phase, Phase::Destroys { has_followed: true, why: Why::Listed(_), .. })
}

fn is_second_pass(phase: &Phase) -> bool {
    matches!(phase, Phase::Destroys { why: Why::Listed(pass), .. } if !pass.is_first)
}

/// The actors with what came of them.
fn results(state: &State) -> impl Iterator<Item = (usize, Outcome)> {
    let actors = state.actors.iter().enumerate();
    actors.filter_map(|(number, actor)| Some((number, actor.outcome()?)))
}

/// Whether a task has stored its session, and is about to end it since an end of all has come between.
fn overtaken(setup: &Setup, state: &State, renews: bool) -> bool {
    state.actors.iter().enumerate().any(|(number, actor)| {
        let own = Why::NotAdmitted(Outcome::Interrupted);
        let task = setup.task(number);
        let is_it = if renews { task == Task::Renew } else { task.is_login() };
        is_it
            && matches!(&actor.phase, Phase::Destroys { key, why, .. }
            if *why == own && state.session(*key).live().is_some())
    })
}

fn login_after_end(setup: &Setup, state: &State) -> bool {
    let has_ended = state.outcomes().any(|outcome| matches!(outcome, Outcome::EndedAll(_)));
    has_ended
        && results(state).any(|(number, outcome)| match outcome {
            Outcome::Has(key, 1..) => {
                setup.task(number).is_login() && state.session(key).live().is_some()
            }
            _ => false,
        })
}

fn left_over(_: &Setup, state: &State) -> bool {
    state.all_done() && state.live().any(|(key, _)| !state.is_known(key))
}

fn left_after_end(setup: &Setup, state: &State) -> bool {
    left_over(setup, state)
        && state.outcomes().any(|outcome| match outcome {
            Outcome::EndedAll(generation) => {
                state.live().any(|(_, record)| record.proved < generation)
            }
            _ => false,
        })
}

fn oldest_ended(_: &Setup, state: &State) -> bool {
    state.all_done()
        && state.displaced.has(FIRST)
        && state.outcomes().any(|outcome| matches!(outcome, Outcome::Has(..)))
}

/// A login that got no answer has left its place, and another one is about to take it.
fn freed(_: &Setup, state: &State) -> bool {
    has_phase(state, |phase| match phase {
        Phase::Updates(Update::Reserve { gone, oldest }, _) => {
            gone.iter().chain(oldest).any(|place| place.state == PlaceState::Reserved)
        }
        _ => false,
    })
}

fn moved_place(setup: &Setup, state: &State) -> bool {
    results(state).any(|(number, outcome)| match outcome {
        Outcome::Has(key, _) => {
            setup.task(number) == Task::Renew
                && state.account.places.iter().any(|place| place.key == key)
        }
        _ => false,
    })
}

/// A look found it if it is done where no answer came, and one was lost.
fn found(setup: &Setup, state: &State) -> bool {
    state.faults < setup.faults
        && state.actors.iter().enumerate().any(|(number, actor)| {
            matches!(actor.phase, Phase::Looks { .. })
                && state.takers.has(number)
                && state.session(FIRST).live().is_some_and(|record| record.ops.has(number))
        })
}

fn unknown(setup: &Setup, state: &State, has_taken: bool) -> bool {
    results(state).any(|(number, outcome)| {
        outcome == Outcome::Unknown
            && setup.task(number) == Task::Redeem
            && state.takers.has(number) == has_taken
    })
}
