//! The tutorial's app against greetings: many requests of one session at once, on Firestore.
//!
//! All apps run at the same time, and are asked in turn: what else goes on on the machine then
//! meets all of them. An app that is not asked does nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Server, firestore,
    http::{Answer, Browser},
    load::{self, Burst},
    proxy::Proxy,
    tutorial,
};

use crate::{
    app::{self, App},
    document, machine,
};

mod report;

/// Requests at once.
const REQUESTS: usize = 50;

/// How often each app is measured on each server.
const REPEATS: usize = 3;

const PROJECT: &str = "benchmark";

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// By gunicorn.
    Tutorial {
        workers: u32,
        threads: u32,
    },
    Greetings {
        processes: usize,
    },
}

const KINDS: [Kind; 4] = [
    Kind::Tutorial { workers: 1, threads: 50 },
    Kind::Tutorial { workers: 4, threads: 1 },
    Kind::Greetings { processes: 1 },
    Kind::Greetings { processes: 2 },
];

/// All repeats on one server.
#[derive(Debug)]
struct Measured {
    server: &'static str,
    apps: Vec<(Kind, Vec<Repeat>)>,
}

/// What became of the requests at once of one session.
#[derive(Clone, Debug, Default, PartialEq)]
struct Repeat {
    /// How many answers had which status; none stands for a connection that ended without one.
    statuses: BTreeMap<Option<u16>, usize>,
    /// Views that were answered with 200, and are not in the count at the end.
    lost: usize,
    /// Views that are in the count at the end, and were not answered with 200.
    unconfirmed: usize,
    seconds: f64,
    /// For each request.
    calls: f64,
}

impl Repeat {
    fn answered(&self) -> usize {
        self.statuses.get(&Some(200)).copied().unwrap_or_default()
    }
}

pub(crate) async fn run() -> Result<()> {
    let load = machine::load();
    let mut measured = Vec::new();
    for server in servers()? {
        measured.push(on(&server).await.with_context(|| format!("on {}", server.name()))?);
    }
    document::write("tutorial", &report::text(&measured, load.as_deref()))
}

/// Each kind of server that is installed here.
fn servers() -> Result<Vec<Server>> {
    let mut programs = vec![firestore::hidane_program()?];
    match firestore::google_program() {
        Some(google) => programs.push(google),
        None => println!("Google's Firestore emulator is not installed: there is no table for it."),
    }
    programs.into_iter().map(Server::start).collect()
}

async fn on(server: &Server) -> Result<Measured> {
    let mut apps = Vec::new();
    for (n, kind) in KINDS.into_iter().enumerate() {
        let app = start(kind, server, &format!("sessions{n}")).await?;
        // Connections are made and code is compiled at the first requests; those are not measured.
        load::at_once(&app.addresses(), "/", REQUESTS, None).await;
        apps.push((kind, app, Vec::new()));
    }
    for n in 1..=REPEATS {
        for (_, app, repeats) in &mut apps {
            let repeat = measure(app).await.with_context(|| app.name.clone())?;
            let line = report::line(&repeat);
            println!("{}, {}, {n} of {REPEATS}: {line}", server.name(), app.name);
            repeats.push(repeat);
        }
    }
    let apps = apps.into_iter().map(|(kind, _, repeats)| (kind, repeats)).collect();
    Ok(Measured { server: server.name(), apps })
}

async fn start(kind: Kind, server: &Server, collection: &str) -> Result<App> {
    let proxy = Proxy::start(server.address()).await?;
    let program = || match kind {
        Kind::Tutorial { workers, threads } => {
            tutorial::program(proxy.address, PROJECT, collection, workers, threads)
        }
        Kind::Greetings { .. } => {
            let host = ("FIRESTORE_EMULATOR_HOST", proxy.address.to_string());
            app::greetings(format!("firestore://{PROJECT}/{collection}"), vec![host])
        }
    };
    let n_processes = match kind {
        Kind::Tutorial { .. } => 1,
        Kind::Greetings { processes } => processes,
    };
    let processes = (0..n_processes).map(|_| Server::start(program()?)).collect::<Result<_>>()?;
    Ok(App { name: report::name(kind), processes, proxy })
}

