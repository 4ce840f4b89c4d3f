use std::time::Duration;

use super::{
    check,
    visit::{Kind, Outcome, Visit},
    world::{History, simulate},
};

#[test]
fn the_same_seed_goes_the_same_way_to_the_byte() {
    for seed in 0..50 {
        let (first, second) = (simulate(seed).unwrap(), simulate(seed).unwrap());
        assert_eq!(first.log(), second.log(), "seed {seed}");
    }
    assert_ne!(simulate(1).unwrap().log(), simulate(2).unwrap().log());
}

/// The first world in which `spoil` finds something to spoil.
fn spoiled(spoil: impl Fn(&mut History) -> bool) -> Vec<String> {
    for seed in 0..1000 {
        let mut history = simulate(seed).unwrap();
        assert_eq!(check::broken(&history), [""; 0], "seed {seed}\n{}", history.log());
        if spoil(&mut history) {
            return check::broken(&history);
        }
    }
    panic!("no world is fit for this");
}

/// A visit whose token is in a record of its life, and where it is.
fn added(history: &History, outcome: Outcome) -> Option<(usize, usize)> {
    history.visits.iter().enumerate().find_map(|(place, visit)| {
        let is_there = |left: &super::world::Left| {
            Some(&left.doc.life) == visit.life.as_ref() && left.doc.tokens.contains(&visit.token)
        };
        let record = history.left.iter().position(is_there)?;
        let fits =
            visit.kind.adds() && visit.outcome == outcome && history.left[record].counter > 1;
        fits.then_some((place, record))
    })
}

#[test]
fn what_is_lost_twice_or_refused_is_found() {
    let lost = spoiled(|history| {
        let Some((visit, record)) = added(history, Outcome::Done) else { return false };
        let token = history.visits[visit].token;
        history.left[record].doc.tokens.retain(|other| *other != token);
        true
    });
    assert!(lost.iter().any(|what| what.contains("I1: ")), "{lost:?}");
    let twice = spoiled(|history| {
        let Some((visit, record)) = added(history, Outcome::Done) else { return false };
        let token = history.visits[visit].token;
        history.left[record].doc.tokens.push(token);
        true
    });
    assert!(twice.iter().any(|what| what.contains("I2: ")), "{twice:?}");
    let refused = spoiled(|history| {
        let Some((visit, _)) = added(history, Outcome::Done) else { return false };
        history.visits[visit].outcome = Outcome::Refused;
        true
    });
    assert!(refused.iter().any(|what| what.contains("I3: ")), "{refused:?}");
}

#[test]
fn what_comes_back_is_found() {
    let back = spoiled(|history| {
        let Some((visit, _)) = added(history, Outcome::Done) else { return false };
        let mut destroy = history.visits[visit].clone();
        if destroy.cookie.is_none_or(|cookie| history.cookies[cookie].is_none()) {
            return false;
        }
        destroy.kind = Kind::Destroy;
        history.visits.push(destroy);
        true
    });
    assert!(back.iter().any(|what| what.contains("I6: ")), "{back:?}");
}

/// A destroy comes with a cookie that a renew has replaced, before a visit gives the life its name.
#[test]
fn a_destroy_of_the_cookie_of_before_explains_why_a_life_is_gone() {
    let millis = Duration::from_millis;
    let visit = |token, kind, cookie, got, life: Option<&str>| Visit {
        client: 0,
        process: 0,
        kind,
        token,
        cookie,
        got,
        began: millis(10 * u64::from(token)),
        ended: millis(10 * u64::from(token) + 1),
        hung_up: false,
        life: life.map(str::to_owned),
        outcome: Outcome::Done,
        seen: None,
    };
    let destroy = Visit { ended: millis(90), ..visit(3, Kind::Destroy, Some(0), None, None) };
    let mut history = History {
        visits: vec![
            visit(1, Kind::Blind, None, Some(0), None),
            visit(2, Kind::Renew, Some(0), Some(1), None),
            destroy,
            visit(4, Kind::Update, Some(1), None, Some("4")),
        ],
        calls: Vec::new(),
        left: Vec::new(),
        cookies: vec![None, None],
        undead: 0,
    };
    assert_eq!(check::broken(&history), [""; 0]);
    // The cookie of another session explains nothing.
    history.visits[1].got = None;
    assert_eq!(check::broken(&history), ["life 4: I1: it is gone, and nobody ended it"]);
}
