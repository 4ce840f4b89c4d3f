//! Conditions on the data of a session: `views > 100`, `greeting = "Hola Mundo"`, `cart.items exists`,
//! with `and`, `or`, `not` and parentheses.

use std::{cmp::Ordering, str::FromStr};

use ingle::data::Data;
use serde_json::Value;

use crate::{path::Path, value::of_text};

/// How deep parentheses may nest.
const DEPTH_MAX: usize = 32;

/// What must hold of the data of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Exists(Path),
    Compares(Path, Operator, Value),
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

/// A text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem} at character {at} of the condition: a condition is such as views > 100, \
     greeting = \"Hola\" and cart.items exists"
)]
pub struct NotACondition {
    problem: String,
    /// Counted from 1.
    at: usize,
}

impl Condition {
    /// Whether it holds of this data. Values of different types are not equal, and neither is less.
    #[must_use]
    pub fn holds(&self, data: &Data) -> bool {
        self.0.holds(data)
    }
}

impl Term {
    fn holds(&self, data: &Data) -> bool {
        match self {
            Self::Any(terms) => terms.iter().any(|term| term.holds(data)),
            Self::All(terms) => terms.iter().all(|term| term.holds(data)),
            Self::Not(term) => !term.holds(data),
            Self::Exists(path) => path.get(data).is_some(),
            Self::Compares(path, operator, value) => {
                path.get(data).is_some_and(|found| operator.holds(order(found, value)))
            }
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
        if reader.rest.is_empty() {
            Ok(Self(term))
        } else {
            Err(reader.wrong("`and` or `or` is missing"))
        }
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
        let (path, rest) = Path::read(self.rest).map_err(|_| self.wrong("a field is missing"))?;
        self.rest = rest;
        if self.word("exists") {
            return Ok(Term::Exists(path));
        }
        self.skip_blanks();
        let found = OPERATORS
            .iter()
            .find_map(|(text, operator)| Some((*operator, self.rest.strip_prefix(text)?)));
        let Some((operator, rest)) = found else {
            return Err(self.wrong("`exists` or one of = != < <= > >= is missing"));
        };
        self.rest = rest;
        Ok(Term::Compares(path, operator, self.value()?))
    }

    /// A value in JSON, or up to the next blank or parenthesis.
    fn value(&mut self) -> Result<Value, NotACondition> {
        self.skip_blanks();
        if self.rest.starts_with(['"', '{', '[']) {
            let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
            let Some(Ok(value)) = values.next() else {
                return Err(self.wrong("a value is not as in JSON"));
            };
            self.rest = self.rest.get(values.byte_offset()..).unwrap_or_default();
            return Ok(value);
        }
        let len = self.rest.find(|c: char| c.is_whitespace() || c == ')');
        let (text, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        if text.is_empty() {
            return Err(self.wrong("a value is missing"));
        }
        let value = of_text(text).map_err(|error| self.wrong(&error.to_string()))?;
        self.rest = rest;
        Ok(value)
    }

    /// Goes on behind a word, if it is the next one.
    fn word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        let ends = rest.chars().next().is_none_or(|c| c.is_whitespace() || "()".contains(c));
        // A field may have the name of a word: `not = 1`.
        let is_field = OPERATORS.iter().any(|(text, _)| rest.trim_start().starts_with(text));
        let is_word = ends && !is_field;
        if is_word {
            self.rest = rest;
        }
        is_word
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn wrong(&self, problem: &str) -> NotACondition {
        let before = self.text.len().saturating_sub(self.rest.len());
        let before = self.text.get(..before).unwrap_or_default();
        NotACondition { problem: problem.to_owned(), at: before.chars().count() + 1 }
    }
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
        });
        let condition: Condition = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        condition.holds(data.as_object().unwrap())
    }

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
            ("and = 2 and and = 2", true),
            ("at > timestamp:2026-05-04T12:29:59.9Z", true),
            ("at = timestamp:2026-05-04T12:30:00Z", true),
            ("at < timestamp:2026-05-04T12:30:00Z", false),
            ("views = 1 or half = 0.5", true),
            ("views = 1 or half = 0.5 and on = false", false),
            ("(views = 1 or half = 0.5) and on = true", true),
            ("views = 101 and (half = 1 or not (on = false))", true),
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
            let words =
                ["a", "and", "or", "not", "(", ")", "=", ">", "1", "\"", "exists", " ", "é", "["];
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=12)? {
                text.push_str(u.choose(&words)?);
            }
            let _ = text.parse::<Condition>().map(|condition| condition.holds(&Data::new()));
            Ok(())
        });
    }
}
