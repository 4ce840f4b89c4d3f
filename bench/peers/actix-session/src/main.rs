//! Peer: actix-web and actix-session, on `redis`.

use actix_session::{Session, SessionMiddleware, storage::RedisSessionStore};
use actix_web::{App, HttpResponse, HttpServer, cookie::Key, web};
use anyhow::{Result, ensure};
use page::Arguments;

async fn home(session: Session) -> actix_web::Result<HttpResponse> {
    let greeting = match session.get::<String>("greeting")? {
        Some(greeting) => greeting,
        None => {
            let greeting = page::any_greeting().to_owned();
            session.insert("greeting", &greeting)?;
            greeting
        }
    };
    let views = session.get::<u64>("views")?.unwrap_or(0) + 1;
    session.insert("views", views)?;
    Ok(html(page::page(views, &greeting)))
}

fn html(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(body)
}

#[actix_web::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    ensure!(arguments.store == "redis", "there is no store `{}`", arguments.store);
    let store = RedisSessionStore::new(arguments.place()?).await?;
    // A fixed key, so that two instances of the app accept each other's cookies.
    let key = Key::from(&[7; 64]);
    let app = move || {
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_name(page::COOKIE.to_owned())
            .cookie_secure(false)
            .build();
        App::new()
            .service(web::resource("/").wrap(sessions).route(web::get().to(home)))
            .route("/plain", web::get().to(async || html(page::PLAIN.to_owned())))
    };
    Ok(HttpServer::new(app).bind(arguments.listen)?.run().await?)
}
