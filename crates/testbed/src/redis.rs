//! Redis, as one server or as a cluster, with its data in a temporary folder.
//!
//! What a server keeps is as its settings say: with [`SYNCED`] every commit that it acknowledged is
//! there after it was killed, else nothing is.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{Program, Server, answer, port::Port, shared, tools};

/// The Debian package, and the program that tests start.
pub const PACKAGE: (&str, &str) = ("redis-server", "redis-server");

/// Holds the path of the program that is started in the place of Debian's, if another one is to be tested.
pub const SERVER: &str = "INGLE_TEST_REDIS_SERVER";

/// A server that tests run on beside Debian's. Each has commands that Debian's has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// What it is called: `Valkey 9.1.2`.
    pub name: &'static str,
    /// What its program is called, below the folder of tools.
    file: &'static str,
}

/// The newest Valkey.
pub const VALKEY: Edition = Edition { name: "Valkey 9.1.2", file: "valkey-server-9.1.2" };

/// The oldest Valkey with `SET … IFEQ`.
pub const OLD_VALKEY: Edition = Edition { name: "Valkey 8.1.8", file: "valkey-server-8.1.8" };

/// The newest Redis.
pub const NEW_REDIS: Edition = Edition { name: "Redis 8.10.2", file: "redis-server-8.10.2" };

impl Edition {
    pub const ALL: [Self; 3] = [VALKEY, OLD_VALKEY, NEW_REDIS];

    /// Where its program is.
    #[must_use]
    pub fn path(self) -> PathBuf {
        tools::folder().join("bin").join(self.file)
    }

    #[must_use]
    pub fn is_installed(self) -> bool {
        self.path().is_file()
    }

    /// Settings as [`program`] takes them.
    ///
    /// # Errors
    ///
    /// If there is no folder for its data.
    pub fn program(self, settings: &[&str]) -> Result<Program> {
        program_of(self.name, self.path().into_os_string(), settings)
    }

    /// Servers that are a cluster.
    ///
    /// # Errors
    ///
    /// If one does not start, or they do not find each other.
    pub fn start_cluster(self, n: usize, settings: &[&str]) -> Result<Vec<Server>> {
        start_cluster_of(&vec![self.path().into_os_string(); n], settings)
    }
}

/// Holds the address of the Redis that tests share.
pub const SHARED: &str = "INGLE_TEST_REDIS";

/// Holds the address of one of the servers of the cluster that tests share.
pub const SHARED_CLUSTER: &str = "INGLE_TEST_REDIS_CLUSTER";

/// The settings with which what was acknowledged is on the disk.
pub const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// How many slots a cluster has.
const SLOTS: usize = 16384;

/// How long servers may take to become a cluster, and one to answer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Redis that tests share.
///
/// # Panics
///
/// If none was started.
#[must_use]
#[track_caller]
pub fn server() -> SocketAddr {
    shared::address(SHARED)
}

/// One server of the cluster that tests share.
///
/// # Panics
///
/// If none was started.
#[must_use]
#[track_caller]
pub fn cluster() -> SocketAddr {
    shared::address(SHARED_CLUSTER)
}

/// A Redis of one's own, with these settings.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start(settings: &[&str]) -> Server {
    started(program(settings).and_then(Server::start))
}

/// Servers of one's own that are a cluster, each a master of its part.
///
/// # Panics
///
/// If they do not start.
#[must_use]
#[track_caller]
pub fn start_own_cluster(n: usize, settings: &[&str]) -> Vec<Server> {
    started(start_cluster(n, settings))
}

/// A Redis of one's own that speaks TLS alone, and the file of the certificate that vouches for it
/// under the name `localhost`.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start_with_tls() -> (Server, PathBuf) {
    started(tls("no"))
}

/// The same, for clients alone that show the certificate in that file; its key is beside it, in
/// `key.pem`.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start_with_tls_for_known_clients() -> (Server, PathBuf) {
    started(tls("yes"))
}

