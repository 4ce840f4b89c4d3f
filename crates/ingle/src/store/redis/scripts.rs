//! The writes that are more than one command, as scripts that Redis runs in one step each.
//!
//! Each looks first and writes then, so that one which is refused has changed nothing. `swap.rs` says where one
//! does it the other way round. The line `#!lua` is more than a comment: with it Redis refuses a script as a
//! whole where memory or a replica is missing, and never in the middle. That takes Redis 7.
//!
//! A script compares whole strings. What is in them it does not know, but for how they begin.

use std::sync::OnceLock;

use redis::{Arg, Cmd};

pub(super) mod swap;

/// Puts a session into its user's list, and counts it: the time, `member`, until when it can live, what is
/// surely dead, and how long after the last deadline the list itself ends.
macro_rules! list {
    () => {
        "
local function list(users, size, now, member, deadline, dead, slack)
  local count = tonumber(redis.call('GET', size) or '') or 0
  count = count - redis.call('ZREMRANGEBYSCORE', users, '-inf', dead)
  count = count + redis.call('ZADD', users, deadline, member)
  local last = redis.call('ZRANGE', users, -1, -1, 'WITHSCORES')[2]
  local expiry = string.format('%.0f', math.max(tonumber(last) - now + slack, 1))
  redis.call('PEXPIRE', users, expiry)
  redis.call('SET', size, count, 'PX', expiry)
end
"
    };
}

/// Takes a session out of its user's list. Where nothing says how many there are, all stay: the list is made
/// anew when it is next read.
macro_rules! unlist {
    () => {
        "
local function unlist(users, size, member)
  local count = tonumber(redis.call('GET', size) or '')
  if not count or redis.call('ZREM', users, member) == 0 then return end
  if count == 1 then
    redis.call('SET', size, 0, 'PX', 1)
  else
    redis.call('SET', size, count - 1, 'KEEPTTL')
  end
end
"
    };
}

/// Tells those who listen on a channel that a session has ended. Where this user may not, or the server
/// cannot, nobody is told.
macro_rules! tell {
    ($channel:literal) => {
        concat!("redis.pcall('PUBLISH', ", $channel, ", KEYS[1])")
    };
}

/// A create or a replace that puts the session into its user's list: in the place of `ARGV[1]`, which is
/// empty if nothing may be there, it writes `ARGV[2]` for `ARGV[3]` milliseconds.
///
/// Answers 1 if it is done, else what is there.
pub(super) static JOIN: Script = Script::new(concat!(
    "#!lua",
    list!(),
    "
local found = redis.call('GET', KEYS[1])
if (found or '') ~= ARGV[1] then return found end
list(KEYS[2], KEYS[3], unpack(ARGV, 4, 8))
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"
));

/// In the place of `ARGV[1]` under the old key it leaves the mark `ARGV[2]` for `ARGV[3]` milliseconds (law 12);
/// in the place of `ARGV[4]` under the new one, which is empty if nothing may be there, it writes `ARGV[5]` for
/// `ARGV[6]`. It tells of that on the channel `ARGV[7]`.
///
/// Answers 1 if it is done; what is under the old key, if that is not as it should be; or what is under the new
/// one, in a list of one.
pub(super) static RENEW: Script = Script::new(concat!(
    "#!lua",
    list!(),
    "
local found = redis.call('GET', KEYS[1])
if found ~= ARGV[1] then return found end
local taken = redis.call('GET', KEYS[2])
if (taken or '') ~= ARGV[4] then return {taken} end
if KEYS[3] then list(KEYS[3], KEYS[4], unpack(ARGV, 8, 12)) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6])
",
    tell!("ARGV[7]"),
    "
return 1
"
));

