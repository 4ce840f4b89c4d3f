//! Opens a store by its URL, the same in the library as on a command line.

use std::sync::Arc;

use super::{
    Info, Memory, OpenError, OpenErrorKind, Store,
    floor::text::similar,
    lazy::{CanRenew, Lazy},
};

/// What can be written after `--store`, for messages and help.
const FORMS: &str = "memory:, sqlite:///absolute/folder, sqlite:relative/folder, \
                     firestore://PROJECT[/DATABASE]/COLLECTION, memcached://HOST[:PORT], \
                     redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], redis+unix:///SOCKET or \
                     postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE";

/// The schemes of all stores, which are found behind a misspelt one.
const SCHEMES: [&str; 13] = [
    "firestore",
    "memcached",
    "memory",
    "postgres",
    "postgresql",
    "redis",
    "redis+unix",
    "rediss",
    "sqlite",
    "unix",
    "valkey",
    "valkey+unix",
    "valkeys",
];

/// Opens the store that a URL names. Blanks and line ends around it are no part of it: mounted secrets end in
/// them.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | [`Memory`], for tests |
/// | `sqlite:///var/lib/app/sessions` | SQLite in that folder |
/// | `sqlite:data/sessions` | the same, in a folder below the current one |
/// | `firestore://PROJECT/COLLECTION` | a collection of the project's default Firestore database |
/// | `firestore://PROJECT/DATABASE/COLLECTION` | the same in a database with a name |
/// | `firestore://…?ids=plain` | the same, shared with an app that follows the tutorial: [`Ids::Plain`](super::Ids::Plain) |
/// | `firestore://…?ids=upgrade` | the same, moving away from such ids: [`Ids::Upgrade`](super::Ids::Upgrade) |
/// | `memcached://HOST:PORT,HOST:PORT` | one memcached or several, by default at port 11211 |
/// | `memcached://…?prefix=NAME` | the same, with keys that begin with `NAME:` instead of `ingle:` |
/// | `redis://HOST:PORT` | a Redis or Valkey server, or one server of a cluster |
/// | `redis://USER:PASSWORD@HOST:PORT/DATABASE` | the same for a user, and in another database than 0; write characters with a meaning in URLs as `%XX` |
/// | `redis://HOST1:PORT1,HOST2:PORT2` | a cluster; not every server need run at the start |
/// | `redis://…?prefix=NAME` | the same with `NAME` before each key instead of `ingle` |
/// | `rediss://…` | the same with TLS, and `?cacert=FILE` for certificates of your own |
/// | `redis+unix:///run/redis.sock?db=2` | a Redis or Valkey server by its Unix socket, and another database than 0 |
/// | `valkey://…`, `valkeys://…`, `valkey+unix://…`, `unix:…` | the same as `redis://`, `rediss://` and `redis+unix://` |
/// | `postgres://USER:PASSWORD@HOST/DATABASE` | the table `ingle_sessions` of a PostgreSQL database, which [`migrate`] makes |
/// | `postgres://…?table=NAME` | another table, `NAME` or `SCHEMA.NAME` |
/// | `postgres://…?pool=NUMBER` | at most this many connections; 16 by default |
/// | `postgres://…?pooler=transaction` | through PgBouncer in transaction mode, or another pooler of that kind |
///
/// # Errors
/// The URL is wrong, or the store cannot be opened. The text of the error says what is wrong and
/// what to do.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    let url = url.trim();
    match scheme(url)? {
        "memory" if url == "memory:" => Ok(Arc::new(Memory::new())),
        "memory" => Err(wrong("memory", "`memory:` takes nothing after the colon")),
        "sqlite" => sqlite(url).await,
        "firestore" => firestore(url).await,
        "memcached" => memcached(url).await,
        "redis" | "rediss" | "valkey" | "valkeys" | "redis+unix" | "valkey+unix" | "unix" => {
            redis(url).await
        }
        "postgres" | "postgresql" => postgres(url).await,
        scheme => Err(unknown(scheme)),
    }
}

/// Reads a store's URL, and opens the store at the first call, so an app can start before its
/// store.
///
/// Until the store can be opened, every call fails as [`ErrorKind::Unavailable`](super::ErrorKind).
/// Requests that need a session get 503, and nobody is logged out. One call a second tries again.
/// The source of that error and the log say why the store cannot be opened.
///
/// # Errors
/// The URL is wrong, or this program was built without the store. Nothing else is checked.
pub async fn open_lazily(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    let url = url.trim().to_owned();
    let always: CanRenew = |_, _| true;
    let (info, can_renew) = match scheme(&url)? {
        "memory" => return open(&url).await,
        "sqlite" => (sqlite_info(&url).await?, always),
        "firestore" => (firestore_info(&url).await?, always),
        "memcached" => (memcached_info(&url).await?, always),
        "redis" | "rediss" | "valkey" | "valkeys" | "redis+unix" | "valkey+unix" | "unix" => {
            redis_info(&url).await?
        }
        "postgres" | "postgresql" => (postgres_info(&url).await?, always),
        scheme => return Err(unknown(scheme)),
    };
    Ok(Arc::new(Lazy::new(info, can_renew, move || {
        let url = url.clone();
        Box::pin(async move { open(&url).await })
    })))
}

