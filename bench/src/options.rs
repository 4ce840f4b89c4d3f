//! What is to be measured, and how thoroughly.

use std::time::Duration;

use crate::stores::{CONNECTIONS, MANY_CONNECTIONS, SESSIONS};

/// What people are told who ask wrongly.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench [NAME] [OPTIONS]

Comparisons, each with a section in docs/benchmarks.md:
  stores    greetings and its peers on every store (default; some 12 minutes)
  scale     greetings with ever more connections, sessions and data (some 12 minutes)
  tutorial  the tutorial's app and greetings, on emulators of Firestore, with many
            requests of one session at once (some 5 minutes)
  requests  what runs on each request, without a network (some 2 minutes)
  all       all of these, one after the other

Options:
  --quick        a look at `stores` in two minutes, which is printed and not written down
  --repeats N    how often everything is measured [default: 3]
  --seconds S    how long each slice is measured [default: 1.5]
  --connections N  how many requests of `stores` are under way [default: 32]; 128 has a section of
                 its own, and with another number it is printed and not written down
  --sessions N   how many sessions `scale` goes up to [default: 1000000]
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Stores,
    Scale,
    Tutorial,
    Requests,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) comparisons: Vec<Comparison>,
    /// Only to say whether the arguments mean anything.
    pub(crate) check: bool,
    pub(crate) quick: bool,
    pub(crate) connections: usize,
    pub(crate) repeats: usize,
    pub(crate) time: Duration,
    pub(crate) sessions: usize,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            comparisons: Vec::new(),
            check: false,
            quick: false,
            connections: CONNECTIONS,
            repeats: 3,
            time: Duration::from_millis(1500),
            sessions: 1_000_000,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--check" => options.check = true,
                "--quick" => (options.quick, options.repeats) = (true, 1),
                "--connections" => {
                    options.connections = number(argument, arguments.next())?.clamp(1, SESSIONS);
                }
                "--repeats" => options.repeats = number(argument, arguments.next())?.max(1),
                "--sessions" => options.sessions = number(argument, arguments.next())?.max(100),
                "--seconds" => options.time = seconds(argument, arguments.next())?,
                "all" => options.comparisons.extend(ALL.map(|(_, comparison)| comparison)),
                name => {
                    let found = ALL.into_iter().find(|(known, _)| *known == name);
                    let (_, comparison) = found.ok_or_else(|| format!("there is no `{name}`"))?;
                    options.comparisons.push(comparison);
                }
            }
        }
        if options.comparisons.is_empty() {
            options.comparisons.push(Comparison::Stores);
        }
        Ok(options)
    }

    /// The section that `stores` is written into. None for a look, which is printed alone.
    pub(crate) fn stores_section(&self) -> Option<&'static str> {
        match self.connections {
            _ if self.quick => None,
            CONNECTIONS => Some("stores"),
            MANY_CONNECTIONS => Some("stores-128"),
            _ => None,
        }
    }

    /// `1 repeat`, or `3 repeats`.
    pub(crate) fn how_often(&self) -> String {
        format!("{} repeat{}", self.repeats, if self.repeats == 1 { "" } else { "s" })
    }
}

const ALL: [(&str, Comparison); 4] = [
    ("stores", Comparison::Stores),
    ("scale", Comparison::Scale),
    ("tutorial", Comparison::Tutorial),
    ("requests", Comparison::Requests),
];

fn number(option: &str, value: Option<&String>) -> Result<usize, String> {
    let value = value.ok_or_else(|| format!("`{option}` needs a number after it"))?;
    value.parse().map_err(|_| format!("`{option}` needs a number, not `{value}`"))
}

fn seconds(option: &str, value: Option<&String>) -> Result<Duration, String> {
    let value = value.ok_or_else(|| format!("`{option}` needs seconds after it"))?;
    let seconds = value.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let seconds = seconds.filter(|time| (0.1..=60.0).contains(&time.as_secs_f64()));
    seconds.ok_or_else(|| format!("`{option}` takes seconds from 0.1 to 60, not `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_wrongly_is_told() {
        let parse = |line: &str| {
            Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let options = parse("scale --seconds 0.5 --sessions 5000").unwrap();
        assert_eq!((options.comparisons, options.sessions), (vec![Comparison::Scale], 5000));
        assert_eq!(parse("").unwrap().comparisons, [Comparison::Stores]);
        assert_eq!(parse("all").unwrap().comparisons.len(), 4);
        let quick = parse("--quick").unwrap();
        assert!(quick.quick);
        assert_eq!(
            (quick.how_often(), parse("").unwrap().how_often()),
            ("1 repeat".to_owned(), "3 repeats".to_owned())
        );
        assert_eq!(parse("--connections 64").unwrap().connections, 64);
        assert_eq!(parse("nothing").unwrap_err(), "there is no `nothing`");
        assert!(parse("--seconds 0").unwrap_err().contains("from 0.1 to 60"));
        assert!(parse("--repeats").unwrap_err().contains("needs a number"));
    }

    #[test]
    fn only_what_has_a_section_is_written_down() {
        let section = |line: &str| {
            let line: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            Options::parse(&line).unwrap().stores_section()
        };
        assert_eq!(section(""), Some("stores"));
        assert_eq!(section("--connections 128 --repeats 12"), Some("stores-128"));
        for look in ["--quick", "--quick --connections 128", "--connections 64"] {
            assert_eq!(section(look), None, "{look}");
        }
    }
}
