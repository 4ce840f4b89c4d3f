//! Greetings with ever more of something: connections, sessions, data, instances.
//!
//! On the SQLite store and on Redis. Everything is measured in turn, several times over, and no two
//! rows of a table are measured far from each other, but for those that need the sessions of a later
//! one. What was acknowledged is checked after each row.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Server,
    load::{self, Chance, Dealt, Length, One, Picked, Plan, Tally, Visitor},
};

use crate::{
    contestant::Contestant,
    document,
    facts::Facts,
    machine,
    options::Options,
    paper,
    place::{Place, Running},
    slice::Slice,
    spread::thousands,
    stores::{self, CONNECTIONS, WARM_UP},
    usage::Tree,
};

mod report;
mod sessions;

use sessions::Sessions;

/// The part of all sessions after which memory is looked at for the first time.
const EARLY: usize = 5;

const PLACES: [Place; 2] = [Place::Sqlite, Place::Redis];

const CONNECTIONS_UP_TO: [usize; 5] = [1, 8, 32, 128, 256];

/// So many sessions where it is the connections that grow: none is in flight twice.
const SESSIONS: usize = 1024;

/// Sessions before the last step, whose number is an option.
const SESSIONS_UP_TO: [usize; 3] = [1, 100, 10_000];

/// Connections that begin sessions: more than are measured with, since nobody waits for one of them.
const BEGIN_CONNECTIONS: usize = 128;

/// Of each row of sessions so many are looked at afterwards, those that were asked for most.
const CHECKED_MAX: usize = 1000;

const KIB: usize = 1024;
const DATA_BYTES: [usize; 3] = [100, 4 * KIB, 60 * KIB];

/// So few that a process may keep hints of all of them, whatever their data.
const SESSIONS_WITH_DATA: usize = 200;

/// A value is in the URL of a request, whose head has 16 KiB at most.
const VALUE_BYTES_MAX: usize = 12 * KIB;

/// Each connection of each slice picks by a seed of its own.
const SEED_SHIFT: u32 = 16;

/// What the page itself keeps of a visit, about.
const VISIT_BYTES: usize = 40;

/// One line of a table: what it is about, and its repeats.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    name: String,
    cells: Vec<Slice>,
}

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Memory {
    sessions: usize,
    /// The process before it had a session.
    fresh: f64,
    /// The same process after it made the first [`EARLY`]th of them.
    early: f64,
    /// After it made all of them.
    after: f64,
    /// Another one that finds them in the store.
    restarted: f64,
    /// What the store takes for them.
    store: f64,
}

/// All that was measured on one store.
#[derive(Debug)]
struct OnPlace {
    place: Place,
    described: String,
    connections: Vec<Row>,
    instances: Vec<Row>,
    data: Vec<Row>,
    sessions: Vec<Row>,
    memory: Memory,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let load = machine::load();
    let mut all = Vec::new();
    for place in PLACES {
        let on = on(place, options).await;
        all.push(on.with_context(|| format!("on {}", place.name()))?);
    }
    document::write("scale", &report::text(&all, options, load.as_deref()))?;
    let mut facts = Facts::read();
    for OnPlace { place, memory, .. } in &all {
        facts.set(format!("{}.bytes", place.name()), memory.store / memory.sessions as f64);
    }
    facts.write()?;
    paper::write(&facts)
}

async fn on(place: Place, options: &Options) -> Result<OnPlace> {
    let running = place.start().await?.context("it is not installed")?;
    let described = running.described();
    println!("\n{described}");
    let app = App { running: &running, process: start(&running)?, options };
    let connections = app.connections()?;
    let instances = app.instances()?;
    let data = app.data()?;
    drop(app);
    drop(running);
    // From nothing again: memory and bytes are those of these sessions alone.
    let running = place.start().await?.context("it is not installed")?;
    let mut app = App { running: &running, process: start(&running)?, options };
    let (sessions, memory) = app.sessions()?;
    Ok(OnPlace { place, described, connections, instances, data, sessions, memory })
}

fn start(running: &Running) -> Result<Server> {
    Contestant::ingle(running.place).start(running, running.address())
}

struct App<'a> {
    running: &'a Running,
    process: Server,
    options: &'a Options,
}