/// Creates what a store needs before it can be opened. For PostgreSQL that is the table: it is made if it
/// is missing, and the store is opened once as a check. The other stores need nothing, so of their URLs
/// only the scheme is looked at.
///
/// # Errors
/// For PostgreSQL as [`open`]. Otherwise the scheme is no store's.
pub async fn migrate(url: &str) -> Result<(), OpenError> {
    let url = url.trim();
    match scheme(url)? {
        "memory" | "sqlite" | "firestore" | "memcached" | "redis" | "rediss" | "valkey"
        | "valkeys" | "redis+unix" | "valkey+unix" | "unix" => Ok(()),
        "postgres" | "postgresql" => migrate_postgres(url).await,
        scheme => Err(unknown(scheme)),
    }
}

fn scheme(url: &str) -> Result<&str, OpenError> {
    url.split_once(':').map(|(scheme, _)| scheme).ok_or_else(|| unknown(""))
}

/// A URL whose scheme is missing or no store's. The message does not repeat it, because it may be a
/// password; one that it resembles is named.
fn unknown(scheme: &str) -> OpenError {
    let meant = similar(scheme, &SCHEMES).map(|meant| format!(" (did you mean `{meant}:`?)"));
    let meant = meant.unwrap_or_default();
    wrong("session", &format!("the URL begins with the scheme of no store{meant}; it is {FORMS}"))
}

fn wrong(store: &'static str, problem: &str) -> OpenError {
    OpenError::new(store, OpenErrorKind::Config, problem, "")
}

/// For each store a function that opens it, or that says that this program was built without it.
macro_rules! stores {
    ($($feature:literal: $name:ident($url:ident) -> $opened:ty $open:block)*) => {$(
        #[cfg(feature = $feature)]
        async fn $name($url: &str) -> Result<$opened, OpenError> $open

        #[cfg(not(feature = $feature))]
        async fn $name(_: &str) -> Result<$opened, OpenError> {
            let problem =
                concat!("this program was built without the feature `", $feature, "` of ingle");
            let help = "build it with that feature";
            Err(OpenError::new($feature, OpenErrorKind::NotBuilt, problem, help))
        }
    )*};
}

/// What a store that is not open yet says of its durability.
#[allow(dead_code, reason = "memcached knows it before, and memory is always open")]
const NOT_OPEN: &str = "what its server says once the store is open";

stores! {
    "sqlite": sqlite_info(url) -> Info {
        super::sqlite::folder_of(url)?;
        Ok(Info::new("sqlite", NOT_OPEN))
    }
    "firestore": firestore_info(url) -> Info {
        let ids = super::FirestoreConfig::parse(url)?.ids;
        Ok(Info::new("firestore", NOT_OPEN).with_ids(ids))
    }
    "memcached": memcached_info(url) -> Info {
        super::MemcachedConfig::parse(url)?;
        Ok(super::memcached::info())
    }
    "redis": redis_info(url) -> (Info, CanRenew) {
        super::RedisConfig::parse(url)?;
        Ok((Info::new("redis", NOT_OPEN), super::redis::can_renew))
    }
    "postgres": postgres_info(url) -> Info {
        super::PostgresConfig::parse(url)?;
        Ok(Info::new("postgres", NOT_OPEN))
    }
    "sqlite": sqlite(url) -> Arc<dyn Store> {
        Ok(Arc::new(super::Sqlite::open_url(url).await?))
    }
    "firestore": firestore(url) -> Arc<dyn Store> {
        Ok(Arc::new(super::Firestore::open(super::FirestoreConfig::parse(url)?).await?))
    }
    "memcached": memcached(url) -> Arc<dyn Store> {
        Ok(Arc::new(super::Memcached::open(super::MemcachedConfig::parse(url)?).await?))
    }
    "redis": redis(url) -> Arc<dyn Store> {
        Ok(Arc::new(super::Redis::open(super::RedisConfig::parse(url)?).await?))
    }
    "postgres": postgres(url) -> Arc<dyn Store> {
        Ok(Arc::new(super::Postgres::open(super::PostgresConfig::parse(url)?).await?))
    }
    "postgres": migrate_postgres(url) -> () {
        let config = super::PostgresConfig::parse(url)?;
        super::Postgres::migrate(config.clone()).await?;
        super::Postgres::open(config).await.map(drop)
    }
}
