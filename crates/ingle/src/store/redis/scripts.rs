//! The writes, as scripts that Redis runs in one step each.
//!
//! Each looks first and writes then, so that one which is refused has changed nothing. The line
//! `#!lua` is more than a comment: with it Redis refuses a script as a whole where memory or a
//! replica is missing, and never in the middle. That takes Redis 7.

use redis::{Arg, Cmd};

/// The fields of a record's hash that [`hash::read`](super::hash::read) reads, in its order.
macro_rules! fields {
    () => {
        "'format', 'key', 'created', 'absolute_deadline', 'idle_timeout', 'user', 'generation', \
         'epoch', 'head', 'data'"
    };
}
pub(super) use fields;

/// What all writes share. `ARGV[1]` is the caller's time, which alone decides life and death.
///
/// A hash that has a part of a header is a record that somebody has damaged: it is live, so that
/// nothing is written over it. One without any is no record.
macro_rules! shared {
    () => {
        "
local now = tonumber(ARGV[1])
local function live(head, absolute, epoch)
  if not (head or absolute or epoch) then return false end
  local idle = tonumber(string.match(head or '', '^%d+') or '')
  absolute = tonumber(absolute or '')
  return not (idle and idle <= now or absolute and absolute <= now)
end
local function live_at(key)
  return live(unpack(redis.call('HMGET', key, 'head', 'absolute_deadline', 'epoch')))
end
"
    };
}

