//! Where sessions are kept while an app is measured: each kind of store, with its server and its folder.
//!
//! Each server runs as it comes, but for what would make it slower or safer than what it is compared
//! with: Redis writes nothing to the disk, PostgreSQL syncs every commit.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use testbed::{Server, firestore, memcached, postgres, proxy::Proxy, redis};

use crate::{machine, usage::Tree};

/// How much later the answers of a server come that is not on this machine.
const AWAY: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Sqlite,
    /// Debian's, on which a script commits.
    Redis,
    /// The newest ones, which commit by a command of their own.
    Valkey,
    NewRedis,
    Memcached,
    Postgres,
    Firestore,
    /// The same, with a network between.
    FirestoreAway,
}

impl Place {
    pub(crate) const ALL: [Self; 9] = [
        Self::Memory,
        Self::Sqlite,
        Self::Redis,
        Self::Valkey,
        Self::NewRedis,
        Self::Memcached,
        Self::Postgres,
        Self::Firestore,
        Self::FirestoreAway,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "a local file",
            Self::Redis => "Redis",
            Self::Valkey => redis::VALKEY.name,
            Self::NewRedis => redis::NEW_REDIS.name,
            Self::Memcached => "memcached",
            Self::Postgres => "PostgreSQL",
            Self::Firestore => "Firestore",
            Self::FirestoreAway => "Firestore, 5 ms away",
        }
    }

    /// What of it decides about speed.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Memory => "the process's own memory",
            Self::Sqlite => "SQLite or a log on this machine's disk",
            Self::Redis | Self::Valkey | Self::NewRedis => {
                "as it comes, with no append-only file and no snapshots"
            }
            Self::Memcached => "as it comes",
            Self::Postgres => "`fsync` and `synchronous_commit` on",
            Self::Firestore => "an emulator of Firestore, which keeps everything in memory",
            Self::FirestoreAway => "the same behind a proxy that adds 5 ms to each call",
        }
    }

    /// Starts what it needs, or says what is missing.
    pub(crate) async fn start(self) -> Result<Option<Running>> {
        let program = match self {
            Self::Memory | Self::Sqlite => None,
            Self::Redis => Some(redis::program(&[])),
            Self::Valkey | Self::NewRedis => {
                let Some(edition) = self.edition().filter(|edition| edition.is_installed()) else {
                    println!("{} is not installed: there is no table for it.", self.name());
                    return Ok(None);
                };
                Some(edition.program(&[]))
            }
            Self::Memcached => Some(Ok(memcached::program(&[]))),
            Self::Postgres if !postgres::is_installed() => {
                println!("PostgreSQL is not installed: there is no table for it.");
                return Ok(None);
            }
            Self::Postgres => Some(postgres::program()),
            Self::Firestore | Self::FirestoreAway => Some(firestore::hidane_program()),
        };
        let server = program.transpose()?.map(Server::start).transpose()?;
        let distance = match &server {
            Some(server) if self == Self::FirestoreAway => {
                let distance = Proxy::start(server.address()).await?;
                distance.set_distance(AWAY);
                Some(distance)
            }
            _ => None,
        };
        let folder = TempDir::new().context("could not make a folder")?;
        Ok(Some(Running { place: self, server, distance, folder }))
    }

    /// The server of Redis that is not Debian's.
    fn edition(self) -> Option<redis::Edition> {
        match self {
            Self::Valkey => Some(redis::VALKEY),
            Self::NewRedis => Some(redis::NEW_REDIS),
            _ => None,
        }
    }

    /// Whether it is a server of Redis, of any version.
    fn is_redis(self) -> bool {
        self == Self::Redis || self.edition().is_some()
    }

    /// The name, and of Redis the version.
    pub(crate) fn title(self) -> String {
        let version = self.is_redis().then(|| self.version()).flatten();
        version.unwrap_or_else(|| self.name().to_owned())
    }

    /// Whether apps keep their sessions in Firestore there.
    pub(crate) fn is_firestore(self) -> bool {
        matches!(self, Self::Firestore | Self::FirestoreAway)
    }

    /// The server's version, where it has one.
    fn version(self) -> Option<String> {
        let first_line = |program: &Path| {
            let printed = machine::printed(Command::new(program).arg("--version"))?;
            printed.lines().next().map(str::to_owned)
        };
        match self {
            Self::Memory | Self::Sqlite => None,
            Self::Redis => {
                let printed = first_line(Path::new(redis::PACKAGE.1))?;
                let version = printed.split_whitespace().find_map(|word| word.strip_prefix("v="));
                Some(format!("Redis {}", version.unwrap_or(&printed)))
            }
            Self::Valkey | Self::NewRedis => Some(self.name().to_owned()),
            Self::Memcached => first_line(Path::new(memcached::NAME)),
            Self::Postgres => {
                let printed = first_line(&postgres::server_program().ok()?)?;
                let version = printed.split(' ').nth(2);
                Some(format!("PostgreSQL {}", version.unwrap_or(&printed)))
            }
            Self::Firestore | Self::FirestoreAway => {
                Some(format!("{} {}", firestore::HIDANE.0, firestore::HIDANE.1))
            }
        }
    }
}

/// A place that is ready. Its server ends when this is dropped, and its folder goes with it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) place: Place,
    server: Option<Server>,
    distance: Option<Proxy>,
    folder: TempDir,
}

impl Running {
    /// Where apps find the server.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let away = self.distance.as_ref().map(|distance| distance.address);
        away.or_else(|| self.server.as_ref().map(Server::address))
    }

    pub(crate) fn tree(&self) -> Option<Tree> {
        self.server.as_ref()?.pid().map(Tree)
    }

    /// The memory that a server of Redis has in use.
    pub(crate) fn redis_bytes(&self) -> Result<Option<f64>> {
        let Some(server) = self.server.as_ref().filter(|_| self.place.is_redis()) else {
            return Ok(None);
        };
        let info = redis::ask(server.address(), "INFO memory")?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let used = used.and_then(|used| used.trim().parse().ok());
        used.context("Redis did not tell its memory").map(Some)
    }

    /// What an app keeps its files in.
    pub(crate) fn folder(&self, app: &str) -> PathBuf {
        self.folder.path().join(app)
    }

    /// Bytes on the disk below the folder.
    pub(crate) fn disk_bytes(&self) -> u64 {
        bytes_below(self.folder.path())
    }

    /// With the server's version and settings, as in `Redis 8.0.2 (as it comes)`.
    pub(crate) fn described(&self) -> String {
        let settings = self.place.settings();
        match self.place.version() {
            Some(version) => format!("{version} ({settings})"),
            None => format!("{} ({settings})", self.place.name()),
        }
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(entry_of) if entry_of.is_dir() => bytes_below(&entry.path()),
        Ok(file) => file.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
