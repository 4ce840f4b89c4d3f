//! The replace that nearly every commit is: it moves what each commit moves, and the data.
//!
//! It has a script of its own, with nothing in it that Redis would put together anew for each call. The
//! script takes any number of them, since half of what a short script costs is to be run at all: those that
//! meet on a connection are one call. Each stands or falls alone.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use super::{
    hash::{self, Moving},
    place::Place,
    scripts::{Script, fields},
};
use crate::{
    clock::Timestamp,
    record::{Loaded, Record},
    store::Error,
};

/// `ARGV[1]` is the time of the latest caller; then come eight for each key.
///
/// The first three of these are the counter, the newest op and the idle deadline of the base. A record
/// whose first two are these is the one that the caller has, which is live at its time, unless somebody
/// has moved the idle deadline since. Then come what every commit moves, as [`Moving`] has it, and the
/// data; and when the broom comes, or nothing if that does not move.
///
/// Answers nothing if all is done; else the places of those that are not, each with what there is.
const ADVANCE: &str = concat!(
    "#!lua
local at, undone = 2, nil
for place, key in ipairs(KEYS) do
  local r = redis.pcall('HMGET', key, 'counter', 'ops', 'idle_deadline')
  if r.err or r[1] ~= ARGV[at] or string.sub(r[2] or '', -16) ~= ARGV[at + 1]
    or r[3] ~= ARGV[at + 2] and (tonumber(r[3] or '') or 0) <= tonumber(ARGV[1]) then
    undone = undone or {}
    table.insert(undone, place)
    table.insert(undone, redis.pcall('HMGET', key, ",
    fields!(),
    "))
  else
    redis.call('HSET', key,
      'idle_deadline', ARGV[at + 3], 'counter', ARGV[at + 4], 'ops', ARGV[at + 5], 'data', ARGV[at + 6])
    if ARGV[at + 7] ~= '' then redis.call('PEXPIRE', key, ARGV[at + 7]) end
  end
  at = at + 8
end
return undone
"
);

/// How many arguments each has, with its key.
const ARGUMENTS: usize = 9;

/// So many bytes of data end a call, so that Redis is not busy for long with those that met.
const LARGE: usize = 64 * 1024;

/// How many bytes all but the key, the ops and the data have at most, and what stands between them.
const OTHER_BYTES: usize = 256;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(ADVANCE));

pub(super) fn script() -> &'static Script {
    &SCRIPT
}

/// One of them, as the script is told of it.
pub(super) struct Advance {
    name: String,
    counter: u64,
    newest_op: String,
    idle_deadline: u64,
    moving: Moving,
    data: Vec<u8>,
    broom: Option<u64>,
    now: Timestamp,
}

impl Advance {
    /// On a base that is live at `now` and has an op.
    pub(super) fn of(
        place: &Place,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let (before, after) = (&base.record.header, &record.header);
        Ok(Self {
            name: place.record(&after.key),
            counter: before.counter,
            newest_op: hash::newest_op(&before.ops),
            idle_deadline: before.idle_deadline.as_millis(),
            moving: Moving::of(after),
            data: hash::json(&record.data)?,
            broom: hash::moves_broom(before, after).then(|| hash::broom(after, now)),
            now,
        })
    }

    /// Whether no other is to come into one call after it.
    pub(super) fn is_large(&self) -> bool {
        self.data.len() >= LARGE
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.moving.ops.len() + self.data.len() + OTHER_BYTES
    }
}

/// The call for all of these.
pub(super) fn call(all: &[Advance]) -> Cmd {
    let bytes = all.iter().map(Advance::bytes).sum::<usize>();
    let mut command = SCRIPT.call_of(all.len(), 4 + ARGUMENTS * all.len(), bytes + OTHER_BYTES);
    all.iter().for_each(|one| _ = command.arg(&one.name));
    let latest = all.iter().map(|one| one.now.as_millis()).max();
    command.arg(latest);
    for one in all {
        let Moving { idle_deadline, counter, ops } = &one.moving;
        command.arg(one.counter).arg(&one.newest_op).arg(one.idle_deadline);
        command.arg(idle_deadline).arg(counter).arg(ops).arg(&one.data);
        match one.broom {
            Some(broom) => command.arg(broom),
            None => command.arg(""),
        };
    }
    command
}

/// What the answer says to each of `count`: nothing if it is done, a refusal, or what there is. None if it
/// makes no sense.
pub(super) fn answers(answer: Value, count: usize) -> Option<Vec<Value>> {
    let undone = match answer {
        Value::Nil => Vec::new(),
        Value::Array(undone) => undone,
        refusal @ Value::ServerError(_) => return Some(vec![refusal; count]),
        _ => return None,
    };
    let mut answers = vec![Value::Nil; count];
    let mut undone = undone.into_iter();
    while let Some(place) = undone.next() {
        let Value::Int(place) = place else { return None };
        // The script counts from 1.
        let index = usize::try_from(place).ok()?.checked_sub(1)?;
        *answers.get_mut(index)? = undone.next()?;
    }
    Some(answers)
}
