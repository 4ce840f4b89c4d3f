//! Sessions with actix-web: an app that counts a visitor's views, and logs the visitor out.

use std::{error::Error, sync::Arc};

use actix_web::{
    App, HttpServer,
    web::{self, ServiceConfig},
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

fn routes(app: &mut ServiceConfig) {
    app.route("/", web::get().to(home)).route("/logout", web::post().to(logout));
}

fn sessions(store: Arc<dyn Store>) -> Result<SessionLayer, CookieError> {
    // This cookie works over plain HTTP, for development. The default cookie needs TLS.
    // Cookies do not tell ports apart: with one name, two apps on a host would end each other's sessions.
    let name = "example-actix";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let cookie = Cookie::new(cookie)?;
    Ok(SessionLayer::new(store).cookie(cookie).namespace(name))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A restart ends sessions in memory. `ingle::store::open` opens a store that keeps them.
    let sessions = sessions(Arc::new(Memory::new()))?;
    // Each worker makes its own app. The layer is made once, and its clones share all that they know.
    let server = HttpServer::new(move || App::new().configure(routes).wrap(sessions.clone()));
    Ok(server.bind("127.0.0.1:8080")?.run().await?)
}

#[cfg(test)]
mod tests;
