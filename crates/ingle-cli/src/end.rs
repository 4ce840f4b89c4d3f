//! `ingle sessions end`: those that are named, or those that fit, after a look at how many these are.

use std::{
    collections::HashSet,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    thread,
};

use ingle::{Handle, Sessions, clock::Timestamp};
use ingle_operator::{counted, grouped};
use serde_json::json;
use tokio::{select, sync::oneshot, task::JoinSet};

use crate::{
    exit::{Failed, say},
    json, list,
    options::{Confirmation, EndOptions, PlaceOptions},
    out::{Format, Out},
    place::{self, Found},
    select::Pages,
    stop::Stop,
    table::Table,
};

/// How many sessions `--yes` ends at most. Beyond that, the number must be known.
const YES_MAX: usize = 10;

/// How many are ended at once.
const AT_ONCE: usize = 16;

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: EndOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    let dry_run = options.confirmation.dry_run;
    let mut ending = Ending {
        place,
        sessions: &sessions,
        stop,
        dry_run,
        n_ended: 0,
        n_meant: 0,
        gone: Vec::new(),
        lost: None,
    };
    if !options.handles.is_empty() {
        return ending.named(out, &options).await;
    }
    let handles = ending.matching(&options).await?;
    ending.n_meant = handles.len();
    confirm(handles.len(), &options.confirmation, &ending.stop).await?;
    ending.all_of(out, &options, handles).await
}

struct Ending<'a> {
    place: &'a PlaceOptions,
    sessions: &'a Sessions,
    stop: Stop,
    /// Nothing ends, and those that would are counted.
    dry_run: bool,
    n_ended: usize,
    n_meant: usize,
    /// Those that were meant, and were not there any more or did not fit when they were to end.
    gone: Vec<Handle>,
    /// Why what is printed is not read. The sessions end all the same.
    lost: Option<Failed>,
}

impl Ending<'_> {
    /// Ends the sessions that were named. One that is not there, or not one, ends none.
    async fn named(&mut self, out: &mut Out, options: &EndOptions) -> Result<(), Failed> {
        let mut found: Vec<Found> = Vec::new();
        for handle in &options.handles {
            let session = place::find_any(self.sessions, handle).await?;
            if found.iter().all(|other| other.handle() != session.handle()) {
                found.push(session);
            }
        }
        self.n_meant = found.len();
        if found.len() > YES_MAX || options.confirmation.confirm.is_some() {
            confirm(found.len(), &options.confirmation, &self.stop).await?;
        }
        let mut table = Table::begin(out, list::columns(self.place.knows_use()))?;
        self.some(out, &mut table, found).await?;
        self.end(out, table, options)
    }

    /// The handles of those that fit, which is all that is kept of them. What cannot be read fits where all
    /// are meant, and no condition.
    async fn matching(&self, options: &EndOptions) -> Result<HashSet<Handle>, Failed> {
        let mut handles = HashSet::new();
        let mut pages = Pages::new(self.sessions, &options.selection, false);
        while let Some(mut page) = pages.next_page().await? {
            self.stop.check("nothing was ended")?;
            page.damaged.retain(|_| options.all);
            handles.extend(Found::all_of(page).map(|found| found.handle()));
        }
        Ok(handles)
    }

    /// Ends those that fit and did when they were counted.
    async fn all_of(
        &mut self,
        out: &mut Out,
        options: &EndOptions,
        mut handles: HashSet<Handle>,
    ) -> Result<(), Failed> {
        let mut table = Table::begin(out, list::columns(self.place.knows_use()))?;
        let mut pages = Pages::new(self.sessions, &options.selection, false);
        while let Some(page) = pages.next_page().await.map_err(|failed| self.so_far(failed))? {
            if !options.all {
                page.damaged.iter().for_each(|damaged| pages.pass_over(damaged));
            }
            let found = Found::all_of(page).filter(|found| handles.remove(&found.handle()));
            let found = found.collect();
            self.some(out, &mut table, found).await?;
        }
        if !self.dry_run {
            self.gone.extend(handles);
        }
        let ended = self.end(out, table, options);
        pages.end(ended, "nobody knows whether more were meant, and no more were ended")
    }

    /// Ends sessions, some at once, and prints each that has ended.
    async fn some(
        &mut self,
        out: &mut Out,
        table: &mut Table,
        sessions: Vec<Found>,
    ) -> Result<(), Failed> {
        let (dry_run, mut rest, mut under_way) =
            (self.dry_run, sessions.into_iter(), JoinSet::new());
        let mut failed: Option<Failed> = None;
        loop {
            while failed.is_none()
                && !self.stop.is_asked()
                && under_way.len() < AT_ONCE
                && let Some(session) = rest.next()
            {
                under_way.spawn(async move {
                    let ended = if dry_run { Ok(true) } else { session.end().await };
                    (session, ended)
                });
            }
            match under_way.join_next().await {
                None => break,
                // Somebody else was faster.
                Some(Ok((session, Ok(false)))) => self.gone.push(session.handle()),
                Some(Ok((session, Ok(true)))) => {
                    self.n_ended += 1;
                    self.print(|place, now| match &session {
                        Found::Session(session) => table.row(
                            out,
                            || list::cells(session.info(), now),
                            || json::header(session.info(), place.knows_use()),
                        ),
                        Found::Damaged(damaged) => table.row(
                            out,
                            || vec![damaged.handle().to_string(), "(cannot be read)".to_owned()],
                            || json::damaged(damaged),
                        ),
                    });
                }
                // Those that are under way come to their end.
                Some(Ok((_, Err(error)))) => failed = Some(worse(failed, error.into())),
                Some(Err(error)) => failed = Some(worse(failed, Failed::other(error.to_string()))),
            }
        }
        self.print(|_, _| out.flush());
        match failed {
            Some(failed) => Err(self.so_far(failed)),
            None if self.stop.is_asked() => {
                Err(self.so_far(Failed::interrupted("interrupted; run it again to go on")))
            }
            None => Ok(()),
        }
    }

    /// Prints, as long as it is read.
    fn print(&mut self, print: impl FnOnce(&PlaceOptions, Timestamp) -> Result<(), Failed>) {
        if self.lost.is_none() {
            self.lost = print(self.place, self.sessions.now()).err();
        }
    }

    /// A failure, with what was done before it.
    fn so_far(&self, failed: Failed) -> Failed {
        let Self { dry_run, n_ended, n_meant, .. } = self;
        if *dry_run {
            return failed.after("the dry run was not finished, and nothing was changed");
        }
        let done = format!("{n_ended} of {} ended", counted(*n_meant, "session"));
        if *n_ended == 0 { failed.after(&done) } else { failed.partly(&done) }
    }

    fn end(&mut self, out: &mut Out, table: Table, options: &EndOptions) -> Result<(), Failed> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable();
        self.print(|_, _| {
            if out.format != Format::Text {
                gone.iter().try_for_each(|handle| {
                    out.item(&json!({ "handle": handle.to_string(), "ended": false }))
                })?;
            }
            table.end(out).map(drop)
        });
        let (n_ended, ended) = (self.n_ended, counted(self.n_ended, "session"));
        say(&match gone.len() {
            _ if self.dry_run => format!("ingle: this was a dry run; {ended} would end"),
            0 => format!("ingle: {ended} ended"),
            n => format!(
                "ingle: {} of {} ended; {} had ended, been renewed or changed meanwhile: {}",
                grouped(n_ended as u64),
                counted(n_ended + n, "session"),
                grouped(n as u64),
                match options.selection.user {
                    Some(_) => "`ingle users end` ends all of a user's, those that are renewed too",
                    None => "list again",
                },
            ),
        });
        self.lost.take().map_or(Ok(()), Err)
    }
}

