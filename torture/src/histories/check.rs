//! Whether a history keeps what is promised. Each session is checked alone, in a time that grows
//! with the history's length as sorting does.
//!
//! The invariants are I1 to I6, I9, I14 and I15 of `docs/torture.md`. Tokens are unique, so a list tells the order in
//! which its tokens were appended, and the longest one that was read tells it for all others.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Act, Id, Op, Outcome, Seen, User};

/// Everything in the history that must not be, a line each.
pub(crate) fn check(ops: &[Op]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut sessions: BTreeMap<_, Vec<&Op>> = BTreeMap::new();
    for op in ops {
        sessions.entry(op.session).or_default().push(op);
    }
    let ends_of_all = ends_of_all(ops);
    for (session, ops) in sessions {
        let mut found = Found { session, broken: &mut broken };
        List::of(&ops, &mut found).check(&mut found);
        Views::of(&ops).check(&ops, &mut found);
        check_ends(&ops, &ends_of_all, &mut found);
        for op in ops {
            if let Outcome::Strange(answer) = &op.outcome {
                found.add("answer", &format!("{:?} was answered with {answer:?}", op.act));
            }
        }
    }
    broken
}

/// Takes what is found in one session.
struct Found<'a> {
    session: u64,
    broken: &'a mut Vec<String>,
}

impl Found<'_> {
    fn add(&mut self, invariant: &str, what: &str) {
        self.broken.push(format!("{invariant}: session {}: {what}", self.session));
    }
}

/// When an operation is surely over. Where nobody knows what came of it, it may go on for ever.
fn over(op: &Op) -> u64 {
    match op.outcome {
        Outcome::Unknown | Outcome::Strange(_) => u64::MAX,
        _ => op.ended.order,
    }
}

/// Whether an operation did not do what it was asked, and never will.
fn surely_not_done(op: &Op) -> bool {
    matches!(op.outcome, Outcome::Anonymous | Outcome::Interrupted | Outcome::Refused)
}

/// The lowest end of all after each place, in an order that is to agree with the real time.
/// A call that began after that end and stands before it is in the wrong order.
fn out_of_order<'a>(in_order: &[&'a Op]) -> Option<(&'a Op, &'a Op)> {
    let mut earliest: Option<&Op> = None;
    for op in in_order.iter().rev() {
        if let Some(earliest) = earliest.filter(|earliest| over(earliest) < op.began.order) {
            return Some((earliest, op));
        }
        if earliest.is_none_or(|earliest| over(op) < over(earliest)) {
            earliest = Some(op);
        }
    }
    None
}

/// What was done to the list of one session.
struct List<'a> {
    appends: HashMap<&'a str, &'a Op>,
    reads: Vec<(&'a Op, &'a [String])>,
    /// The longest one that was read.
    longest: &'a [String],
}

