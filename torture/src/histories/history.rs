//! What was asked and what came of it, in the order in which it was.
//!
//! The order is a counter that is taken before a request is sent and after its answer is there. So
//! an operation whose end has a lower number than another one's beginning was over when that began.
//! The files are described in `docs/torture.md`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The number of a session: it stays the same when its id is renewed.
pub(crate) type Session = u64;

/// The number of an id, in the order in which they were given out.
pub(crate) type Id = u64;

pub(crate) type User = u64;

/// What is asked of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// To put this token at the end of the list.
    Append(String),
    /// For the list and the views.
    Read,
    /// To count one more view.
    View,
    /// To move to a new id.
    Renew,
    /// To end.
    Logout,
    /// To keep a ticket, with which this user can log in.
    Ticket(User),
    /// To be the user's from now on, under a new id.
    Login(User),
    /// Whether it is this user's.
    Look(User),
    /// To end together with all other sessions of the user.
    EndAll(User),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was acknowledged. To a look: the session is the user's.
    Done,
    /// A view was acknowledged, as the one of this number.
    Viewed(u64),
    /// The session was read.
    Read(Seen),
    /// There is no session under this id: what was to be written began another one, or nothing was.
    Anonymous,
    /// The session was ended by another request, and nothing was done.
    Interrupted,
    /// It was not done, and never will be. Of an end of all, a part may have been done.
    Refused,
    /// It was done once or not at all, or is yet to be.
    Unknown,
    /// As unknown, and the answer is one that must not be.
    Strange(String),
}

/// What a session holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) list: Vec<String>,
    pub(crate) views: u64,
}

/// One operation. It may still be going on after its end where its outcome is unknown.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) process: u64,
    pub(crate) session: Session,
    /// The one that was presented, or given where there was none yet.
    pub(crate) id: Id,
    pub(crate) act: Act,
    pub(crate) outcome: Outcome,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    /// Asked when all was over and everything worked again.
    pub(crate) is_last: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Its place in the order.
    pub(crate) order: u64,
    /// Nanoseconds since the history began.
    pub(crate) time: u64,
}

#[derive(Debug)]
pub(crate) struct History {
    since: Instant,
    order: AtomicU64,
    ops: Mutex<Vec<Op>>,
}

impl History {
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), order: AtomicU64::new(0), ops: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Moment {
        let order = self.order.fetch_add(1, Ordering::SeqCst);
        Moment { order, time: self.since.elapsed().as_nanos() as u64 }
    }

    pub(crate) fn add(&self, op: Op) {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes `NAME.jsonl`, what was done to lists as Elle reads it, and `NAME.rest.jsonl`, all else.
pub(crate) fn write(ops: &[Op], folder: &Path, name: &str) -> Result<()> {
    let mut events: Vec<(Moment, &Op, bool)> = Vec::new();
    for op in ops {
        events.push((op.began, op, false));
        events.push((op.ended, op, true));
    }
    events.sort_unstable_by_key(|(moment, _, _)| moment.order);
    let write = || -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut lists = BufWriter::new(File::create(folder.join(format!("{name}.jsonl")))?);
        let mut rest = BufWriter::new(File::create(folder.join(format!("{name}.rest.jsonl")))?);
        for (moment, op, is_end) in events {
            let line = line(moment, op, is_end);
            match op.act {
                Act::Append(_) | Act::Read => writeln!(lists, "{line}")?,
                _ => writeln!(rest, "{line}")?,
            }
        }
        lists.flush()?;
        Ok(rest.flush()?)
    };
    write().with_context(|| format!("could not write the history {name}"))
}

fn line(moment: Moment, op: &Op, is_end: bool) -> Value {
    let kind = match op.outcome {
        _ if !is_end => "invoke",
        Outcome::Done | Outcome::Viewed(_) | Outcome::Read(_) => "ok",
        Outcome::Anonymous | Outcome::Interrupted | Outcome::Refused => "fail",
        Outcome::Unknown | Outcome::Strange(_) => "info",
    };
    let (f, value) = match (&op.act, &op.outcome) {
        (Act::Append(token), _) => ("txn", json!([["append", op.session, token]])),
        (Act::Read, Outcome::Read(seen)) if is_end => {
            ("txn", json!([["r", op.session, seen.list]]))
        }
        (Act::Read, _) => ("txn", json!([["r", op.session, null]])),
        (Act::View, Outcome::Viewed(number)) if is_end => ("view", json!([op.session, number])),
        (Act::View, _) => ("view", json!([op.session, null])),
        (Act::Renew, _) => ("renew", json!([op.session, op.id])),
        (Act::Logout, _) => ("logout", json!([op.session, op.id])),
        (Act::Ticket(user), _) => ("ticket", json!([op.session, op.id, user])),
        (Act::Login(user), _) => ("login", json!([op.session, op.id, user])),
        (Act::Look(user), _) => ("look", json!([op.session, op.id, user])),
        (Act::EndAll(user), _) => ("end-all", json!([op.session, op.id, user])),
    };
    json!({
        "index": moment.order, "type": kind, "process": op.process, "time": moment.time,
        "f": f, "value": value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_elle_reads_them() {
        let (began, ended) = (Moment { order: 4, time: 10 }, Moment { order: 9, time: 20 });
        let act = Act::Append("3-1".to_owned());
        let outcome = Outcome::Unknown;
        let op = Op { process: 3, session: 7, id: 8, act, outcome, began, ended, is_last: false };
        let append = json!([["append", 7, "3-1"]]);
        let invoke = json!({
            "index": 4, "type": "invoke", "process": 3, "time": 10, "f": "txn", "value": append,
        });
        assert_eq!(line(began, &op, false), invoke);
        assert_eq!(line(ended, &op, true)["type"], "info");

        let seen = Seen { list: vec!["3-1".to_owned()], views: 2 };
        let read = Op { act: Act::Read, outcome: Outcome::Read(seen), ..op };
        assert_eq!(line(began, &read, false)["value"], json!([["r", 7, null]]));
        assert_eq!(line(ended, &read, true)["value"], json!([["r", 7, ["3-1"]]]));
    }
}
