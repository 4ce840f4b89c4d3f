//! Conditions on a session: on its data (`views > 100`, `greeting = "Hola Mundo"`, `cart.items exists`) and
//! on what is known of it (`@age > 2h`, `@size > 8KiB`), with `and`, `or`, `not` and parentheses.

use std::{cell::LazyCell, cmp::Ordering, ops::Deref, str::FromStr};

use ingle::{StoredSession, clock::Timestamp, data::Data};
use serde_json::Value;

use crate::{
    facts::{Facts, Measure},
    path::Path,
    redact::redacted,
    value::of_text,
};

/// How deep parentheses may nest.
const DEPTH_MAX: usize = 32;

/// What must hold of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Exists(Path),
    Compares(Path, Operator, Value),
    /// In milliseconds, or in bytes.
    Measures(Measure, Operator, u64),
    HasUser,
    User(Operator, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The operators, the longer ones first.
const OPERATORS: [(&str, Operator); 7] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// What people write in other languages, and what it is here.
const MEANT: [(&str, &str); 5] =
    [("&&", "and"), ("&", "and"), ("||", "or"), ("|", "or"), ("!", "not")];

/// What stands around texts elsewhere, and what text processors make of it.
const OTHER_QUOTES: [char; 8] = ['\'', '`', '‘', '’', '‚', '“', '”', '„'];

/// A text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}, {problem}")]
pub struct NotACondition {
    problem: String,
    /// Counted from 1.
    at: usize,
}

impl Condition {
    /// Whether it holds of this session now, as far as it is shown: whoever could ask for what is hidden
    /// could guess it unseen. Values of different types are not equal, and neither is less.
    #[must_use]
    pub fn holds(&self, session: &StoredSession, now: Timestamp) -> bool {
        let shown = LazyCell::new(|| redacted(session.snapshot()).data);
        self.0.holds(&Facts::of(session.info(), now), &shown)
    }

    /// The user whom all are of that it can hold of, if it names one. A store looks those up.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match &self.0 {
            Term::All(terms) => terms.iter().find_map(Term::user),
            term => term.user(),
        }
    }

    /// The places in the data that it asks for, in its order.
    #[must_use]
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        self.0.add_paths(&mut paths);
        paths
    }

    /// Whether it asks when a session was last used.
    #[must_use]
    pub fn asks_for_use(&self) -> bool {
        self.0.asks_for_use()
    }
}

impl Term {
    fn holds(&self, facts: &Facts<'_>, data: &dyn Deref<Target = Data>) -> bool {
        match self {
            Self::Any(terms) => terms.iter().any(|term| term.holds(facts, data)),
            Self::All(terms) => terms.iter().all(|term| term.holds(facts, data)),
            Self::Not(term) => !term.holds(facts, data),
            Self::Exists(path) => path.get(data).is_some(),
            Self::Compares(path, operator, value) => {
                path.get(data).is_some_and(|found| operator.holds(order(found, value)))
            }
            Self::Measures(measure, operator, amount) => {
                operator.holds(Some(measure.of(facts).cmp(amount)))
            }
            Self::HasUser => facts.user.is_some(),
            Self::User(operator, name) => {
                facts.user.is_some_and(|user| operator.holds(Some(user.cmp(name))))
            }
        }
    }

    fn user(&self) -> Option<&str> {
        match self {
            Self::User(Operator::Equal, name) => Some(name),
            _ => None,
        }
    }

    fn add_paths<'a>(&'a self, paths: &mut Vec<&'a Path>) {
        match self {
            Self::Any(terms) | Self::All(terms) => {
                terms.iter().for_each(|term| term.add_paths(paths));
            }
            Self::Not(term) => term.add_paths(paths),
            Self::Exists(path) | Self::Compares(path, ..) if !paths.contains(&path) => {
                paths.push(path)
            }
            _ => {}
        }
    }

    fn asks_for_use(&self) -> bool {
        match self {
            Self::Any(terms) | Self::All(terms) => terms.iter().any(Self::asks_for_use),
            Self::Not(term) => term.asks_for_use(),
            Self::Measures(measure, ..) => *measure == Measure::Idle,
            _ => false,
        }
    }
}

impl Operator {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// How two values compare, if they do.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (one, other) if one == other => Some(Ordering::Equal),
        (one, other) => instant(one)?.partial_cmp(&instant(other)?),
    }
}

fn instant(value: &Value) -> Option<std::time::SystemTime> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    humantime::parse_rfc3339(fields.get("$timestamp")?.as_str()?).ok()
}

