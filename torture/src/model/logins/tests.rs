//! Each property can fail: an error in the protocol or in the store breaks it.

use super::{
    properties::{
        CAN_END, END_IS_FINAL, LOGIN_LIVES, NONE_LEFT, REDEEMED_ONCE, TAKER_KNOWS, WITHIN_LIMIT,
    },
    setup::PlantedError,
    *,
};
use crate::model::tests::breaks;

const ALL: &str = "logins, an end, a renew";
const REDEEM: &str = "redeems, an end, a renew";
const ONE_PLACE: &str = "logins, of one place";
const RENEW: &str = "logins, a renew, of one place";
const REFUSES: &str = "logins, of two places, else refused";

/// The setup of this name, with an error planted. Its first wrong state ends it.
fn with(name: &str, error: PlantedError) -> Setup {
    let mut setup = setups(true).into_iter().find(|setup| setup.name == name).expect(name);
    setup.error = Some(error);
    setup.reached = &[];
    setup
}

#[test]
fn without_an_error_all_holds() {
    for setup in setups(false).into_iter().filter(|setup| setup.tasks.len() < 4) {
        let checked = check(setup.name, setup);
        assert!(checked.states > 1000, "{} states are no proof", checked.states);
        assert_eq!(checked.broken, [""; 0]);
    }
}

#[test]
fn each_planted_error_is_found() {
    use PlantedError::{
        EndsBeforeGeneration, EndsOldestAfter, GenerationReadOnce, IndexAfterSession,
        LeavesItsSession, LimitByCounting, ListsOnePage, PlaceUnchecked, RenewUnchecked,
        ReservedForEver, SilenceIsProof, TicketInTwoCommits, TicketNotBelieved,
    };
    let cases = [
        (GenerationReadOnce, ALL, END_IS_FINAL),
        (TicketNotBelieved, ALL, END_IS_FINAL),
        (RenewUnchecked, ALL, END_IS_FINAL),
        (IndexAfterSession, ALL, END_IS_FINAL),
        (EndsBeforeGeneration, ALL, END_IS_FINAL),
        (ListsOnePage, ALL, END_IS_FINAL),
        (LeavesItsSession, ALL, NONE_LEFT),
        (PlaceUnchecked, RENEW, LOGIN_LIVES),
        (LimitByCounting, REFUSES, WITHIN_LIMIT),
        (EndsOldestAfter, ONE_PLACE, WITHIN_LIMIT),
        (ReservedForEver, ONE_PLACE, CAN_END),
        (TicketInTwoCommits, REDEEM, REDEEMED_ONCE),
        (SilenceIsProof, REDEEM, TAKER_KNOWS),
    ];
    for (error, setup, property) in cases {
        assert!(breaks(with(setup, error), property), "{error:?} in {setup} is not found");
    }
}

/// No browser has a session then that it should not have: what one pass misses, a renew or a login has just
/// stored, and finds the new generation itself. But what a request left that got no answer lives on.
#[test]
fn an_end_of_all_that_goes_through_the_list_once_finds_nothing_that_it_missed() {
    let mut setup = with(ALL, PlantedError::ListsOnce);
    setup.reached = &[SECOND_PASS];
    assert_eq!(check(setup.name, setup).broken, [format!("not reached: {SECOND_PASS}")]);
}
