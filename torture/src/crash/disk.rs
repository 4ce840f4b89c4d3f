//! Disks that fail: `greetings` on the SQLite store while syncs and writes fail, or there is no
//! room. What it acknowledges is there after a restart, what it refuses is not, and it says why.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};
use tempfile::{NamedTempFile, TempDir};
use testbed::{
    Server,
    http::{Answer, Browser, NoAnswer},
};
use tokio::{task::JoinSet, time::sleep};

use super::book::{Book, NAME, TOKENS, Told, pushed, token};
use crate::lab::Lab;

const SESSIONS: usize = 4;

/// Clients of each session.
const CLIENTS: usize = 2;

/// How often one client pushes while the disk fails, and after how many failures it gives up.
const PUSHES_MAX: u64 = 60;
const FAILURES_MAX: u64 = 6;

/// The latest call that fails first: by then some hundred commits are on the disk.
const WHEN_MAX: u64 = 60;

/// How often, and how long apart, a store is asked whether it takes commits again.
const ROUNDS_MAX: usize = 40;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(250);

/// What the log says where a commit met a disk that fails.
const POISONED: &str = "the disk failed in a commit";
const COMPLAINT: &str = "a call of the session store failed";

/// What an app prints that does not start because its disk fails.
const NOT_OPENED: &str = "could not open the sqlite store";

/// How large the disk is that is filled, in KiB: the log alone may take 16 MiB.
const SMALL_KIB: u64 = 32 * 1024;

#[derive(Debug, Default)]
pub(super) struct Failed {
    pub(super) cases: u64,
    /// How many calls of the system failed.
    pub(super) injected: u64,
    /// In how many cases the app did not start, and said why.
    pub(super) not_begun: u64,
    /// In how many cases the store gave up writing.
    pub(super) gave_up: u64,
    pub(super) book: Book,
    pub(super) notes: Vec<String>,
    pub(super) broken: Vec<String>,
}

/// A call of the system that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    calls: &'static str,
    error: &'static str,
    /// Which call of a thread is the first to fail.
    when: u64,
    /// Whether all that follow fail as well.
    lasting: bool,
}

pub(super) async fn run(cases: u64, rng: &mut fastrand::Rng) -> Result<Failed> {
    let mut failed = Failed::default();
    if can_trace() {
        for n in 0..cases {
            let sync = n % 2 == 0;
            let fault = Fault {
                calls: if sync { "fsync,fdatasync" } else { "pwrite64" },
                error: if sync { "EIO" } else { "ENOSPC" },
                when: rng.u64(1..=WHEN_MAX),
                lasting: n % 4 < 2,
            };
            let case = one(fault, &mut failed).await;
            case.with_context(|| format!("{fault:?}"))?;
        }
    } else {
        // A green run in which nothing failed would be worth nothing.
        ensure!(std::env::var_os("CI").is_none(), "strace is missing or may not trace here");
        failed.notes.push("strace is missing or may not trace here: no call failed".to_owned());
    }
    match SmallDisk::mount() {
        Ok(disk) => full(&disk, &mut failed).await.context("on a full disk")?,
        Err(why) => failed.notes.push(format!("no disk was filled: {why:#}")),
    }
    Ok(failed)
}

fn can_trace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=none", "true"]);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// One life with a fault, and one without.
async fn one(fault: Fault, failed: &mut Failed) -> Result<()> {
    let folder = TempDir::new().context("could not create a folder for sessions")?;
    let lab = Lab::on(format!("sqlite:{}", folder.path().display()));
    // The file is made before anything fails, and the sessions begin.
    let whole = lab.start()?;
    let mut book = Book::default();
    let browsers = begin(&whole, &mut book).await?;
    drop(whole);

    let trace = NamedTempFile::new().context("could not create a file for the trace")?;
    let under = strace(fault, trace.path());
    match (Lab { under, ..lab.clone() }).start() {
        Ok(failing) => {
            while_it_fails(fault, &failing, &browsers, trace.path(), failed, &mut book).await?;
        }
        // The disk has failed so early that the store was not open.
        Err(why) if format!("{why:#}").contains(NOT_OPENED) => {
            failed.not_begun += 1;
            failed.injected += injected(trace.path())?;
        }
        Err(why) => return Err(why),
    }

    let restarted = lab.start()?;
    let browsers: Vec<_> = browsers.iter().map(|one| one.window(restarted.address())).collect();
    push_all(&browsers, "restarted", &mut book).await;
    let told = |what| format!("crash, {fault:?}, after a restart: {what}");
    failed.broken.extend(look(&browsers, &book).await.into_iter().map(told));
    failed.cases += 1;
    failed.book.add(&book);
    Ok(())
}

