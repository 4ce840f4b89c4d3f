//! How the program ends: one line on stderr, and an exit code that a script can branch on.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use ingle::{
    Error,
    store::{self, OpenError, OpenErrorKind},
};
use ingle_operator::{inert, shortened};

use crate::options::{ASSIGNMENT, Options};

/// Why the program did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    line: String,
    /// Whether it is known, and not said in the line, that nothing was changed.
    is_unchanged: bool,
}

/// How much is repeated of an argument that is wrong, in columns.
const ARGUMENT_MAX: usize = 80;

const UNAVAILABLE: u8 = 6;
const UNKNOWN: u8 = 7;
const INTERRUPTED: u8 = 130;

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $code:expr;)*) => {
        impl Failed {
            $(
                $(#[$doc])*
                pub(crate) fn $name(line: impl Into<String>) -> Self {
                    Self { code: $code, line: line.into(), is_unchanged: false }
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
    unavailable = UNAVAILABLE;
    /// Nobody knows whether it was done.
    unknown = UNKNOWN;
    interrupted = INTERRUPTED;
}

impl Failed {
    /// Whoever read the output has seen enough, such as `head`.
    pub(crate) fn unread() -> Self {
        Self { code: 0, line: String::new(), is_unchanged: false }
    }

    /// Whether nobody reads the output any more.
    fn is_unread(&self) -> bool {
        self.code == 0
    }

    /// This failure, unless another one came before it. An output that nobody reads to its end is none:
    /// the code still tells what was known until then.
    pub(crate) fn or_earlier(self, done: Result<(), Self>) -> Self {
        match done {
            Err(earlier) if !earlier.is_unread() => earlier,
            _ => self,
        }
    }

    /// The same end, with something said before it.
    pub(crate) fn after(self, said: &str) -> Self {
        if self.is_unread() {
            self
        } else {
            Self { line: format!("{said}; {}", self.line), ..self }
        }
    }

    /// The end of something of which a part was done. No code tells of a part, so it is 1, but Ctrl-C is
    /// told as such.
    pub(crate) fn partly(self, done: &str) -> Self {
        let code = if self.code == INTERRUPTED { INTERRUPTED } else { 1 };
        Self { code, is_unchanged: false, ..self }.after(done)
    }

    /// Whether it is unknown what was done.
    pub(crate) fn is_unknown(&self) -> bool {
        self.code == UNKNOWN
    }

    /// Whether another attempt may help.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.code == UNAVAILABLE
    }

    /// What is said of it.
    pub(crate) fn line(&self) -> String {
        inert(&without_passwords(&self.line))
    }

    fn unchanged(self) -> Self {
        Self { is_unchanged: true, ..self }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match &error {
            Error::Interrupted => {
                Self::not_found("the session has ended or moved meanwhile").unchanged()
            }
            Error::Unavailable(cause) => {
                let longer = ", or with a longer --timeout if the store is slow";
                Self::of_store(cause, longer).unchanged()
            }
            Error::OutcomeUnknown => Self::unknown(
                "the store did not say whether it was done: it was done once or not at all; look with \
                 `ingle sessions show` before you try again",
            ),
            Error::TooLarge(cause) => Self::refused(format!("{error}: {cause}")).unchanged(),
            Error::WrongType(_) | Error::InvalidValue(_) => {
                Self::refused(error.to_string()).unchanged()
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

impl From<store::Error> for Failed {
    fn from(error: store::Error) -> Self {
        Self::of_store(&error, "")
    }
}

impl Failed {
    /// By the kind of a store's failure: no time mends a right that is missing. What else helps where the
    /// store does not answer stands behind "try again later".
    fn of_store(error: &store::Error, or_else: &str) -> Self {
        let causes = causes(error);
        match error.kind() {
            store::ErrorKind::Refused => {
                Self::refused(format!("the store does not allow it until this is mended: {causes}"))
            }
            store::ErrorKind::TooLarge | store::ErrorKind::Unfit => Self::refused(causes),
            store::ErrorKind::Corrupt => Self::other(causes),
            _ => Self::unavailable(format!(
                "the store is not available: {causes}; try again later{or_else}"
            )),
        }
    }
}

/// An error and its causes, in one line.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Says what is to be said on stderr. One that is closed has no reader.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

pub(crate) fn code(done: Result<(), Failed>) -> ExitCode {
    let Err(Failed { code, mut line, is_unchanged }) = done else { return ExitCode::SUCCESS };
    if is_unchanged {
        line.push_str("; nothing was changed");
    }
    if !line.is_empty() {
        say(&format!("ingle: {}", inert(&without_passwords(&line))));
    }
    ExitCode::from(code)
}

/// How a store says what stands before the `@` of its URL. It is no secret.
const NO_SECRETS: [&str; 4] =
    ["USER[:PASSWORD]@", "[[USER]:PASSWORD@]", "USER:PASSWORD@", ":PASSWORD@"];

/// A line without what stands before the `@` of a URL, wherever it came from. A password may hold any
/// character, so this takes rather too much.
fn without_passwords(line: &str) -> String {
    let mut parts = line.split("://");
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        safe.push_str("://");
        match part.rsplit_once('@') {
            _ if NO_SECRETS.iter().any(|said| part.starts_with(said)) => safe.push_str(part),
            Some((_, host)) => safe.push_str(&format!("…@{host}")),
            None => safe.push_str(part),
        }
    }
    safe
}

/// What clap has to say: help is what was asked for, and anything else is one line.
pub(crate) fn of_arguments(mut error: clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let is_missing =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if is_missing.contains(&error.kind()) {
        let known = Options::named_by(std::env::args_os().skip(1));
        return code(Err(Failed::usage(format!("a command is missing; see {known} --help"))));
    }
    if let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg)
        && arg.contains(ASSIGNMENT)
        && let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
    {
        // It may be a secret.
        let path = value.split_once('=').map_or("", |(path, _)| path);
        let path = if path.contains("://") { "" } else { path };
        error.insert(ContextKind::InvalidValue, ContextValue::String(format!("{path}=…")));
    }
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
        ContextKind::InvalidSubcommand,
        ContextKind::PriorArg,
    ] {
        if let Some(ContextValue::String(text)) = error.get(kind) {
            let text = ContextValue::String(shortened(text, ARGUMENT_MAX));
            error.insert(kind, text);
        }
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

#[cfg(test)]
mod tests {
    use ingle::store::{Applied, ErrorKind};

    use super::*;

    #[test]
    fn what_a_store_refuses_is_no_outage() {
        for (kind, code) in [
            (ErrorKind::Refused, 4),
            (ErrorKind::Unavailable, UNAVAILABLE),
            (ErrorKind::Contended, UNAVAILABLE),
            (ErrorKind::Corrupt, 1),
        ] {
            let error = || store::Error::new("redis", kind, Applied::No).with_source("no right");
            let swept = Failed::from(error());
            assert_eq!((swept.code, swept.is_unavailable()), (code, code == UNAVAILABLE));
            let told = Failed::from(Error::Unavailable(error().into()));
            assert_eq!((told.code, told.is_unchanged), (code, true));
            assert!(swept.line.contains("no right") && told.line.contains("no right"), "{told:?}");
        }
    }

    #[test]
    fn what_was_done_in_part_is_no_nothing() {
        let none = Failed::unavailable("gone").unchanged().after("0 of 2 were ended");
        assert_eq!((none.code, none.is_unchanged), (6, true));
        let some = Failed::unavailable("gone").unchanged().partly("1 of 2 were ended");
        assert_eq!((some.code, some.is_unchanged), (1, false));
        assert_eq!(some.line, "1 of 2 were ended; gone");
        assert_eq!(Failed::interrupted("stop").partly("1 of 2 were ended").code, INTERRUPTED);
    }

    #[test]
    fn what_was_known_is_told_also_where_nobody_reads_on() {
        let known = |done| Failed::other("1 cannot be read").or_earlier(done).line();
        assert_eq!(known(Ok(())), "1 cannot be read");
        assert_eq!(known(Err(Failed::unread())), "1 cannot be read");
        assert_eq!(known(Err(Failed::unavailable("gone"))), "gone");
    }

    #[test]
    fn a_line_has_no_password_of_a_url() {
        for (line, safe) in [
            ("", ""),
            ("no URL, but eve@example.com", "no URL, but eve@example.com"),
            ("'redis://host:1/0' is none", "'redis://host:1/0' is none"),
            ("'redis://:s3cret@host' is none", "'redis://…@host' is none"),
            ("a://USER[:PASSWORD]@HOST, `@` is `%40`", "a://USER[:PASSWORD]@HOST, `@` is `%40`"),
            (
                "redis://[[USER]:PASSWORD@]HOST; x://u:p@h",
                "redis://[[USER]:PASSWORD@]HOST; x://…@h",
            ),
            ("redis://u:p/a@s ' s@host: no; redis://u:p@h", "redis://…@host: no; redis://…@h"),
        ] {
            assert_eq!(without_passwords(line), safe);
        }
    }
}
