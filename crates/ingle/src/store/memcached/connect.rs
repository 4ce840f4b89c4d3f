//! The servers: which one has a key, their connections, a time limit for each call, and what each says of
//! itself.
//!
//! It knows no state of an item.
//!
//! A call has a connection for itself. Only one that was answered goes back; a call that failed,
//! came too late or was dropped on the way closes its connection, so that nobody is ever given an
//! answer that somebody else did not wait for (the lesson of CVE-2023-28858).

use std::{
    fmt, io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::{
    config::{Address, MemcachedConfig, claim},
    error::{
        Cause, Failure, config, evicts, no_answer, no_cas, no_connection, no_randomness,
        not_memcached, small_items, too_old,
    },
    wire::{Command, Connection, Fault, Reply},
};
use crate::{
    clock::Timestamp,
    data::Limits,
    deadline::timeout_at,
    id::Key,
    record::Op,
    store::{Warning, floor::pulse::Pulse},
};

/// How many connections one process has to one server.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// How long a call may take, the wait for a connection included. Whoever calls the store usually
/// gives up earlier.
pub(super) const CALL_TIME: Duration = Duration::from_secs(5);

/// Whoever gives a call up after so long a wait tells that the server is silent. Sooner, it tells nothing.
const SILENCE_MAX: Duration = Duration::from_millis(300);

/// How long a connection may take to be made.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(2);

/// The largest item where the server does not say it: its own default.
const ITEM_BYTES_DEFAULT: usize = 1024 * 1024;

/// What the header of a record takes at most, beside the data.
const HEADER_BYTES_MAX: usize = 4096;

/// What an item takes beside key and value: 59 bytes in memcached 1.6.18.
const ITEM_OVERHEAD: usize = 128;

/// All servers of a store, and what the names of its items begin with.
pub(super) struct Servers {
    servers: Vec<Server>,
    prefix: String,
}

impl Servers {
    /// Asks each server whether it can be used.
    pub(super) async fn open(settings: MemcachedConfig) -> Result<Self, Cause> {
        let addresses = settings.addresses().map_err(|problem| config(&problem))?;
        let mut servers = Vec::new();
        for address in addresses {
            servers.push(Server::open(address, &settings.prefix).await?);
        }
        Ok(Self { servers, prefix: settings.prefix })
    }

    /// Asks the server that has the key.
    pub(super) async fn ask(&self, key: &Key, command: Command<'_>) -> Result<Reply, Failure> {
        self.of(key)?.ask(&format!("{}:{key}", self.prefix), command).await
    }

    /// The value under a key, and its token.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<(Vec<u8>, u64)>, Failure> {
        match self.ask(key, Command::Get).await? {
            Reply::Value { value, token } => Ok(Some((value, token))),
            Reply::NotFound => Ok(None),
            // Whatever that is, it does not say that there is nothing.
            Reply::Done { .. } | Reply::Exists => {
                Err(Failure::of(Fault::Garbled, &self.of(key)?.name))
            }
        }
    }

    /// The time by the clock of the server that has the key, in seconds since 1970.
    pub(super) fn now_at(&self, key: &Key) -> Result<u64, Failure> {
        Ok(self.of(key)?.now())
    }

    /// What the servers are set up wrong for.
    pub(super) async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Failure> {
        let began = Instant::now();
        let mut warnings = Vec::new();
        for server in &self.servers {
            warnings.extend(server.check(now.after(began.elapsed())).await?);
        }
        Ok(warnings)
    }

    /// Whether all servers answer.
    pub(super) async fn ping(&self) -> Result<(), Failure> {
        for server in &self.servers {
            server.ping().await?;
        }
        Ok(())
    }

    fn of(&self, key: &Key) -> Result<&Server, Failure> {
        let server = match self.servers.as_slice() {
            [only] => Some(only),
            servers => servers.iter().max_by_key(|server| claim(&server.name, key)),
        };
        server.ok_or_else(|| Failure::unsent(config("names no server")))
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, prefix } = self;
        f.debug_struct("Servers").field("servers", servers).field("prefix", prefix).finish()
    }
}

/// One server.
struct Server {
    /// As in messages, and as what claims keys.
    name: String,
    address: Address,
    idle: Mutex<Vec<Connection>>,
    pulse: Pulse,
    /// How often the process had stood still when that was looked at last.
    stops: AtomicU64,
    turns: Semaphore,
    /// The number of the next question.
    next: AtomicU64,
    facts: Facts,
}

/// What a server said when the store was opened.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// How many items it has thrown out for lack of memory.
    evictions: u64,
    /// How many bytes an item may have.
    item_bytes_max: usize,
    /// The server's clock, in seconds since 1970, at this instant of ours.
    clock: (u64, Instant),
}

