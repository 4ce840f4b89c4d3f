//! What clients were told, and whether a store holds it.
//!
//! A client pushes tokens to the list of a session, in order, and notes what came of each. Several
//! clients may share a session. Checked is: I1 no acknowledged token is missing, I2 none is there
//! twice, I3 no refused one is there, I4 those of one client are in order, and I6 a session that was
//! ended stays so. Of the tokens that nobody has an answer for, each may be there once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The field of a session with its name.
pub(crate) const NAME: &str = "name";

/// The field of a session with its tokens.
pub(crate) const TOKENS: &str = "tokens";

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Acknowledged,
    /// Surely nothing was stored.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Told {
    fn word(self) -> &'static str {
        match self {
            Self::Acknowledged => "ok",
            Self::Refused => "no",
            Self::Unknown => "maybe",
        }
    }
}

/// A token as it is stored.
pub(crate) fn token(client: &str, number: u64) -> String {
    format!("{client}-{number}")
}

/// The line that notes what came of a token.
pub(crate) fn pushed(session: &str, client: &str, number: u64, told: Told) -> String {
    format!("{} {session} {client} {number}", told.word())
}

/// All that was noted.
#[derive(Debug, Default)]
pub(crate) struct Book {
    sessions: BTreeMap<String, Session>,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
}

#[derive(Debug, Default)]
struct Session {
    begun: bool,
    ending: bool,
    ended: bool,
    clients: BTreeMap<String, Client>,
}

#[derive(Debug, Default)]
struct Client {
    told: BTreeMap<u64, &'static str>,
}

impl Book {
    /// Notes a line; none that this module has not made is a line.
    pub(crate) fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["begun", name] => self.session(name).begun = true,
            ["ending", name] => self.session(name).ending = true,
            ["ended", name] => self.session(name).ended = true,
            [word, name, client, number] => {
                let Ok(number) = number.parse() else { return };
                let (word, count) = match word {
                    "ok" => ("ok", &mut self.acknowledged),
                    "no" => ("no", &mut self.refused),
                    _ => ("maybe", &mut self.unknown),
                };
                *count += 1;
                let client = self.session(name).clients.entry(client.to_owned()).or_default();
                client.told.insert(number, word);
            }
            _ => {}
        }
    }

    /// Counts what another book has.
    pub(crate) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
    }

    fn session(&mut self, name: &str) -> &mut Session {
        self.sessions.entry(name.to_owned()).or_default()
    }

    /// What does not hold of the data of all sessions that a store has.
    pub(crate) fn check<'a>(
        &self,
        stored: impl Iterator<Item = &'a serde_json::Map<String, Value>>,
    ) -> Vec<String> {
        let mut lists: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
        for data in stored {
            let Some(name) = data.get(NAME).and_then(Value::as_str) else { continue };
            let tokens = data.get(TOKENS).and_then(Value::as_array).into_iter().flatten();
            let tokens = tokens.map(|token| token.as_str().unwrap_or("?")).collect();
            lists.entry(name).or_default().push(tokens);
        }
        let mut broken = Vec::new();
        for (name, session) in &self.sessions {
            let lists = lists.remove(name.as_str()).unwrap_or_default();
            session.check(&lists, &mut |what| broken.push(format!("session {name}: {what}")));
        }
        broken
    }
}

impl Session {
    fn check(&self, lists: &[Vec<&str>], complain: &mut impl FnMut(String)) {
        let tokens = match lists {
            [] if self.begun && !self.ending => return complain("I1: it is missing".to_owned()),
            [] => return,
            [_] if self.ended => return complain("I6: it is there after its end".to_owned()),
            [tokens] => tokens,
            more => return complain(format!("it is there {} times", more.len())),
        };
        let mut there: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for token in tokens {
            let number = token.rsplit_once('-').and_then(|(of, n)| Some((of, n.parse().ok()?)));
            match number {
                Some((client, number)) => there.entry(client).or_default().push(number),
                None => complain(format!("`{token}` is no token")),
            }
        }
        for (client, numbers) in &there {
            let told = self.clients.get(*client).map(|client| &client.told);
            if !numbers.is_sorted_by(|one, other| one < other) {
                let unique: BTreeSet<_> = numbers.iter().collect();
                let which =
                    if unique.len() < numbers.len() { "I2: one is twice" } else { "I4: order" };
                complain(format!("{which}, of {client}: {numbers:?}"));
            }
            for number in numbers {
                let next = told.and_then(|told| told.keys().next_back()).map_or(0, |last| last + 1);
                match told.and_then(|told| told.get(number)) {
                    Some(&"no") => complain(format!("I3: {client}-{number} was refused")),
                    Some(_) => {}
                    // The one that was under way when everything ended.
                    None if *number == next => {}
                    None => complain(format!("{client}-{number} was never sent")),
                }
            }
        }
        for (client, Client { told }) in &self.clients {
            let there: BTreeSet<u64> =
                there.get(client.as_str()).into_iter().flatten().copied().collect();
            for (number, _) in told.iter().filter(|(_, word)| **word == "ok") {
                if !there.contains(number) {
                    complain(format!("I1: {client}-{number} is missing"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn broken(lines: &[&str], stored: &[Value]) -> Vec<String> {
        let mut book = Book::default();
        lines.iter().for_each(|line| book.note(line));
        book.check(stored.iter().map(|data| data.as_object().unwrap()))
    }

    #[test]
    fn what_was_told_is_there() {
        let lines = ["begun s", "ok s a 0", "no s a 1", "maybe s a 2", "ok s b 0", "ok s a 3"];
        let stored = |tokens: &[&str]| [json!({ NAME: "s", TOKENS: tokens })];
        assert!(broken(&lines, &stored(&["a-0", "b-0", "a-3"])).is_empty());
        assert!(broken(&lines, &stored(&["b-0", "a-0", "a-2", "a-3", "a-4", "b-1"])).is_empty());
        for (tokens, expected) in [
            (["a-0", "b-0", "x"].as_slice(), "`x` is no token"),
            (&["a-0", "a-3"], "I1: b-0 is missing"),
            (&["a-0", "a-3", "b-0", "b-0"], "I2: one is twice"),
            (&["a-0", "a-1", "a-3", "b-0"], "I3: a-1 was refused"),
            (&["a-3", "a-0", "b-0"], "I4: order"),
            (&["a-0", "a-3", "a-5", "b-0"], "a-5 was never sent"),
        ] {
            let found = broken(&lines, &stored(tokens));
            assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_session_is_there_until_its_end_and_once() {
        let there = [json!({ NAME: "s" })];
        assert!(broken(&["begun s"], &there).is_empty());
        assert_eq!(broken(&["begun s"], &[]), ["session s: I1: it is missing"]);
        let twice = [json!({ NAME: "s" }), json!({ NAME: "s" })];
        assert_eq!(broken(&["begun s"], &twice), ["session s: it is there 2 times"]);
        assert!(broken(&["begun s", "ending s"], &there).is_empty());
        assert!(broken(&["begun s", "ending s"], &[]).is_empty());
        let ended = broken(&["begun s", "ending s", "ended s"], &there);
        assert_eq!(ended, ["session s: I6: it is there after its end"]);
    }
}
