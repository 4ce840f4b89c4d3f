//! A swap: one string in the place of another, if that is what stands there. Nearly every commit is one.
//!
//! A server that has `SET … IFEQ` makes it by that command alone. It compares the strings byte by byte, answers
//! nothing where they differ or there is none, and tells its replicas and its append-only file `SET … PXAT`,
//! which servers of any age take. That is so where the command gives a time of expiry, so it always does.
//!
//! Any other server makes it by a script. That takes any number of them, since half of what a short script
//! costs is to be run at all: those that meet on a connection are one call. Each stands or falls alone.
//!
//! Where the time of expiry stays, the script writes first and looks at what it has displaced: one command
//! instead of two. It puts back what it should not have displaced. A script is one step for all clients, replicas
//! and files, so nobody reads what stood there in between.

use redis::{Cmd, Value};

use super::Script;
use crate::{clock::Timestamp, record::Record, store::Error};

use super::super::{codec, names::Names};

/// Three arguments for each key: what must be there, what is to be there, and for how many milliseconds, or
/// nothing if the time of expiry is to stay.
///
/// Answers 1 if all is done; else the places of those that are not, each with what there is.
static SWAP: Script = Script::new(
    "#!lua
local at, undone = 1, nil
for place, key in ipairs(KEYS) do
  local old, new, expiry, found = ARGV[at], ARGV[at + 1], ARGV[at + 2], nil
  if expiry == '' then
    found = redis.pcall('SET', key, new, 'XX', 'KEEPTTL', 'GET')
    if found ~= old and type(found) == 'string' then
      redis.call('SET', key, found, 'KEEPTTL')
    end
  else
    found = redis.pcall('GET', key)
    if found == old then redis.call('SET', key, new, 'PX', expiry) end
  end
  if found ~= old then
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

pub(in crate::store) fn script() -> &'static Script {
    &SWAP
}

/// How many bytes one has at most around its texts.
const OTHER_BYTES: usize = 128;

/// One of them, as a server is told of it.
pub(in crate::store) struct Swap {
    /// The name of the key, and behind it what must be there. Two texts of this length take allocators less
    /// than one of twice the length.
    old: Vec<u8>,
    /// Where the name ends.
    name: usize,
    /// What is to be there.
    new: Vec<u8>,
    /// For how many milliseconds.
    expiry: u64,
    /// Whether it may keep the time that what is there has.
    keeps_expiry: bool,
}

impl Swap {
    /// From one record to another.
    pub(in crate::store) fn of(
        names: &Names,
        base: &Record,
        record: &Record,
        now: Timestamp,
    ) -> Result<Self, Error> {
        Self::from(names, record, now, |old| codec::push(old, base))
    }

    /// From these bytes to a record.
    pub(in crate::store) fn of_text(
        names: &Names,
        found: &[u8],
        record: &Record,
        now: Timestamp,
    ) -> Result<Self, Error> {
        Self::from(names, record, now, |old| {
            old.extend_from_slice(found);
            Ok(())
        })
    }

    fn from(
        names: &Names,
        record: &Record,
        now: Timestamp,
        push_old: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut old = codec::empty_text();
        names.push_record(&mut old, &record.header.key);
        let name = old.len();
        push_old(&mut old)?;
        Ok(Self {
            old,
            name,
            new: codec::text(record)?,
            expiry: codec::expiry(&record.header, now),
            keeps_expiry: false,
        })
    }

    /// The same where what is there has its time of expiry already. A large one is not written before it is known
    /// to stand: replicas would have to be sent both.
    pub(in crate::store) fn keeping_expiry(self) -> Self {
        Self { keeps_expiry: !self.is_large(), ..self }
    }

    /// What is to be there.
    pub(in crate::store) fn new_text(&self) -> &[u8] {
        &self.new
    }

    /// Whether no other is to come into one call after it.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.new.len() >= LARGE
    }

    /// It as a command of the server's own.
    pub(in crate::store) fn native(&self) -> Cmd {
        let (name, old) = self.name_and_old();
        let mut command = Cmd::with_capacity(7, self.bytes());
        command.arg("SET").arg(name).arg(&self.new).arg("IFEQ").arg(old).arg("PX").arg(self.expiry);
        command
    }

    fn name_and_old(&self) -> (&[u8], &[u8]) {
        self.old.split_at_checked(self.name).unwrap_or_default()
    }

    /// How many bytes its arguments have at most.
    fn bytes(&self) -> usize {
        self.old.len() + self.new.len() + OTHER_BYTES
    }
}

/// The call of the script for all of these.
pub(in crate::store) fn call(all: &[Swap]) -> Cmd {
    let bytes = all.iter().map(Swap::bytes).sum::<usize>() + OTHER_BYTES;
    let mut command = SWAP.call_of(all.len(), 3 + ARGUMENTS * all.len(), bytes);
    for one in all {
        let (name, _) = one.name_and_old();
        command.arg(name);
    }
    for one in all {
        let (_, old) = one.name_and_old();
        command.arg(old).arg(&one.new);
        if one.keeps_expiry {
            command.arg(b"")
        } else {
            command.arg(one.expiry)
        };
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
