//! The image on the way that it goes with Google: TLS to Firestore, and a token of the metadata server.
//!
//! Both are the tests' own, with an authority of their own, and an emulator is behind them.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use testbed::{
    Server, firestore,
    google::{FIRESTORE, Production},
};

use super::{
    containers::{Container, Containers},
    image::{self, IMAGE},
    visit::{Visitors, free_address},
};
use crate::{
    step::{self, Steps},
    tools,
};

/// Where the image has the authorities that it trusts, and where a person may put others.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const OWN_ROOTS: &str = "/own/authority.pem";

/// What the app ends with where it cannot open its store.
const NO_STORE: &str = "3";

/// Each begins a session and asks once more.
const VISITORS: usize = 3;

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    let Some(containers) = image::prepare(steps)? else { return Ok(()) };
    steps.run("Firestore emulator", tools::install_hidane)?;
    steps.run("Firestore as in production", || {
        let emulator = Server::start(firestore::hidane_program()?)?;
        let production = match Production::start(emulator.address()) {
            Ok(production) => production,
            Err(error) => {
                step::skip(format_args!("{error:#}."));
                return Ok(());
            }
        };
        let folder = TempDir::new().context("could not make a folder for certificates")?;
        let [authority, none] = ["authority.pem", "none.pem"].map(|name| folder.path().join(name));
        fs::write(&authority, production.certificate()).context("could not write it")?;
        fs::write(&none, "").context("could not write a file without certificates")?;
        let way = Way { containers: &containers, production: &production };
        way.is_served("over the image's own", &[&mount(&authority, ROOTS)])?;
        let variable = format!("--env=SSL_CERT_FILE={OWN_ROOTS}");
        way.is_served("by SSL_CERT_FILE", &[&mount(&authority, OWN_ROOTS), &variable])?;
        way.is_refused(&[], "(invalid peer certificate: UnknownIssuer)")?;
        way.is_refused(&[&mount(&none, ROOTS)], "no CA certificates are installed")?;
        ensure!(production.tokens() > 0, "nobody asked for a token");
        Ok(())
    })
}

fn mount(file: &Path, to: &str) -> String {
    format!("--volume={}:{to}:ro", file.display())
}

struct Way<'a> {
    containers: &'a Containers,
    production: &'a Production,
}

impl Way<'_> {
    fn is_served(&self, how: &str, options: &[&str]) -> Result<()> {
        let (app, address) = self.start(options)?;
        app.wait_until_ready(address)?;
        Visitors::begin(address, VISITORS)?.find_their_views()?;
        println!("With the authority {how} it is served.");
        Ok(())
    }

    /// The last line that it prints names this.
    fn is_refused(&self, options: &[&str], named: &str) -> Result<()> {
        let (app, _) = self.start(options)?;
        let code = app.code()?;
        let said = app.log()?;
        ensure!(code == NO_STORE, "without the authority it ended with {code}:\n{said}");
        let last = said.lines().last().unwrap_or_default();
        ensure!(last.contains(named), "its last line does not name `{named}`:\n{said}");
        println!("Without the authority: {last}");
        Ok(())
    }

    fn start(&self, options: &[&str]) -> Result<(Container<'_>, SocketAddr)> {
        let address = free_address()?;
        let set = [
            "--network=host".to_owned(),
            "--read-only".to_owned(),
            "--cap-drop=all".to_owned(),
            format!("--add-host={FIRESTORE}:{}", self.production.firestore().ip()),
            format!("--env=PORT={}", address.port()),
            format!("--env=GCE_METADATA_HOST={}", self.production.metadata()),
            "--env=INGLE_STORE=firestore://demo/sessions".to_owned(),
        ];
        let options: Vec<&str> =
            set.iter().map(String::as_str).chain(options.iter().copied()).collect();
        Ok((self.containers.start(IMAGE, &options, &[])?, address))
    }
}
