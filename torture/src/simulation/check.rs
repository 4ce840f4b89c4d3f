//! What must be true of a world when it has gone by: the invariants I1 to I6 of the histories.
//!
//! A record that nobody can reach, since the answer to its create was lost, is none of a session's:
//! it has the first change of a session, and no second one. And what happens in the same instant of
//! a time that stands still has no order.

use super::{
    visit::{Doc, Kind, Outcome, Visit},
    world::{History, Left},
};

/// What does not hold, in words.
pub(crate) fn broken(history: &History) -> Vec<String> {
    let mut broken = Vec::new();
    let mut lives: Vec<&str> =
        history.visits.iter().filter_map(|visit| visit.life.as_deref()).collect();
    lives.sort_unstable();
    lives.dedup();
    for life in lives {
        Life::of(history, life).check(&mut broken);
    }
    tokens(history, &mut broken);
    dead_cookies(history, &mut broken);
    if history.undead > 0 {
        broken.push(format!("I2: {} records live beyond every deadline", history.undead));
    }
    broken
}

/// A session from its beginning to its end, whatever ids it had.
struct Life<'a> {
    name: &'a str,
    history: &'a History,
    visits: Vec<&'a Visit>,
    /// The records of it that somebody could reach, of which there is one at most.
    records: Vec<&'a Left>,
    /// Those that nobody can.
    unreached: Vec<&'a Left>,
}

impl<'a> Life<'a> {
    fn of(history: &'a History, name: &'a str) -> Self {
        let is_of = |visit: &&Visit| visit.life.as_deref() == Some(name);
        let visits = history.visits.iter().filter(is_of).collect();
        let all = history.left.iter().filter(|left| left.doc.life == name);
        let (mut records, unreached): (Vec<&Left>, _) =
            all.partition(|left| left.counter > 1 || is_reached(history, left));
        // Of two that look the same, one is reached: the one that was renewed, if one was.
        records.sort_by_key(|left| std::cmp::Reverse(left.counter));
        let all = records.clone();
        records = Vec::new();
        for left in all {
            if left.counter > 1 || records.iter().all(|other| other.doc != left.doc) {
                records.push(left);
            }
        }
        Self { name, history, visits, records, unreached }
    }

    fn check(&self, broken: &mut Vec<String>) {
        let mut tell = |what: String| broken.push(format!("life {}: {what}", self.name));
        if self.records.len() > 1 {
            tell("I6: it is in two records".to_owned());
        }
        let Some(record) = self.records.first() else {
            // A client that hung up has not got the cookie of what it began.
            let is_there =
                |visit: &Visit| self.unreached.iter().any(|left| times(&left.doc, visit.token) > 0);
            if !self.may_be_destroyed() && !self.acknowledged().all(is_there) {
                tell("I1: it is gone, and nobody ended it".to_owned());
            }
            return;
        };
        if self.is_surely_destroyed() && is_reached(self.history, record) {
            tell("I6: it was destroyed, and it is there".to_owned());
        }
        self.check_changes(&record.doc, &mut tell);
        self.check_reads(&record.doc, &mut tell);
    }

    /// Also by a visit that came before the life had its name, or did not tell it, or whose cookie a renew has
    /// replaced meanwhile.
    fn may_be_destroyed(&self) -> bool {
        let brought = self.visits.iter().filter_map(|visit| visit.cookie);
        let ours: Vec<usize> = brought.flat_map(|cookie| self.history.line_of(cookie)).collect();
        let mut destroys = self
            .history
            .visits
            .iter()
            .filter(|visit| visit.kind == Kind::Destroy && visit.outcome != Outcome::Refused);
        destroys.any(|destroy| match &destroy.life {
            Some(life) => life == self.name,
            None => destroy.cookie.is_some_and(|cookie| destroy.hung_up || ours.contains(&cookie)),
        })
    }

    /// A destroy ends the session, also where a renew has moved it on meanwhile.
    fn is_surely_destroyed(&self) -> bool {
        let is_destroy =
            |visit: &&Visit| visit.kind == Kind::Destroy && visit.outcome == Outcome::Done;
        self.visits.iter().any(is_destroy)
    }