/// The failure that is told: that it is unknown what was done, or the first.
fn worse(first: Option<Failed>, next: Failed) -> Failed {
    match first {
        Some(first) if first.is_unknown() || !next.is_unknown() => first,
        _ => next,
    }
}

/// Whether so many may end: as the options say, or as whoever sits at the terminal says.
pub(crate) async fn confirm(n: usize, options: &Confirmation, stop: &Stop) -> Result<(), Failed> {
    let nothing = "nothing was changed";
    let sessions = counted(n, "session");
    let there_are = if n == 1 { "there is" } else { "there are" };
    match options {
        Confirmation { confirm: Some(count), .. } if *count != n => Err(Failed::refused(format!(
            "{there_are} {sessions}, not {count} as --confirm says; {nothing}"
        ))),
        Confirmation { confirm: Some(_), .. } | Confirmation { dry_run: true, .. } => Ok(()),
        _ if n == 0 => Ok(()),
        Confirmation { yes: true, .. } if n <= YES_MAX => Ok(()),
        Confirmation { yes: true, .. } => Err(Failed::refused(format!(
            "{there_are} {sessions}, and --yes is for {YES_MAX} at most; use --confirm {n}; {nothing}"
        ))),
        _ if io::stdin().is_terminal() && io::stderr().is_terminal() => ask(n, stop).await,
        _ if n <= YES_MAX => Err(Failed::refused(format!(
            "{sessions} would end; use --yes or --confirm {n}; {nothing}"
        ))),
        _ => Err(Failed::refused(format!("{sessions} would end; use --confirm {n}; {nothing}"))),
    }
}

async fn ask(n: usize, stop: &Stop) -> Result<(), Failed> {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{} would end. Type {n} to end them: ", counted(n, "session"));
    let _ = stderr.flush();
    let (answers, answer) = oneshot::channel();
    // Not a task's thread: the program would wait for it after Ctrl-C.
    thread::spawn(move || {
        let mut line = String::new();
        let _ = answers.send(io::stdin().lock().read_line(&mut line).map(|_| line));
    });
    select! {
        biased;
        () = stop.asked() => {
            let _ = writeln!(stderr);
            Err(Failed::interrupted("interrupted; nothing was changed"))
        }
        answer = answer => match answer {
            Ok(Ok(answer)) if answer.trim() == n.to_string() => Ok(()),
            _ => Err(Failed::refused("it was not confirmed; nothing was changed")),
        },
    }
}
