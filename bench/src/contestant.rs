//! What is compared: greetings, on axum and on actix-web; apps on other session libraries; and the
//! same by hand. All have one page.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Program, Server, http, tools, tutorial};

use crate::{
    app,
    place::{Place, Running},
};

/// How long one question may take whether a process answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// The Firestore project, which an emulator makes when it is first named.
const PROJECT: &str = "benchmark";

/// Where the peers are built, in the workspace.
const PEERS: &str = "target/peers/release";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Ingle,
    /// Another session library.
    Peer,
    /// Code for this one page: a bound, and nobody's choice.
    Hand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One of the programs of this name: on axum, or on actix-web.
    Greetings(&'static str),
    /// A program of the peers' workspace, and the store that it is started with.
    Peer(&'static str, &'static str),
    Express,
    FlaskSession,
    /// As Google's tutorial says to start it: one worker, one request at a time.
    Tutorial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) by: By,
    kind: Kind,
}

/// Greetings on every store, first in each.
const fn greetings(place: Place) -> Contestant {
    Contestant { name: "ingle", place, by: By::Ingle, kind: Kind::Greetings("greetings") }
}

/// The same app on actix-web.
const fn on_actix(place: Place) -> Contestant {
    let kind = Kind::Greetings("greetings-actix");
    Contestant { name: "ingle, actix-web", place, by: By::Ingle, kind }
}

const fn peer(name: &'static str, place: Place, kind: Kind) -> Contestant {
    Contestant { name, place, by: By::Peer, kind }
}

const fn hand(name: &'static str, place: Place, store: &'static str) -> Contestant {
    Contestant { name, place, by: By::Hand, kind: Kind::Peer("peer-reference", store) }
}

const TOWER: &str = "peer-tower-sessions";
const TRANSACTIONS: &str = "transactions of the crate firestore";

const ALL: [Contestant; 34] = [
    greetings(Place::Memory),
    on_actix(Place::Memory),
    peer("tower-sessions", Place::Memory, Kind::Peer(TOWER, "memory")),
    hand("by hand, a map", Place::Memory, "memory"),
    greetings(Place::Sqlite),
    on_actix(Place::Sqlite),
    peer("tower-sessions, SQLite, synced", Place::Sqlite, Kind::Peer(TOWER, "sqlite-synced")),
    peer("tower-sessions, SQLite, not synced", Place::Sqlite, Kind::Peer(TOWER, "sqlite")),
    hand("by hand, a synced log", Place::Sqlite, "log"),
    greetings(Place::Redis),
    on_actix(Place::Redis),
    peer("tower-sessions", Place::Redis, Kind::Peer(TOWER, "redis")),
    peer("actix-session", Place::Redis, Kind::Peer("peer-actix-session", "redis")),
    peer("axum_session", Place::Redis, Kind::Peer("peer-axum-session", "redis")),
    peer("express-session", Place::Redis, Kind::Express),
    peer("Flask-Session", Place::Redis, Kind::FlaskSession),
    hand("by hand, one script", Place::Redis, "redis"),
    greetings(Place::Valkey),
    peer("tower-sessions", Place::Valkey, Kind::Peer(TOWER, "redis")),
    peer("actix-session", Place::Valkey, Kind::Peer("peer-actix-session", "redis")),
    peer("axum_session", Place::Valkey, Kind::Peer("peer-axum-session", "redis")),
    hand("by hand, one script", Place::Valkey, "redis"),
    greetings(Place::NewRedis),
    peer("tower-sessions", Place::NewRedis, Kind::Peer(TOWER, "redis")),
    peer("actix-session", Place::NewRedis, Kind::Peer("peer-actix-session", "redis")),
    peer("axum_session", Place::NewRedis, Kind::Peer("peer-axum-session", "redis")),
    hand("by hand, one script", Place::NewRedis, "redis"),
    greetings(Place::Memcached),
    greetings(Place::Postgres),
    peer("tower-sessions", Place::Postgres, Kind::Peer(TOWER, "postgres")),
    greetings(Place::Firestore),
    peer(TRANSACTIONS, Place::Firestore, Kind::Peer("peer-firestore", PROJECT)),
    greetings(Place::FirestoreAway),
    peer(TRANSACTIONS, Place::FirestoreAway, Kind::Peer("peer-firestore", PROJECT)),
];

/// The app of Google's tutorial, which needs Python.
const TUTORIAL: Contestant = peer("the tutorial's app", Place::Firestore, Kind::Tutorial);

/// All of one store.
pub(crate) fn all_on(place: Place) -> impl Iterator<Item = Contestant> {
    ALL.into_iter().chain([TUTORIAL]).filter(move |one| one.place == place)
}

/// Those that are installed, on one store. A line says which are not.
pub(crate) fn on(place: Place) -> Vec<Contestant> {
    let mut found = Vec::new();
    for contestant in all_on(place) {
        match contestant.program() {
            Ok(program) if program.is_file() => found.push(contestant),
            _ => {
                println!("{} on {} is not installed, and left out.", contestant.name, place.name())
            }
        }
    }
    found
}

