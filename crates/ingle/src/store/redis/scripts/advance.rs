//! The replace that nearly every commit is: it moves what each commit moves, and the data.
//!
//! It has a script of its own, with nothing in it that Redis would put together anew for each call. The
//! script takes any number of them, since half of what a short script costs is to be run at all: those that
//! meet on a connection are one call. Each stands or falls alone.

use redis::{Cmd, Value};

use super::{
    super::{
        codec::{self, fields},
        names::Names,
    },
    Script,
};
use crate::{
    clock::Timestamp,
    record::{Loaded, Record},
    store::Error,
};

/// `ARGV[1]` is the time of the latest caller; then come four for each key.
///
/// The first of these is what the head of the base has behind its idle deadline. A record whose head has the
/// same is the one that the caller has, which is live at its time, unless somebody has moved the idle
/// deadline back since. Then come the new head and the data; and when Redis may delete it, or nothing if that
/// does not move.
///
/// Answers nothing if all is done; else the places of those that are not, each with what there is.
static ADVANCE: Script = Script::new(concat!(
    "#!lua
local now, at, undone = tonumber(ARGV[1]), 2, nil
for place, key in ipairs(KEYS) do
  local head = redis.pcall('HGET', key, 'head')
  local idle, found
  if type(head) == 'string' then idle, found = string.match(head, '^(%d+)( %d+ %x*)') end
  if found ~= ARGV[at] or tonumber(idle) <= now then
    undone = undone or {}
    table.insert(undone, place)
    table.insert(undone, redis.pcall('HMGET', key, ",
    fields!(),
    "))
  else
    redis.call('HSET', key, 'head', ARGV[at + 1], 'data', ARGV[at + 2])
    if ARGV[at + 3] ~= '' then redis.call('PEXPIRE', key, ARGV[at + 3]) end
  end
  at = at + 4
end
return undone
"
));

/// How many arguments each has, with its key.
const ARGUMENTS: usize = 5;

/// So many bytes of data end a call, so that Redis is not busy for long with those that met.
const LARGE: usize = 64 * 1024;

/// How many bytes one has at most around its texts.
const OTHER_BYTES: usize = 128;

/// How many bytes the name of a hash, the condition and the data have most often.
const SHORT_TEXTS: usize = 352;

pub(in crate::store) fn script() -> &'static Script {
    &ADVANCE
}

/// Whether a replace is one, and its base is live. Without a name of its newest commit a record is told by
/// its epoch as well.
pub(in crate::store) fn is_one(base: &Loaded, record: &Record, now: Timestamp) -> bool {
    let before = &base.record.header;
    let has_op = before.ops.newest().is_some();
    has_op && before.only_moves(&record.header) && !base.record.is_dead(now)
}

/// One of them, as the script is told of it.
pub(in crate::store) struct Advance {
    expiry: Option<u64>,
    now: Timestamp,
    /// The name of the hash, the condition, the head and the data, one behind the other: while they wait
    /// for others they take one piece of memory.
    texts: Vec<u8>,
    /// Where those before the data end.
    ends: [usize; 3],
}

impl Advance {
    pub(in crate::store) fn of(
        names: &Names,
        base: &Loaded,
        record: &Record,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let (before, after) = (&base.record.header, &record.header);
        let mut texts = Vec::with_capacity(codec::HEAD_BYTES_MAX + SHORT_TEXTS);
        names.push_record(&mut texts, &after.key);
        let name = texts.len();
        codec::push_condition(&mut texts, before);
        let condition = texts.len();
        codec::push_head(&mut texts, after);
        let ends = [name, condition, texts.len()];
        codec::push_json(&mut texts, &record.data)?;
        let expiry = codec::moves_expiry(before, after).then(|| codec::expiry(after, now));
        Ok(Self { expiry, now, texts, ends })
    }

    fn texts(&self) -> [&[u8]; 4] {
        let [name, condition, head] = self.ends;
        let text = |from, to| self.texts.get(from..to).unwrap_or_default();
        [text(0, name), text(name, condition), text(condition, head), text(head, self.texts.len())]
    }

    /// Whether no other is to come into one call after it.
    pub(in crate::store) fn is_large(&self) -> bool {
        let [.., data] = self.texts();
        data.len() >= LARGE
    }
}

/// The call for all of these.
pub(in crate::store) fn call(all: &[Advance]) -> Cmd {
    let bytes = all.iter().map(|one| one.texts.len() + OTHER_BYTES).sum::<usize>();
    let mut command = ADVANCE.call_of(all.len(), 4 + ARGUMENTS * all.len(), bytes + OTHER_BYTES);
    for one in all {
        let [name, ..] = one.texts();
        command.arg(name);
    }
    let latest = all.iter().map(|one| one.now.as_millis()).max();
    command.arg(latest);
    for one in all {
        let [_, condition, head, data] = one.texts();
        command.arg(condition).arg(head).arg(data);
        match one.expiry {
            Some(expiry) => command.arg(expiry),
            None => command.arg(""),
        };
    }
    command
}

/// What the answer says to each of `count`: nothing if it is done, a refusal, or what there is. None if it
/// makes no sense.
pub(in crate::store) fn answers(answer: Value, count: usize) -> Option<Vec<Value>> {
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
