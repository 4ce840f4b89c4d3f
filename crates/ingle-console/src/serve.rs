//! The console by itself, on an address of this machine alone.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
};
use ingle::{
    Cookie, CookieConfig, Lifetime, Named, SameSite, SessionLayer, Sessions,
    clock::{Clock, Timestamp},
    store::Memory,
};
use tokio::net::TcpListener;

use crate::{
    Console,
    access::Grant,
    context::SignedIn,
    gate,
    problem::Problem,
    routes,
    sign_in::{self, Desk, Operators, who},
};

/// An operator who leaves is signed out after this time, and in any case after [`LONGEST`].
const IDLE: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(8 * 60 * 60);

/// Serves the console on a loopback address until the listener fails.
///
/// `announce` is called with an address that signs in whoever opens it first, such as to print it on the
/// terminal: at the start, and again when somebody at the console asks for another one. It has a code of
/// 128 random bits behind the `#`, which browsers send to no server and keep out of every log. The code
/// is good once, for 10 minutes. What begins with it is a session of ingle's own, in the memory of this
/// process: 15 minutes without use, 8 hours at most.
///
/// The page is plain HTTP, which browsers trust on loopback addresses, and answers under these alone
/// (`127.0.0.1:PORT`, `[::1]:PORT` and `localhost:PORT`). Every user of this machine can reach it, and none can sign in without
/// the code.
///
/// ```no_run
/// # async fn run(sessions: ingle::Sessions) -> std::io::Result<()> {
/// use ingle_console::{Grant, Role};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let grant = Grant::new("ada", Role::Editor);
/// ingle_console::serve(listener, sessions, grant, |address| println!("Open {address}")).await
/// # }
/// ```
///
/// # Errors
/// The address is none of this machine alone, or the listener failed.
pub async fn serve(
    listener: TcpListener,
    sessions: Sessions,
    grant: Grant,
    announce: impl Fn(&str) + Send + Sync + 'static,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        let text = "the console has no login of its own, so it listens on loopback addresses alone, \
                    such as 127.0.0.1:0; to reach it from elsewhere, mount it in an app behind its login";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let port = address.port();
    let names = ["127.0.0.1", "[::1]", "localhost"];
    let console = Console::new(sessions, names.map(|name| format!("{name}:{port}")).to_vec());
    let operators = operators(&console.0.sessions, port)?;
    let desk = Arc::new(Desk::new(console.clone(), address, grant, Box::new(announce)));
    desk.announce().map_err(io::Error::other)?;
    let signed_in =
        routes::routes().layer(from_fn_with_state(Arc::clone(&desk), must_be_signed_in));
    let routes: Router<Console> = signed_in.merge(sign_in::routes(desk)).layer(operators);
    axum::serve(listener, gate::around(routes, &console)).await
}

/// The layer of the operators' sessions. Browsers do not tell the ports of a host apart, so the cookie
/// of each console has a name of its own.
fn operators(sessions: &Sessions, port: u16) -> io::Result<SessionLayer> {
    let cookie = CookieConfig {
        name: format!("ingle-console-{port}"),
        same_site: SameSite::Strict,
        ..CookieConfig::development()
    };
    let cookie = Cookie::new(cookie).map_err(io::Error::other)?;
    let lifetime = Lifetime::new(IDLE, LONGEST).map_err(io::Error::other)?;
    let layer = SessionLayer::new(Memory::new()).named::<Operators>().namespace("ingle-console");
    Ok(layer.cookie(cookie).lifetime(lifetime).clock(Arc::new(ClockOf(sessions.clone()))))
}

/// The clock of the app's sessions.
#[derive(Debug)]
struct ClockOf(Sessions);

impl Clock for ClockOf {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

async fn must_be_signed_in(
    State(desk): State<Arc<Desk>>,
    session: Named<Operators>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path.starts_with("/assets/") {
        return next.run(request).await;
    }
    // A page that is open by itself is no use of the session.
    if path.ends_with("/live") {
        session.skip_touch();
    }
    match who(&session).await {
        Ok(Some(_)) => {
            request.extensions_mut().insert(desk.grant.clone());
            request.extensions_mut().insert(SignedIn);
            let mut response = next.run(request).await;
            response.extensions_mut().insert(desk.grant.clone());
            response
        }
        Ok(None) if request.method() == Method::GET && wants_page(&request) => {
            Redirect::to("/sign-in").into_response()
        }
        Ok(None) => {
            let text = "You are not signed in, or not any more. Nothing was changed.";
            Problem::new(StatusCode::UNAUTHORIZED, "Sign in first", text).into_response()
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_none_or(|accept| !accept.contains("text/event-stream"))
}
