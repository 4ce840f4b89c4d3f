//! The writes, as scripts that Redis runs in one step each.
//!
//! Each looks first and writes then, so that one which is refused has changed nothing. The line
//! `#!lua` is more than a comment: with it Redis refuses a script as a whole where memory or a
//! replica is missing, and never in the middle. That takes Redis 7.

use std::sync::OnceLock;

use redis::{Arg, Cmd};

use super::codec::fields;

pub(super) mod advance;

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

/// Writes a record: `ARGV[2]` is when Redis may delete it, `ARGV[3]` to `ARGV[6]` put it into its user's
/// list if there is one among the keys. At `from` is how many fields are removed; then come their names, and
/// fields with their values.
macro_rules! write {
    () => {
        concat!(
            list!(),
            "
local function write(key, users, from)
  if users then list(users, unpack(ARGV, 3, 6)) end
  local removed = tonumber(ARGV[from])
  if removed > 0 then redis.call('HDEL', key, unpack(ARGV, from + 1, from + removed)) end
  redis.call('HSET', key, unpack(ARGV, from + 1 + removed))
  redis.call('PEXPIRE', key, ARGV[2])
end
"
        )
    };
}

/// Leaves a mark (law 12) in the place of a record: until when it counts, when Redis may delete it, and what
/// became of the record.
macro_rules! mark {
    () => {
        "
local function mark(key, until_, expiry, ...)
  redis.call('DEL', key)
  redis.call('HSET', key, 'absolute_deadline', until_, 'format', ...)
  redis.call('PEXPIRE', key, expiry)
end
"
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
pub(super) static CREATE: Script = Script::new(concat!(
    "#!lua",
    shared!(),
    write!(),
    "
if live_at(KEYS[1]) then return 1 end
redis.call('DEL', KEYS[1])
write(KEYS[1], KEYS[2], 9)
return ''
"
));

/// Answers nothing if the record is gone, the record if it has changed, else under which name the
/// user's list had it.
pub(super) static REPLACE: Script = Script::new(concat!(
    "#!lua",
    shared!(),
    write!(),
    unchanged!(),
    "
write(KEYS[1], KEYS[2], 9)
return r[4] or ''
"
));

/// Answers as [`REPLACE`], and 1 if the new key is taken. `ARGV[9]` and `ARGV[10]` are about the mark that it
/// leaves, `ARGV[11]` is the new key as the mark has it.
pub(super) static RENEW: Script = Script::new(concat!(
    "#!lua",
    shared!(),
    write!(),
    mark!(),
    unchanged!(),
    "
if live_at(KEYS[2]) then return 1 end
mark(KEYS[1], ARGV[9], ARGV[10], 'moved', 'key', ARGV[11])
redis.call('DEL', KEYS[2])
write(KEYS[2], KEYS[3], 12)
return r[4] or ''
"
));

/// Answers nothing if the record is gone, 1 if it lives as long as it should, and 0 if it is damaged. It needs
/// no memory worth the word, so a server that is full takes it.
pub(super) static TOUCH: Script = Script::new(concat!(
    "#!lua flags=allow-oom",
    shared!(),
    "
local r = redis.call('HMGET', KEYS[1], 'head', 'absolute_deadline', 'epoch', 'format')
if r[4] == 'moved' or r[4] == 'ended' or not live(r[1], r[2], r[3]) then return false end
local idle, rest = string.match(r[1] or '', '^(%d+)( %d+ .*)$')
local absolute = tonumber(r[2] or '')
if not (idle and absolute) then return 0 end
local to = math.min(tonumber(ARGV[2]), absolute)
if to > tonumber(idle) then
  redis.call('HSET', KEYS[1], 'head', string.format('%.0f%s', to, rest))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', to - now + tonumber(ARGV[3])))
end
return 1
"
));

/// Answers where the record went, if a mark says so; whose the session was and under which name that user's
/// list has it, if it ended now; else nothing. It takes no more memory than there was, so a server that is full
/// takes it.
pub(super) static DESTROY: Script = Script::new(concat!(
    "#!lua flags=allow-oom",
    shared!(),
    mark!(),
    "
local r = redis.call('HMGET', KEYS[1],
  'head', 'absolute_deadline', 'epoch', 'format', 'key', 'user', 'listed')
if r[4] == 'moved' or r[4] == 'ended' then
  return live(r[1], r[2], r[3]) and r[4] == 'moved' and r[5]
end
redis.call('DEL', KEYS[1])
if not (r[1] or r[2] or r[3]) then return false end
mark(KEYS[1], ARGV[2], ARGV[3], 'ended')
return {r[6], r[7]}
"
));

/// Does nothing. As a script that may write, it is refused where the others would be: by a replica, and by a
/// server without memory or with a disk that fails.
pub(super) static PING: Script = Script::new(
    "#!lua
return ''
",
);

/// Puts a session that is about to be written into its user's list, on another server.
pub(super) static LIST: Script = Script::new(concat!(
    "#!lua",
    shared!(),
    list!(),
    "
list(KEYS[1], unpack(ARGV, 2, 5))
return ''
"
));

/// Tries every command that the writes need, and leaves nothing behind: a right that is missing is
/// told when the store is opened.
pub(super) static PROBE: Script = Script::new(
    "#!lua
redis.call('HSET', KEYS[1], 'probe', '1')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('HGET', KEYS[1], 'probe')
redis.call('HMGET', KEYS[1], 'probe')
redis.call('HDEL', KEYS[1], 'none')
redis.call('DEL', KEYS[1])
return ''
",
);

/// The same for the lists of users.
pub(super) static PROBE_LIST: Script = Script::new(
    "#!lua
redis.call('ZADD', KEYS[1], 1, 'probe')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 0)
redis.call('ZREM', KEYS[1], 'probe')
redis.call('DEL', KEYS[1])
return ''
",
);

/// A script, and the hash that servers know it by.
pub(super) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    /// A call by hash, which the server refuses if it does not have the script yet.
    pub(super) fn call(&self, n_keys: usize) -> Cmd {
        // As many arguments as a whole record has; a few bytes more than its header.
        self.call_of(n_keys, 48, 1024)
    }

    /// The same, with room for so many arguments and bytes.
    pub(super) fn call_of(&self, n_keys: usize, arguments: usize, bytes: usize) -> Cmd {
        let hash = self.hash.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned());
        let mut command = Cmd::with_capacity(arguments, bytes);
        command.arg("EVALSHA").arg(hash).arg(n_keys);
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
