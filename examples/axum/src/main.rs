//! Sessions with axum: an app that counts a visitor's views, and logs the visitor out.

use std::{error::Error, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};
use ingle::{
    Cookie, CookieConfig, CookieError, Session, SessionLayer,
    store::{Memory, Store},
};

async fn home(session: Session) -> Result<String, ingle::Error> {
    let add_one = |views: &mut u64| {
        *views += 1;
        *views
    };
    let views = session.field("views").update(add_one).await?;
    Ok(format!("{views} views"))
}

async fn logout(session: Session) -> Result<&'static str, ingle::Error> {
    session.logout().await?;
    Ok("goodbye")
}

fn app(store: Arc<dyn Store>) -> Result<Router, CookieError> {
    // This cookie works over plain HTTP, for development. The default cookie needs TLS.
    // Cookies do not tell ports apart: with one name, two apps on a host would end each other's sessions.
    let name = "example-axum";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let cookie = Cookie::new(cookie)?;
    let sessions = SessionLayer::new(store).cookie(cookie).namespace(name);
    Ok(Router::new().route("/", get(home)).route("/logout", post(logout)).layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    // A restart ends sessions in memory. `ingle::store::open` opens a store that keeps them.
    Ok(axum::serve(listener, app(Arc::new(Memory::new()))?).await?)
}

#[cfg(test)]
mod tests;
