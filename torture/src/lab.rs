//! The app `greetings` with its lab, as a program on a store.

use std::{env, fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{Program, Server, http};

/// How long one question may take whether a process answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the app is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lab {
    /// The URL of its store.
    pub(crate) store: String,
    /// Options of its command line.
    pub(crate) options: Vec<String>,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What runs it, such as `strace` with its options.
    pub(crate) under: Vec<String>,
}

impl Lab {
    pub(crate) fn on(store: impl Into<String>) -> Self {
        Self { store: store.into(), ..Self::default() }
    }

    /// Starts it, and returns when it answers.
    pub(crate) fn start(&self) -> Result<Server> {
        let (lab, greetings) = (self.clone(), beside("greetings")?);
        let command = move |address: SocketAddr| {
            let mut words = lab.under.iter().cloned().map(PathBuf::from).collect::<Vec<_>>();
            words.push(greetings.clone());
            let mut words = words.into_iter();
            let mut command = Command::new(words.next().unwrap_or_default());
            for name in ["PORT", "INGLE_STORE", "FIRESTORE_EMULATOR_HOST"] {
                command.env_remove(name);
            }
            // A line for each request would be most of what it does.
            command.env("RUST_LOG", "warn");
            command.args(words).envs(lab.variables.iter().map(|(name, value)| (name, value)));
            command.args(["--lab", "--store", &lab.store, "--listen", &address.to_string()]);
            command.args(&lab.options);
            command
        };
        Server::start(Program::new("greetings", command, lives))
    }
}

/// Asks for what touches no session.
fn lives(address: SocketAddr) -> bool {
    http::status(address, "/healthz", PATIENCE) == Some(200)
}

/// A program of the workspace: cargo puts all of them into one folder.
fn beside(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("could not find this program's file")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "{name} is not built: run `cargo xtask torture`, which builds it");
    Ok(path)
}

/// How much memory a process has, in KiB, and how many files it has open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) kib: u64,
    pub(crate) files: usize,
}

/// What a process of this machine takes.
pub(crate) fn size(server: &Server) -> Result<Size> {
    let id = server.id().with_context(|| format!("{} does not run", server.name()))?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("it has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    let files = fs::read_dir(format!("/proc/{id}/fd")).context("could not count its files")?;
    Ok(Size { kib: kib.context("could not read its memory")?, files: files.count() })
}
