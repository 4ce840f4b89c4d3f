use super::*;

const OWN: Key = Key::from_bytes([1; 32]);
const OTHER: Key = Key::from_bytes([2; 32]);
const ENDED: Key = Key::from_bytes([3; 32]);

const EARLY: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(2_000);
const LATEST: Timestamp = Timestamp::from_millis(3_000);

fn place(key: Key, state: PlaceState) -> Place {
    Place { key, moves_to: Vec::new(), since: EARLY, state }
}

fn with(places: Vec<Place>) -> Account {
    Account { places, ..Account::default() }
}

/// What is stored after this account was written over `stored`.
fn written(account: &Account, stored: &Data) -> Data {
    let mut draft = Draft::new(stored);
    account.write(&mut draft);
    draft.data().into_owned()
}

#[test]
fn what_an_account_holds_no_longer_is_not_stored_any_more() {
    let places = vec![place(OWN, PlaceState::Held)];
    let full = Account { generation: 1, spared: Some(OWN), places };
    let stored = written(&full, &Data::new());
    assert_eq!(Account::of(&stored), Some(full));
    let bare = Account { generation: 2, ..Account::default() };
    assert_eq!(Account::of(&written(&bare, &stored)), Some(bare));
}

#[test]
fn a_session_is_spared_until_it_is_taken_back_for_the_same_generation() {
    let mut account = Account::default();
    let generation = account.advance_for(OWN, 0, LATER).unwrap();
    account.spare_nobody(generation - 1);
    assert!(account.is_present(&OWN, 0), "it is spared in another generation");
    account.spare_nobody(generation);
    assert!(!account.is_present(&OWN, 0));
}

#[test]
fn a_place_that_is_held_takes_those_away_that_have_ended_for_it_and_no_other() {
    let mut account = with(vec![
        place(ENDED, PlaceState::Ending),
        place(OTHER, PlaceState::Ending),
        place(OWN, PlaceState::Reserved),
    ]);
    assert!(account.hold_place(&OWN, &[ENDED], LATER));
    let left: Vec<_> = account.places.iter().map(|place| (place.key, place.state)).collect();
    assert_eq!(left, [(OTHER, PlaceState::Ending), (OWN, PlaceState::Held)]);
    assert!(!account.hold_place(&OTHER, &[], LATER), "a place that is ending is not held");
}

#[test]
fn a_session_has_its_place_since_its_login_wherever_renews_move_it() {
    let mut account = with(vec![place(OWN, PlaceState::Reserved)]);
    assert!(account.hold_place(&OWN, &[], LATER));
    assert_eq!(account.places[0].since, LATER, "it begins when the session is there");
    account.places[0].moves_to.push(OTHER);
    assert!(account.hold_place(&OTHER, &[], LATEST));
    let moved = Place { since: LATER, ..place(OTHER, PlaceState::Held) };
    assert_eq!(account.places, [moved]);
}
