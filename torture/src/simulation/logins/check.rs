//! What must be true of logins: I9, I10, I14 and I15 of `docs/torture.md`.

use ingle::OnUserLimit;

use super::{History, Kind, Outcome, Visit};

/// What does not hold, in words.
pub(crate) fn broken(history: &History) -> Vec<String> {
    let mut broken = Vec::new();
    for end in &history.visits {
        if end.kind.is_end_of_several() && end.outcome == Outcome::Done {
            check_end(history, end, &mut broken);
        }
    }
    if let Some((max, _)) = history.limit
        && history.most > max.get()
    {
        broken.push(format!("I10: {} sessions at once, and {max} are allowed", history.most));
    }
    for visit in &history.visits {
        check_own(history, visit, &mut broken);
    }
    broken
}

/// I9: of the sessions whose login began before the end of all did, none is served after it.
fn check_end(history: &History, end: &Visit, broken: &mut Vec<String>) {
    let login_of = |cookie: usize| history.cookies.get(cookie).map(|cookie| cookie.login_began);
    let own = end.cookie.filter(|_| end.kind == Kind::EndOthers).and_then(login_of);
    let is_ended = |cookie: usize| {
        login_of(cookie).is_some_and(|login| login < end.began.0 && Some(login) != own)
    };
    let tell = |cookie: usize, when: &str| {
        format!(
            "I9: cookie {cookie} is served {when}, and {:?} at {} ended it",
            end.kind, end.ended.0
        )
    };
    for visit in history.visits.iter().filter(|visit| visit.began.0 > end.ended.0) {
        if let Some(cookie) = visit.cookie.filter(|cookie| is_ended(*cookie))
            && visit.is_user == Some(true)
        {
            broken.push(tell(cookie, &format!("at {}", visit.began.0)));
        }
    }
    for (number, cookie) in history.cookies.iter().enumerate() {
        if cookie.is_alive && is_ended(number) {
            broken.push(tell(number, "at last"));
        }
    }
}

/// I14: what was acknowledged lives until somebody ends it. I15: the id of before does not.
fn check_own(history: &History, visit: &Visit, broken: &mut Vec<String>) {
    let gives =
        matches!(visit.kind, Kind::Login | Kind::Renew | Kind::Reauthenticate | Kind::EndOthers);
    if !gives || visit.outcome != Outcome::Done {
        return;
    }
    let is_alive =
        |cookie: usize| history.cookies.get(cookie).is_some_and(|cookie| cookie.is_alive);
    if let Some(before) = visit.cookie.filter(|before| is_alive(*before) && visit.got.is_some()) {
        broken.push(format!("I15: cookie {before} lives, and {:?} has moved it on", visit.kind));
    }
    let Some(got) = visit.got else { return };
    // What was not acknowledged may have gone on for long.
    let is_later = |other: &Visit| {
        other.began.0 != visit.began.0
            && (other.ended.0 > visit.began.0 || other.outcome != Outcome::Done)
    };
    // A logout ends the session also where it has been moved on since that logout began.
    let is_logout_of_before = |other: &Visit| {
        let mut line = history.line_of(got);
        other.kind == Kind::Logout && line.any(|before| other.cookie == Some(before))
    };
    let is_ended_by = |other: &&Visit| {
        let is_own = other.cookie == Some(got) && other.kind != Kind::Who;
        let is_end = other.kind.is_end_of_several() || is_logout_of_before(other);
        is_own || is_end && is_later(other)
    };
    let ends_oldest = history.limit.is_some_and(|(_, beyond)| beyond == OnUserLimit::EndOldest);
    let is_login = |other: &&Visit| other.kind == Kind::Login && is_later(other);
    let others = || history.visits.iter();
    let may_be_over = others().any(|other| is_ended_by(&other))
        || ends_oldest && others().any(|other| is_login(&other));
    if !may_be_over && !is_alive(got) {
        broken.push(format!("I14: cookie {got} of {:?} is dead, and nobody ended it", visit.kind));
    }
}
