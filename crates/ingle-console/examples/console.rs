//! The console in an app with made-up sessions and visitors, to look at the pages. Everybody on this
//! machine may edit here; an app of your own asks its login.
//!
//! `cargo run -p ingle-console --example console`

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the address is for whoever started this"
)]

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Redirect,
    routing::get,
};
use ingle::{
    Label, Login, Session, SessionLayer,
    adapter::{HandlerOutcome, HeaderChange},
    clock::{Clock as _, ManualClock, SystemClock, Timestamp},
    store::Memory,
};
use ingle_console::{Access, Grant, Role};
use serde_json::json;

const GREETINGS: [&str; 4] = ["Hello World", "Hallo Welt", "Hola Mundo", "Salut le Monde"];
const USERS: [&str; 4] = ["ada@example.com", "grace@example.com", "alan@example.com", "linus"];

const USAGE: &str = "Usage: cargo run -p ingle-console --example console\n\nServes the console with made-up sessions on a free port of this machine, until Ctrl-C.";

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => serve().await.map(|()| ExitCode::SUCCESS),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some(argument) => {
            eprintln!("There is no argument {argument:?}.\n\n{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let store = Memory::new();
    let clock = ManualClock::new(an_hour_ago());
    // Two instances of the app. The console is mounted in the first one.
    let instance = || SessionLayer::new(store.clone()).clock(Arc::new(clock.clone()));
    let (layer, other) = (instance(), instance());
    let moving = visit(&layer, "", async |session| fill_whole(session).await).await?;
    for minute in 0..60 {
        // More come in the middle of the hour.
        for n in 0..(12 + 30 - usize::abs_diff(minute, 35)) {
            come(&layer, &moving, minute * 7 + n).await?;
            if n % 9 == 0 {
                come(&other, &moving, minute * 7 + n + 1).await?;
            }
        }
        clock.advance(Duration::from_secs(60));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let access = Access::ByApp { hosts: vec![address.to_string()] };
    let console = ingle_console::router(layer.sessions(), access);
    let console = console.layer(from_fn(async |mut request: Request, next: Next| {
        request.extensions_mut().insert(Grant::new("ada", Role::Editor));
        next.run(request).await
    }));
    let lead = async || Redirect::to("/console");
    let app = Router::new().route("/", get(lead)).nest("/console", console);
    println!("Open http://{address}/console");
    let visitors = async {
        let mut moving = moving;
        for n in 0.. {
            clock.set(SystemClock.now());
            let came = come(if n % 3 == 0 { &other } else { &layer }, &moving, n).await;
            // An operator has ended the session, so its visitor begins another one. Any other error is a
            // page that a visitor sees, such as where an operator has made a text of the count.
            if let Err(ingle::Error::Interrupted) = came {
                moving = visit(&layer, "", async |session| fill_whole(session).await).await?;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok::<_, Box<dyn Error>>(())
    };
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        came = visitors => came,
    }
}

fn an_hour_ago() -> Timestamp {
    Timestamp::from_millis(SystemClock.now().as_millis() - 60 * 60 * 1000)
}

/// Two visitors of an instance: one who is on both instances, and one who is new and may log out again.
async fn come(layer: &SessionLayer, moving: &str, n: usize) -> Result<(), ingle::Error> {
    visit(layer, moving, async |session| session.increment("views", 1)).await?;
    if n.is_multiple_of(3) {
        let cookie = visit(layer, "", async |session| fill(session, n).await).await?;
        if n.is_multiple_of(2) {
            visit(layer, &cookie, async |session| session.logout().await).await?;
        }
    }
    Ok(())
}

/// The session that is looked at.
async fn fill_whole(session: &Session) -> Result<(), ingle::Error> {
    session.login(Login::new("ada@example.com").label(Label::new("Firefox on Linux"))).await?;
    session.insert("greeting", "Hola Mundo")?;
    session.insert("cart", json!({
        "items": [{ "article": "tea", "n": 2, "price": 4.5 }, { "article": "cup", "n": 1, "price": 12.0 }],
        "currency": "EUR",
    }))?;
    session.insert("seen", json!({ "$timestamp": "2026-05-04T12:30:00Z" }))?;
    session.insert("place", json!({ "$geopoint": [52.5, 13.4] }))?;
    session.insert("api_token", "tok_4f9a1c")?;
    session.insert("newsletter", true)?;
    session.insert("views", 1)
}

/// A request of a visitor with this cookie. It returns the one that their browser has then.
async fn visit(
    layer: &SessionLayer,
    cookie: &str,
    handler: impl AsyncFnOnce(&Session) -> Result<(), ingle::Error>,
) -> Result<String, ingle::Error> {
    let in_flight = layer.door().begin([cookie.as_bytes()]);
    handler(in_flight.session()).await?;
    let finished = in_flight.finish(HandlerOutcome::Success).await;
    if let Some(error) = finished.error() {
        return Err(error.clone());
    }
    let set = finished.headers().iter().find(|change| change.name() == "set-cookie");
    let set = set.map(HeaderChange::value).and_then(|value| value.split(';').next());
    Ok(set.unwrap_or(cookie).to_owned())
}

async fn fill(session: &Session, n: usize) -> Result<(), ingle::Error> {
    if n.is_multiple_of(3) {
        let user = USERS.get(n / 3 % 7).copied();
        if let Some(user) = user {
            session.login(Login::new(user).label(Label::new("Chrome on Windows"))).await?;
        }
    }
    session.insert("greeting", GREETINGS.get(n % GREETINGS.len()).copied().unwrap_or_default())?;
    session.insert("views", n * n % 137)
}