/// What an app does whose disk begins to fail, and then that it says so.
async fn while_it_fails(
    fault: Fault,
    failing: &Server,
    browsers: &[Browser],
    trace: &Path,
    failed: &mut Failed,
    book: &mut Book,
) -> Result<()> {
    let browsers: Vec<_> = browsers.iter().map(|one| one.window(failing.address())).collect();
    push_all(&browsers, "failing", book).await;
    let injected = injected(trace)?;
    let log = failing.log();
    let gave_up = log.contains(POISONED);
    let mut complain = |what: &str| failed.broken.push(format!("crash, {fault:?}: {what}"));
    if (gave_up || fault.lasting) && injected > 0 {
        let answers = each(&browsers, "/lab/push/tokens?value=late-0").await;
        if answers.iter().any(Answer::is_ok) {
            complain("it acknowledges on a disk that failed");
        }
        let answers = each(&browsers, "/lab/data").await;
        if answers.len() < browsers.len() || !answers.iter().all(Answer::is_ok) {
            complain("it does not read on a disk that cannot be written");
        }
    }
    if injected > 0 && fault.lasting && !log.contains(POISONED) && !log.contains(COMPLAINT) {
        complain("it does not say that the disk fails");
    }
    failed.injected += injected;
    failed.gave_up += u64::from(gave_up);
    Ok(())
}

fn strace(fault: Fault, trace: &Path) -> Vec<String> {
    let Fault { calls, error, when, lasting } = fault;
    let all = if lasting { "+" } else { "" };
    let words = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-e", "signal=none", "-e"];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    words.push(format!("trace={calls}"));
    words.extend(["-e".to_owned(), format!("inject={calls}:error={error}:when={when}{all}")]);
    words.extend(["-o".to_owned(), trace.display().to_string()]);
    words
}

fn injected(trace: &Path) -> Result<u64> {
    let trace = fs::read(trace).context("could not read what strace wrote")?;
    let trace = String::from_utf8_lossy(&trace);
    Ok(trace.lines().filter(|line| line.ends_with("(INJECTED)")).count() as u64)
}

/// Sessions, with a token each that is on the disk.
async fn begin(app: &Server, book: &mut Book) -> Result<Vec<Browser>> {
    let mut browsers = Vec::new();
    for n in 0..SESSIONS {
        let mut browser = Browser::new(app.address());
        let answer = browser.try_get(&format!("/lab/insert/{NAME}?value=s{n}")).await?;
        ensure!(answer.is_ok(), "a session did not begin: {answer:?}");
        book.note(&format!("begun s{n}"));
        browsers.push(browser);
    }
    push_all(&browsers, "first", book).await;
    Ok(browsers)
}

/// Several clients push to each session at once.
async fn push_all(browsers: &[Browser], phase: &str, book: &mut Book) {
    let mut clients = JoinSet::new();
    for (n, browser) in browsers.iter().enumerate() {
        for client in 0..CLIENTS {
            let client = format!("{phase}{client}");
            clients.spawn(push(browser.window(browser.address()), format!("s{n}"), client));
        }
    }
    for line in clients.join_all().await.into_iter().flatten() {
        book.note(&line);
    }
}

async fn push(mut browser: Browser, session: String, client: String) -> Vec<String> {
    let (mut lines, mut failures) = (Vec::new(), 0);
    for number in 0..PUSHES_MAX {
        let value = token(&client, number);
        let told = told(&browser.try_get(&format!("/lab/push/{TOKENS}?value={value}")).await);
        lines.push(pushed(&session, &client, number, told));
        failures = if told == Told::Acknowledged { 0 } else { failures + 1 };
        if failures == FAILURES_MAX {
            break;
        }
    }
    lines
}

