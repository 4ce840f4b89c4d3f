//! The same app on ingle.

use axum::{
    Form, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use ingle::{
    Cookie, CookieConfig, CookieError, Error, Login, Session, SessionLayer, User, store::Memory,
};

use crate::users::{Credentials, Users};

async fn home(session: Session, user: Option<User>) -> Result<String, Error> {
    let name = user.map_or("a visitor".to_owned(), |user| user.name);
    let cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    Ok(format!("{name} with {} in the cart", cart.len()))
}

/// Two of these at once add both books.
async fn add(session: Session, Path(book): Path<String>) -> Result<&'static str, Error> {
    session.push("cart", book)?;
    Ok("added")
}

async fn log_in(
    session: Session,
    State(users): State<Users>,
    Form(credentials): Form<Credentials>,
) -> Result<(StatusCode, &'static str), Error> {
    // If all sessions of the user are ended while the password is checked, the login fails.
    let ticket = session.login_ticket(&credentials.name).await?;
    if !users.is_right(&credentials) {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password"));
    }
    session.login(Login::new(credentials.name).ticket(ticket)).await?;
    Ok((StatusCode::OK, "welcome"))
}

/// Who is not logged in is answered 401.
async fn orders(user: User) -> String {
    format!("the orders of {}", user.name)
}

async fn change_password(
    session: Session,
    user: User,
    State(users): State<Users>,
    Path(password): Path<String>,
) -> Result<&'static str, Error> {
    users.set_password(&user.name, password);
    session.end_others().await?;
    Ok("changed")
}

async fn log_out(session: Session) -> Result<&'static str, Error> {
    session.logout().await?;
    Ok("goodbye")
}

pub fn app(users: Users) -> Result<Router, CookieError> {
    // For plain HTTP, in development.
    let name = "example-moving";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let sessions = SessionLayer::new(Memory::new()).cookie(Cookie::new(cookie)?).namespace(name);
    Ok(Router::new()
        .route("/", get(home))
        .route("/cart/{book}", post(add))
        .route("/login", post(log_in))
        .route("/orders", get(orders))
        .route("/password/{password}", post(change_password))
        .route("/logout", post(log_out))
        .with_state(users)
        .layer(sessions))
}