impl<'a> List<'a> {
    fn of(ops: &[&'a Op], found: &mut Found<'_>) -> Self {
        let mut list = Self { appends: HashMap::new(), reads: Vec::new(), longest: &[] };
        for op in ops {
            match (&op.act, &op.outcome) {
                (Act::Append(token), _) => _ = list.appends.insert(token, op),
                (Act::Read, Outcome::Read(Seen { list: tokens, .. })) => {
                    list.reads.push((op, tokens));
                    if tokens.len() > list.longest.len() {
                        list.longest = tokens;
                    }
                }
                _ => {}
            }
        }
        list.reads.sort_unstable_by_key(|(op, _)| op.began.order);
        // A list that is no part of the longest one is looked at by itself.
        let mut odd = vec![list.longest];
        for (_, tokens) in &list.reads {
            if !list.longest.starts_with(tokens) {
                found.add("I5", "a read is no beginning of a later one");
                odd.push(tokens);
            }
        }
        for tokens in odd {
            list.check_tokens(tokens, found);
        }
        list
    }

    /// I2, I3, and that no token is another session's.
    fn check_tokens(&self, tokens: &[String], found: &mut Found<'_>) {
        let mut seen = HashSet::new();
        for token in tokens {
            if !seen.insert(token) {
                found.add("I2", &format!("token {token} is there twice"));
            }
            match self.appends.get(token.as_str()) {
                None => found.add("I7", &format!("token {token} was never sent to it")),
                Some(op) if surely_not_done(op) => {
                    found.add("I3", &format!("token {token} is there and was refused"));
                }
                Some(_) => {}
            }
        }
    }

    fn check(&self, found: &mut Found<'_>) {
        self.check_order(found);
        self.check_acknowledged(found);
        self.check_reads(found);
    }

    /// I4: what ended before another began stands before it.
    fn check_order(&self, found: &mut Found<'_>) {
        let in_order: Vec<&Op> = self
            .longest
            .iter()
            .filter_map(|token| self.appends.get(token.as_str()).copied())
            .collect();
        if let Some((first, then)) = out_of_order(&in_order) {
            let what =
                format!("{:?} ended before {:?} began, and stands after it", first.act, then.act);
            found.add("I4", &what);
        }
    }

    /// I1 and I5: what was acknowledged before a read began is in it.
    fn check_acknowledged(&self, found: &mut Found<'_>) {
        let places: HashMap<&str, usize> =
            self.longest.iter().enumerate().map(|(place, token)| (token.as_str(), place)).collect();
        let done = self.appends.iter().filter(|(_, op)| op.outcome == Outcome::Done);
        let mut done: Vec<_> = done
            .map(|(token, op)| {
                (op.ended.order, places.get(token).map_or(usize::MAX, |at| at + 1), *token)
            })
            .collect();
        done.sort_unstable();
        let mut done = done.into_iter().peekable();
        let mut needed = (0, "");
        for (read, tokens) in &self.reads {
            while let Some((_, length, token)) = done.next_if(|(end, ..)| *end < read.began.order) {
                needed = needed.max((length, token));
            }
            if tokens.len() < needed.0 {
                let invariant = if read.is_last { "I1" } else { "I5" };
                found
                    .add(invariant, &format!("token {} was acknowledged and is missing", needed.1));
                // Once for all reads that miss it.
                needed = (0, "");
            }
        }
    }

    /// I5: no read goes back behind one that had ended, and none knows what is yet to come.
    fn check_reads(&self, found: &mut Found<'_>) {
        let mut ended: Vec<_> =
            self.reads.iter().map(|(op, tokens)| (op.ended.order, tokens.len())).collect();
        ended.sort_unstable();
        let mut ended = ended.into_iter().peekable();
        let mut latest_begin = vec![0];
        for token in self.longest {
            let began = self.appends.get(token.as_str()).map_or(0, |op| op.began.order);
            latest_begin.push(latest_begin.last().copied().unwrap_or(0).max(began));
        }
        let mut length = 0;
        for (read, tokens) in &self.reads {
            while let Some((_, of_ended)) = ended.next_if(|(end, _)| *end < read.began.order) {
                length = length.max(of_ended);
            }
            if tokens.len() < length {
                found.add("I5", "a read knows less than one that ended before it began");
            }
            if latest_begin.get(tokens.len()).is_some_and(|began| *began > read.ended.order) {
                found.add("I5", "a read knows a token that was sent after it ended");
            }
        }
    }
}

/// The views of one session that were counted, or may have been.
struct Views<'a> {
    /// By the number that each was told.
    told: Vec<(u64, &'a Op)>,
    /// When the acknowledged ones ended, in order.
    ends: Vec<u64>,
    /// When those began that were not refused, in order.
    begins: Vec<u64>,
}

impl<'a> Views<'a> {
    fn of(ops: &[&'a Op]) -> Self {
        let views = || ops.iter().filter(|op| op.act == Act::View);
        let told = |op: &&&'a Op| match op.outcome {
            Outcome::Viewed(number) => Some((number, **op)),
            _ => None,
        };
        let mut told: Vec<_> = views().filter_map(|op| told(&op)).collect();
        told.sort_unstable_by_key(|(number, op)| (*number, op.began.order));
        let mut ends: Vec<_> = told.iter().map(|(_, op)| op.ended.order).collect();
        ends.sort_unstable();
        let possible = views().filter(|op| !surely_not_done(op));
        let mut begins: Vec<_> = possible.map(|op| op.began.order).collect();
        begins.sort_unstable();
        Self { told, ends, begins }
    }

    fn check(&self, ops: &[&Op], found: &mut Found<'_>) {
        for pair in self.told.windows(2) {
            if let [(one, _), (other, _)] = pair
                && one == other
            {
                found.add("I2", &format!("two requests were told that theirs is view {one}"));
            }
        }
        let in_order: Vec<&Op> = self.told.iter().map(|(_, op)| *op).collect();
        if let Some((first, then)) = out_of_order(&in_order) {
            let what = format!("{:?} was told before {:?} began", first.outcome, then.outcome);
            found.add("I4", &what);
        }
        for op in ops {
            match &op.outcome {
                Outcome::Viewed(number) => self.check_number(op, *number, 1, found),
                Outcome::Read(seen) => self.check_number(op, seen.views, 0, found),
                _ => {}
            }
        }
    }