/// A Redis of one's own that speaks TLS with the certificate and the key in these files.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start_with_certificate(certificate: &Path, key: &Path) -> Server {
    started(
        TempDir::new()
            .context("could not create a folder for Redis")
            .and_then(|folder| speaking_tls(folder, [certificate, key].map(Path::to_owned), "no")),
    )
}

#[track_caller]
fn started<T>(result: Result<T>) -> T {
    match result {
        Ok(started) => started,
        Err(error) => panic!("could not start Redis: {error:#}"),
    }
}

/// # Errors
///
/// If there is no folder for its data.
pub fn program(settings: &[&str]) -> Result<Program> {
    program_of("Redis", server_program(), settings)
}

fn program_of(name: &'static str, server: OsString, settings: &[&str]) -> Result<Program> {
    let folder = TempDir::new().context("could not create a folder for Redis")?;
    let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
    let command = move |address: SocketAddr| {
        let mut command = bare(&server, &folder);
        command.arg("--port").arg(address.port().to_string()).args(&settings);
        command
    };
    Ok(Program::new(name, command, answers))
}

/// Servers that are a cluster.
///
/// # Errors
///
/// If one does not start, or they do not find each other.
pub fn start_cluster(n: usize, settings: &[&str]) -> Result<Vec<Server>> {
    start_cluster_of(&vec![server_program(); n], settings)
}

