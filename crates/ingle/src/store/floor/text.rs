//! Texts of causes, for messages of one line.

use std::error::Error;

/// How many characters of a cause are told.
const CHARS_MAX: usize = 300;

/// A text on one line: what breaks lines or moves a cursor is a blank, and what is very long is cut.
pub(in crate::store) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// The first cause of an error, on one line: those above it say less.
pub(in crate::store) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    one_line(&root.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_line_of_bounded_length() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[2J  c\n"), "a b [2J c");
        assert_eq!(one_line(&"é".repeat(400)).chars().count(), CHARS_MAX + 1);
    }

    #[test]
    fn the_first_cause_is_told() {
        let io = std::io::Error::other("no route");
        let outer = std::io::Error::other(io);
        assert_eq!(root_cause(&outer), "no route");
    }
}
