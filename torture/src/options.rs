//! How long the torture lasts, from which seed, and which parts of it.

/// What people are told who ask wrongly.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask torture [PART…] [OPTIONS]

Parts (default: all):
  histories    visitors append and read while the way to the store and the processes fail
  crash        the SQLite store: killed processes, disks that fail, damaged files
  leak         no response holds another session's data, whatever breaks off or comes late
  overload     more requests than can be served, and connections that drip
  model        the protocols of commits and logins as models, every state of them
  simulation   the library on a store that fails, from seeds that replay
  fuzz         inputs made of valid ones, for all that reads what others wrote
  bugs         bugs that are planted in the library, and which test catches each

Options:
  --short      what CI runs: fewer of everything
  --times N    N times as much of everything
  --seed N     the seed of all that is random; without it a new one, which is printed
";

/// A part of the torture: a module with a `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Histories,
    Crash,
    Leak,
    Overload,
    Model,
    Simulation,
    Fuzz,
    Bugs,
}

const PARTS: [Part; 8] = [
    Part::Histories,
    Part::Crash,
    Part::Leak,
    Part::Overload,
    Part::Model,
    Part::Simulation,
    Part::Fuzz,
    Part::Bugs,
];

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Histories => "histories",
            Self::Crash => "crash",
            Self::Leak => "leak",
            Self::Overload => "overload",
            Self::Model => "model",
            Self::Simulation => "simulation",
            Self::Fuzz => "fuzz",
            Self::Bugs => "bugs",
        }
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// What CI has time for.
    Short,
    /// So many times the usual.
    Times(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) length: Length,
    pub(crate) seed: u64,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options =
            Self { parts: Vec::new(), length: Length::Times(1), seed: fastrand::u64(..) };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--short" => options.length = Length::Short,
                "--times" => options.length = Length::Times(number("--times", args.next())?),
                "--seed" => options.seed = number("--seed", args.next())?,
                name => {
                    let part = PARTS.into_iter().find(|part| part.name() == name);
                    options.parts.push(part.ok_or_else(|| format!("there is no part `{name}`"))?);
                }
            }
        }
        if options.parts.is_empty() {
            options.parts = PARTS.to_vec();
        }
        Ok(options)
    }

    /// How many of something: this many in CI, that many by default.
    pub(crate) fn count(&self, short: u64, usual: u64) -> u64 {
        match self.length {
            Length::Short => short,
            Length::Times(n) => usual.saturating_mul(n),
        }
    }
}

fn number(option: &str, value: Option<&String>) -> Result<u64, String> {
    let value = value.ok_or_else(|| format!("`{option}` needs a number after it"))?;
    value.parse().map_err(|_| format!("`{option}` needs a number, not `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_wrongly_is_told() {
        let parse = |args: &[&str]| {
            Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parse(&["--seed", "7", "--short"]).unwrap().seed, 7);
        assert_eq!(parse(&["--seed"]).unwrap_err(), "`--seed` needs a number after it");
        assert_eq!(parse(&["--times", "x"]).unwrap_err(), "`--times` needs a number, not `x`");
        assert_eq!(parse(&["nothing"]).unwrap_err(), "there is no part `nothing`");
    }
}
