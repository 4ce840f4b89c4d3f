//! A store, the proxies that lie between it and the app, and the processes of the app.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use testbed::{
    Program, Server, firestore, http, memcached, postgres, postgres::Postgres, proxy::Proxy, redis,
};

/// How long one question may take whether a process answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Firestore,
    /// Debian's, on which a script commits.
    Redis,
    /// The newest, which commits by a command of its own.
    Valkey,
    Memcached,
    Postgres,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Sqlite, Self::Redis, Self::Valkey, Self::Memcached, Self::Postgres, Self::Firestore];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Firestore => "firestore",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Memcached => "memcached",
            Self::Postgres => "postgres",
        }
    }

    /// Whether its server can be killed and has all that it acknowledged when it is started again.
    /// The emulator of Firestore and memcached forget everything.
    pub(crate) fn survives_its_server(self) -> bool {
        matches!(self, Self::Redis | Self::Valkey | Self::Postgres)
    }

    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Valkey => redis::VALKEY.is_installed(),
            Self::Postgres => postgres::is_installed(),
            _ => true,
        }
    }
}

/// What keeps the sessions.
#[derive(Debug)]
enum Store {
    Folder(TempDir),
    Server(Server),
    Postgres(Postgres),
}

/// Stopped when this is dropped: the app first, then what is between, then the store.
#[derive(Debug)]
pub(crate) struct Place {
    apps: Vec<Server>,
    /// One for each process of the app, so that one of them alone can be cut off. None before a
    /// folder.
    pub(crate) proxies: Vec<Proxy>,
    store: Store,
}

impl Place {
    /// Starts a store and so many processes of the app on it.
    pub(crate) async fn start(kind: Kind, processes: usize) -> Result<Self> {
        let store = match kind {
            Kind::Sqlite => Store::Folder(TempDir::new().context("could not make a folder")?),
            Kind::Firestore => Store::Server(Server::start(firestore::hidane_program()?)?),
            Kind::Redis => Store::Server(Server::start(redis::program(&redis::SYNCED)?)?),
            Kind::Valkey => Store::Server(Server::start(redis::VALKEY.program(&redis::SYNCED)?)?),
            Kind::Memcached => Store::Server(Server::start(memcached::program(&[]))?),
            Kind::Postgres => Store::Postgres(Postgres::start(&[])),
        };
        let mut place = Self { apps: Vec::new(), proxies: Vec::new(), store };
        if let Some(server) = place.store_address() {
            if kind == Kind::Postgres {
                migrate(server)?;
            }
            for _ in 0..processes {
                place.proxies.push(Proxy::start(server).await?);
            }
        }
        for number in 0..processes {
            place.apps.push(Server::start(app(kind, &place.way(number))?)?);
        }
        Ok(place)
    }

    /// What the process of this number is told of the way to the store.
    fn way(&self, number: usize) -> String {
        match (&self.store, self.proxies.get(number)) {
            (Store::Folder(folder), _) => folder.path().join("sessions").display().to_string(),
            (_, Some(proxy)) => proxy.address.to_string(),
            (_, None) => String::new(),
        }
    }

    fn store_address(&self) -> Option<SocketAddr> {
        match &self.store {
            Store::Folder(_) => None,
            Store::Server(server) => Some(server.address()),
            Store::Postgres(server) => Some(server.address()),
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.apps.iter().map(Server::address).collect()
    }

    pub(crate) fn pause_store(&self) {
        match &self.store {
            Store::Folder(_) => {}
            Store::Server(server) => server.pause(),
            Store::Postgres(server) => server.pause(),
        }
    }

    pub(crate) fn resume_store(&self) {
        match &self.store {
            Store::Folder(_) => {}
            Store::Server(server) => server.resume(),
            Store::Postgres(server) => server.resume(),
        }
    }

    pub(crate) fn kill_store(&mut self) {
        match &mut self.store {
            Store::Folder(_) => {}
            Store::Server(server) => server.kill(),
            Store::Postgres(server) => server.kill(),
        }
    }

    pub(crate) fn restart_store(&mut self) {
        match &mut self.store {
            Store::Folder(_) => {}
            Store::Server(server) => server.restart(),
            Store::Postgres(server) => server.restart(),
        }
    }

    /// A process of the app, counted round.
    pub(crate) fn app(&mut self, number: usize) -> Option<&mut Server> {
        let n = self.apps.len().max(1);
        self.apps.get_mut(number % n)
    }

    /// Keeps what the processes of the app said, for those who look into what is broken.
    pub(crate) fn write_logs(&self, folder: &Path, name: &str) -> Result<()> {
        for (number, app) in self.apps.iter().enumerate() {
            let file = folder.join(format!("{name}.app-{number}.log"));
            fs::write(file, app.log()).context("could not write the app's log")?;
        }
        Ok(())
    }
}

/// The app, with the lab, on the store at the end of this way.
fn app(kind: Kind, way: &str) -> Result<Program> {
    let greetings = greetings()?;
    let url = match kind {
        Kind::Sqlite => format!("sqlite://{way}"),
        Kind::Firestore => "firestore://torture/sessions".to_owned(),
        Kind::Redis | Kind::Valkey => format!("redis://{way}"),
        Kind::Memcached => format!("memcached://{way}"),
        Kind::Postgres => format!("postgres://postgres@{way}/postgres"),
    };
    let emulator = (kind == Kind::Firestore).then(|| way.to_owned());
    let command = move |address: SocketAddr| {
        let mut command = bare(&greetings);
        command.envs(emulator.iter().map(|way| ("FIRESTORE_EMULATOR_HOST", way)));
        command.arg("--lab").arg("--store").arg(&url).arg("--listen").arg(address.to_string());
        command
    };
    Ok(Program::new("greetings", command, lives))
}

/// The program without what the environment says of stores and ports. `RUST_LOG` is let through; without
/// it, requests are no lines of the log.
fn bare(greetings: &Path) -> Command {
    let mut command = Command::new(greetings);
    for name in ["PORT", "INGLE_STORE", "FIRESTORE_EMULATOR_HOST"] {
        command.env_remove(name);
    }
    command.env("RUST_LOG", env::var_os("RUST_LOG").unwrap_or_else(|| "warn".into()));
    command
}

/// Makes the table.
fn migrate(server: SocketAddr) -> Result<()> {
    let mut migrate = bare(&greetings()?);
    migrate.arg("--store").arg(format!("postgres://postgres@{server}/postgres")).arg("--migrate");
    let output = migrate.output().context("greetings could not be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "greetings could not make its table: {said}");
    Ok(())
}

/// Asks for what touches no session.
fn lives(address: SocketAddr) -> bool {
    http::status(address, "/healthz", PATIENCE) == Some(200)
}

/// Where cargo puts the programs of the workspace.
fn greetings() -> Result<PathBuf> {
    let own = env::current_exe().context("could not find this program's file")?;
    let path = own.with_file_name("greetings");
    ensure!(path.is_file(), "greetings is not built: run `cargo xtask torture`, which builds it");
    Ok(path)
}
