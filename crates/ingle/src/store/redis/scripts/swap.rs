//! A swap: one string in the place of another, if that is what stands there. Nearly every commit is one.
//!
//! A server that has `SET … IFEQ` makes it by that command alone. It compares the strings byte by byte, answers
//! nothing where they differ or there is none, and tells its replicas and its append-only file `SET … PXAT`,
//! which servers of any age take.
//!
//! Any other server makes it by a script. That takes any number of them, since half of what a short script
//! costs is to be run at all: those that meet on a connection are one call. Each stands or falls alone.

use redis::{Cmd, Value};

use super::Script;
use crate::{clock::Timestamp, id::Key, record::Record, store::Error};

use super::super::{codec, names::Names};

/// Three arguments for each key: what must be there, what is to be there, and for how many milliseconds.
///
/// Answers 1 if all is done; else the places of those that are not, each with what there is.
static SWAP: Script = Script::new(
    "#!lua
local at, undone = 1, nil
for place, key in ipairs(KEYS) do
  local found = redis.pcall('GET', key)
  if found == ARGV[at] then
    redis.call('SET', key, ARGV[at + 1], 'PX', ARGV[at + 2])
  else
    undone = undone or {}
    table.insert(undone, place)
    table.insert(undone, found)
  end
  at = at + 3
end
return undone or 1
",
);

/// How many arguments each has, with its key.
const ARGUMENTS: usize = 4;

/// So many bytes of new strings end a call, so that Redis is not busy for long with those that met.
const LARGE: usize = 64 * 1024;

/// How many bytes one has at most around its texts.
const OTHER_BYTES: usize = 128;

pub(in crate::store) fn script() -> &'static Script {
    &SWAP
}

/// One of them, as a server is told of it.
pub(in crate::store) struct Swap {
    /// The name of the key, what must be there and what is to be there, one behind the other: while they wait
    /// for others they take one piece of memory.
    texts: Vec<u8>,
    /// Where the first two end.
    ends: [usize; 2],
    expiry: u64,
}

impl Swap {
    /// From one record to another.
    pub(in crate::store) fn of(
        names: &Names,
        base: &Record,
        record: &Record,
        now: Timestamp,
    ) -> Result<Self, Error> {
        Self::from(names, record, now, |texts| codec::push(texts, base))
    }

    /// From these bytes to a record.
    pub(in crate::store) fn of_text(
        names: &Names,
        found: &[u8],
        record: &Record,
        now: Timestamp,
    ) -> Result<Self, Error> {
        Self::from(names, record, now, |texts| {
            texts.extend_from_slice(found);
            Ok(())
        })
    }

    fn from(
        names: &Names,
        record: &Record,
        now: Timestamp,
        push_old: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let key: &Key = &record.header.key;
        let mut texts = Vec::with_capacity(2 * codec::HEADER_BYTES + 512);
        names.push_record(&mut texts, key);
        let name = texts.len();
        push_old(&mut texts)?;
        let ends = [name, texts.len()];
        codec::push(&mut texts, record)?;
        Ok(Self { texts, ends, expiry: codec::expiry(&record.header, now) })
    }

    fn texts(&self) -> [&[u8]; 3] {
        let [name, old] = self.ends;
        let text = |from, to| self.texts.get(from..to).unwrap_or_default();
        [text(0, name), text(name, old), text(old, self.texts.len())]
    }

    /// What is to be there.
    pub(in crate::store) fn new_text(&self) -> &[u8] {
        let [.., new] = self.texts();
        new
    }

    /// Whether no other is to come into one call after it.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.new_text().len() >= LARGE
    }

    /// It as a command of the server's own.
    pub(in crate::store) fn native(&self) -> Cmd {
        let [name, old, new] = self.texts();
        let mut command = Cmd::with_capacity(7, self.texts.len() + OTHER_BYTES);
        command.arg("SET").arg(name).arg(new).arg("IFEQ").arg(old).arg("PX").arg(self.expiry);
        command
    }
}

/// The call of the script for all of these.
pub(in crate::store) fn call(all: &[Swap]) -> Cmd {
    let bytes = all.iter().map(|one| one.texts.len() + OTHER_BYTES).sum::<usize>();
    let mut command = SWAP.call_of(all.len(), 3 + ARGUMENTS * all.len(), bytes + OTHER_BYTES);
    for one in all {
        let [name, ..] = one.texts();
        command.arg(name);
    }
    for one in all {
        let [_, old, new] = one.texts();
        command.arg(old).arg(new).arg(one.expiry);
    }
    command
}

/// What the answer of the script says to each of `count`: `OK` if it is done, a refusal, what there is, or
/// nothing if there is nothing. None if it makes no sense.
pub(in crate::store) fn answers(answer: Value, count: usize) -> Option<Vec<Value>> {
    let undone = match answer {
        Value::Int(1) => Vec::new(),
        Value::Array(undone) => undone,
        refusal @ Value::ServerError(_) => return Some(vec![refusal; count]),
        _ => return None,
    };
    let mut answers = vec![Value::Okay; count];
    let mut undone = undone.into_iter();
    while let Some(place) = undone.next() {
        let Value::Int(place) = place else { return None };
        // The script counts from 1.
        let index = usize::try_from(place).ok()?.checked_sub(1)?;
        *answers.get_mut(index)? = undone.next()?;
    }
    Some(answers)
}