/// Servers that are a cluster, each of the program that stands for it.
fn start_cluster_of(programs: &[OsString], settings: &[&str]) -> Result<Vec<Server>> {
    let n = programs.len();
    let mut servers = Vec::new();
    let mut places = Vec::new();
    for (number, program) in programs.iter().enumerate() {
        let (server, place) = start_node(program, settings)?;
        let (from, to) = (SLOTS * number / n, SLOTS * (number + 1) / n - 1);
        ask(server.address(), &format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?;
        places.push(place);
        servers.push(server);
    }
    for server in servers.iter().skip(1) {
        for place in &places {
            ask(server.address(), &format!("CLUSTER MEET {place}"))?;
        }
    }
    wait_for_cluster(&servers)?;
    Ok(servers)
}

/// A server that is to be part of a cluster, and the place where others meet it.
fn start_node(program: &OsStr, settings: &[&str]) -> Result<(Server, String)> {
    // The usual place of this port is 10,000 behind the other, where there may be none.
    let bus = Port::free()?;
    let bus_port = bus.address.port();
    let folder = TempDir::new().context("could not create a folder for Redis")?;
    let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
    let program = program.to_owned();
    let command = move |address: SocketAddr| {
        let mut command = bare(&program, &folder);
        command.arg("--port").arg(address.port().to_string());
        command.args(["--cluster-enabled", "yes", "--cluster-port"]);
        command.arg(bus.address.port().to_string()).args(&settings);
        command
    };
    let server = Server::start(Program::new("Redis in a cluster", command, answers))?;
    let place = format!("{} {} {bus_port}", server.address().ip(), server.address().port());
    Ok((server, place))
}

/// Starts a replica of one of these, which are a cluster, and adds it to them.
///
/// # Panics
///
/// If it does not become one.
#[track_caller]
pub fn add_own_replica(servers: &mut Vec<Server>, master: usize, settings: &[&str]) {
    started(add_replica(servers, master, settings));
}

fn add_replica(servers: &mut Vec<Server>, master: usize, settings: &[&str]) -> Result<()> {
    let (replica, place) = start_node(&server_program(), settings)?;
    let address = replica.address();
    for server in &*servers {
        ask(server.address(), &format!("CLUSTER MEET {place}"))?;
    }
    servers.push(replica);
    let master = servers.get(master).context("there is no such master")?;
    let id = ask(master.address(), "CLUSTER MYID")?;
    let id = id.lines().last().unwrap_or_default().to_owned();
    let begin = Instant::now();
    let wait_until = |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            if begin.elapsed() > PATIENCE {
                bail!("a server of Redis did not become a replica");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    // It must know the master first; and told twice, it would begin anew.
    wait_until(&|| ask(address, &format!("CLUSTER REPLICATE {id}")).is_ok())?;
    wait_until(&|| {
        let info = ask(address, "INFO replication").unwrap_or_default();
        info.contains("role:slave") && info.contains("master_link_status:up")
    })?;
    wait_for_cluster(servers)
}

/// Servers of one's own that are a cluster: one of Debian's, and one of each of these.
///
/// # Panics
///
/// If they do not start.
#[must_use]
#[track_caller]
pub fn start_own_mixed_cluster(editions: &[Edition]) -> Vec<Server> {
    let others = editions.iter().map(|edition| edition.path().into_os_string());
    let programs: Vec<OsString> = [PACKAGE.1.into()].into_iter().chain(others).collect();
    started(start_cluster_of(&programs, &[]))
}

/// Waits until each of these knows all of them, and takes commands.
///
/// # Errors
///
/// If they do not.
pub fn wait_for_cluster(servers: &[Server]) -> Result<()> {
    let n = servers.len();
    let begin = Instant::now();
    let knows_all = |server: &Server| {
        let info = ask(server.address(), "CLUSTER INFO").unwrap_or_default();
        info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{n}"))
    };
    while !servers.iter().all(knows_all) {
        if begin.elapsed() > PATIENCE {
            bail!("{n} servers of Redis did not become a cluster");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn tls(auth_clients: &'static str) -> Result<(Server, PathBuf)> {
    let folder = TempDir::new().context("could not create a folder for Redis")?;
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("could not make a certificate")?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).context("could not write a certificate")?;
    fs::write(&key, made.signing_key.serialize_pem()).context("could not write a key")?;
    let file = cert.clone();
    Ok((speaking_tls(folder, [cert, key], auth_clients)?, file))
}

fn speaking_tls(
    folder: TempDir,
    [cert, key]: [PathBuf; 2],
    auth_clients: &'static str,
) -> Result<Server> {
    let command = move |address: SocketAddr| {
        // As Debian has it: others are built without TLS.
        let mut command = bare(PACKAGE.1.as_ref(), &folder);
        command.args(["--port", "0", "--tls-auth-clients", auth_clients]);
        command.arg("--tls-port").arg(address.port().to_string());
        command.arg("--tls-cert-file").arg(&cert).arg("--tls-key-file").arg(&key);
        command.arg("--tls-ca-cert-file").arg(&cert);
        command
    };
    Server::start(Program::new("Redis with TLS", command, |address| {
        TcpStream::connect_timeout(&address, answer::PATIENCE).is_ok()
    }))
}

/// The program that tests start.
fn server_program() -> OsString {
    env::var_os(SERVER).unwrap_or_else(|| PACKAGE.1.into())
}

fn bare(program: &OsStr, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--dir"]);
    command.arg(folder.path());
    command
}

/// Sends one command, written as on a command line, and returns the answer as it comes: for what a
/// test does behind the back of the library.
///
/// # Errors
///
/// If the server cannot be reached, or refuses.
pub fn ask(address: SocketAddr, command: &str) -> Result<String> {
    let mut answer = say(address, command, PATIENCE)?;
    answer.truncate(answer.trim_end().len());
    if answer.starts_with('-') {
        bail!("Redis refuses `{command}`: {answer}");
    }
    Ok(answer)
}

fn say(address: SocketAddr, command: &str, patience: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.strip_suffix("+OK\r\n").map(str::to_owned).unwrap_or(answer))
}

/// One that wants a password answers, too; one that still loads its data does not.
fn answers(address: SocketAddr) -> bool {
    let answer = say(address, "PING", answer::PATIENCE).unwrap_or_default();
    answer.starts_with('+') || answer.starts_with("-NOAUTH")
}
