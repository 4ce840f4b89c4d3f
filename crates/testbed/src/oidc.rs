//! A provider of OpenID Connect: `oidc-provider`, which the OpenID Foundation has certified, on Node.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{Program, answer, http, tools};

/// What the project has of it. `npm` installs the rest, by the versions and hashes of the lock file.
pub const FILES: [&str; 3] = ["package.json", "package-lock.json", "provider.mjs"];

/// The id and the secret of a client, and the id of one without a secret.
pub const CLIENT: (&str, &str) = ("console", "a secret of 32 characters or more.");
pub const PUBLIC_CLIENT: &str = "public";

/// The folder that it is installed into.
#[must_use]
pub fn folder() -> PathBuf {
    tools::folder().join("oidc")
}

/// The folder with what the project has of it.
#[must_use]
pub fn files() -> PathBuf {
    tools::workspace().join("crates/testbed/oidc")
}

/// Whether it is there, as the project has it, and can be run. The files are copied when all else is there.
#[must_use]
pub fn is_installed() -> bool {
    let is_same = |name: &&str| {
        let read = |folder: PathBuf| fs::read(folder.join(name)).ok();
        read(folder()).is_some_and(|there| Some(there) == read(files()))
    };
    let node = Command::new("node")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    FILES.iter().all(is_same) && node.is_ok_and(|status| status.success())
}

/// A provider that sends people back to these two addresses. It takes any name with any password, and
/// `provider.mjs` says what it tells of whom.
#[must_use]
pub fn program(redirect: &str, signed_out: &str) -> Program {
    let back = [redirect.to_owned(), signed_out.to_owned()];
    let command = move |address: SocketAddr| {
        let mut command = Command::new("node");
        command.arg(folder().join("provider.mjs")).arg(address.port().to_string()).args(&back);
        command
    };
    Program::new("oidc-provider", command, answers)
}

fn answers(address: SocketAddr) -> bool {
    let path = "/.well-known/openid-configuration";
    http::status(address, path, answer::PATIENCE) == Some(200)
}
