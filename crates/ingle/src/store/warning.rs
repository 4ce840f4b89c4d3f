//! What is not as sessions need it although the store works, and what mends it.

use std::{fmt, time::Duration};

use super::floor::text::on_one_line;
use crate::clock::Timestamp;

/// Something that a store does not fail of, and that may end sessions, lose changes or cost time: the answer
/// of [`Store::check`](super::Store::check).
///
/// Its text says what is wrong and what to do, on one line and without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    about: &'static str,
    problem: String,
    help: String,
}

impl Warning {
    /// A warning: what it is about in a word or two, for programs, such as `clock`; what is wrong; and what to
    /// do. The last two are parts of a sentence. A command stands between backticks. What breaks lines in them
    /// is made a blank.
    pub fn new(about: &'static str, problem: impl Into<String>, help: impl Into<String>) -> Self {
        let [problem, help] = [problem.into(), help.into()].map(|part| on_one_line(&part));
        Self { about, problem, help }
    }

    /// What it is about, for programs.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// What is wrong, as a part of a sentence.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do, as a part of a sentence.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    /// What is to be said of two clocks, if they are more than 30 seconds apart: that of `whose` machine said
    /// `theirs` between `asked` and `answered` by the clock of this one.
    #[must_use]
    pub fn of_clocks(
        whose: &str,
        asked: Timestamp,
        answered: Timestamp,
        theirs: Timestamp,
    ) -> Option<Self> {
        let (apart, how) = if theirs < asked {
            (asked.since(theirs), "ahead of")
        } else {
            (theirs.since(answered), "behind")
        };
        (apart > SKEW_MAX).then(|| {
            Self::new(
                "clock",
                format!(
                    "the clock of this machine is {} seconds {how} that of {whose}, and sessions end by the \
                     clocks of the app's machines",
                    apart.as_secs()
                ),
                CLOCK_HELP,
            )
        })
    }
}

/// How far clocks may be apart. A session ends as much too early or too late.
const SKEW_MAX: Duration = Duration::from_secs(30);

const CLOCK_HELP: &str =
    "see which of them is right with `date -u`, and run `timedatectl set-ntp true` on the other";

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_told_of_where_no_answer_can_have_taken_so_long() {
        let at = |second: u64| Timestamp::from_millis((100 + second) * 1000);
        let told = |asked, answered, theirs| {
            Warning::of_clocks("the server", at(asked), at(answered), at(theirs))
                .map(|warning| warning.problem().to_owned())
        };
        for (asked, answered, theirs) in [(50, 50, 50), (50, 55, 85), (50, 55, 20), (50, 600, 300)]
        {
            assert_eq!(told(asked, answered, theirs), None);
        }
        assert!(told(50, 55, 86).unwrap().contains("31 seconds behind that of the server"));
        assert!(told(50, 55, 19).unwrap().contains("31 seconds ahead of that of the server"));
    }
}
