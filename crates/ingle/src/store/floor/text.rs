//! Causes of errors, and their texts, for messages of one line.

use std::{error::Error, io, path::Path};

/// How many characters of a cause are told.
const CHARS_MAX: usize = 300;

/// A text on one line: what breaks lines or moves a cursor is a blank.
pub(in crate::store) fn on_one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The same, and what is very long is cut.
pub(in crate::store) fn one_line(text: &str) -> String {
    let line = on_one_line(text);
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

/// The cause of this type, if there is one; the error itself is the first.
pub(in crate::store) fn cause<'a, E: Error + 'static>(
    error: &'a (dyn Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An `io::Error` names what it is made of only so.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A path on one line, on which one sees what breaks lines or moves a cursor: it is part of the name, and
/// seldom meant to be.
pub(in crate::store) fn shown(path: &Path) -> String {
    let mut line = String::new();
    for c in path.to_string_lossy().chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// A text as one word of a command for a shell.
pub(in crate::store) fn shell_word(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Whether a name is one that somebody meant: without control characters, and without blanks or line ends
/// around it, as the content of a file has them.
pub(in crate::store) fn is_tidy(name: &str) -> bool {
    name.trim() == name && !name.contains(char::is_control)
}

/// The one of these words that is written nearly like this one.
pub(in crate::store) fn similar<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', '_'], "");
    let word = plain(word);
    // A change for each third of a word: `ids` is no misspelt `db`.
    let likely = known.iter().filter_map(|known| {
        let far = strsim::osa_distance(&word, &plain(known));
        (3 * far <= known.len()).then_some((far, *known))
    });
    likely.min_by_key(|(far, _)| *far).map(|(_, known)| known)
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

    #[test]
    fn a_path_is_shown_as_it_is_named() {
        assert_eq!(shown(Path::new("/a  b/\u{e9}\n")), "/a  b/\u{e9}\\n");
        assert!(is_tidy("/a b") && !is_tidy("/a\n") && !is_tidy(" a") && !is_tidy("a\0b"));
    }

    #[test]
    fn a_word_that_is_misspelt_is_found_and_no_other() {
        let known = ["prefix", "db", "sslmode", "sslrootcert", "sslcert"];
        for (word, expected) in [
            ("prefix", Some("prefix")),
            ("perfix", Some("prefix")),
            ("SSL_Mode", Some("sslmode")),
            ("sslrootcrt", Some("sslrootcert")),
            ("ids", None),
            ("s3cret", None),
            ("", None),
        ] {
            assert_eq!(similar(word, &known), expected, "{word}");
        }
    }
}
