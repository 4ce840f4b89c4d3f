//! What several repeats came to: the median, and how far they are apart.

/// The median, the least and the most of some repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// None without a repeat.
    pub(crate) fn of(repeats: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = repeats.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        // Of an even number the lower one: a value that was measured.
        let median = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median, least, most })
    }

    /// `2.5 (1.0–3.1)`, or one number if the others look the same.
    pub(crate) fn shown(&self, show: fn(f64) -> String) -> String {
        let [median, least, most] = [self.median, self.least, self.most].map(show);
        if least == most { median } else { format!("{median} ({least}–{most})") }
    }
}

/// A number of things.
pub(crate) fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// A large number of things, such as `10,000`.
pub(crate) fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A part of something.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// A part of something, where a tenth can be told from the next.
pub(crate) fn tenth(value: f64) -> String {
    format!("{value:.1}")
}

/// Milliseconds are told only where they matter.
pub(crate) fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_repeats() {
        let spread = |repeats: &[f64]| Spread::of(repeats.iter().copied());
        assert_eq!(spread(&[]), None);
        let three = Spread { median: 2.0, least: 1.0, most: 9.0 };
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(three));
        assert_eq!(spread(&[9.0, 1.0, 2.0, 3.0]), Some(three));
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_spread_is_shown_where_it_can_be_seen() {
        let spread = Spread { median: 2.04, least: 2.01, most: 2.4 };
        assert_eq!(spread.shown(ratio), "2.04 (2.01–2.40)");
        assert_eq!(spread.shown(whole), "2");
        let from_little = Spread { median: 0.04, least: 0.0042, most: 9.87 };
        assert_eq!(from_little.shown(seconds), "0.040 (0.004–9.9)");
    }
}