impl Contestant {
    /// Greetings on a store.
    pub(crate) const fn ingle(place: Place) -> Self {
        greetings(place)
    }

    /// Whether two processes of it share their sessions.
    pub(crate) fn is_shared(&self) -> bool {
        self.place != Place::Memory && self.kind != Kind::Peer("peer-reference", "log")
    }

    /// A route that touches no session.
    pub(crate) fn plain(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Greetings(_) => Some("/healthz"),
            Kind::Tutorial => None,
            Kind::Peer(..) | Kind::Express | Kind::FlaskSession => Some("/plain"),
        }
    }

    /// The file that is run.
    fn program(&self) -> Result<PathBuf> {
        Ok(match self.kind {
            Kind::Greetings(name) => app::beside(name)?,
            Kind::Peer(name, _) => workspace().join(PEERS).join(name),
            Kind::Express => tools::folder().join("express/app.mjs"),
            Kind::FlaskSession => tools::folder().join("flask-session/bin/gunicorn"),
            Kind::Tutorial => tutorial::environment().join("bin/gunicorn"),
        })
    }

    /// Starts a process of it. `server` is where it finds the store's server, which may be a proxy.
    pub(crate) fn start(&self, running: &Running, server: Option<SocketAddr>) -> Result<Server> {
        let url = self.url(running, server)?;
        match self.kind {
            Kind::Greetings(name) => {
                let host = server.map(|server| ("FIRESTORE_EMULATOR_HOST", server.to_string()));
                let host = host.filter(|_| self.place.is_firestore());
                if self.place == Place::Postgres {
                    app::migrate(&url)?;
                }
                Server::start(app::in_lab(name, url, host.into_iter().collect())?)
            }
            Kind::Tutorial => {
                let server = server.context("it needs a server")?;
                Server::start(tutorial::program(server, PROJECT, "tutorial", 1, 1)?)
            }
            Kind::Peer(_, store) => self.start_peer(move |command, listen| {
                command.arg(listen.to_string()).arg(store).arg(&url);
                command.envs(server.map(|server| ("FIRESTORE_EMULATOR_HOST", server.to_string())));
            }),
            Kind::Express => {
                let file = self.program()?;
                let node = move |listen: SocketAddr| {
                    let mut command = Command::new("node");
                    command.arg(&file).arg(listen.port().to_string()).arg(&url);
                    command.env("NODE_ENV", "production");
                    command
                };
                Server::start(Program::new(self.name, node, serves_plain))
            }
            Kind::FlaskSession => self.start_peer(move |command, listen| {
                command.arg("--no-control-socket").args(["--threads", "32", "--bind"]);
                command.arg(listen.to_string()).arg("app:app").env("REDIS_URL", &url);
                command.current_dir(workspace().join("bench/peers/flask-session"));
                command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("GUNICORN_CMD_ARGS");
            }),
        }
    }

    fn start_peer(
        &self,
        arguments: impl Fn(&mut Command, SocketAddr) + Send + Sync + 'static,
    ) -> Result<Server> {
        let program = self.program()?;
        let command = move |listen: SocketAddr| {
            let mut command = Command::new(&program);
            arguments(&mut command, listen);
            command
        };
        Server::start(Program::new(self.name, command, serves_plain))
    }

    /// How it is told where its sessions are.
    fn url(&self, running: &Running, server: Option<SocketAddr>) -> Result<String> {
        let server = || server.context("the store has no server");
        let file = || running.folder(&self.name.replace([' ', ','], "-"));
        Ok(match (self.place, self.kind) {
            (Place::Memory, _) => "memory:".to_owned(),
            (Place::Sqlite, Kind::Greetings(_)) => format!("sqlite:{}", slashed(&file())),
            (Place::Sqlite, _) => file().display().to_string(),
            (Place::Redis | Place::Valkey | Place::NewRedis, _) => format!("redis://{}", server()?),
            (Place::Memcached, _) => format!("memcached://{}", server()?),
            (Place::Postgres, _) => format!("postgres://postgres@{}/postgres", server()?),
            (Place::Firestore | Place::FirestoreAway, Kind::Greetings(_)) => {
                format!("firestore://{PROJECT}/ingle")
            }
            (Place::Firestore | Place::FirestoreAway, _) => "peer".to_owned(),
        })
    }
}

fn slashed(path: &Path) -> String {
    format!("//{}", path.display())
}

fn serves_plain(address: SocketAddr) -> bool {
    http::status(address, "/plain", PATIENCE) == Some(200)
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// The version of a package that the peers are built with.
pub(crate) fn peer_version(package: &str) -> Result<String> {
    let lock = workspace().join("bench/peers/Cargo.lock");
    let lock = std::fs::read_to_string(lock).context("could not read the peers' lock file")?;
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    let version = version.with_context(|| format!("the peers do not depend on {package}"))?;
    ensure!(!version.is_empty(), "{package} has no version");
    Ok(version.to_owned())
}
