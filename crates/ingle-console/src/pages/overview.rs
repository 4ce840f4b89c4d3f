//! The store, whether it is well, and about how many sessions there are.

use std::{collections::HashMap, time::Duration};

use askama::Template;
use axum::{http::StatusCode, response::Response};
use ingle::{
    ListOptions, StoredSession,
    store::{Marks, Renew, Shared},
};
use ingle_operator::size;
use tokio::time::Instant;

use crate::{
    context::{Context, Top},
    problem::Problem,
    view::{Line, UserLink, counted, line, page, user_link},
};

/// How many sessions are looked at for the figures, and for how long.
const LOOKED_AT_MAX: usize = 10_000;
const LOOK_TIME: Duration = Duration::from_secs(1);

const READ_AT_ONCE: usize = 500;

/// How many users and sessions are named.
const NAMED_MAX: usize = 5;

/// The width of the longest bar, in units of the drawing.
const BAR_MAX: usize = 100;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    top: Top,
    store: &'static str,
    server: String,
    durability: String,
    notes: Vec<&'static str>,
    is_well: bool,
    figures: Option<Figures>,
}

/// What a bounded look at the sessions tells.
struct Figures {
    /// `1,234`, or `more than 10,000`.
    count: String,
    is_all: bool,
    /// How many more cannot be read.
    damaged: usize,
    is_empty: bool,
    kinds: [Bar; 2],
    ages: Vec<Bar>,
    users: Vec<(UserLink, Bar)>,
    newest: Vec<Line>,
    mean_size: String,
    largest: String,
}

/// A number and how long its bar is.
struct Bar {
    name: &'static str,
    n: usize,
    width: usize,
}

impl Bar {
    fn of(name: &'static str, n: usize, max: usize) -> Self {
        Self { name, n, width: (n * BAR_MAX).checked_div(max).unwrap_or(0) }
    }
}

pub(crate) async fn get(context: Context) -> Result<Response, Problem> {
    let info = context.sessions.store_info();
    let is_well = context.sessions.ping_store().await.is_ok();
    let lists = info.capabilities.lists_by_user;
    let mut notes = Vec::new();
    if !lists {
        notes.push("It cannot list its sessions, so the console can show none of them.");
    }
    if info.capabilities.renew == Renew::TwoSteps {
        notes.push("A renewal takes two steps, and a crash between them ends the session.");
    }
    if info.capabilities.marks == Marks::MayBeForgotten {
        notes.push("It may forget that a session has just ended or moved.");
    }
    if info.capabilities.shared == Shared::Process {
        notes.push("The sessions are those of one process.");
    }
    // A store that does not answer is told of, and this page has more to say.
    let figures = if lists && is_well { look(&context).await.ok() } else { None };
    let shown = Overview {
        top: context.top("overview"),
        store: info.name,
        server: info
            .server
            .map(|server| ingle_operator::shortened(&server, 120))
            .unwrap_or_default(),
        durability: info.durability.into_owned(),
        notes,
        is_well: is_well && (figures.is_some() || !lists),
        figures,
    };
    Ok(page(StatusCode::OK, &shown))
}

async fn look(context: &Context) -> Result<Figures, ingle::Error> {
    let (began, options) = (Instant::now(), ListOptions::new().limit(READ_AT_ONCE));
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let found = context.sessions.list(&options, after.as_ref()).await?;
        tally.damaged += found.damaged.len();
        for session in found.sessions {
            tally.add(session, context);
        }
        after = found.next;
        if after.is_none() || tally.n >= LOOKED_AT_MAX || began.elapsed() >= LOOK_TIME {
            break;
        }
    }
    Ok(tally.figures(context, after.is_none()))
}

/// Ages are told by the last use.
const AGES: [(&str, u64); 5] = [
    ("the last minute", 60),
    ("the last hour", 3600),
    ("the last day", 86_400),
    ("the last week", 7 * 86_400),
    ("before", u64::MAX),
];

#[derive(Default)]
struct Tally {
    n: usize,
    damaged: usize,
    logged_in: usize,
    ages: [usize; AGES.len()],
    users: HashMap<String, usize>,
    newest: Vec<StoredSession>,
    bytes: usize,
    largest: usize,
}

impl Tally {
    fn add(&mut self, session: StoredSession, context: &Context) {
        let info = session.info();
        self.n += 1;
        self.bytes += info.data_bytes;
        self.largest = self.largest.max(info.data_bytes);
        if let Some(user) = &info.user {
            self.logged_in += 1;
            *self.users.entry(user.name.clone()).or_default() += 1;
        }
        let age = context.sessions.now().since(info.last_seen).as_secs();
        let of_age = AGES.iter().position(|(_, max)| age < *max);
        if let Some(count) = of_age.and_then(|at| self.ages.get_mut(at)) {
            *count += 1;
        }
        let at = self.newest.partition_point(|other| other.info().last_seen >= info.last_seen);
        if at < NAMED_MAX {
            self.newest.insert(at, session);
            self.newest.truncate(NAMED_MAX);
        }
    }

    fn figures(self, context: &Context, is_all: bool) -> Figures {
        let mut users: Vec<_> = self.users.into_iter().collect();
        users.sort_by(|(name, n), (other, m)| m.cmp(n).then_with(|| name.cmp(other)));
        users.truncate(NAMED_MAX);
        let most = users.first().map_or(0, |(_, n)| *n);
        let oldest = self.ages.iter().copied().max().unwrap_or(0);
        let count = counted_in_groups(self.n);
        Figures {
            count: if is_all { count } else { format!("more than {count}") },
            is_all,
            damaged: self.damaged,
            is_empty: self.n == 0,
            kinds: [
                Bar::of("logged in", self.logged_in, self.n),
                Bar::of("anonymous", self.n - self.logged_in, self.n),
            ],
            ages: AGES
                .iter()
                .zip(self.ages)
                .map(|((name, _), n)| Bar::of(name, n, oldest))
                .collect(),
            users: users
                .into_iter()
                .map(|(name, n)| (user_link(context, &name), Bar::of("", n, most)))
                .collect(),
            newest: self.newest.iter().map(|session| line(context, session)).collect(),
            mean_size: size(self.bytes.checked_div(self.n).unwrap_or(0)),
            largest: size(self.largest),
        }
    }
}

/// `12,345 sessions`
fn counted_in_groups(n: usize) -> String {
    let digits = counted(n, "session");
    let (number, word) = digits.split_once(' ').unwrap_or((&digits, ""));
    let mut grouped = String::new();
    for (at, digit) in number.chars().enumerate() {
        if at > 0 && (number.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_groups() {
        for (n, text) in [
            (0, "0 sessions"),
            (1, "1 session"),
            (999, "999 sessions"),
            (1000, "1,000 sessions"),
            (1_234_567, "1,234,567 sessions"),
        ] {
            assert_eq!(counted_in_groups(n), text);
        }
    }
}