/// Moves the idle deadline of a record to `ARGV[2]` at the time `ARGV[1]`, in its text, which Redis keeps for
/// `ARGV[3]` longer. It needs no memory worth the word, so a server that is full takes it.
///
/// Answers nothing if the record is gone, 1 if it lives as long as it should, and what is there if that does
/// not begin as this library writes it.
pub(super) static TOUCH: Script = Script::new(
    "#!lua flags=allow-oom
local found = redis.call('GET', KEYS[1])
if not found then return false end
local first, idle, second, absolute, rest =
  string.match(found, '^({\"format\":1,\"idle_deadline\":)(%d+)(,\"absolute_deadline\":)(%d+)(,.*)$')
if not first then return found end
local now, to = tonumber(ARGV[1]), ARGV[2]
if tonumber(idle) <= now or tonumber(absolute) <= now then return false end
if tonumber(to) > tonumber(absolute) then to = absolute end
if tonumber(to) > tonumber(idle) then
  local expiry = string.format('%.0f', tonumber(to) - now + tonumber(ARGV[3]))
  redis.call('SET', KEYS[1], first .. to .. second .. absolute .. rest, 'PX', expiry)
end
return 1
",
);

/// Leaves the mark `ARGV[1]` for `ARGV[2]` milliseconds in the place of what is there, unless that is a mark,
/// and tells of it on the channel `ARGV[3]`. It takes no more memory than there was, so a server that is full
/// takes it.
///
/// Answers what was there.
pub(super) static DESTROY: Script = Script::new(concat!(
    "#!lua flags=allow-oom
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
  if not string.find(found.err, 'WRONGTYPE') then return found end
  found = '?'
end
if found and not string.find(found, '^{\"moved_to\":') and not string.find(found, '^{\"ended\":') then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  ",
    tell!("ARGV[3]"),
    "
end
return found
",
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
    list!(),
    "
list(KEYS[1], KEYS[2], unpack(ARGV, 1, 5))
return ''
"
));

/// Takes a session out of its user's list: those members that have the score `ARGV[1]`, begin with `ARGV[2]`,
/// and came at `ARGV[3]` or before.
pub(super) static UNLIST: Script = Script::new(concat!(
    "#!lua",
    unlist!(),
    "
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[1], 'BYSCORE')) do
  local is_its = string.sub(member, 1, #ARGV[2]) == ARGV[2]
  local since = tonumber(string.sub(member, #ARGV[2] + 1))
  if is_its and since and since <= tonumber(ARGV[3]) then unlist(KEYS[1], KEYS[2], member) end
end
return ''
"
));

/// Takes the member `ARGV[1]` out of a user's list.
pub(super) static UNLIST_MEMBER: Script = Script::new(concat!(
    "#!lua",
    unlist!(),
    "
unlist(KEYS[1], KEYS[2], ARGV[1])
return ''
"
));

/// Answers how many members a user's list should have, and those that it has.
pub(super) static READ_LIST: Script = Script::new(
    "#!lua flags=no-writes
local count = tonumber(redis.call('GET', KEYS[2]) or '') or 0
return {count, redis.call('ZRANGE', KEYS[1], 0, -1)}
",
);

/// Puts sessions into a user's list that are missing there, and counts all anew: the time, how long after the
/// last deadline the list itself ends, how many more members it should have than it has, and then the deadline
/// of each session and its member.
///
/// Answers 1 if it is done, and 0 if that is not how many it lacks.
pub(super) static MEND_LIST: Script = Script::new(
    "#!lua
local count = tonumber(redis.call('GET', KEYS[2]) or '') or 0
if count - redis.call('ZCARD', KEYS[1]) ~= tonumber(ARGV[3]) then return '' end
for at = 4, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[at], ARGV[at + 1]) end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if not last then
  redis.call('SET', KEYS[2], 0, 'PX', 1)
  return ''
end
local expiry = string.format('%.0f', math.max(tonumber(last) - ARGV[1] + ARGV[2], 1))
redis.call('PEXPIRE', KEYS[1], expiry)
redis.call('SET', KEYS[2], redis.call('ZCARD', KEYS[1]), 'PX', expiry)
return ''
",
);

/// Tries every command that the writes need, and leaves nothing behind: a right that is missing is
/// told when the store is opened. For the millisecond that it stands, other processes read a dead mark.
pub(super) static PROBE: Script = Script::new(
    "#!lua
redis.call('SET', KEYS[1], '{\"ended\":true,\"until\":0}', 'PX', 1)
redis.call('GET', KEYS[1])
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
redis.call('ZCARD', KEYS[1])
redis.call('ZREM', KEYS[1], 'probe')
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
        self.call_of(n_keys, 16, 2048)
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
        let mut command = Cmd::with_capacity(16, 4096);
        command.arg("EVAL").arg(self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}
