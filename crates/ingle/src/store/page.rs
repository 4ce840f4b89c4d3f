//! What the page of a store says of its pools, waits and retries, compared with the code.

use std::time::Duration;

/// The heading above the table.
const HEADING: &str = "### Pools, waits and retries";

/// The rows of every page: what the layer does beside any store.
pub(crate) const OF_THE_LAYER: [&str; 4] = [
    "calls under way, in one process",
    "changes of one session that wait, in one process",
    "calls that fail one after the other",
    "calls that are made again",
];

/// What each row names, and its bound.
fn rows(page: &str) -> Vec<(&str, &str)> {
    let (_, rest) = page.split_once(HEADING).expect("the page has the table");
    let table = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
    });
    cells.collect()
}

/// Compares a store's own rows, and that there are no others but the layer's.
pub(crate) fn check(page: &str, own: &[(&str, String)]) {
    let told = rows(page);
    let told = told.iter().filter(|(what, _)| !OF_THE_LAYER.contains(what));
    let told: Vec<(&str, String)> =
        told.map(|(what, bound)| (*what, (*bound).to_owned())).collect();
    assert_eq!(told, own);
}

/// Compares the rows of the layer.
pub(crate) fn check_layer(page: &str, bounds: [String; OF_THE_LAYER.len()]) {
    let told = rows(page);
    let told = told.iter().filter(|(what, _)| OF_THE_LAYER.contains(what));
    let told: Vec<(&str, String)> =
        told.map(|(what, bound)| (*what, (*bound).to_owned())).collect();
    assert_eq!(told, OF_THE_LAYER.into_iter().zip(bounds).collect::<Vec<_>>());
}

/// A time as a page says it.
pub(crate) fn time(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (seconds, 0) => format!("{seconds} s"),
        _ => format!("{} ms", time.as_millis()),
    }
}

mod tests {
    use super::*;

    const PAGE: &str = "# A store\n\n### Pools, waits and retries\n\n| what | bound |\n|---|---|\n\
                        | connections | 8 |\n| calls that are made again | 10 % |\n| an answer | 500 ms |\n";

    #[test]
    fn the_rows_of_a_page_are_compared() {
        let own = |connections: &str| {
            let answer = time(Duration::from_millis(500));
            [("connections", connections.to_owned()), ("an answer", answer)]
        };
        check(PAGE, &own("8"));
        assert!(std::panic::catch_unwind(|| check(PAGE, &own("9"))).is_err());
        assert_eq!(time(Duration::from_secs(30)), "30 s");
    }
}
