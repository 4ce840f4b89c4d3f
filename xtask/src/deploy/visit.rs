//! Visitors of an app, each with a session: what they were answered must be there.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::{
    http,
    load::{self, Answer, Begin, Length, Plan, Turns},
};

/// No app takes so long for an answer, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Nothing that is done to an app takes so long on any machine.
const TIME_MAX: Duration = Duration::from_secs(900);

/// Between an answer and the next request, so that the app is left time for what is done to it.
const PAUSE: Duration = Duration::from_millis(10);

/// How often it is looked whether something is so, and what is between two looks.
const LOOKS: u32 = 1200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// An address of this machine that nobody listens on.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
    listener.local_addr().context("it has no address")
}

/// Returns when an app can be used.
pub(super) fn wait_until_ready(address: SocketAddr) -> Result<()> {
    let is_ready = || Ok(http::status(address, "/ready", PATIENCE) == Some(200));
    wait_until("an app is ready", is_ready)
}

/// Returns when something is so that will be so before long.
pub(super) fn wait_until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    for _ in 0..LOOKS {
        if is_so()? {
            return Ok(());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    bail!("it was waited in vain until {what}")
}

#[derive(Debug)]
pub(super) struct Visitors {
    address: SocketAddr,
    all: Vec<Visitor>,
}

impl Visitors {
    /// Each begins a session.
    pub(super) fn begin(address: SocketAddr, count: usize) -> Result<Self> {
        let begin = Begin { wanted: count, ..Begin::default() };
        let (begun, tally) = load::run(&plan(address), vec![begin])?;
        ensure!(tally.wrong == 0, "sessions do not begin with one view: {tally:?}");
        let begun = begun.iter().flat_map(|begin| &begin.begun);
        let all = begun.map(|visitor| Visitor {
            cookie: visitor.cookie().to_owned(),
            answered: 1,
            shown: 1,
            ..Visitor::default()
        });
        let visitors = Self { address, all: all.collect() };
        ensure!(visitors.all.len() == count, "sessions do not begin: {tally:?}");
        Ok(visitors)
    }

    /// They ask all the time while something is done to the app. No answered view may be gone.
    pub(super) fn during(&mut self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let over = Arc::new(AtomicBool::new(false));
        let visitors = self.who_ask(u64::MAX, &over);
        let plan = plan(self.address);
        let (acted, asked) = thread::scope(|scope| {
            let asking = scope.spawn(|| load::run(&plan, visitors));
            let acted = act();
            over.store(true, Ordering::Relaxed);
            (acted, asking.join())
        });
        acted?;
        let (all, tally) = asked.ok().context("the visitors panicked")??;
        ensure!(tally.wrong == 0, "{} answers lack views that were answered", tally.wrong);
        ensure!(tally.answered() > 0, "nobody was answered: {tally:?}");
        self.all = all;
        println!(
            "Meanwhile {} requests were answered, and {} were not.",
            tally.answered(),
            tally.failed()
        );
        self.find_their_views()
    }

    /// Each asks until it is answered once more, and sees all views that it was answered.
    pub(super) fn find_their_views(&mut self) -> Result<()> {
        let once = self.who_ask(1, &Arc::default());
        let (all, tally) = load::run(&plan(self.address), once)?;
        ensure!(all.iter().all(|one| one.left == 0), "not all visitors are answered: {tally:?}");
        ensure!(tally.wrong == 0, "{} sessions lack views that were answered", tally.wrong);
        for one in &all {
            let (answered, shown) = (one.answered, one.shown);
            ensure!(shown >= answered, "of {answered} answered views, {shown} are there");
        }
        let answered: u64 = all.iter().map(|one| one.answered).sum();
        println!("{} visitors were answered {answered} views, and all are there.", all.len());
        self.all = all;
        Ok(())
    }

    /// The same visitors, who want so many answers at most, and ask until it is over.
    fn who_ask(&self, left: u64, over: &Arc<AtomicBool>) -> Vec<Visitor> {
        let visitor = |one: &Visitor| Visitor { left, over: Arc::clone(over), ..one.clone() };
        self.all.iter().map(visitor).collect()
    }
}

fn plan(address: SocketAddr) -> Plan {
    let length = Length::Time { warm_up: Duration::ZERO, time: TIME_MAX };
    Plan { pause: PAUSE, patience: PATIENCE, ..Plan::new(&[address], "/", length) }
}

#[derive(Clone, Debug, Default)]
struct Visitor {
    cookie: String,
    /// How many views it was answered.
    answered: u64,
    /// The count that it saw last.
    shown: u64,
    /// How many answers it wants still.
    left: u64,
    over: Arc<AtomicBool>,
}

impl Turns for Visitor {
    fn next(&mut self) -> Option<&str> {
        let goes_on = self.left > 0 && !self.over.load(Ordering::Relaxed);
        goes_on.then_some(&self.cookie)
    }

    /// A view that had no answer may be there, too, so the count may grow by more than one.
    fn answered(&mut self, answer: &Answer) -> bool {
        let before = std::mem::replace(&mut self.shown, answer.views.unwrap_or_default());
        self.answered += 1;
        self.left = self.left.saturating_sub(1);
        self.shown > before
    }
}