/// Puts a session into its user's list: `member`, until when it can live, what is surely dead, and
/// how long after the last deadline the list itself ends.
macro_rules! list {
    () => {
        "
local function list(users, member, deadline, dead, slack)
  redis.call('ZREMRANGEBYSCORE', users, '-inf', dead)
  redis.call('ZADD', users, deadline, member)
  local last = redis.call('ZRANGE', users, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', users, string.format('%.0f', tonumber(last) - now + tonumber(slack)))
end
"
    };
}

/// Writes a record: `ARGV[2]` is when the broom comes, `ARGV[3]` to `ARGV[6]` put it into its user's
/// list if there is one among the keys, `ARGV[9]` is how many fields are removed; then come their
/// names, and fields with their values.
macro_rules! write {
    () => {
        concat!(
            list!(),
            "
local function write(key, users)
  if users then list(users, unpack(ARGV, 3, 6)) end
  local removed = tonumber(ARGV[9])
  if removed > 0 then redis.call('HDEL', key, unpack(ARGV, 10, 9 + removed)) end
  redis.call('HSET', key, unpack(ARGV, 10 + removed))
  redis.call('PEXPIRE', key, ARGV[2])
end
"
        )
    };
}

/// The condition of a replace and a renew: the record is live, has the counter and the newest op that
/// `ARGV[7]` has as a head does, and the epoch `ARGV[8]`.
///
/// The counter alone would not do: it begins anew in each life of a key, and after a failover it can
/// go back, and on to the same number by another commit.
macro_rules! unchanged {
    () => {
        concat!(
            "
local r = redis.call('HMGET', KEYS[1], 'head', 'absolute_deadline', 'epoch', 'listed')
if not live(r[1], r[2], r[3]) then return false end
if string.match(r[1] or '', '^%d+( %d+ %x*)') ~= ARGV[7] or r[3] ~= ARGV[8] then
  return redis.call('HMGET', KEYS[1], ",
            fields!(),
            ")
end
"
        )
    };
}

/// Answers 1 if the key is taken, else nothing.
const CREATE: &str = concat!(
    "#!lua",
    shared!(),
    write!(),
    "
if live_at(KEYS[1]) then return 1 end
redis.call('DEL', KEYS[1])
write(KEYS[1], KEYS[2])
return ''
"
);

/// Answers nothing if the record is gone, the record if it has changed, else under which name the
/// user's list had it.
const REPLACE: &str = concat!(
    "#!lua",
    shared!(),
    write!(),
    unchanged!(),
    "
write(KEYS[1], KEYS[2])
return r[4] or ''
"
);

/// Answers as [`REPLACE`], and 1 if the new key is taken.
const RENEW: &str = concat!(
    "#!lua",
    shared!(),
    write!(),
    unchanged!(),
    "
if live_at(KEYS[2]) then return 1 end
redis.call('DEL', KEYS[1], KEYS[2])
write(KEYS[2], KEYS[3])
return r[4] or ''
"
);

/// Answers nothing if the record is gone, else its counter. It needs no memory worth the word, so a
/// server that is full takes it.
const TOUCH: &str = concat!(
    "#!lua flags=allow-oom",
    shared!(),
    "
local r = redis.call('HMGET', KEYS[1], 'head', 'absolute_deadline', 'epoch')
if not live(r[1], r[2], r[3]) then return false end
local idle, counter, ops = string.match(r[1] or '', '^(%d+) (%d+)(.*)$')
local absolute = tonumber(r[2] or '')
if not (counter and absolute) then return counter or '' end
local to = math.min(tonumber(ARGV[2]), absolute)
if to > tonumber(idle) then
  redis.call('HSET', KEYS[1], 'head', string.format('%.0f %s%s', to, counter, ops))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', to - now + tonumber(ARGV[3])))
end
return counter
"
);

/// Answers whose the session was, and under which name that user's list has it.
const DESTROY: &str = "#!lua flags=allow-oom
local r = redis.call('HMGET', KEYS[1], 'user', 'listed')
redis.call('DEL', KEYS[1])
return r
";

/// Puts a session that is about to be written into its user's list, on another server.
const LIST: &str = concat!(
    "#!lua",
    shared!(),
    list!(),
    "
list(KEYS[1], unpack(ARGV, 2, 5))
return ''
"
);

/// Tries every command that the writes need, and leaves nothing behind: a right that is missing is
/// told when the store is opened.
const PROBE: &str = "#!lua
redis.call('HSET', KEYS[1], 'probe', '1')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('HGET', KEYS[1], 'probe')
redis.call('HMGET', KEYS[1], 'probe')
redis.call('HDEL', KEYS[1], 'none')
redis.call('DEL', KEYS[1])
return ''
";

/// The same for the lists of users.
const PROBE_LIST: &str = "#!lua
redis.call('ZADD', KEYS[1], 1, 'probe')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 0)
redis.call('ZREM', KEYS[1], 'probe')
redis.call('DEL', KEYS[1])
return ''
";

/// A script, and the hash that servers know it by.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call by hash, which the server refuses if it does not have the script yet.
    pub(super) fn call(&self, n_keys: usize) -> Cmd {
        // As many arguments as a whole record has; a few bytes more than its header.
        self.call_of(n_keys, 48, 1024)
    }

    /// The same, with room for so many arguments and bytes.
    pub(super) fn call_of(&self, n_keys: usize, arguments: usize, bytes: usize) -> Cmd {
        let mut command = Cmd::with_capacity(arguments, bytes);
        command.arg("EVALSHA").arg(&self.hash).arg(n_keys);
        command
    }

    /// The same call with the text, after which the server knows the script by its hash.
    pub(super) fn with_text(&self, call: &Cmd) -> Cmd {
        let mut command = Cmd::with_capacity(48, 4096);
        command.arg("EVAL").arg(self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}

pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) replace: Script,
    pub(super) renew: Script,
    pub(super) touch: Script,
    pub(super) destroy: Script,
    pub(super) list: Script,
    pub(super) probe: Script,
    pub(super) probe_list: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(CREATE),
            replace: Script::new(REPLACE),
            renew: Script::new(RENEW),
            touch: Script::new(TOUCH),
            destroy: Script::new(DESTROY),
            list: Script::new(LIST),
            probe: Script::new(PROBE),
            probe_list: Script::new(PROBE_LIST),
        }
    }
}

/// The fields that a record is read from, in the order of `fields!`.
pub(super) const FIELDS: [&str; 10] = [
    "format",
    "key",
    "created",
    "absolute_deadline",
    "idle_timeout",
    "user",
    "generation",
    "epoch",
    "head",
    "data",
];

/// The same as the scripts have them.
#[cfg(test)]
pub(super) const FIELDS_IN_SCRIPTS: &str = fields!();
