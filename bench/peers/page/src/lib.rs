//! What all peers share: the page that they show, and how they are started.
//!
//! It knows no session library. The page is that of the tutorial: it greets in the language that was
//! chosen at first, and counts the views.

use std::{env, net::SocketAddr};

use anyhow::{Context as _, Result};

const GREETINGS: [&str; 5] =
    ["Hello World", "Hallo Welt", "Ciao Mondo", "Salut le Monde", "Hola Mundo"];

/// The page of a route that touches no session: what the framework alone can do.
pub const PLAIN: &str = "<body>0 views for \"plain\"</body>";

/// The fixed name of the cookie.
pub const COOKIE: &str = "session_id";

/// A greeting for a session that begins.
#[must_use]
pub fn any_greeting() -> &'static str {
    fastrand::choice(GREETINGS).unwrap_or_default()
}

/// The page.
#[must_use]
pub fn page(views: u64, greeting: &str) -> String {
    format!("<body>{views} views for \"{greeting}\"</body>")
}

/// How a peer is started: `peer-NAME ADDRESS STORE [PLACE]`.
#[derive(Debug)]
pub struct Arguments {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which of its stores.
    pub store: String,
    place: Option<String>,
}

impl Arguments {
    /// # Errors
    ///
    /// If one is missing, or the first is no address.
    pub fn read() -> Result<Self> {
        let mut arguments = env::args().skip(1);
        let listen = arguments.next().context("the first argument is an address and a port")?;
        let listen = listen.parse().context("the first argument is an address and a port")?;
        let store = arguments.next().context("the second argument is the kind of store")?;
        Ok(Self { listen, store, place: arguments.next() })
    }

    /// The store's URL, or its file.
    ///
    /// # Errors
    ///
    /// If it was not said.
    pub fn place(&self) -> Result<&str> {
        self.place.as_deref().context("the third argument is where the store is")
    }
}