impl Facts {
    fn warnings(&self, server: &str) -> Vec<Warning> {
        let evicts = (self.evictions > 0).then(|| evicts(server, self.evictions));
        let max = self.item_bytes_max;
        let small = (max < Limits::default().bytes_max + HEADER_BYTES_MAX)
            .then(|| small_items(server, max));
        evicts.into_iter().chain(small).collect()
    }
}

/// A connection in the hands of a call.
struct Lent<'a> {
    server: &'a Server,
    /// None once it went back.
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if self.connection.is_some() {
            // One that failed a call is closed here, and tells that the others may be no better.
            self.server.idle().clear();
        }
    }
}

/// A question that waits for its answer.
struct Asking<'a, 'b> {
    lent: &'a mut Lent<'b>,
    since: Instant,
    is_over: bool,
}

impl Drop for Asking<'_, '_> {
    fn drop(&mut self) {
        if !self.is_over && self.since.elapsed() < SILENCE_MAX {
            // The caller has gone. Its own connection is closed, and nothing is known of the others.
            self.lent.connection = None;
        }
    }
}

impl Server {
    /// Asks a server whether it can be used.
    async fn open(address: Address, prefix: &str) -> Result<Self, Cause> {
        let facts =
            Facts { evictions: 0, item_bytes_max: ITEM_BYTES_DEFAULT, clock: (0, Instant::now()) };
        let mut server = Self {
            name: address.to_string(),
            address,
            idle: Mutex::default(),
            pulse: Pulse::start(),
            stops: AtomicU64::new(0),
            turns: Semaphore::new(CONNECTIONS_MAX),
            next: AtomicU64::new(1),
            facts,
        };
        let version = server.version().await?;
        server.facts = server.ask_facts().await.map_err(|failure| failure.cause)?;
        for warning in server.facts.warnings(&server.name) {
            tracing::warn!("{warning}");
        }
        server.try_out(prefix, version).await?;
        Ok(server)
    }

