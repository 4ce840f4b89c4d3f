//! The app on tower-sessions and axum-login.

use std::convert::Infallible;

use axum::{
    Form, Router,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, session};

use crate::users::{Credentials, Users};

/// A user, as it is loaded for each request.
#[derive(Clone, Debug)]
pub struct User {
    name: String,
    password: String,
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    /// Compared for each request: a new password ends the sessions that began with the old one.
    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = Credentials;
    type Error = Infallible;

    async fn authenticate(&self, credentials: Credentials) -> Result<Option<User>, Infallible> {
        if self.is_right(&credentials) { self.get_user(&credentials.name).await } else { Ok(None) }
    }

    async fn get_user(&self, name: &UserId<Self>) -> Result<Option<User>, Infallible> {
        let password = self.password_of(name);
        Ok(password.map(|password| User { name: name.clone(), password }))
    }
}

type AuthSession = axum_login::AuthSession<Users>;

/// Each error is a 500.
struct Failed;

impl From<session::Error> for Failed {
    fn from(_: session::Error) -> Self {
        Self
    }
}

impl From<axum_login::Error<Users>> for Failed {
    fn from(_: axum_login::Error<Users>) -> Self {
        Self
    }
}

impl axum::response::IntoResponse for Failed {
    fn into_response(self) -> axum::response::Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

async fn home(auth: AuthSession, session: Session) -> Result<String, Failed> {
    let name = auth.user.map_or("a visitor".to_owned(), |user| user.name);
    let cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    Ok(format!("{name} with {} in the cart", cart.len()))
}

/// Two of these at once may lose one of the books.
async fn add(session: Session, Path(book): Path<String>) -> Result<&'static str, Failed> {
    let mut cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    cart.push(book);
    session.insert("cart", cart).await?;
    Ok("added")
}

async fn log_in(
    mut auth: AuthSession,
    Form(credentials): Form<Credentials>,
) -> Result<(StatusCode, &'static str), Failed> {
    let Some(user) = auth.authenticate(credentials).await? else {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password"));
    };
    auth.login(&user).await?;
    Ok((StatusCode::OK, "welcome"))
}

async fn orders(auth: AuthSession) -> Result<String, StatusCode> {
    let user = auth.user.ok_or(StatusCode::UNAUTHORIZED)?;
    Ok(format!("the orders of {}", user.name))
}

async fn change_password(
    mut auth: AuthSession,
    Path(password): Path<String>,
) -> Result<(StatusCode, &'static str), Failed> {
    let Some(user) = auth.user.clone() else {
        return Ok((StatusCode::UNAUTHORIZED, "please log in"));
    };
    auth.backend.set_password(&user.name, password.clone());
    // This session would end, too: its hash is the old one.
    auth.login(&User { password, ..user }).await?;
    Ok((StatusCode::OK, "changed"))
}

async fn log_out(mut auth: AuthSession) -> Result<&'static str, Failed> {
    auth.logout().await?;
    Ok("goodbye")
}

pub fn app(users: Users) -> Router {
    // For plain HTTP, in development.
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    Router::new()
        .route("/", get(home))
        .route("/cart/{book}", post(add))
        .route("/login", post(log_in))
        .route("/orders", get(orders))
        .route("/password/{password}", post(change_password))
        .route("/logout", post(log_out))
        .layer(AuthManagerLayerBuilder::new(users, sessions).build())
}
