use super::{
    check,
    visit::Outcome,
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
        destroy.kind = super::visit::Kind::Destroy;
        history.visits.push(destroy);
        true
    });
    assert!(back.iter().any(|what| what.contains("I6: ")), "{back:?}");
}
