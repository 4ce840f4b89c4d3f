//! Peer: axum and tower-sessions, on `memory`, `redis`, `sqlite`, `sqlite-synced` or `postgres`.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use axum::{Router, http::StatusCode, response::Html, routing::get};
use page::Arguments;
use serde::{Deserialize, Serialize};
use time::Duration;
use tokio::net::TcpListener;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};
use tower_sessions_sqlx_store::{
    PostgresStore, SqliteStore,
    sqlx::{
        postgres::PgPoolOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};

/// As many as it takes with 32 requests at once on two cores.
const REDIS_CONNECTIONS: usize = 6;
const SQLITE_CONNECTIONS: u32 = 6;
const POSTGRES_CONNECTIONS: u32 = 16;

#[derive(Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

async fn home(session: Session) -> Result<Html<String>, StatusCode> {
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let visit: Option<Visit> = session.get("visit").await.map_err(failed)?;
    let first = || Visit { greeting: page::any_greeting().to_owned(), views: 0 };
    let mut visit = visit.unwrap_or_else(first);
    visit.views += 1;
    session.insert("visit", &visit).await.map_err(failed)?;
    Ok(Html(page::page(visit.views, &visit.greeting)))
}

async fn serve(listen: SocketAddr, store: impl SessionStore + Clone) -> Result<()> {
    let sessions = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_name(page::COOKIE)
        .with_expiry(Expiry::OnInactivity(Duration::days(1)));
    let app = Router::new()
        .route("/", get(home))
        .layer(sessions)
        .route("/plain", get(async || Html(page::PLAIN)));
    Ok(axum::serve(TcpListener::bind(listen).await?, app).await?)
}

/// `sqlite` is as its documentation says, where a commit is not synced; `sqlite-synced` has each
/// commit on disk before the answer.
async fn sqlite(file: &str, synced: bool) -> Result<SqliteStore> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if synced { SqliteSynchronous::Full } else { SqliteSynchronous::Normal })
        .busy_timeout(std::time::Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS);
    let store = SqliteStore::new(pool.connect_with(options).await?);
    store.migrate().await?;
    Ok(store)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    let listen = arguments.listen;
    match arguments.store.as_str() {
        "memory" => serve(listen, MemoryStore::default()).await,
        "redis" => {
            let config = Config::from_url(arguments.place()?)?;
            let pool = Pool::new(config, None, None, None, REDIS_CONNECTIONS)?;
            pool.connect();
            pool.wait_for_connect().await?;
            serve(listen, RedisStore::new(pool)).await
        }
        "sqlite" => serve(listen, sqlite(arguments.place()?, false).await?).await,
        "sqlite-synced" => serve(listen, sqlite(arguments.place()?, true).await?).await,
        "postgres" => {
            let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS);
            let store = PostgresStore::new(pool.connect(arguments.place()?).await?);
            store.migrate().await?;
            serve(listen, store).await
        }
        other => bail!("there is no store `{other}`"),
    }
}
