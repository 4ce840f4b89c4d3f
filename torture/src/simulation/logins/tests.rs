use super::*;

#[test]
fn the_same_seed_goes_the_same_way_to_the_byte() {
    for seed in 0..50 {
        let (first, second) = (simulate(seed).unwrap(), simulate(seed).unwrap());
        assert_eq!(first.log(), second.log(), "seed {seed}");
    }
    assert_ne!(simulate(1).unwrap().log(), simulate(2).unwrap().log());
}

/// What is broken of the first world in which `spoil` finds something to spoil.
fn spoiled(spoil: impl Fn(&mut History) -> bool) -> Vec<String> {
    for seed in 0..1000 {
        let mut history = simulate(seed).unwrap();
        assert_eq!(broken(&history), [""; 0], "seed {seed}\n{}", history.log());
        if spoil(&mut history) {
            return broken(&history);
        }
    }
    panic!("no world is fit for this");
}

#[test]
fn whoever_survives_an_end_is_found() {
    let found = spoiled(|history| {
        let ends: Vec<Visit> = history.visits.clone();
        let mut ends = ends
            .iter()
            .filter(|visit| visit.kind == Kind::EndAll && visit.outcome == Outcome::Done);
        let Some(end) = ends.next() else { return false };
        let before = history.cookies.iter_mut().find(|cookie| cookie.login_began < end.began.0);
        before.is_some_and(|cookie| {
            cookie.is_alive = true;
            true
        })
    });
    assert!(found.iter().any(|what| what.contains("I9: ")), "{found:?}");
}

#[test]
fn one_session_too_many_is_found() {
    let found = spoiled(|history| {
        history.most += 1;
        history.limit.is_some_and(|(max, _)| history.most > max.get())
    });
    assert!(found.iter().any(|what| what.contains("I10: ")), "{found:?}");
}

#[test]
fn a_login_that_is_lost_and_an_id_that_stays_are_found() {
    let lost = spoiled(|history| {
        if history.visits.iter().any(|visit| visit.kind.is_end_of_several()) {
            return false;
        }
        let alive = history.cookies.iter_mut().find(|cookie| cookie.is_alive);
        alive.is_some_and(|cookie| {
            cookie.is_alive = false;
            true
        }) && history.limit.is_none()
    });
    assert!(lost.iter().any(|what| what.contains("I14: ")), "{lost:?}");
    let stays = spoiled(|history| {
        let is_move = |visit: &&Visit| {
            visit.kind == Kind::Renew && visit.outcome == Outcome::Done && visit.got.is_some()
        };
        let Some(before) = history.visits.iter().find(is_move).and_then(|visit| visit.cookie)
        else {
            return false;
        };
        history.cookies[before].is_alive = true;
        true
    });
    assert!(stays.iter().any(|what| what.contains("I15: ")), "{stays:?}");
}

/// A browser logs in, hangs up a logout, logs in again before that has reached the store, and is logged out then.
#[test]
fn a_logout_nobody_waited_for_may_end_what_the_session_was_moved_to() {
    let visit = |order: u64, kind, cookie, got, outcome| Visit {
        client: 0,
        process: 0,
        kind,
        cookie,
        got,
        began: (order, Duration::ZERO),
        ended: (order + 1, Duration::ZERO),
        outcome,
        is_user: None,
    };
    let cookie = |login_began| Cookie { value: String::new(), login_began, is_alive: false };
    let mut history = History {
        limit: None,
        visits: vec![
            visit(0, Kind::Login, None, Some(0), Outcome::Done),
            visit(2, Kind::Logout, Some(0), None, Outcome::Unknown),
            visit(4, Kind::Renew, Some(0), Some(1), Outcome::Done),
            visit(6, Kind::Login, Some(1), Some(2), Outcome::Done),
        ],
        cookies: vec![cookie(0), cookie(0), cookie(6)],
        most: 1,
        calls: Vec::new(),
    };
    assert_eq!(broken(&history), [""; 0]);
    // One that was over before the login began has ended nothing of it.
    history.visits[1].outcome = Outcome::Done;
    assert!(broken(&history).iter().any(|what| what.contains("I14: cookie 2")), "{history:?}");
}
