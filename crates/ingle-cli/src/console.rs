//! `ingle console`: the console in a browser, for whoever runs this program.

use std::{io::Write as _, sync::Once};

use ingle_console::Grant;
use tokio::{net::TcpListener, select};

use crate::{
    exit::{Failed, say},
    options::{ConsoleOptions, PlaceOptions},
    stop::Stop,
};

/// Serves until Ctrl-C. An address on stdout signs in whoever opens it first.
pub(crate) async fn run(place: &PlaceOptions, options: ConsoleOptions) -> Result<(), Failed> {
    if !place.knows_use() {
        return Err(Failed::usage(
            "how long does the app let a session live without use? Name it by --idle-time, such as \
             --idle-time 30m; without it the console cannot tell when a session was last used",
        ));
    }
    let sessions = place.layer(place.open().await?)?.sessions();
    if !sessions.store_info().capabilities.lists_by_user {
        return Err(Failed::refused("this store cannot list its sessions, so there is no console"));
    }
    let address = options.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener
        .map_err(|error| Failed::other(format!("could not listen on {address}: {error}")))?;
    let (name, from) = place.who();
    let grant = Grant::new(name, options.role.into()).from(from);
    let stop = Stop::listen();
    let told = Once::new();
    let announce = move |address: &str| {
        told.call_once(|| {
            say(
                "ingle: open this address in a browser of this machine; it signs in once, for 10 minutes. \
                 Ctrl-C ends the console",
            );
        });
        // A closed stdout has no reader.
        let _ = writeln!(std::io::stdout(), "{address}");
    };
    select! {
        served = ingle_console::serve(listener, sessions, grant, announce) => {
            served.map_err(|error| Failed::usage(format!("--listen {address}: {error}")))
        }
        () = stop.asked() => Ok(()),
    }
}
