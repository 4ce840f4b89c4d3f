//! The kill loop: a process that commits is killed at any moment, and what it had acknowledged is
//! looked for.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ingle::{
    clock::{Clock as _, SystemClock},
    store::{List as _, Sqlite},
};
use tempfile::TempDir;

use super::{FOLDER, PREFIX, book::Book};

/// The kill comes at most so long after the first acknowledged token.
const MILLIS_MAX: u64 = 200;

/// Or, in one round of [`EARLY`], at most so long after the process was started: it opens the store.
const EARLY_MILLIS_MAX: u64 = 40;
const EARLY: u64 = 8;

/// In one round of so many nobody looks, so that the next process finds what two have left.
const UNSEEN: u64 = 4;

/// No process takes so long to its first token, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many records a page of the list has.
const PAGE: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Killed {
    pub(super) rounds: u64,
    /// Of these, how many were killed while they began.
    pub(super) early: u64,
    pub(super) checks: u64,
    pub(super) book: Book,
    pub(super) broken: Vec<String>,
}

pub(super) async fn run(rounds: u64, rng: &mut fastrand::Rng) -> Result<Killed> {
    let folder = TempDir::new().context("could not create a folder for sessions")?;
    let mut killed = Killed::default();
    for round in 0..rounds {
        let early = rng.u64(..EARLY) == 0;
        let millis = rng.u64(1..=if early { EARLY_MILLIS_MAX } else { MILLIS_MAX });
        for line in one(folder.path(), round, early, Duration::from_millis(millis))? {
            killed.book.note(&line);
        }
        killed.rounds += 1;
        killed.early += u64::from(early);
        if rng.u64(..UNSEEN) != 0 || round + 1 == rounds {
            killed.checks += 1;
            let broken = look(folder.path(), &killed.book).await?;
            let told = |what| format!("crash, round {round}, killed after {millis} ms: {what}");
            killed.broken.extend(broken.into_iter().map(told));
            if !killed.broken.is_empty() {
                // Every later look would find the same.
                break;
            }
        }
    }
    Ok(killed)
}

/// A worker's life, and the lines that it had time for.
fn one(folder: &Path, round: u64, early: bool, after: Duration) -> Result<Vec<String>> {
    let own = env::current_exe().context("could not find this program's file")?;
    let mut command = Command::new(own);
    command.env(FOLDER, folder).env(PREFIX, round.to_string());
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not start a worker")?;
    let stdout = child.stdout.take().context("a worker has no output")?;
    let (first, acknowledged) = mpsc::channel();
    let reader = thread::spawn(move || read(stdout, &first));
    let in_time = early || acknowledged.recv_timeout(PATIENCE).is_ok();
    thread::sleep(after);
    end(&mut child)?;
    let lines = reader.join().map_err(|_| anyhow::anyhow!("a worker's output was not read"))?;
    ensure!(in_time, "a worker acknowledged nothing in a minute");
    Ok(lines)
}

fn end(child: &mut Child) -> Result<()> {
    child.kill().context("could not kill a worker")?;
    let status = child.wait().context("could not wait for a worker")?;
    ensure!(status.code().is_none(), "a worker ended by itself, with {status}");
    Ok(())
}

/// The whole lines; says when the first token was acknowledged.
fn read(stdout: ChildStdout, first: &mpsc::Sender<()>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = String::new();
        if !stdout.read_line(&mut line).is_ok_and(|read| read > 0) || !line.ends_with('\n') {
            return lines;
        }
        line.truncate(line.trim_end().len());
        if line.starts_with("ok ") {
            let _ = first.send(());
        }
        lines.push(line);
    }
}

/// Opens what is left, and looks for what was acknowledged.
async fn look(folder: &Path, book: &Book) -> Result<Vec<String>> {
    let store = Sqlite::open(folder).await.context("could not open what a kill left")?;
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after.as_ref(), PAGE, SystemClock.now()).await?;
        records.extend(page.records);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(book.check(records.iter().map(|loaded| &loaded.record.data)))
}
