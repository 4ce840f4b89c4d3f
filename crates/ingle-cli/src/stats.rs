//! `ingle stats`: how many sessions there are, how old and how large, and whose.

use std::collections::HashMap;

use ingle::StoredSession;
use ingle_operator::{grouped, inert, size};
use serde_json::{Value, json};

use crate::{
    exit::Failed,
    options::{PlaceOptions, Selection},
    out::{Format, Out},
    select::Pages,
    stop::Stop,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Ages, in seconds, each up to the next.
const AGES: [(u64, &str); 6] = [
    (0, "less than an hour"),
    (HOUR, "1 to 12 hours"),
    (12 * HOUR, "12 to 24 hours"),
    (DAY, "1 to 7 days"),
    (7 * DAY, "7 to 30 days"),
    (30 * DAY, "30 days or more"),
];

/// Sizes, in bytes.
const SIZES: [(u64, &str); 5] = [
    (0, "less than 1 KiB"),
    (1 << 10, "1 to 4 KiB"),
    (4 << 10, "4 to 16 KiB"),
    (16 << 10, "16 to 64 KiB"),
    (64 << 10, "64 KiB or more"),
];

/// How many users are named, and told apart: beyond that, whose sessions are counted is an estimate.
const USERS_SHOWN: usize = 5;
const USERS_MAX: usize = 100_000;

const BAR: usize = 20;

#[derive(Default)]
struct Stats {
    live: usize,
    expired: usize,
    /// Those that cannot be read, live or not.
    damaged: usize,
    anonymous: usize,
    bytes: usize,
    ages: [usize; AGES.len()],
    sizes: [usize; SIZES.len()],
    users: HashMap<String, usize>,
    /// Sessions of users that were too many to tell apart.
    of_others: usize,
}

pub(crate) async fn run(place: &PlaceOptions, out: &mut Out) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    let selection = Selection::default();
    let mut pages = Pages::new(&sessions, &selection, true);
    let mut stats = Stats::default();
    while let Some(page) = pages.next().await? {
        stop.check("the count was interrupted")?;
        for session in &page {
            let age = sessions.now().since(session.info().began).as_secs();
            stats.count(session, age);
        }
    }
    stats.damaged = pages.n_damaged();
    let name = sessions.store_info().name;
    let printed = match out.format {
        Format::Text => stats.print(out, name),
        _ => out.document(&stats.json(name)),
    };
    pages.end(printed.and_then(|()| out.flush()), "their age, size and user are not counted")
}

impl Stats {
    fn count(&mut self, session: &StoredSession, age: u64) {
        let info = session.info();
        if info.has_expired {
            self.expired += 1;
            return;
        }
        self.live += 1;
        self.bytes += info.data_bytes;
        add(&mut self.ages, &AGES, age);
        add(&mut self.sizes, &SIZES, info.data_bytes as u64);
        let Some(user) = &info.user else {
            self.anonymous += 1;
            return;
        };
        let is_known = self.users.contains_key(&user.name);
        if is_known || self.users.len() < USERS_MAX {
            *self.users.entry(user.name.clone()).or_default() += 1;
        } else {
            self.of_others += 1;
        }
    }

    /// Those with the most sessions.
    fn top(&self) -> Vec<(&String, &usize)> {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_by(|(name, n), (other, m)| m.cmp(n).then_with(|| name.cmp(other)));
        users.truncate(USERS_SHOWN);
        users
    }

    fn print(&self, out: &mut Out, store: &str) -> Result<(), Failed> {
        let about = if self.of_others > 0 { "about " } else { "" };
        out.line(&format!("store      {store}"))?;
        out.line(&format!("live       {}", grouped(self.live as u64)))?;
        out.line(&format!("expired    {}, not yet swept", grouped(self.expired as u64)))?;
        if self.damaged > 0 {
            out.line(&format!("damaged    {}, live or not", grouped(self.damaged as u64)))?;
        }
        out.line(&format!("anonymous  {}", grouped(self.anonymous as u64)))?;
        out.line(&format!("users      {about}{}", grouped(self.users.len() as u64)))?;
        let mean = self.bytes.checked_div(self.live).unwrap_or(0);
        out.line(&format!("data       {}, {} each on average", size(self.bytes), size(mean)))?;
        for (title, names, counts) in [
            ("age", AGES.map(|(_, name)| name).as_slice(), self.ages.as_slice()),
            ("size", SIZES.map(|(_, name)| name).as_slice(), self.sizes.as_slice()),
        ] {
            out.line("")?;
            out.title(title)?;
            for (name, n) in names.iter().zip(counts) {
                out.line(bar(*n, self.live, name).trim_end())?;
            }
        }
        if !self.users.is_empty() {
            out.line("")?;
            out.title("users with the most sessions")?;
            for (name, n) in self.top() {
                out.line(bar(*n, self.live, &inert(name)).trim_end())?;
            }
        }
        Ok(())
    }

    fn json(&self, store: &str) -> Value {
        let parts = |bounds: &[(u64, &str)], counts: &[usize]| -> Vec<Value> {
            let parts = bounds.iter().zip(counts);
            parts.map(|((from, _), n)| json!({ "from": from, "sessions": n })).collect()
        };
        let top: Vec<Value> =
            self.top().iter().map(|(user, n)| json!({ "user": user, "sessions": n })).collect();
        json!({
            "store": store,
            "live": self.live,
            "expired": self.expired,
            "damaged": self.damaged,
            "anonymous": self.anonymous,
            "users": self.users.len(),
            "users_is_estimate": self.of_others > 0,
            "data_bytes": self.bytes,
            "age_seconds": parts(&AGES, &self.ages),
            "size_bytes": parts(&SIZES, &self.sizes),
            "top_users": top,
        })
    }
}

/// Counts a value in the last part whose beginning it reaches.
fn add(counts: &mut [usize], bounds: &[(u64, &str)], value: u64) {
    let part = bounds.iter().rposition(|(from, _)| value >= *from);
    if let Some(count) = part.and_then(|part| counts.get_mut(part)) {
        *count += 1;
    }
}

/// A number as a bar beside it.
fn bar(n: usize, of: usize, name: &str) -> String {
    let filled = (n * BAR).checked_div(of).unwrap_or(0).max(usize::from(n > 0)).min(BAR);
    let (full, empty) = ("█".repeat(filled), "·".repeat(BAR - filled));
    format!("  {full}{empty} {:>7}  {name}", grouped(n as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_part_that_it_is_in() {
        let mut counts = [0; AGES.len()];
        for age in [0, HOUR - 1, HOUR, 13 * HOUR, DAY, 8 * DAY, 400 * DAY] {
            add(&mut counts, &AGES, age);
        }
        assert_eq!(counts, [2, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_bar_shows_that_there_is_something() {
        assert!(bar(0, 10, "a").starts_with("  ····················"));
        assert!(bar(1, 1000, "a").starts_with("  █···················"));
        assert!(bar(10, 10, "a").starts_with("  ████████████████████"));
        assert!(bar(0, 0, "a").contains("····"));
    }
}