/// Begins a session, makes the requests, and looks what is left of them.
async fn measure(app: &App) -> Result<Repeat> {
    let addresses = app.addresses();
    let one = *addresses.first().context("it has no process")?;
    let first = Browser::new(one).try_get("/").await.context("it did not begin a session")?;
    ensure!(first.shown() == Some(1), "it did not begin a session: {first:?}");
    let cookie = first.begun().context("it has set no cookie")?;

    let calls_before = app.proxy.calls()?;
    let burst = load::at_once(&addresses, "/", REQUESTS, Some(cookie)).await;
    let calls = app.proxy.calls()? - calls_before;

    let last = Browser::with_cookie(one, cookie).try_get("/").await;
    let last = last.context("it did not say the count")?;
    let count = last.shown().with_context(|| format!("it did not say the count: {last:?}"))?;
    Ok(summed_up(&burst, calls, count))
}

/// `count` is what a last request was shown, which has added a view of its own.
fn summed_up(burst: &Burst, calls: u64, count: u64) -> Repeat {
    let mut statuses = BTreeMap::new();
    for answer in &burst.answers {
        *statuses.entry(answer.as_ref().ok().map(|answer| answer.status)).or_default() += 1;
    }
    let answered = burst.answers.iter().flatten().filter(|answer| answer.status == 200);
    let answered: Vec<&Answer> = answered.collect();
    // Of two answers that show the same number one has undone the other.
    let ours = 2..count;
    let kept: BTreeSet<u64> =
        answered.iter().filter_map(|answer| answer.shown()).filter(|n| ours.contains(n)).collect();
    let n_ours = ours.clone().count();
    Repeat {
        statuses,
        lost: answered.len() - kept.len(),
        unconfirmed: n_ours - kept.len(),
        seconds: burst.took.as_secs_f64(),
        calls: calls as f64 / REQUESTS as f64,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use testbed::http::NoAnswer;

    use super::*;

    fn burst(views: &[u64], n_errors: usize) -> Burst {
        let shown = |views| Ok(Answer::new(200, format!("<body>{views} views")));
        let error = || Ok(Answer::new(500, "sorry"));
        let mut answers: Vec<_> = views.iter().copied().map(shown).collect();
        answers.extend((0..n_errors).map(|_| error()));
        answers.push(Err(NoAnswer::Broken(io::ErrorKind::UnexpectedEof.into())));
        Burst { answers, took: Duration::from_millis(1500) }
    }

    #[test]
    fn views_are_kept_lost_or_unconfirmed() {
        // The first request made view 1, the last one the view that it shows.
        let repeat = summed_up(&burst(&[2, 4, 3], 2), 100, 5);
        assert_eq!((repeat.answered(), repeat.lost, repeat.unconfirmed), (3, 0, 0));
        assert_eq!(repeat.statuses, BTreeMap::from([(None, 1), (Some(200), 3), (Some(500), 2)]));
        assert_eq!((repeat.seconds, repeat.calls), (1.5, 2.0));

        let counted_all_the_same = summed_up(&burst(&[2, 4], 2), 0, 5);
        assert_eq!((counted_all_the_same.lost, counted_all_the_same.unconfirmed), (0, 1));
        let undone_by_another = summed_up(&burst(&[2, 2, 3], 0), 0, 4);
        assert_eq!((undone_by_another.lost, undone_by_another.unconfirmed), (1, 0));
        let undone_later = summed_up(&burst(&[2, 3, 4], 0), 0, 4);
        assert_eq!((undone_later.lost, undone_later.unconfirmed), (1, 0));
    }
}
