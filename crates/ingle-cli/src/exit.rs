//! How the program ends: one line on stderr, and an exit code that a script can branch on.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::error::ErrorKind;
use ingle::{
    Error,
    store::{OpenError, OpenErrorKind},
};
use ingle_operator::inert;

/// Why the program did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    line: String,
}

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Failed {
            $(
                $(#[$doc])*
                pub(crate) fn $name(line: impl Into<String>) -> Self {
                    Self { code: $code, line: line.into() }
                }
            )*
        }
    };
}

failures! {
    other = 1;
    usage = 2;
    not_found = 3;
    /// It needs a confirmation, or the store or the data does not allow it.
    refused = 4;
    /// The session is not as it was shown any more. Nothing was changed.
    conflict = 5;
    unavailable = 6;
    /// Nobody knows whether it was done.
    unknown = 7;
    interrupted = 130;
}

impl Failed {
    /// Whoever read the output has seen enough, such as `head`.
    pub(crate) fn unread() -> Self {
        Self { code: 0, line: String::new() }
    }

    /// The same end, with something said before it.
    pub(crate) fn after(self, said: &str) -> Self {
        let Self { code, line } = self;
        if code == 0 { Self { code, line } } else { Self { code, line: format!("{said}; {line}") } }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match &error {
            Error::Interrupted => {
                Self::not_found("the session has ended or moved meanwhile; nothing was changed")
            }
            Error::Unavailable(cause) => Self::unavailable(format!(
                "the store is not available, and nothing was changed: {}; try again later",
                causes(&**cause)
            )),
            Error::OutcomeUnknown => Self::unknown(
                "the store did not say whether it was done: it was done once or not at all; look with \
                 `ingle sessions show` before you try again",
            ),
            Error::TooLarge(cause) => {
                Self::refused(format!("{error}, nothing was changed: {cause}"))
            }
            Error::WrongType(_) | Error::InvalidValue(_) => {
                Self::refused(format!("{error}; nothing was changed"))
            }
            Error::Unsupported(_) => Self::refused(error.to_string()),
            Error::Damaged(_) => Self::other(format!("{error}: it was neither used nor changed")),
            _ => Self::other(error.to_string()),
        }
    }
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        let line = error.to_string();
        match error.kind() {
            OpenErrorKind::Config | OpenErrorKind::NotBuilt => Self::usage(line),
            OpenErrorKind::Denied => Self::refused(line),
            OpenErrorKind::Missing | OpenErrorKind::Unreachable | OpenErrorKind::Tls => {
                Self::unavailable(line)
            }
            _ => Self::other(line),
        }
    }
}

impl From<ingle::store::Error> for Failed {
    fn from(error: ingle::store::Error) -> Self {
        Self::unavailable(causes(&error))
    }
}

/// An error and its causes, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Says what is to be said on stderr. One that is closed has no reader.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

pub(crate) fn code(done: Result<(), Failed>) -> ExitCode {
    let Err(Failed { code, line }) = done else { return ExitCode::SUCCESS };
    if !line.is_empty() {
        say(&format!("ingle: {}", inert(&line)));
    }
    ExitCode::from(code)
}

/// What clap has to say: help is what was asked for, and anything else is one line.
pub(crate) fn of_arguments(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let is_missing =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if is_missing.contains(&error.kind()) {
        return code(Err(Failed::usage("a command is missing; see ingle --help")));
    }
    let text = error.render().to_string();
    let mut parts = Vec::new();
    for line in text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")) {
        let line = line.strip_prefix("error:").or(line.strip_prefix("tip:")).unwrap_or(line).trim();
        if !line.is_empty() && !line.starts_with("For more information") {
            parts.push(line.trim_end_matches('.'));
        }
    }
    code(Err(Failed::usage(parts.join("; ").replace(":; ", ": "))))
}
