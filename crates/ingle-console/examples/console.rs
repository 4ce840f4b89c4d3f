//! The console on made-up sessions, one of which changes each second: to look at the pages.
//!
//! `cargo run -p ingle-console --example console`

#![expect(clippy::print_stdout, reason = "the address is for whoever started this")]

use std::{error::Error, time::Duration};

use ingle::{HandlerOutcome, Label, Login, Session, SessionLayer, store::Memory};
use ingle_console::{Grant, Role};
use serde_json::json;

const GREETINGS: [&str; 4] = ["Hello World", "Hallo Welt", "Hola Mundo", "Salut le Monde"];
const USERS: [&str; 4] = ["ada@example.com", "grace@example.com", "alan@example.com", "linus"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let layer = SessionLayer::new(Memory::new());
    for n in 0..120_usize {
        visit(&layer, async |session| fill(session, n).await).await?;
    }
    let sessions = layer.sessions();
    visit(&layer, async |session| {
        session.login(Login::of("ada@example.com").label(Label::new("Firefox on Linux"))).await?;
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
    })
    .await?;
    let of_ada = sessions.of_user("ada@example.com").await?;
    let moving = of_ada.iter().max_by_key(|info| info.data_bytes).map(|info| info.handle);
    let app = async {
        while let Some(handle) = moving {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Ok(Some(session)) = sessions.find(&handle).await else { break };
            let views = |data: &mut ingle::data::Data| {
                let views = data.get("views").and_then(serde_json::Value::as_u64).unwrap_or(0);
                data.insert("views".to_owned(), (views + 1).into())
            };
            if session.update(views).await.is_err() {
                break;
            }
        }
        std::future::pending().await
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let grant = Grant::new("ada", Role::Editor);
    let console = ingle_console::serve(listener, layer.sessions(), grant, |address| {
        println!("Open {address}");
    });
    tokio::select! {
        ended = console => Ok(ended?),
        () = app => Ok(()),
    }
}

/// A request of a visitor.
async fn visit(
    layer: &SessionLayer,
    handler: impl AsyncFnOnce(&Session) -> Result<(), ingle::Error>,
) -> Result<(), ingle::Error> {
    let in_flight = layer.door().begin([]);
    handler(in_flight.session()).await?;
    match in_flight.finish(HandlerOutcome::Success).await.error() {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

async fn fill(session: &Session, n: usize) -> Result<(), ingle::Error> {
    if n.is_multiple_of(3) {
        let user = USERS.get(n / 3 % 7).copied();
        if let Some(user) = user {
            session.login(Login::of(user).label(Label::new("Chrome on Windows"))).await?;
        }
    }
    session.insert("greeting", GREETINGS.get(n % GREETINGS.len()).copied().unwrap_or_default())?;
    session.insert("views", n * n % 137)
}
