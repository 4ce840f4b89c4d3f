//! The stores that are tried, each on a server of its own.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use ingle::store::{self, Firestore, FirestoreConfig, Store};
use tempfile::TempDir;
use testbed::{Server, firestore, memcached, postgres, redis};

/// A kind of store, and how many connections it may have where that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Redis,
    /// Which commits by a command of its own.
    Valkey,
    Memcached,
    Postgres {
        pool: usize,
    },
    Firestore,
}

/// A store with its server.
#[derive(Debug)]
pub(super) struct Place {
    kind: Kind,
    server: Option<Server>,
    folder: TempDir,
}

impl Kind {
    pub(super) fn name(self) -> String {
        match self {
            Self::Sqlite => "sqlite".to_owned(),
            Self::Redis => "redis".to_owned(),
            Self::Valkey => "valkey".to_owned(),
            Self::Memcached => "memcached".to_owned(),
            Self::Postgres { pool } => format!("postgres, pool of {pool}"),
            Self::Firestore => "firestore".to_owned(),
        }
    }

    pub(super) fn is_installed(self) -> bool {
        self != Self::Valkey || redis::VALKEY.is_installed()
    }

    pub(super) async fn start(self) -> Result<Place> {
        let server = match self {
            Self::Sqlite => None,
            Self::Redis => Some(Server::start(redis::program(&[])?)?),
            Self::Valkey => Some(Server::start(redis::VALKEY.program(&[])?)?),
            Self::Memcached => Some(Server::start(memcached::program(&[]))?),
            Self::Postgres { .. } => Some(Server::start(postgres::program()?)?),
            Self::Firestore => Some(Server::start(firestore::hidane_program()?)?),
        };
        let folder = TempDir::new().context("could not create a folder for sessions")?;
        let place = Place { kind: self, server, folder };
        if let (Self::Postgres { .. }, Some(server)) = (self, &place.server) {
            store::migrate(&place.url(server.address())).await?;
        }
        Ok(place)
    }
}

impl Place {
    /// Where its server listens, if it has one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// Its URL by way of `address`, which may be a proxy's.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        match self.kind {
            Kind::Sqlite => format!("sqlite:{}", self.folder.path().display()),
            Kind::Redis | Kind::Valkey => format!("redis://{address}"),
            Kind::Memcached => format!("memcached://{address}"),
            Kind::Postgres { pool } => {
                format!("postgres://postgres@{address}/postgres?pool={pool}")
            }
            Kind::Firestore => "firestore://torture/sessions".to_owned(),
        }
    }

    /// The variables that an app needs besides the URL.
    pub(super) fn variables(&self, address: SocketAddr) -> Vec<(&'static str, String)> {
        let emulator = ("FIRESTORE_EMULATOR_HOST", address.to_string());
        if self.kind == Kind::Firestore { vec![emulator] } else { Vec::new() }
    }

    /// The store by way of `address`.
    pub(super) async fn open(&self, address: SocketAddr) -> Result<Arc<dyn Store>> {
        if self.kind == Kind::Firestore {
            let mut config = FirestoreConfig::new("torture", "sessions");
            config.emulator = Some(address.to_string());
            return Ok(Arc::new(Firestore::open(config).await?));
        }
        Ok(store::open(&self.url(address)).await?)
    }
}
