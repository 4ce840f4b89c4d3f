//! Peer: axum and axum_session, on `redis`.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use axum::{Router, response::Html, routing::get};
use axum_session::{Session, SessionConfig, SessionLayer, SessionMode, SessionStore};
use axum_session_redispool::SessionRedisPool;
use page::Arguments;
use redis_pool::RedisPool;
use tokio::net::TcpListener;

async fn home(session: Session<SessionRedisPool>) -> Html<String> {
    let greeting = session.get::<String>("greeting").unwrap_or_else(|| {
        let greeting = page::any_greeting().to_owned();
        session.set("greeting", &greeting);
        greeting
    });
    let views = session.get::<u64>("views").unwrap_or(0) + 1;
    session.set("views", views);
    Html(page::page(views, &greeting))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    ensure!(arguments.store == "redis", "there is no store `{}`", arguments.store);
    let pool = RedisPool::from(redis::Client::open(arguments.place()?)?);
    let config = SessionConfig::default().with_mode(SessionMode::Persistent).with_secure(false);
    let store = SessionStore::<SessionRedisPool>::new(Some(pool.into()), config).await?;
    let app = Router::new()
        .route("/", get(home))
        .layer(SessionLayer::new(store))
        .route("/plain", get(async || Html(page::PLAIN)));
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(TcpListener::bind(arguments.listen).await?, service).await?)
}
