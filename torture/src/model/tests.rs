//! Each property can fail: an error in the protocol or in the store breaks it.

use stateright::Checker as _;

use super::{
    properties::{DEAD_STAYS_DEAD, FOUND, MADE_ONCE, NEVER_TWICE, ONE_RECORD, REFUSED_NEVER},
    protocol::{PlantedError, Setup},
    *,
};

/// The setup of this name, with an error planted. Its first wrong state ends it.
fn with(name: &str, error: PlantedError) -> Setup {
    let mut setup = setups(true).into_iter().find(|setup| setup.name == name).expect(name);
    setup.error = Some(error);
    setup.reached = &[];
    setup
}

/// Whether this property is broken.
pub(super) fn breaks(setup: impl Finite, property: &'static str) -> bool {
    let found = stateright::HasDiscoveries::AnyOf([property].into());
    let checker = setup.checker().finish_when(found).spawn_bfs().join();
    checker.discovery(property).is_some()
}

#[test]
fn without_an_error_all_holds() {
    let setup = setups(false).swap_remove(0);
    let checked = check(setup.name, setup);
    assert!(checked.states > 1000, "{} states are no proof", checked.states);
    assert_eq!(checked.broken, [""; 0]);
}

#[test]
fn each_planted_error_is_found() {
    use PlantedError::{
        CounterAlone, GoneIsProof, NewOp, NoBoundOfTheRing, NoRing, NoVersionCheck, SilenceIsProof,
        Upsert,
    };
    let cases = [
        (NoVersionCheck, "a change and a change", MADE_ONCE),
        (NoRing, "a change and a change", NEVER_TWICE),
        (NewOp, "a change and a change", NEVER_TWICE),
        (SilenceIsProof, "a change and a change", REFUSED_NEVER),
        (NoBoundOfTheRing, "a change, and as many as the ring forgets", NEVER_TWICE),
        (Upsert, "a change and a destroy", DEAD_STAYS_DEAD),
        (Upsert, "a change and a renew", ONE_RECORD),
        (GoneIsProof, "a change and a renew", REFUSED_NEVER),
        (CounterAlone, "a change, and a store that goes back", MADE_ONCE),
    ];
    for (error, setup, property) in cases {
        assert!(breaks(with(setup, error), property), "{error:?} in {setup} is not found");
    }
}

/// What is not found is told as unknown, so nothing is broken; but it is there, and nobody is told.
#[test]
fn a_renew_that_is_looked_for_under_the_old_key_alone_is_never_found() {
    let mut setup = with("a renew and a renew", PlantedError::LooksBehindAlone);
    setup.reached = &[FOUND];
    assert_eq!(check(setup.name, setup).broken, [format!("not reached: {FOUND}")]);
}
