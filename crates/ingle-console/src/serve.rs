//! The console by itself: on an address of this machine, or for others behind an [`Identity`].

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, middleware::from_fn, response::Redirect, routing::get};
use ingle::Sessions;
use tokio::net::TcpListener;

use crate::{
    Console,
    access::{Grant, Public},
    gate::{self, Place},
    known, operators, routes,
    sign_in::{self, Desk},
};

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
/// the code. Browsers send a cookie to each port of its host. So while you are signed in, open no page of a
/// server on this machine that another user may run.
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
        let text = "whoever reads the terminal signs in, so this listens on loopback addresses alone, such \
                    as 127.0.0.1:0; for others, say how they are known: by OpenID Connect, IAP or a proxy";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let port = address.port();
    let names = ["127.0.0.1", "[::1]", "localhost"];
    let hosts = names.map(|name| format!("{name}:{port}")).to_vec();
    let console = Console::new(sessions, Place::of_app(hosts), false);
    let operators = operators::layer(operators::loopback_cookie(port)).map_err(io::Error::other)?;
    let operators = operators.clock(operators::clock_of(&console.0.sessions));
    let desk = Arc::new(Desk::new(console.clone(), address, grant, Box::new(announce)));
    desk.announce().map_err(io::Error::other)?;
    let signed_in = routes::routes().layer(from_fn(operators::must_be_signed_in));
    let routes: Router<Console> = signed_in.merge(sign_in::routes(desk)).layer(operators);
    axum::serve(listener, gate::around(routes, &console)).await
}

/// Serves the console on any address until the listener fails, for people whom a provider, IAP or a proxy
/// knows.
///
/// It speaks plain HTTP: TLS ends in what stands in front, which also bounds how slowly a request may come.
/// Requests count that are for the host and the
/// path of the [`PublicUrl`](crate::PublicUrl). Sessions of operators, which a provider of OpenID Connect
/// begins, are in the memory of this process: 15 minutes without use, 8 hours at most. They end with the
/// process, and a second process does not know them.
///
/// ```no_run
/// # async fn run(sessions: ingle::Sessions) -> Result<(), Box<dyn std::error::Error>> {
/// use ingle_console::{Proxy, Public, Role, RoleTable};
///
/// let roles = RoleTable::new([(Role::Editor, "ada@example.com")])?;
/// let proxy = Proxy::new("X-Auth-Request-Email", ["10.0.0.7"], roles)?;
/// let public = Public::new("https://console.example".parse()?, proxy)?;
/// let listener = tokio::net::TcpListener::bind("10.0.0.8:8080").await?;
/// ingle_console::serve_public(listener, sessions, public).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The listener failed.
pub async fn serve_public(
    listener: TcpListener,
    sessions: Sessions,
    public: Public,
) -> io::Result<()> {
    let path = public.url.path().to_owned();
    let console = known::router(sessions, public, false);
    let routes = match path.is_empty() {
        true => console,
        false => {
            let to = path.clone();
            let with_slash = get(async move || Redirect::permanent(&to));
            Router::new().nest(&path, console).route(&format!("{path}/"), with_slash)
        }
    };
    axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()).await
}
