//! A store by its URL, the same in the library as on a command line.

use std::sync::Arc;

use super::{BoxError, Memory, Store};

/// What can be written after `--store`, for messages and help.
const FORMS: &str = "memory:, sqlite:///absolute/folder, sqlite:relative/folder, \
                     firestore://PROJECT[/DATABASE]/COLLECTION, memcached://HOST[:PORT], \
                     redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or \
                     postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE";

/// A URL did not lead to a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No store has this scheme.
    #[error("no store has the scheme `{scheme}`; a store URL is {FORMS}")]
    UnknownScheme {
        /// What stands before the first colon.
        scheme: String,
    },
    /// There is no scheme at all.
    #[error("a store URL begins with a scheme and a colon; it is {FORMS}")]
    NoScheme,
    /// The scheme is known, but this build has no such store.
    #[error("this program was built without the `{feature}` store (feature `{feature}` of ingle)")]
    NotBuilt {
        /// The feature that is missing.
        feature: &'static str,
    },
    /// What follows the scheme is wrong.
    #[error("`{scheme}:` {problem}")]
    BadUrl {
        /// The scheme.
        scheme: &'static str,
        /// What is wrong, and what is allowed.
        problem: &'static str,
    },
    /// The store that the URL names could not be opened.
    #[error("could not open the {store} store: {source}")]
    Failed {
        /// What kind of store.
        store: &'static str,
        /// Why.
        source: BoxError,
    },
}

/// Opens the store that a URL names.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | [`Memory`], for tests |
/// | `sqlite:///var/lib/app/sessions` | the sqlite store in that folder |
/// | `sqlite:data/sessions` | the same, in a folder below the current one |
/// | `firestore://PROJECT/COLLECTION` | a collection of the project's default Firestore database |
/// | `firestore://PROJECT/DATABASE/COLLECTION` | the same in a database with a name |
/// | `firestore://…?ids=plain` | the same, shared with an app that follows the tutorial: [`Ids::Plain`](crate::Ids::Plain) |
/// | `firestore://…?ids=upgrade` | the same, moving away from such ids: [`Ids::Upgrade`](crate::Ids::Upgrade) |
/// | `memcached://HOST:PORT,HOST:PORT` | one memcached or several, by default at port 11211 |
/// | `memcached://…?prefix=NAME` | the same, with keys that begin with `NAME:` in the place of `ingle:` |
/// | `redis://HOST:PORT` | a Redis or Valkey server, or the cluster that it is part of |
/// | `redis://USER:PASSWORD@HOST:PORT/DATABASE` | the same for a user, and in another database than 0; what means something in a URL is written as `%XX` |
/// | `redis://HOST1:PORT1,HOST2:PORT2` | a cluster, of which not every server need be there at the start |
/// | `redis://…?prefix=NAME` | the same with `NAME` before each key instead of `ingle` |
/// | `rediss://…` | the same with TLS, and `?cacert=FILE` for certificates of your own |
/// | `postgres://USER:PASSWORD@HOST/DATABASE` | the table `ingle_sessions` of a PostgreSQL database, which [`migrate`] makes |
/// | `postgres://…?table=NAME` | another table, `NAME` or `SCHEMA.NAME` |
/// | `postgres://…?pool=NUMBER` | at most so many connections; 16 if it is not said |
/// | `postgres://…?pooler=transaction` | through PgBouncer in that mode, or the like |
///
/// # Errors
/// The URL is wrong, or the store cannot be opened; the text of the error says which and what to do.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    let (scheme, rest) = url.split_once(':').ok_or(OpenError::NoScheme)?;
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(Memory::new())),
        "memory" => {
            Err(OpenError::BadUrl { scheme: "memory", problem: "takes nothing after the colon" })
        }
        "sqlite" => sqlite(rest).await,
        "firestore" => firestore(rest).await,
        "memcached" => memcached(rest).await,
        "redis" => redis("redis", rest).await,
        "rediss" => redis("rediss", rest).await,
        "postgres" | "postgresql" => postgres(rest, false).await,
        _ => Err(OpenError::UnknownScheme { scheme: scheme.to_owned() }),
    }
}

/// Makes what the store that a URL names must find, where that is not there yet, and opens the store
/// once to see that it will do: for PostgreSQL the table. The other stores need nothing made, and
/// nothing is done for them.
///
/// # Errors
/// As [`open`].
pub async fn migrate(url: &str) -> Result<(), OpenError> {
    let (scheme, rest) = url.split_once(':').ok_or(OpenError::NoScheme)?;
    match scheme {
        "memory" | "sqlite" | "firestore" | "memcached" | "redis" | "rediss" => Ok(()),
        "postgres" | "postgresql" => postgres(rest, true).await.map(drop),
        _ => Err(OpenError::UnknownScheme { scheme: scheme.to_owned() }),
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite(rest: &str) -> Result<Arc<dyn Store>, OpenError> {
    let problem = "takes a folder: sqlite:///absolute/folder or sqlite:relative/folder";
    let folder = match rest.strip_prefix("//") {
        // Two slashes begin a host name, and there is none: the file is on this machine.
        Some(path) if path.starts_with('/') => path,
        None if !rest.is_empty() => rest,
        _ => return Err(OpenError::BadUrl { scheme: "sqlite", problem }),
    };
    if folder.contains(['?', '#', '%', '\0']) {
        let problem = "takes a folder whose name has no `?`, `#`, `%` or NUL; there are no options";
        return Err(OpenError::BadUrl { scheme: "sqlite", problem });
    }
    match super::Sqlite::open(folder).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(OpenError::Failed { store: "sqlite", source: error.into() }),
    }
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt { feature: "sqlite" })
}

#[cfg(feature = "firestore")]
async fn firestore(rest: &str) -> Result<Arc<dyn Store>, OpenError> {
    match super::Firestore::open(super::FirestoreConfig::parse(rest)?).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(OpenError::Failed { store: "firestore", source: error.into() }),
    }
}

#[cfg(not(feature = "firestore"))]
async fn firestore(_: &str) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt { feature: "firestore" })
}

#[cfg(feature = "memcached")]
async fn memcached(rest: &str) -> Result<Arc<dyn Store>, OpenError> {
    match super::Memcached::open(super::MemcachedConfig::parse(rest)?).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(OpenError::Failed { store: "memcached", source: error.into() }),
    }
}

#[cfg(not(feature = "memcached"))]
async fn memcached(_: &str) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt { feature: "memcached" })
}

#[cfg(feature = "redis")]
async fn redis(scheme: &'static str, rest: &str) -> Result<Arc<dyn Store>, OpenError> {
    match super::Redis::open(super::RedisConfig::parse(scheme, rest)?).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(OpenError::Failed { store: "redis", source: error.into() }),
    }
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &'static str, _: &str) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt { feature: "redis" })
}

#[cfg(feature = "postgres")]
async fn postgres(rest: &str, migrate: bool) -> Result<Arc<dyn Store>, OpenError> {
    let config = super::PostgresConfig::parse_rest(rest)?;
    let opened = async {
        if migrate {
            super::Postgres::migrate(config.clone()).await?;
        }
        super::Postgres::open(config).await
    };
    match opened.await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(OpenError::Failed { store: "postgres", source: error.into() }),
    }
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str, _: bool) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt { feature: "postgres" })
}