impl FromStr for Condition {
    type Err = NotACondition;

    fn from_str(text: &str) -> Result<Self, NotACondition> {
        let mut reader = Reader { text, rest: text };
        let term = reader.any(0)?;
        reader.skip_blanks();
        if reader.rest.is_empty() { Ok(Self(term)) } else { Err(reader.missing("`and` or `or`")) }
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn any(&mut self, depth: usize) -> Result<Term, NotACondition> {
        let mut terms = vec![self.all(depth)?];
        while self.word("or") {
            terms.push(self.all(depth)?);
        }
        Ok(one_or(terms, Term::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Term, NotACondition> {
        let mut terms = vec![self.one(depth)?];
        while self.word("and") {
            terms.push(self.one(depth)?);
        }
        Ok(one_or(terms, Term::All))
    }

    fn one(&mut self, depth: usize) -> Result<Term, NotACondition> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("parentheses nest too deep"));
        }
        if self.word("not") {
            return Ok(Term::Not(Box::new(self.one(depth + 1)?)));
        }
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            let inner = self.any(depth + 1)?;
            self.skip_blanks();
            let Some(rest) = self.rest.strip_prefix(')') else {
                return Err(self.wrong("a closing parenthesis is missing"));
            };
            self.rest = rest;
            return Ok(inner);
        }
        if let Some(rest) = self.rest.strip_prefix('@') {
            return self.of_session(rest);
        }
        let (path, rest) = Path::read(self.rest).map_err(|_| self.missing("a field"))?;
        // `NOT a = 1` has no field NOT, as `NOT = 1` has.
        if let Some(meant) = self.meant().filter(|_| !compares(rest)) {
            return Err(self.wrong(&meant));
        }
        self.rest = rest;
        if self.word("exists") {
            return Ok(Term::Exists(path));
        }
        let operator = self.operator()?;
        Ok(Term::Compares(path, operator, self.value()?))
    }

    fn operator(&mut self) -> Result<Operator, NotACondition> {
        self.skip_blanks();
        let found = OPERATORS
            .iter()
            .find_map(|(text, operator)| Some((*operator, self.rest.strip_prefix(text)?)));
        let Some((operator, rest)) = found else {
            return Err(self.missing("`exists` or one of = != < <= > >="));
        };
        self.rest = rest;
        Ok(operator)
    }

    /// What stands behind an `@`.
    fn of_session(&mut self, behind: &'a str) -> Result<Term, NotACondition> {
        let len = behind.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
        let (name, rest) = behind.split_at(len.unwrap_or(behind.len()));
        if name == "user" {
            self.rest = rest;
            if self.word("exists") {
                return Ok(Term::HasUser);
            }
            let operator = self.operator()?;
            return Ok(Term::User(operator, self.user_name()?));
        }
        let Some(measure) = Measure::named(name) else {
            return Err(self.wrong(&format!(
                "there is no `@{name}`: a session has @age, @idle, @ends, @size and @user, and a field \
                 of the app with such a name stands in quotes"
            )));
        };
        self.rest = rest;
        if self.word("exists") {
            return Err(self.wrong(&format!("every session has an `@{name}`, so it is compared")));
        }
        let operator = self.operator()?;
        if measure.moves() && matches!(operator, Operator::Equal | Operator::NotEqual) {
            let text = "changes as time passes, so it takes <, <=, > or >=";
            return Err(self.wrong(&format!("`@{name}` {text}")));
        }
        let (text, rest) = self.words();
        if text.is_empty() {
            return Err(self.missing("a value"));
        }
        let amount = measure.read(text).map_err(|error| self.wrong(&error))?;
        self.rest = rest;
        Ok(Term::Measures(measure, operator, amount))
    }

    /// What stands before the next `and`, `or` or parenthesis, and the rest. People write `2 hours`.
    fn words(&mut self) -> (&'a str, &'a str) {
        self.skip_blanks();
        let closed = self.rest.find(')').unwrap_or(self.rest.len());
        let words = self.rest.get(..closed).unwrap_or_default();
        let words = words.split_inclusive(char::is_whitespace);
        let joins = |word: &str| matches!(&*word.trim_end().to_ascii_lowercase(), "and" | "or");
        let own = words.take_while(|word| !joins(word));
        let (text, rest) = self.rest.split_at(own.map(str::len).sum());
        (text.trim_end(), rest)
    }

