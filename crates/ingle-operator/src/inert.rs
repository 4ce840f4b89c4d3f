//! Texts that others wrote, made harmless for whoever looks at them: no control, no change of direction,
//! nothing invisible, no flood of marks.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many marks may stand on one letter. Some scripts need four.
const MARKS_MAX: usize = 4;

/// The text with escapes in the place of all that does more than stand there, on one line.
#[must_use]
pub fn inert(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        let is_mark = c.width() == Some(0) && !is_harmful(c);
        marks = if is_mark { marks + 1 } else { 0 };
        if is_harmful(c) || marks > MARKS_MAX || (is_mark && shown.is_empty()) {
            match c {
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                c => shown.extend(c.escape_unicode()),
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// JSON that means the same, with JSON's escapes in the place of all that does more than stand there. Line
/// ends between its values stay.
#[must_use]
pub fn inert_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_harmful(c) {
            let mut units = [0; 2];
            let units = c.encode_utf16(&mut units).iter();
            units.for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character does something to those around it, or stands there unseen.
fn is_harmful(c: char) -> bool {
    let is_format = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' | '\u{1d173}'..='\u{1d17a}');
    let is_private = matches!(c,
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}');
    c.is_control() || is_format || is_private
}

/// The inert text in at most so many columns, with `…` at its end where it was cut.
#[must_use]
pub fn shortened(text: &str, columns: usize) -> String {
    let text = inert(text);
    if text.width() <= columns {
        return text;
    }
    let mut shown = String::new();
    let mut width = 1;
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width > columns {
            break;
        }
        shown.push(c);
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_more_than_stand_there_is_escaped() {
        for (text, shown) in [
            ("plain é 漢字 👍", "plain é 漢字 👍"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("a\u{2066}b\u{200b}c\u{feff}", "a\\u{2066}b\\u{200b}c\\u{feff}"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("e\u{301}", "e\u{301}"),
            ("\u{301}", "\\u{301}"),
        ] {
            assert_eq!(inert(text), shown);
        }
    }

    #[test]
    fn json_means_the_same_and_only_stands_there() {
        arbtest::arbtest(|u| {
            let text: String = u.arbitrary()?;
            let text =
                format!("{text}\u{7f}\u{9b}31m\u{61c}\u{200f}\u{202e}\u{2028}\u{2069}\u{e0041}");
            let value = serde_json::json!({ &text: [text] });
            let json = inert_json(&value.to_string());
            assert!(!json.contains(is_harmful), "{json}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
            Ok(())
        });
    }

    #[test]
    fn no_letter_has_a_flood_of_marks() {
        let flood = format!("a{}b", "\u{301}".repeat(10_000));
        let shown = inert(&flood);
        assert_eq!(shown.chars().filter(|c| *c == '\u{301}').count(), MARKS_MAX);
        assert!(shown.ends_with('b'));
    }

    #[test]
    fn a_text_is_cut_to_its_columns() {
        for (text, columns, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("漢字漢", 5, "漢字…"),
            ("漢字漢", 4, "漢…"),
            ("\u{1b}x", 20, "\\u{1b}x"),
            ("abc", 1, "…"),
        ] {
            assert_eq!(shortened(text, columns), shown, "{text} {columns}");
            assert!(shortened(text, columns).width() <= columns);
        }
    }

    #[test]
    fn any_text_becomes_one_line_without_controls() {
        arbtest::arbtest(|u| {
            let text: String = u.arbitrary()?;
            assert!(!inert(&text).contains(is_harmful));
            assert!(shortened(&text, 10).width() <= 10);
            Ok(())
        });
    }
}
