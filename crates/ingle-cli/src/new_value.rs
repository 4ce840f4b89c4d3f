//! A place and the value that it is to have, which stands behind the `=` or is on stdin.

use std::io::{self, IsTerminal as _, Read as _};

use ingle_operator::{Path, of_text};
use serde_json::Value;

use crate::exit::{Failed, say};

/// What stands for the value on stdin. A command line is in the shell's history, and every user of the machine
/// sees it.
const ON_STDIN: &str = "-";

/// How much of stdin is read, in MiB. No session holds so much.
const STDIN_MIB_MAX: usize = 16;
const STDIN_BYTES_MAX: usize = STDIN_MIB_MAX * 1024 * 1024;

/// The value that a place is to have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NewValue {
    Given(Value),
    OnStdin,
}

impl NewValue {
    /// The value itself. Stdin is read to its end, so only one value can be there.
    pub(crate) fn read(self) -> Result<Value, Failed> {
        match self {
            Self::Given(value) => Ok(value),
            Self::OnStdin => of_stdin(&on_stdin()?),
        }
    }
}

/// An argument such as `cart.items[0].n=int:3`, or `cart=-` for what is on stdin.
pub(crate) fn assignment(text: &str) -> Result<(Path, NewValue), String> {
    let (path, text) = ingle_operator::assignment(text).map_err(|error| error.to_string())?;
    let value = match text {
        ON_STDIN => NewValue::OnStdin,
        text => NewValue::Given(of_text(text).map_err(|error| error.to_string())?),
    };
    Ok((path, value))
}

/// What is on stdin, up to one byte too many.
fn on_stdin() -> Result<Vec<u8>, Failed> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        say("ingle: type the value; Ctrl-D on a line of its own ends it");
    }
    let mut bytes = Vec::new();
    let read = stdin.take(STDIN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failed::other(format!("could not read the value on stdin: {error}")))?;
    Ok(bytes)
}

/// The value in what was on stdin. One line end behind it is not the value's: editors and `echo` put it there.
fn of_stdin(bytes: &[u8]) -> Result<Value, Failed> {
    // What was to write it may have failed.
    if bytes.is_empty() {
        return Err(Failed::usage("there is nothing on stdin; for an empty text, write PATH="));
    }
    if bytes.len() > STDIN_BYTES_MAX {
        return Err(Failed::refused(format!(
            "there are more than {STDIN_MIB_MAX} MiB on stdin; nothing was changed"
        )));
    }
    let text = str::from_utf8(bytes);
    let text =
        text.map_err(|error| Failed::usage(format!("what is on stdin is no text: {error}")))?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let value = of_text(line.unwrap_or(text));
    value.map_err(|error| Failed::usage(format!("the value on stdin: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dash_stands_for_stdin_and_any_other_value_for_itself() {
        let value = |text| assignment(text).unwrap().1;
        assert_eq!(value("a=-"), NewValue::OnStdin);
        for text in ["a=text:-", "a=\"-\"", "a=json:\"-\""] {
            assert_eq!(value(text), NewValue::Given(json!("-")), "{text}");
        }
        assert_eq!(value("a=--"), NewValue::Given(json!("--")));
        assert_eq!(value("a=-1"), NewValue::Given(json!(-1)));
        assert!(assignment("a=int:-").unwrap_err().contains("`int:` takes"));
    }

    #[test]
    fn stdin_holds_a_value_and_perhaps_a_line_end() {
        for (text, value) in [
            ("Hola\n", json!("Hola")),
            ("Hola\r\n", json!("Hola")),
            ("Hola", json!("Hola")),
            ("a\n\nb\n\n", json!("a\n\nb\n")),
            ("\n", json!("")),
            ("-\n", json!("-")),
            ("int:3\n", json!(3)),
            ("{\n  \"a\": [1]\n}\n", json!({ "a": [1] })),
        ] {
            assert_eq!(of_stdin(text.as_bytes()).unwrap(), value, "{text:?}");
        }
        let too_long = vec![b'1'; STDIN_BYTES_MAX + 1];
        for (bytes, says) in [
            (&b""[..], "nothing on stdin"),
            (b"a\xff", "no text"),
            (b"int:s3cret\n", "`int:` takes"),
            (&too_long, "more than 16 MiB"),
        ] {
            let line = of_stdin(bytes).unwrap_err().line();
            assert!(line.contains(says) && !line.contains("s3cret"), "{line}");
        }
    }
}