    fn check_changes(&self, doc: &Doc, tell: &mut impl FnMut(String)) {
        let adds = |visit: &&&Visit| visit.kind.adds();
        for visit in self.visits.iter().filter(adds) {
            let times = times(doc, visit.token);
            if visit.outcome == Outcome::Done && times == 0 {
                tell(format!("I1: {} was acknowledged and is missing", visit.token));
            }
        }
        let of = |kind: Kind, outcome: Outcome| {
            self.visits
                .iter()
                .filter(|visit| visit.kind == kind && visit.outcome == outcome)
                .count() as u64
        };
        let range = |kind| {
            let done = of(kind, Outcome::Done);
            // A client that hung up early did not tell which life it was about.
            let lost = self.history.visits.iter().filter(|visit| {
                visit.kind == kind && visit.life.is_none() && visit.outcome == Outcome::Unknown
            });
            done..=done + of(kind, Outcome::Unknown) + lost.count() as u64
        };
        for (what, number, kind) in
            [("views", doc.views, Kind::Edit), ("counted", doc.counted, Kind::Count)]
        {
            if !range(kind).contains(&number) {
                tell(format!("I1 or I2: `{what}` is {number}, and {:?} were made", range(kind)));
            }
        }
    }

    fn check_reads(&self, last: &Doc, tell: &mut impl FnMut(String)) {
        for read in &self.visits {
            let Some(seen) = &read.seen else { continue };
            if !last.tokens.starts_with(&seen.tokens) {
                tell(format!("I5: {} saw {:?}, which never was", read.token, seen.tokens));
            }
            for earlier in self.acknowledged().filter(|visit| visit.ended < read.began) {
                if times(seen, earlier.token) == 0 {
                    tell(format!("I5: {} did not see {}", read.token, earlier.token));
                }
            }
        }
        let place = |visit: &Visit| last.tokens.iter().position(|token| *token == visit.token);
        for one in self.acknowledged() {
            for other in self.acknowledged().filter(|other| one.ended < other.began) {
                if place(one) > place(other) {
                    tell(format!("I4: {} comes after {}", one.token, other.token));
                }
            }
        }
    }

    fn acknowledged(&self) -> impl Iterator<Item = &Visit> {
        let visits = self.visits.iter().copied();
        visits.filter(|visit| visit.kind.adds() && visit.outcome == Outcome::Done)
    }
}

/// Whether a cookie leads to this record.
fn is_reached(history: &History, left: &Left) -> bool {
    history.cookies.iter().flatten().any(|doc| *doc == left.doc)
}

fn times(doc: &Doc, token: u32) -> usize {
    doc.tokens.iter().filter(|other| **other == token).count()
}

/// Of every token, whichever life it went into.
fn tokens(history: &History, broken: &mut Vec<String>) {
    for visit in history.visits.iter().filter(|visit| visit.kind.adds()) {
        let token = visit.token;
        for left in &history.left {
            if times(&left.doc, token) > 1 {
                broken.push(format!("I2: {token} is there twice: {:?}", left.doc));
            }
        }
        let with = history.left.iter().filter(|left| times(&left.doc, token) > 0);
        let (first, later): (Vec<_>, Vec<_>) = with.partition(|left| left.counter == 1);
        if later.len() > 1 {
            broken.push(format!("I2: {token} is in {} records", later.len()));
        }
        let reached = first.iter().filter(|left| is_reached(history, left)).count();
        if visit.outcome == Outcome::Refused && reached + later.len() > 0 {
            broken.push(format!("I3: {token} was refused and is there"));
        }
    }
}

/// An id that was ended or left behind leads nowhere, from then on.
fn dead_cookies(history: &History, broken: &mut Vec<String>) {
    let ends = |visit: &&Visit| {
        matches!(visit.kind, Kind::Renew | Kind::Destroy)
            && visit.outcome == Outcome::Done
            && visit.life.is_some()
    };
    for end in history.visits.iter().filter(ends) {
        let Some(cookie) = end.cookie else { continue };
        if history.cookies.get(cookie).is_some_and(Option::is_some) {
            broken.push(format!("I6: cookie {cookie} lives after {} ended it", end.token));
        }
        for late in history.visits.iter().filter(|late| late.cookie == Some(cookie)) {
            if late.began > end.ended && late.life.is_some() && late.life == end.life {
                broken.push(format!("I6: {} found what {} had ended", late.token, end.token));
            }
        }
    }
}
