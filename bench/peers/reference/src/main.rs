//! No peer but a bound: the same page written by hand for this one job, with no session library, on
//! `memory`, `log` or `redis`. It shows what the machine allows.

use std::sync::Arc;

use anyhow::{Result, bail};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use page::Arguments;
use tokio::net::TcpListener;

mod store;

use store::{Log, Memory, Redis, Store};

async fn home(State(store): State<Arc<dyn Store>>, headers: HeaderMap) -> Response {
    let cookie = headers.get(header::COOKIE).and_then(|cookies| cookies.to_str().ok());
    let known = cookie.and_then(|cookies| {
        let mut cookies = cookies.split("; ").filter_map(|cookie| cookie.split_once('='));
        cookies.find(|(name, _)| *name == page::COOKIE).map(|(_, id)| id.to_owned())
    });
    let id = known.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    match store.visit(&id).await {
        Ok((views, greeting)) => {
            let cookie = format!("{}={id}; HttpOnly; SameSite=Lax; Path=/", page::COOKIE);
            ([(header::SET_COOKIE, cookie)], Html(page::page(views, &greeting))).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    let store: Arc<dyn Store> = match arguments.store.as_str() {
        "memory" => Arc::new(Memory::default()),
        "log" => Arc::new(Log::open(arguments.place()?)?),
        "redis" => Arc::new(Redis::connect(arguments.place()?).await?),
        other => bail!("there is no store `{other}`"),
    };
    let app = Router::new()
        .route("/", get(home))
        .with_state(store)
        .route("/plain", get(async || Html(page::PLAIN)));
    Ok(axum::serve(TcpListener::bind(arguments.listen).await?, app).await?)
}