    /// A name, in quotes where it has blanks.
    fn user_name(&mut self) -> Result<String, NotACondition> {
        self.skip_blanks();
        if self.rest.starts_with('"') {
            let wrong = "a name in quotes is not as in JSON";
            let Value::String(name) = self.json(wrong)? else { return Err(self.wrong(wrong)) };
            return Ok(name);
        }
        let (name, rest) = self.split_text();
        if name.is_empty() {
            return Err(self.missing("a name"));
        }
        self.refuse_other_quotes()?;
        self.rest = rest;
        Ok(name.to_owned())
    }

    /// A value in JSON, or up to the next blank or parenthesis.
    fn value(&mut self) -> Result<Value, NotACondition> {
        self.skip_blanks();
        if self.rest.starts_with(['"', '{', '[']) {
            return self.json("a value is not as in JSON");
        }
        let (text, rest) = self.split_text();
        if text.is_empty() {
            return Err(self.missing("a value"));
        }
        self.refuse_other_quotes()?;
        let value = of_text(text).map_err(|error| self.wrong(&error.to_string()))?;
        self.rest = rest;
        Ok(value)
    }

    /// What begins here in JSON.
    fn json(&mut self, wrong: &str) -> Result<Value, NotACondition> {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter();
        let Some(Ok(value)) = values.next() else { return Err(self.wrong(wrong)) };
        self.rest = self.rest.get(values.byte_offset()..).unwrap_or_default();
        Ok(value)
    }

    /// A text up to the next blank or parenthesis, and what is behind it.
    fn split_text(&self) -> (&'a str, &'a str) {
        let len = self.rest.find(|c: char| c.is_whitespace() || c == ')');
        self.rest.split_at(len.unwrap_or(self.rest.len()))
    }

    /// Goes on behind a word, if it is the next one.
    fn word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        let ends = rest.chars().next().is_none_or(|c| c.is_whitespace() || "()".contains(c));
        // A field may have the name of a word: `not = 1`.
        let is_word = ends && !compares(rest);
        if is_word {
            self.rest = rest;
        }
        is_word
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The word of this language that the next one may be meant for, as what to do.
    fn meant(&self) -> Option<String> {
        let symbol = MEANT.iter().find(|(written, _)| self.rest.starts_with(written));
        let (written, meant) = symbol.copied().or_else(|| {
            let len = self.rest.find(|c: char| !c.is_alphanumeric());
            let (word, _) = self.rest.split_at(len.unwrap_or(self.rest.len()));
            let known = ["and", "or", "not", "exists"].into_iter();
            known
                .filter(|known| *known != word && known.eq_ignore_ascii_case(word))
                .map(|known| (word, known))
                .next()
        })?;
        Some(format!("write `{meant}` in the place of `{written}`"))
    }

    /// What is missing here, or what was written in its place.
    fn missing(&mut self, what: &str) -> NotACondition {
        self.skip_blanks();
        if let Err(error) = self.refuse_other_quotes() {
            return error;
        }
        self.wrong(&self.meant().unwrap_or_else(|| format!("{what} is missing")))
    }

    fn refuse_other_quotes(&self) -> Result<(), NotACondition> {
        match self.rest.starts_with(OTHER_QUOTES) {
            true => Err(self.wrong("put texts and names in double quotes, such as \"Hola Mundo\"")),
            false => Ok(()),
        }
    }

    fn wrong(&self, problem: &str) -> NotACondition {
        let before = self.text.len().saturating_sub(self.rest.len());
        let before = self.text.get(..before).unwrap_or_default();
        NotACondition { problem: problem.to_owned(), at: before.chars().count() + 1 }
    }
}

/// Whether what follows a field compares it.
fn compares(rest: &str) -> bool {
    OPERATORS.iter().any(|(text, _)| rest.trim_start().starts_with(text))
}