impl App<'_> {
    fn begin(&self, sessions: usize) -> Result<Vec<Visitor>> {
        stores::begin(&[self.process.address()], sessions, BEGIN_CONNECTIONS)
    }

    fn plan(&self) -> Plan {
        let length = Length::Time { warm_up: WARM_UP, time: self.options.time };
        Plan::new(&[self.process.address()], "/", length)
    }

    fn tree(&self) -> Option<Tree> {
        self.process.pid().map(Tree)
    }

    /// Runs what makes a tally and the number of what is wrong: sessions whose count is not what was
    /// acknowledged, and answers that did not count on.
    fn cell(&self, others: &[Tree], run: impl FnOnce() -> Result<(Tally, u64)>) -> Result<Slice> {
        let app = self.tree().into_iter().chain(others.iter().copied());
        let mut wrong = 0;
        let slice = Slice::watched(app.collect(), self.running.tree(), || {
            let (tally, found) = run()?;
            wrong = found;
            Ok(tally)
        })?;
        Ok(Slice { wrong, ..slice })
    }

    /// All visitors in turn, on so many connections.
    fn in_turn(&self, visitors: &mut Vec<Visitor>, connections: usize) -> Result<Slice> {
        self.cell(&[], || {
            let dealt = Dealt::over(connections, std::mem::take(visitors), true);
            let (dealt, tally) = load::run(&self.plan(), dealt)?;
            *visitors = Dealt::back(dealt);
            let wrong = tally.wrong;
            Ok((tally, wrong))
        })
    }

    fn connections(&self) -> Result<Vec<Row>> {
        let mut visitors = self.begin(SESSIONS)?;
        let name = |n: usize| format!("{n} connection{}", if n == 1 { "" } else { "s" });
        self.rows(CONNECTIONS_UP_TO.map(|n| (name(n), n)), |n| self.in_turn(&mut visitors, n))
    }

    /// One session on all connections, of one process or of two.
    fn instances(&self) -> Result<Vec<Row>> {
        let second = start(self.running)?;
        let cookie: Arc<str> = self.begin(1)?.swap_remove(0).cookie().into();
        let mut views = 1;
        let others = [second.pid().map(Tree).into_iter().collect(), Vec::new()];
        let [with_second, alone] = others;
        let second = second.address();
        self.rows([("1 instance".to_owned(), 1), ("2 instances".to_owned(), 2)], |n| {
            let mut plan = self.plan();
            let others = if n == 1 { &alone } else { &with_second };
            plan.addresses.extend((n > 1).then_some(second));
            let cell = self.cell(others, || {
                let one = || One { cookie: Arc::clone(&cookie), shown: Vec::new() };
                let (_, tally) = load::run(&plan, (0..CONNECTIONS).map(|_| one()).collect())?;
                views += tally.answered();
                Ok((tally, 0))
            })?;
            let wrong = self.check(vec![Visitor::known(&cookie, views)])?;
            views += 1;
            Ok(Slice { wrong, ..cell })
        })
    }

    /// Asks each of these once more. How many are not shown one view more than they knew.
    fn check(&self, visitors: Vec<Visitor>) -> Result<u64> {
        let mut plan = self.plan();
        plan.length =
            Length::Requests { count: visitors.len() as u64, time_max: stores::BEGIN_TIME_MAX };
        let (_, tally) = load::run(&plan, Dealt::over(1, visitors, true))?;
        Ok(tally.wrong + tally.failed())
    }

    fn data(&self) -> Result<Vec<Row>> {
        let mut with_data = Vec::new();
        for bytes in DATA_BYTES {
            with_data.push(self.begin_with(bytes)?);
        }
        let names = DATA_BYTES.map(|bytes| match bytes {
            _ if bytes < KIB => format!("{bytes} bytes"),
            _ => format!("{} KiB", bytes / KIB),
        });
        let rows = names.into_iter().zip(0..).collect::<Vec<_>>();
        self.rows(rows, |n: usize| {
            let visitors = with_data.get_mut(n).context("there are no such sessions")?;
            self.in_turn(visitors, CONNECTIONS)
        })
    }

    /// Sessions with so many bytes of data: in several fields, since each value comes in a URL.
    fn begin_with(&self, bytes: usize) -> Result<Vec<Visitor>> {
        let mut visitors = self.begin(SESSIONS_WITH_DATA)?;
        let mut left = bytes.saturating_sub(VISIT_BYTES);
        let mut field = 0;
        while left > 0 {
            let value = left.min(VALUE_BYTES_MAX);
            let plan = Plan {
                path: format!("/lab/insert/field{field}?value={}", "x".repeat(value)),
                length: Length::Requests {
                    count: SESSIONS_WITH_DATA as u64,
                    time_max: stores::BEGIN_TIME_MAX,
                },
                ..self.plan()
            };
            let (dealt, tally) = load::run(&plan, Dealt::over(1, visitors, false))?;
            ensure!(tally.failed() == 0, "{} of the inserts of data failed", tally.failed());
            visitors = Dealt::back(dealt);
            left -= value;
            field += 1;
        }
        Ok(visitors)
    }

    /// Ever more sessions, picked evenly and by popularity; and the memory that they take.
    fn sessions(&mut self) -> Result<(Vec<Row>, Memory)> {
        let bytes = |app: &Self| app.tree().map_or(f64::NAN, Tree::memory_bytes);
        let empty = self.store_bytes()?;
        let fresh = bytes(self);
        let last = self.options.sessions;
        let steps = SESSIONS_UP_TO.into_iter().filter(|step| *step < last).chain([last]);
        let mut sessions = Sessions::default();
        let mut rows = Vec::new();
        let mut memory = Memory { sessions: last, fresh, ..Memory::default() };
        for n in steps {
            if n == last {
                let first = (n / EARLY).saturating_sub(sessions.len());
                if first > 0 {
                    sessions.add(&self.begin(first)?);
                }
                memory.early = bytes(self);
            }
            sessions.add(&self.begin(n - sessions.len())?);
            println!("{n} sessions are there");
            if n == last {
                memory.after = bytes(self);
                memory.store = self.store_bytes()? - empty;
            }
            rows.extend(self.picked(&mut sessions)?);
        }
        self.process = start(self.running)?;
        stores::begin(&[self.process.address()], 1, 1)?;
        memory.restarted = bytes(self);
        Ok((rows, memory))
    }

    fn picked(&self, sessions: &mut Sessions) -> Result<Vec<Row>> {
        let n = sessions.len();
        let mut chances = vec![("1 session".to_owned(), Chance::Even)];
        if n > 1 {
            let named = |how: &str| format!("{} sessions {how}", thousands(n));
            chances = vec![
                (named("picked evenly"), Chance::Even),
                (named("picked by Zipf's law"), Chance::zipf(n)),
            ];
        }
        let mut seed = 0;
        self.rows(chances, |chance: Chance| {
            let cell = self.cell(&[], || {
                seed += 1;
                let turns = (0..CONNECTIONS as u64)
                    .map(|n| Picked::new(sessions.cookies(), &chance, (seed << SEED_SHIFT) | n));
                let (turns, tally) = load::run(&self.plan(), turns.collect())?;
                turns.iter().for_each(|turns| sessions.acknowledge(&turns.answered));
                Ok((tally, 0))
            })?;
            let wrong = self.check(sessions.check(CHECKED_MAX))?;
            Ok(Slice { wrong, ..cell })
        })
    }

    /// Repeats each row as often as is asked for, all rows in turn.
    fn rows<T: Clone>(
        &self,
        rows: impl IntoIterator<Item = (String, T)>,
        mut measure: impl FnMut(T) -> Result<Slice>,
    ) -> Result<Vec<Row>> {
        let mut rows: Vec<(T, Row)> =
            rows.into_iter().map(|(name, of)| (of, Row { name, cells: Vec::new() })).collect();
        for n in 1..=self.options.repeats {
            for (of, row) in &mut rows {
                let cell = measure(of.clone())?;
                println!("{}, {n} of {}: {}", row.name, self.options.repeats, report::line(&cell));
                row.cells.push(cell);
            }
        }
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// What the store holds: the files of the SQLite one, the memory of a server.
    fn store_bytes(&self) -> Result<f64> {
        let disk = || self.running.disk_bytes() as f64;
        Ok(self.running.redis_bytes()?.unwrap_or_else(disk))
    }
}
