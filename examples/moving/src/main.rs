//! One app in two forms: `before.rs` is on tower-sessions and axum-login, `after.rs` on ingle. A visitor
//! fills a cart and logs in with it; a user changes their password, and their other sessions end.
//!
//! `cargo run -p example-moving -- before` or `-- after`. Read the two files side by side.

use std::error::Error;

use axum::Router;
use tokio::net::TcpListener;

mod after;
mod before;
mod users;

use users::Users;

fn app(form: Option<&str>) -> Result<Router, Box<dyn Error>> {
    match form {
        Some("before") => Ok(before::app(Users::example())),
        Some("after") => Ok(after::app(Users::example())?),
        _ => Err("say which form: before, or after".into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(std::env::args().nth(1).as_deref())?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app).await?)
}

#[cfg(test)]
mod tests;
