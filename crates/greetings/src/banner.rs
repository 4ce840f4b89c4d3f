//! What the program says of itself when it starts, on stderr: where the sessions are and what an
//! answered view survives there, which cookie they have, whose accounts there are, and where it listens.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    net::SocketAddr,
    path,
};

use ingle::{
    Cookie,
    store::{Ids, Store},
};
use tokio::net::TcpListener;

use crate::options::{Options, Transport};

pub(crate) const VERSION: &str = concat!("greetings ", env!("CARGO_PKG_VERSION"), "\n");

/// The last line says that clients can come, and where: scripts and tests wait for it.
pub(crate) fn announce(
    options: &Options,
    accounts: Option<usize>,
    store: &dyn Store,
    its_cookie: &Cookie,
    listener: &TcpListener,
    metrics: Option<SocketAddr>,
) {
    let info = store.info();
    let address = listener.local_addr().unwrap_or(options.listen);
    let lab = if options.lab { "lab          routes for race tests, below /lab/\n" } else { "" };
    let accounts = match (&options.accounts, accounts) {
        (Some(file), Some(count)) => {
            format!("accounts     {count}, in the file {}\n", file.display())
        }
        _ => String::new(),
    };
    let emulator = options.emulator.as_deref().map(emulator).unwrap_or_default();
    let server = info.server.as_deref().map(|server| format!("server       {server}\n"));
    let server = server.unwrap_or_default();
    let metrics = metrics.map(metrics_at).unwrap_or_default();
    let collector = options.otlp.as_ref().map(|otlp| without_secrets(&otlp.value));
    let collector = collector.map(|url| format!("collector    {url}, for traces and metrics\n"));
    let collector = collector.unwrap_or_default();
    let banner = format!(
        "{VERSION}\
         sessions     {}\n\
         {emulator}\
         {server}\
         durability   an answered view survives {}\n\
         cookie       {}{}\n\
         {accounts}\
         {lab}\
         {metrics}\
         {collector}\
         listening on http://{address}\n",
        place(&options.store.value),
        info.durability,
        cookie(its_cookie.name(), options.transport),
        ids(info.ids),
    );
    // Nobody reading stderr is no reason not to serve.
    let _ = io::stderr().write_all(banner.as_bytes());
}

fn metrics_at(address: SocketAddr) -> String {
    let is_local = address.ip().to_canonical().is_loopback();
    let seen = if is_local { "" } else { ", for all who reach this address" };
    format!("metrics      http://{address}/metrics{seen}\n")
}

fn emulator(host: &str) -> String {
    format!(
        "emulator     FIRESTORE_EMULATOR_HOST is set to {host}: sessions are kept in an emulator. \
         For tests only\n"
    )
}

/// The store's URL as it may be shown and, where it is a folder, which one that is.
fn place(url: &str) -> String {
    let shown = without_secrets(url);
    let folder = url.strip_prefix("sqlite:").map(|folder| folder.trim_start_matches("//"));
    match folder.and_then(|folder| path::absolute(folder).ok()) {
        Some(folder) => format!("{shown} (the folder {})", folder.display()),
        None => shown.into_owned(),
    }
}

/// A URL without its password and its parameters, which may be one.
///
/// A password that should have been escaped may hold any sign, so what ends it is the last `@`.
fn without_secrets(url: &str) -> Cow<'_, str> {
    let holds_none = |scheme, rest: &str| scheme == "firestore" || rest.starts_with('/');
    let parts = url.split_once("://").filter(|(scheme, rest)| !holds_none(*scheme, rest));
    let Some((scheme, rest)) = parts else { return url.into() };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => {
            (format!("{}:…@", login.split(':').next().unwrap_or_default()), place)
        }
        None => (String::new(), rest),
    };
    let (place, parameters) = match place.split_once('?') {
        Some((place, _)) => (place, "?…"),
        None => (place, ""),
    };
    format!("{scheme}://{login}{place}{parameters}").into()
}

fn cookie(name: &str, transport: Transport) -> String {
    let meant_for = match transport {
        Transport::Loopback => ", for plain HTTP on this machine only",
        Transport::Insecure => {
            ", over plain HTTP. WARNING: INSECURE! Anyone who listens on the network can take \
             over sessions"
        }
        Transport::Https => {
            ", Secure: browsers keep it only if a proxy or platform in front of this speaks HTTPS"
        }
    };
    let is_bound = transport != Transport::Https || name.starts_with("__Host-");
    let unbound = if is_bound {
        ""
    } else {
        "; without the prefix __Host-, other hosts of its domain can set it"
    };
    format!("{name}{meant_for}{unbound}")
}

/// What is to be known of the ids in the cookie, where they are not the usual ones.
fn ids(ids: Ids) -> &'static str {
    match ids {
        Ids::Plain => {
            "; its ids are plain UUIDs, which are the keys in the store: anyone who reads the store \
             can take over sessions"
        }
        Ids::Upgrade => "; a plain UUID in session_id is taken, too, and replaced by a safe id",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_others_may_reach_are_told_of() {
        let line = |address: &str| metrics_at(address.parse().unwrap());
        assert_eq!(line("127.0.0.1:9464"), "metrics      http://127.0.0.1:9464/metrics\n");
        let open = "metrics      http://0.0.0.0:9464/metrics, for all who reach this address\n";
        assert_eq!(line("0.0.0.0:9464"), open);
    }

    #[test]
    fn the_secrets_of_a_url_are_not_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://:hunter2@cache/1", "redis://:…@cache/1"),
            ("postgres://app:hunter2@db/app?sslmode=require", "postgres://app:…@db/app?…"),
            ("postgres://app:hunt/er?2@x#@db:5432/app", "postgres://app:…@db:5432/app"),
            ("postgres://db/app?user=app&password=hunter2", "postgres://db/app?…"),
            ("sqlite:///srv/a@b", "sqlite:///srv/a@b"),
            ("sqlite:greetings-data", "sqlite:greetings-data"),
            ("firestore://p/(default)/s?ids=plain", "firestore://p/(default)/s?ids=plain"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