fn one_or(mut terms: Vec<Term>, several: fn(Vec<Term>) -> Term) -> Term {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        last => several(terms.into_iter().chain(last).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(text: &str) -> bool {
        let data = json!({
            "views": 101,
            "half": 0.5,
            "greeting": "Hola Mundo",
            "cart": { "items": [{ "n": 1 }] },
            "on": true,
            "nothing": null,
            "a.b": 1,
            "not": 1,
            "and": 2,
            "at": { "$timestamp": "2026-05-04T12:30:00Z" },
            "age": "of the app",
            "@age": 1,
        });
        let condition: Condition = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        condition.0.holds(&FACTS, &data.as_object().unwrap())
    }

    /// A session of ada's that began 2 hours ago, was used 10 minutes ago, and ends in 20.
    const FACTS: Facts<'_> = Facts {
        age_millis: 2 * 3_600_000,
        idle_millis: 600_000,
        left_millis: 1_200_000,
        bytes: 8 * 1024 + 1,
        user: Some("ada smith"),
    };

    #[test]
    fn a_condition_holds_or_does_not() {
        for (text, expected) in [
            ("views > 100", true),
            ("views>100", true),
            ("views > 101", false),
            ("views >= 101", true),
            ("views < 101", false),
            ("views <= 101.0", true),
            ("views = 101", true),
            ("views == int:101", true),
            ("views != 101", false),
            ("views = \"101\"", false),
            ("views = text:101", false),
            ("views > \"1\"", false),
            ("views != \"101\"", true),
            ("half < 1", true),
            ("greeting = \"Hola Mundo\"", true),
            ("greeting = Hola", false),
            ("greeting > Hola", true),
            ("on = true", true),
            ("nothing = null", true),
            ("nothing exists", true),
            ("cart.items exists", true),
            ("cart.items[0].n = 1", true),
            ("cart.items[1] exists", false),
            ("cart = {\"items\":[{\"n\":1}]}", true),
            ("missing = 1", false),
            ("missing != 1", false),
            ("not missing exists", true),
            ("not not views exists", true),
            ("\"a.b\" = 1", true),
            ("a.b = 1", false),
            ("not = 1", true),
            ("not not = 1", false),
            ("views = 101 and AND != 1", false),
            ("greeting != \"'\"", true),
            ("and = 2 and and = 2", true),
            ("at > timestamp:2026-05-04T12:29:59.9Z", true),
            ("at = timestamp:2026-05-04T12:30:00Z", true),
            ("at < timestamp:2026-05-04T12:30:00Z", false),
            ("views = 1 or half = 0.5", true),
            ("views = 1 or half = 0.5 and on = false", false),
            ("(views = 1 or half = 0.5) and on = true", true),
            ("views = 101 and (half = 1 or not (on = false))", true),
            ("@age > 1h59m", true),
            ("@age>1h59m", true),
            ("@age >= 2h", true),
            ("@age > 2h", false),
            ("@age > 2 hours", false),
            ("@age <= 2 hours and views = 101", true),
            ("(@age > 1h 59m) and views = 1", false),
            ("not (@age > 1h 59m or views = 1)", false),
            ("@idle < 11m", true),
            ("@idle > 10m", false),
            ("@ends < 1h", true),
            ("@ends < 1200s", false),
            ("@size > 8KiB", true),
            ("@size > 8 kib", true),
            ("@size > 8192", true),
            ("@size = 8193 B", true),
            ("@size != 8193", false),
            ("@size < 0.1MiB", true),
            ("@user exists", true),
            ("@user = \"ada smith\"", true),
            ("@user != bob", true),
            ("@user = ada", false),
            ("@user >= ada and @user < adb", true),
            ("age = \"of the app\"", true),
            ("\"@age\" = 1", true),
            ("\"@age\" > 2", false),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_says_where_it_is_wrong() {
        for (text, at, says) in [
            ("", 1, "a field is missing"),
            ("views", 6, "`exists` or one of"),
            ("views >", 8, "a value is missing"),
            ("views > 1 half", 11, "`and` or `or` is missing"),
            ("views > 1 and", 14, "a field is missing"),
            ("(views > 1", 11, "a closing parenthesis"),
            ("views > 1)", 10, "`and` or `or`"),
            ("greeting = \"x", 12, "a value is not as in JSON"),
            ("n = int:x", 5, "`int:` takes"),
            ("[0] = 1", 1, "a field is missing"),
            ("é ~ 1", 3, "`exists` or one of"),
            ("@", 1, "there is no `@`"),
            (
                "@bytes > 1",
                1,
                "there is no `@bytes`: a session has @age, @idle, @ends, @size and @user",
            ),
            ("views = 1 and @agé > 1h", 15, "stands in quotes"),
            ("@age", 5, "`exists` or one of"),
            ("@age exists", 12, "every session has an `@age`"),
            ("@age = 2h", 7, "`@age` changes as time passes, so it takes <, <=, > or >="),
            ("@idle != 2h", 9, "changes as time passes"),
            ("@age >", 7, "a value is missing"),
            ("@age > and views = 1", 8, "a value is missing"),
            ("@age > 2", 8, "a duration is a number and its unit, such as 90s"),
            ("@age > 2 parsecs", 8, "a duration is a number and its unit"),
            ("@age > -2h", 8, "a duration is a number and its unit"),
            ("@ends < 2026-05-04T12:30:00Z", 9, "a duration is a number and its unit"),
            ("@size > 8kB", 9, "one of B, KiB, MiB or GiB"),
            ("@size > 2h", 9, "a size is a number of bytes"),
            ("@size > 1.5", 9, "a size is a number of bytes"),
            ("@size > -1", 9, "a size is a number of bytes"),
            ("@size > 99999999999999999999", 9, "a size is a number of bytes"),
            ("@size > 99999999TiB", 9, "a size is a number of bytes"),
            ("@user =", 8, "a name is missing"),
            ("@user = \"ada", 9, "a name in quotes"),
            ("@user = ada smith", 13, "`and` or `or` is missing"),
            ("views > 1 AND half = 1", 11, "write `and` in the place of `AND`"),
            ("views > 1 && half = 1", 11, "write `and` in the place of `&&`"),
            ("views > 1 Or half = 1", 11, "write `or` in the place of `Or`"),
            ("views > 1 || half = 1", 11, "write `or` in the place of `||`"),
            ("@age > 2h AND half = 1", 11, "write `and` in the place of `AND`"),
            ("@user exists AND half = 1", 14, "write `and` in the place of `AND`"),
            ("NOT views > 1", 1, "write `not` in the place of `NOT`"),
            ("!views exists", 1, "write `not` in the place of `!`"),
            ("views EXISTS", 7, "write `exists` in the place of `EXISTS`"),
            ("greeting = 'Hola Mundo'", 12, "in double quotes, such as \"Hola Mundo\""),
            ("greeting = “Hola”", 12, "in double quotes"),
            ("'a b' = 1", 1, "in double quotes"),
            ("@user = 'ada smith'", 9, "in double quotes"),
        ] {
            let error = text.parse::<Condition>().unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
        let deep = format!("{}a exists{}", "(".repeat(100), ")".repeat(100));
        assert!(deep.parse::<Condition>().unwrap_err().to_string().contains("too deep"));
        assert!(format!("{}a exists", "not ".repeat(10_000)).parse::<Condition>().is_err());
    }

    #[test]
    fn any_text_is_a_condition_or_none() {
        arbtest::arbtest(|u| {
            let words = [
                "a", "and", "or", "not", "(", ")", "=", ">", "1", "\"", "exists", " ", "é", "[",
                "@", "@age", "@size", "@user", "h", "KiB", ".",
            ];
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=12)? {
                text.push_str(u.choose(&words)?);
            }
            let _ =
                text.parse::<Condition>().map(|condition| condition.0.holds(&FACTS, &&Data::new()));
            Ok(())
        });
    }

    #[test]
    fn nobody_has_no_name() {
        let facts = Facts { user: None, ..FACTS };
        for (text, expected) in
            [("@user exists", false), ("not @user exists", true), ("@user != ada", false)]
        {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.0.holds(&facts, &&Data::new()), expected, "{text}");
        }
    }

    #[test]
    fn a_condition_tells_whose_sessions_a_store_is_asked_for() {
        for (text, user) in [
            ("@user = ada", Some("ada")),
            ("views > 1 and @user = \"ada smith\" and @age > 1h", Some("ada smith")),
            ("@user = ada or @user = bob", None),
            ("not @user = ada", None),
            ("@user != ada", None),
            ("@user exists", None),
            ("user = ada", None),
        ] {
            assert_eq!(text.parse::<Condition>().unwrap().user(), user, "{text}");
        }
    }

    #[test]
    fn a_condition_tells_which_places_in_the_data_it_asks_for() {
        let condition: Condition =
            "@age > 1h and (b.c[0] = 1 or not a exists) and a != 2 and \"@age\" > 1"
                .parse()
                .unwrap();
        let paths: Vec<_> = condition.paths().into_iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["b.c[0]", "a", "\"@age\""]);
    }

    #[test]
    fn a_condition_tells_whether_it_asks_for_the_last_use() {
        for (text, expected) in [
            ("@idle > 1h", true),
            ("views = 1 or not (@idle > 1h and a = 1)", true),
            ("@age > 1h and @ends < 1h and @size > 1 and @user exists and idle = 1", false),
        ] {
            assert_eq!(text.parse::<Condition>().unwrap().asks_for_use(), expected, "{text}");
        }
    }
}
