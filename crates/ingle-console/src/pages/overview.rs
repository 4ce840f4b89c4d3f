//! The store, whether it is well, about how many sessions there are, and what this process does.

use std::{collections::HashMap, time::Duration};

use askama::Template;
use axum::{http::StatusCode, response::Response};
use ingle::{
    ListOptions, StoredSession,
    store::{Marks, Renew, Shared},
};
use ingle_operator::{counted, grouped, shortened, size};
use tokio::time::Instant;

use super::charts::{Activities, Chart, MINUTES, row_name};
use crate::{
    context::{Context, Top, When},
    problem::Problem,
    view::{Line, UserLink, line, page, user_link},
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
    process: Option<Process>,
}

/// What this process does, where it is the app's.
struct Process {
    name: String,
    since: When,
    activities: Activities,
}

/// What a bounded look at the sessions tells.
struct Figures {
    /// `1,234`, or `more than 10,000`.
    count: String,
    is_all: bool,
    /// How many more cannot be read.
    damaged: Option<String>,
    /// How many were last seen after now, which the idle time of the app makes of another one.
    ahead: Option<String>,
    is_empty: bool,
    kinds: [Bar; 2],
    last_seen: Vec<Bar>,
    began: Vec<Bar>,
    sizes: Vec<Bar>,
    begun: Chart,
    users: Vec<(UserLink, Bar)>,
    newest: Vec<Line>,
    mean_size: String,
    largest: String,
}

/// The clocks of two machines may differ by so much.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);

/// A number and how long its bar is.
struct Bar {
    name: &'static str,
    n: String,
    width: usize,
}

impl Bar {
    fn of(name: &'static str, n: usize, max: usize) -> Self {
        Self { name, n: grouped(n as u64), width: (n * BAR_MAX).checked_div(max).unwrap_or(0) }
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
        server: info.server.map(|server| shortened(&server, 120)).unwrap_or_default(),
        durability: info.durability.into_owned(),
        notes,
        is_well: is_well && (figures.is_some() || !lists),
        figures,
        process: context.console.0.is_in_app.then(|| process(&context)),
    };
    Ok(page(StatusCode::OK, &shown))
}

async fn look(context: &Context) -> Result<Figures, ingle::Error> {
    let (began, options) = (Instant::now(), ListOptions::new().limit(READ_AT_ONCE));
    let mut tally = Tally::new();
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

fn process(context: &Context) -> Process {
    let activity = context.sessions.activity();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    let name = match (host.trim(), std::process::id()) {
        ("", process) => format!("Process {process}"),
        (host, process) => format!("Process {process} on {}", shortened(host, 60)),
    };
    Process { name, since: context.when(activity.since), activities: Activities::of(&activity) }
}

/// The bounds of the bars of times, in seconds, and of sizes, in bytes. Each bar ends before the next.
type Bounds<const N: usize> = [(&'static str, u64); N];

const LAST_SEEN: Bounds<5> = ages(("within a minute", 60), "1 to 60 minutes ago");
const BEGAN: Bounds<5> = ages(("within 10 minutes", 600), "10 to 60 minutes ago");

const fn ages(first: (&'static str, u64), within_the_hour: &'static str) -> Bounds<5> {
    [
        first,
        (within_the_hour, 3600),
        ("1 to 24 hours ago", 86_400),
        ("1 to 7 days ago", 7 * 86_400),
        ("before", u64::MAX),
    ]
}

const SIZES: Bounds<5> = [
    ("below 1 KiB", 1024),
    ("1 to 4 KiB", 4 * 1024),
    ("4 to 16 KiB", 16 * 1024),
    ("16 to 64 KiB", 64 * 1024),
    ("64 KiB and more", u64::MAX),
];

/// How many there are within each of some bounds.
struct Counts<const N: usize> {
    bounds: Bounds<N>,
    counts: [usize; N],
}

impl<const N: usize> Counts<N> {
    fn new(bounds: Bounds<N>) -> Self {
        Self { bounds, counts: [0; N] }
    }

    fn add(&mut self, n: u64) {
        let at = self.bounds.iter().position(|(_, end)| n < *end);
        if let Some(count) = at.and_then(|at| self.counts.get_mut(at)) {
            *count += 1;
        }
    }

    fn bars(&self) -> Vec<Bar> {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        let bars = self.bounds.iter().zip(self.counts);
        bars.map(|((name, _), n)| Bar::of(name, n, most)).collect()
    }
}

/// A number to be told of, which none is not.
fn some(n: usize) -> Option<String> {
    (n > 0).then(|| grouped(n as u64))
}

struct Tally {
    n: usize,
    damaged: usize,
    /// Those that were last seen after now.
    ahead: usize,
    logged_in: usize,
    last_seen: Counts<5>,
    began: Counts<5>,
    sizes: Counts<5>,
    /// Those that began in the last hour, by minute, the oldest first.
    begun: [u64; MINUTES],
    users: HashMap<String, usize>,
    newest: Vec<StoredSession>,
    bytes: usize,
    largest: usize,
}

impl Tally {
    fn new() -> Self {
        Self {
            n: 0,
            damaged: 0,
            ahead: 0,
            logged_in: 0,
            last_seen: Counts::new(LAST_SEEN),
            began: Counts::new(BEGAN),
            sizes: Counts::new(SIZES),
            begun: [0; MINUTES],
            users: HashMap::new(),
            newest: Vec::new(),
            bytes: 0,
            largest: 0,
        }
    }

    fn add(&mut self, session: StoredSession, context: &Context) {
        let (info, now) = (session.info(), context.sessions.now());
        self.n += 1;
        self.bytes += info.data_bytes;
        self.largest = self.largest.max(info.data_bytes);
        if let Some(user) = &info.user {
            self.logged_in += 1;
            *self.users.entry(user.name.clone()).or_default() += 1;
        }
        let age = now.since(info.began).as_secs();
        self.ahead += usize::from(info.last_seen.since(now) > CLOCKS_APART_MAX);
        self.last_seen.add(now.since(info.last_seen).as_secs());
        self.began.add(age);
        self.sizes.add(info.data_bytes as u64);
        let minute = usize::try_from(age / 60).ok().and_then(|ago| MINUTES.checked_sub(ago + 1));
        if let Some(count) = minute.and_then(|minute| self.begun.get_mut(minute)) {
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
        let count = counted(self.n, "session");
        Figures {
            count: if is_all { count } else { format!("more than {count}") },
            is_all,
            damaged: some(self.damaged),
            ahead: some(self.ahead),
            is_empty: self.n == 0,
            kinds: [
                Bar::of("logged in", self.logged_in, self.n),
                Bar::of("anonymous", self.n - self.logged_in, self.n),
            ],
            last_seen: self.last_seen.bars(),
            began: self.began.bars(),
            sizes: self.sizes.bars(),
            begun: Chart::new("Begun", "", &self.begun),
            users: users
                .into_iter()
                .map(|(name, n)| (user_link(context, &name), Bar::of("", n, most)))
                .collect(),
            newest: self.newest.iter().map(|session| line(context, session, &[])).collect(),
            mean_size: size(self.bytes.checked_div(self.n).unwrap_or(0)),
            largest: size(self.largest),
        }
    }
}