/// Whether each session takes a token again, sooner or later: the library leaves a store that has
/// failed alone for a moment.
async fn push_until_all_acknowledged(browsers: &[Browser], phase: &str, book: &mut Book) -> bool {
    for round in 0..ROUNDS_MAX {
        let before = book.acknowledged;
        for (n, browser) in browsers.iter().enumerate() {
            let (client, session) = (format!("{phase}{round}"), format!("s{n}"));
            let target = format!("/lab/push/{TOKENS}?value={}", token(&client, 0));
            let told = told(&browser.window(browser.address()).try_get(&target).await);
            book.note(&pushed(&session, &client, 0, told));
        }
        if book.acknowledged - before == browsers.len() as u64 {
            return true;
        }
        sleep(BETWEEN_ROUNDS).await;
    }
    false
}

fn told(answer: &Result<Answer, NoAnswer>) -> Told {
    match answer {
        Ok(answer) if answer.is_ok() => Told::Acknowledged,
        Ok(answer) if answer.is_refused() => Told::Refused,
        _ => Told::Unknown,
    }
}

/// The answers to one request in each session.
async fn each(browsers: &[Browser], target: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for browser in browsers {
        answers.extend(browser.window(browser.address()).try_get(target).await);
    }
    answers
}

async fn look(browsers: &[Browser], book: &Book) -> Vec<String> {
    let answers = each(browsers, "/lab/data").await;
    let parsed = |answer: &Answer| serde_json::from_str::<Map<String, Value>>(&answer.body).ok();
    let stored: Vec<_> = answers.iter().filter_map(parsed).collect();
    book.check(stored.iter())
}

/// Fills the disk under a store, and frees it again.
async fn full(disk: &SmallDisk, failed: &mut Failed) -> Result<()> {
    let lab = Lab::on(format!("sqlite:{}", disk.0.path().join("sessions").display()));
    let app = lab.start()?;
    let mut book = Book::default();
    let browsers = begin(&app, &mut book).await?;
    let filler = disk.fill()?;
    push_all(&browsers, "full", &mut book).await;
    let refused = book.refused + book.unknown;
    if refused == 0 {
        failed.broken.push("crash, full disk: nothing was refused".to_owned());
    }
    if each(&browsers, "/lab/data").await.iter().filter(|answer| answer.is_ok()).count() < SESSIONS
    {
        failed.broken.push("crash, full disk: it does not read".to_owned());
    }
    fs::remove_file(filler).context("could not free the disk")?;
    let goes_on = push_until_all_acknowledged(&browsers, "freed", &mut book).await;
    let gave_up = app.log().contains(POISONED);
    if !goes_on && !gave_up {
        failed.broken.push("crash, full disk: it does not go on when there is room".to_owned());
    }
    drop(app);
    let restarted = lab.start()?;
    let browsers: Vec<_> = browsers.iter().map(|one| one.window(restarted.address())).collect();
    let told = |what| format!("crash, full disk, after a restart: {what}");
    failed.broken.extend(look(&browsers, &book).await.into_iter().map(told));
    failed.notes.push(format!(
        "a disk of {SMALL_KIB} KiB was filled: {refused} of {} pushes were refused, reads went on, \
         and with room again {}",
        book.acknowledged + refused,
        if goes_on { "commits did" } else { "the store waited for its restart" },
    ));
    failed.book.add(&book);
    Ok(())
}

/// A file system in memory, unmounted when this is dropped.
#[derive(Debug)]
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Result<Self> {
        let folder = TempDir::new().context("could not create a folder for a disk")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SMALL_KIB}k"), "tmpfs"]);
        let output = mount.arg(folder.path()).stdin(Stdio::null()).output();
        let output = output.context("`mount` cannot be run")?;
        if !output.status.success() {
            bail!("`mount` says {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self(folder))
    }

    /// Leaves no byte of it free.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.path().join("filler");
        let mut file = fs::File::create(&path).context("could not begin to fill the disk")?;
        while file.write_all(&[0; 4096]).is_ok() {}
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