    /// That a number counts what was acknowledged before, and nothing that was not asked for.
    fn check_number(&self, op: &Op, number: u64, own: u64, found: &mut Found<'_>) {
        let before = |moments: &[u64], end| moments.partition_point(|moment| *moment < end) as u64;
        let at_least = before(&self.ends, op.began.order) + own;
        let at_most = before(&self.begins, op.ended.order);
        if number < at_least {
            let invariant = if op.is_last { "I1" } else { "I5" };
            found.add(invariant, &format!("{number} views are counted of {at_least} acknowledged"));
        }
        if number > at_most {
            let what = format!("{number} views are counted, and {at_most} can have been made");
            found.add("I3", &what);
        }
    }
}

/// When something may have ended a session or an id first, and when it surely had.
#[derive(Clone, Copy)]
struct End {
    first: u64,
    surely: u64,
}

impl End {
    const NONE: Self = Self { first: u64::MAX, surely: u64::MAX };

    fn or(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), surely: self.surely.min(other.surely) }
    }
}

/// An end of all sessions of a user.
struct EndOfAll {
    end: End,
    /// A ticket that was taken from then on is too new for it.
    over: u64,
}

/// The ends of all, by the user.
fn ends_of_all(ops: &[Op]) -> HashMap<User, Vec<EndOfAll>> {
    let mut ends: HashMap<User, Vec<&Op>> = HashMap::new();
    for op in ops {
        match op.act {
            // Of a session that had ended, nothing was done.
            Act::EndAll(user) if op.outcome != Outcome::Anonymous => {
                ends.entry(user).or_default().push(op);
            }
            _ => {}
        }
    }
    let end_of_all = |op: &Op, others: &[&Op]| {
        let done = |op: &&&Op| op.outcome == Outcome::Done;
        let surely = Some(op).filter(|op| done(&op)).map_or(u64::MAX, |op| op.ended.order);
        // What nobody knows of has changed the user's record before the next end does, or never will.
        let next = others.iter().filter(done).filter(|next| next.began.order > op.ended.order);
        let over = match over(op) {
            u64::MAX => next.map(|next| next.ended.order).min().unwrap_or(u64::MAX),
            over => over,
        };
        EndOfAll { end: End { first: op.began.order, surely }, over }
    };
    let all = |ops: Vec<&Op>| ops.iter().map(|op| end_of_all(op, &ops)).collect();
    ends.into_iter().map(|(user, ops)| (user, all(ops))).collect()
}

/// I6 and I15 of ids, I9 and I14 of users' sessions, and that no other session ends for somebody who
/// did not ask for it.
fn check_ends(ops: &[&Op], ends_of_all: &HashMap<User, Vec<EndOfAll>>, found: &mut Found<'_>) {
    let mut ids: HashMap<Id, End> = HashMap::new();
    for op in ops.iter().filter(|op| matches!(op.act, Act::Renew | Act::Logout | Act::Login(_))) {
        let surely = if op.outcome == Outcome::Done { op.ended.order } else { u64::MAX };
        if !surely_not_done(op) {
            let end = ids.entry(op.id).or_insert(End::NONE);
            *end = end.or(End { first: op.began.order, surely });
        }
    }
    let mut session = End::NONE;
    let mut is_users = false;
    for op in ops {
        let Act::Ticket(user) = op.act else { continue };
        is_users = true;
        for all in ends_of_all.get(&user).into_iter().flatten() {
            if all.end.first > op.ended.order {
                session = session.or(all.end);
            } else if all.over > op.began.order {
                session.first = session.first.min(all.end.first);
            }
        }
    }
    for op in ops {
        let id = ids.get(&op.id).copied().unwrap_or(End::NONE);
        match op.outcome {
            // To log out a session that has ended is no error.
            Outcome::Done if op.act == Act::Logout => {}
            Outcome::Done | Outcome::Viewed(_) | Outcome::Read(_) => {
                if op.began.order > id.surely {
                    let what = format!("id {} is dead, and {:?} was served", op.id, op.act);
                    found.add(if is_users { "I15" } else { "I6" }, &what);
                }
                if op.began.order > session.surely {
                    let what = format!("{:?} was served after an end of all had returned", op.act);
                    found.add("I9", &what);
                }
            }
            Outcome::Anonymous | Outcome::Interrupted if op.ended.order < id.or(session).first => {
                let what = format!("nobody had ended id {}, and it was no session's", op.id);
                let invariant = match op.is_last {
                    _ if is_users => "I14",
                    true => "I1",
                    false => "I5",
                };
                found.add(invariant, &what);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