    /// Asks one question about a key.
    async fn ask(&self, key: &str, command: Command<'_>) -> Result<Reply, Failure> {
        if let Command::Add { value, .. } | Command::Cas { value, .. } = command {
            self.check_size(key, value)?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let question = command.encode(key, number);
        let value_bytes_max = self.facts.item_bytes_max;
        self.call(async |connection: &mut Connection| {
            connection.ask(&question, number, value_bytes_max).await
        })
        .await
    }

    /// Whether it answers at all.
    async fn ping(&self) -> Result<(), Failure> {
        let ask = async |connection: &mut Connection| {
            let line = connection.ask_line("mn\r\n").await?;
            if line == "MN" { Ok(()) } else { Err(Fault::Garbled) }
        };
        self.call(ask).await
    }

    /// The time by the server's clock, in seconds since 1970.
    fn now(&self) -> u64 {
        let (then, at) = self.facts.clock;
        then.saturating_add(at.elapsed().as_secs())
    }

    /// memcached that cannot store an item deletes the one that is there: what is too large must
    /// not even be tried.
    fn check_size(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        let (bytes, max) = (value.len() + key.len() + ITEM_OVERHEAD, self.facts.item_bytes_max);
        if bytes <= max { Ok(()) } else { Err(Failure::too_large(&self.name, bytes, max)) }
    }

    /// Makes a call on a connection of its own.
    async fn call<T>(
        &self,
        ask: impl AsyncFnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let until = Instant::now() + CALL_TIME;
        let sent = AtomicBool::new(false);
        let call = async {
            let turn = self.turns.acquire().await;
            let _turn = turn.map_err(|_| self.silent("the store was closed"))?;
            let mut lent = self.lend().await?;
            sent.store(true, Ordering::Relaxed);
            let mut asking = Asking { lent: &mut lent, since: Instant::now(), is_over: false };
            let Some(connection) = &mut asking.lent.connection else {
                return Err(self.silent("there is no connection"));
            };
            let answer = ask(connection).await;
            asking.is_over = true;
            drop(asking);
            let answer = answer.map_err(|fault| Failure::of(fault, &self.name))?;
            self.idle().extend(lent.connection.take());
            Ok(answer)
        };
        match timeout_at(until, call).await {
            Ok(answer) => answer,
            Err(_) if sent.load(Ordering::Relaxed) => {
                Err(Failure::unanswered(&self.name, "it took longer than five seconds"))
            }
            Err(_) => Err(self.silent("there was no free connection for five seconds")),
        }
    }

    async fn lend(&self) -> Result<Lent<'_>, Failure> {
        let stops = self.pulse.stops();
        if self.stops.swap(stops, Ordering::AcqRel) != stops {
            self.idle().clear();
        }
        while let Some(connection) = { self.idle().pop() } {
            if connection.is_quiet() {
                return Ok(Lent { server: self, connection: Some(connection) });
            }
        }
        let Address { host, port } = &self.address;
        let opened = tokio::time::timeout(CONNECT_TIME, Connection::open(host, *port)).await;
        let error = match opened {
            Ok(Ok(connection)) => return Ok(Lent { server: self, connection: Some(connection) }),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no connection within two seconds"),
        };
        Err(Failure::unsent(no_connection(&self.name, &error)))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list of connections is never half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that waited in vain and sent nothing.
    fn silent(&self, message: &'static str) -> Failure {
        Failure::unsent(no_answer(&self.name, message))
    }

    /// The version that it says it has. This is the first question, so it tells what listens there.
    async fn version(&self) -> Result<String, Cause> {
        let ask = async |connection: &mut Connection| connection.ask_line("version\r\n").await;
        let line = self.call(ask).await.map_err(|failure| match failure {
            Failure { is_unknown_answer: true, .. } => not_memcached(&self.name),
            Failure { cause, .. } => cause,
        })?;
        let version = line.strip_prefix("VERSION ").ok_or_else(|| not_memcached(&self.name))?;
        let of_version = |c: &char| c.is_ascii_alphanumeric() || ".-_+".contains(*c);
        Ok(version.chars().take_while(of_version).take(40).collect())
    }

    /// What it is set up wrong for now.
    async fn check(&self, now: Timestamp) -> Result<Vec<Warning>, Failure> {
        let began = Instant::now();
        let facts = self.ask_facts().await?;
        let answered = now.after(began.elapsed());
        let theirs = facts.clock.0.saturating_mul(1000);
        let whose = format!("memcached at {}", self.name);
        let clock = Warning::of_clocks(&whose, now, answered, Timestamp::from_millis(theirs));
        let mut warnings = facts.warnings(&self.name);
        warnings.extend(clock.filter(|_| theirs > 0));
        Ok(warnings)
    }

    async fn ask_facts(&self) -> Result<Facts, Failure> {
        let ask = async |connection: &mut Connection| {
            let settings = connection.ask_stats("stats settings\r\n").await?;
            Ok((settings, connection.ask_stats("stats\r\n").await?))
        };
        let (settings, stats) = self.call(ask).await?;
        let number = |stats: &[(String, String)], wanted: &str| {
            let found = stats.iter().find(|(name, _)| name == wanted);
            found.and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let item_bytes_max = number(&settings, "item_size_max").unwrap_or(0);
        let item_bytes_max = usize::try_from(item_bytes_max).unwrap_or(0);
        Ok(Facts {
            evictions: number(&stats, "evictions").unwrap_or(0),
            item_bytes_max: if item_bytes_max == 0 { ITEM_BYTES_DEFAULT } else { item_bytes_max },
            clock: (number(&stats, "time").unwrap_or(0), Instant::now()),
        })
    }

    /// Does once, on a key of nobody's, what the store is built on.
    async fn try_out(&self, prefix: &str, version: String) -> Result<(), Cause> {
        let too_old = || too_old(&self.name, &version);
        let random = Op::random().map_err(|error| no_randomness(&error))?;
        let key = format!("{prefix}:probe-{:016x}", random.to_bits());
        let ask = async |command| match self.ask(&key, command).await {
            // An answer without what was asked for, or a word that it does not know.
            Err(Failure { is_unknown_answer: true, .. }) => Err(too_old()),
            answer => answer.map_err(|failure| failure.cause),
        };
        let add = Command::Add { value: b"1", exptime: 60 };
        let first = match ask(add).await? {
            Reply::Done { token: 0 } => return Err(no_cas(&self.name)),
            Reply::Done { token } => token,
            _ => return Err(too_old()),
        };
        let cas = Command::Cas { value: b"2", exptime: 60, token: first };
        let Reply::Done { token: second } = ask(cas).await? else { return Err(too_old()) };
        let stale = ask(cas).await?;
        let found = ask(Command::Get).await?;
        let deleted = ask(Command::Delete { token: second }).await?;
        let nothing = ask(Command::Get).await?;
        let expected = Reply::Value { value: b"2".to_vec(), token: second };
        let all_well = stale == Reply::Exists
            && found == expected
            && matches!(deleted, Reply::Done { .. })
            && nothing == Reply::NotFound;
        if all_well { Ok(()) } else { Err(too_old()) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}
