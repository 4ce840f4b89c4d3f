//! PostgreSQL, and PgBouncer before it.
//!
//! Both refuse to run as root, so there they run as the user `postgres`, whom Debian's package
//! makes. A server is durable, as it comes, so what it has acknowledged must be there after
//! [`Postgres::kill`].

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Program, Server, answer, shared};

/// Holds the address of the PostgreSQL that tests share.
pub const SHARED: &str = "INGLE_TEST_POSTGRES";

/// Holds the address of the PgBouncer before it, in transaction mode.
pub const SHARED_POOLER: &str = "INGLE_TEST_PGBOUNCER";

/// The user that the servers run as where the tests run as root.
const USER: &str = "postgres";

/// Who may log in, and how. Tests make the roles.
const LOGINS: &str = "\
local   all all                           trust
host    all with_password    127.0.0.1/32 scram-sha-256
hostssl all with_tls         127.0.0.1/32 trust
host    all with_tls         127.0.0.1/32 reject
host    replication all      127.0.0.1/32 trust
host    all all              127.0.0.1/32 trust
";

/// The PostgreSQL that tests share, with the superuser `postgres` and no password.
///
/// # Panics
///
/// If none was started.
#[must_use]
#[track_caller]
pub fn shared() -> SocketAddr {
    shared::address(SHARED)
}

/// The PgBouncer before the PostgreSQL that tests share. The name of a test that calls this has
/// `pgbouncer` in it: where that is not installed, `cargo xtask test` skips it by that.
///
/// # Panics
///
/// If none was started.
#[must_use]
#[track_caller]
pub fn shared_pooler() -> SocketAddr {
    shared::address(SHARED_POOLER)
}

/// A PostgreSQL of one's own.
///
/// Each of its connections is served by a process in a group of its own, so it is paused and killed
/// here, one process after the other.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    folder: Arc<TempDir>,
}

impl Postgres {
    /// Starts one, with these settings besides its own, such as `ssl=on`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(settings: &[&str]) -> Self {
        let started = data_folder(initialize).and_then(|folder| {
            let server = Server::start(program_in(&folder, settings)?)?;
            Ok(Self { server, folder })
        });
        match started {
            Ok(server) => server,
            Err(error) => panic!("could not start PostgreSQL: {error:#}"),
        }
    }

    /// Starts a hot standby that follows this server.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    #[track_caller]
    pub fn start_standby(&self) -> Self {
        let address = self.address();
        let copy = |folder: &Path| {
            let mut backup = unprivileged(&installed("pg_basebackup")?)?;
            backup
                .arg("--pgdata")
                .arg(folder.join("data"))
                .args(["-R", "-X", "stream", "-c", "fast"]);
            backup.args(["-U", USER, "-h", "127.0.0.1", "-p", &address.port().to_string()]);
            succeed(&mut backup)
        };
        let started = data_folder(copy).and_then(|folder| {
            let server = Server::start(program_in(&folder, &[])?)?;
            Ok(Self { server, folder })
        });
        match started {
            Ok(server) => server,
            Err(error) => panic!("could not start a standby: {error:#}"),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The folder of its Unix socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into the data folder, which its server may read and nobody else.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    #[track_caller]
    pub fn put(&self, name: &str, content: &str) {
        let path = self.folder.path().join("data").join(name);
        let put = || -> Result<()> {
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            give_away(&path)
        };
        if let Err(error) = put() {
            panic!("could not write {}: {error:#}", path.display());
        }
    }

    /// Makes a standby a primary.
    #[track_caller]
    pub fn promote(&self) {
        let promote = || -> Result<()> {
            let mut promote = unprivileged(&installed("pg_ctl")?)?;
            promote.arg("promote").arg("-D").arg(self.folder.path().join("data"));
            succeed(&mut promote)
        };
        if let Err(error) = promote() {
            panic!("could not promote a standby: {error:#}");
        }
    }

    /// SIGSTOP for all its processes.
    #[track_caller]
    pub fn pause(&self) {
        let postmaster = self.postmaster();
        signal(postmaster, Signal::STOP);
        children(postmaster).into_iter().for_each(|child| signal(child, Signal::STOP));
    }

    /// SIGCONT, after [`pause`](Self::pause).
    #[track_caller]
    pub fn resume(&self) {
        let postmaster = self.postmaster();
        children(postmaster).into_iter().for_each(|child| signal(child, Signal::CONT));
        signal(postmaster, Signal::CONT);
    }

    /// SIGKILL for all its processes.
    #[track_caller]
    pub fn kill(&mut self) {
        let postmaster = self.postmaster();
        signal(postmaster, Signal::STOP);
        children(postmaster).into_iter().for_each(|child| signal(child, Signal::KILL));
        self.server.kill();
    }

    /// Starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.server.restart();
    }

    /// The first process, by the file that it writes for that.
    #[track_caller]
    fn postmaster(&self) -> Pid {
        let file = self.folder.path().join("data/postmaster.pid");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| line.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { panic!("{} names no process", file.display()) };
        pid
    }
}

fn signal(process: Pid, signal: Signal) {
    // One that has ended meanwhile needs none.
    let _ = kill_process(process, signal);
}

/// The children of a process, as the kernel lists them.
fn children(parent: Pid) -> Vec<Pid> {
    let is_child = |process: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
        // The name may have spaces and brackets in it; state and parent follow it.
        let stat = stat.unwrap_or_default();
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest);
        let parent_of = after_name.and_then(|rest| rest.split_ascii_whitespace().nth(1));
        parent_of == Some(&parent.as_raw_nonzero().to_string())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes =
        entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    processes.filter(is_child).collect()
}

/// A PostgreSQL with a folder of its own, for [`Server::start`].
///
/// # Errors
///
/// If it is not installed.
pub fn program() -> Result<Program> {
    program_in(&data_folder(initialize)?, &[])
}

fn program_in(folder: &Arc<TempDir>, settings: &[&str]) -> Result<Program> {
    let folder = Arc::clone(folder);
    let postgres = unprivileged_words(&installed("postgres")?)?;
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let command = move |address: SocketAddr| {
        let mut command = postgres.command();
        command.arg("-D").arg(folder.path().join("data"));
        command.arg("-c").arg(format!("listen_addresses={}", address.ip()));
        command.arg("-c").arg(format!("port={}", address.port()));
        command.arg("-c").arg(format!("unix_socket_directories={}", folder.path().display()));
        command.args(["-c", "max_connections=400"]);
        settings.iter().for_each(|setting| _ = command.arg("-c").arg(setting));
        command
    };
    Ok(Program::new("PostgreSQL", command, answers))
}

/// A PgBouncer in transaction mode before the server at `address`, or none where it is not
/// installed.
///
/// # Errors
///
/// If its settings cannot be written.
pub fn pooler_program(server: SocketAddr) -> Result<Option<Program>> {
    let Ok(pgbouncer) = installed("pgbouncer") else { return Ok(None) };
    let folder = data_folder(|_| Ok(()))?;
    let pgbouncer = unprivileged_words(&pgbouncer)?;
    let command = move |address: SocketAddr| {
        let settings = format!(
            "[databases]\n\
             * = host={} port={} user={USER}\n\
             [pgbouncer]\n\
             listen_addr = {}\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = 4\n\
             max_client_conn = 2000\n",
            server.ip(),
            server.port(),
            address.ip(),
            address.port(),
        );
        let file = folder.path().join("pgbouncer.ini");
        // If it cannot be written, the pooler says that it cannot be read.
        let _ = fs::write(&file, settings);
        let mut command = pgbouncer.command();
        command.arg(file);
        command
    };
    Ok(Some(Program::new("PgBouncer", command, answers)))
}

/// A temporary folder of the servers' user, prepared.
fn data_folder(prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Arc<TempDir>> {
    let folder = tempfile::tempdir().context("could not make a temporary folder")?;
    give_away(folder.path())?;
    prepare(folder.path())?;
    Ok(Arc::new(folder))
}

fn initialize(folder: &Path) -> Result<()> {
    let mut initdb = unprivileged(&installed("initdb")?)?;
    initdb.arg("-D").arg(folder.join("data"));
    initdb.args(["-U", USER, "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"]);
    succeed(&mut initdb)?;
    let logins = folder.join("data/pg_hba.conf");
    fs::write(&logins, LOGINS).with_context(|| format!("could not write {}", logins.display()))
}

/// Lets the servers' user have a file or folder.
fn give_away(path: &Path) -> Result<()> {
    if let Some((user, group)) = servers_user()? {
        chown(path, Some(user), Some(group))
            .with_context(|| format!("could not give {} to {USER}", path.display()))?;
    }
    Ok(())
}

/// The ids of the user that the servers run as, if that is another than the tests'.
fn servers_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("could not read /etc/passwd")?;
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:x:"));
    let ids = user.and_then(|ids| {
        let mut ids = ids.split(':').map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    });
    let missing = "there is no user `postgres`, and PostgreSQL does not run as root: install it \
                   by `apt-get install postgresql`, which makes the user";
    ids.map(Some).context(missing)
}

/// A program, and the user to run it as.
struct Words {
    program: PathBuf,
    user: Option<(u32, u32)>,
}

impl Words {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        // It may be started in a folder that its user may not read.
        command.current_dir("/");
        command
    }
}

fn unprivileged_words(program: &Path) -> Result<Words> {
    Ok(Words { program: program.to_owned(), user: servers_user()? })
}

fn unprivileged(program: &Path) -> Result<Command> {
    Ok(unprivileged_words(program)?.command())
}

/// A program of PostgreSQL's: the newest in Debian's folders, or what is on the path.
fn installed(program: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(program)))
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    versions.sort();
    if let Some((_, path)) = versions.pop() {
        return Ok(path);
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/pgsql/bin"].map(PathBuf::from);
    let found = env::split_paths(&folders)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!("{program} is not installed: run `cargo xtask test`, or install PostgreSQL")
    })
}

/// The server's own program.
///
/// # Errors
///
/// If it is not installed.
pub fn server_program() -> Result<PathBuf> {
    installed("postgres")
}

/// Whether the tests can run PostgreSQL here.
#[must_use]
pub fn is_installed() -> bool {
    installed("postgres").is_ok() && installed("initdb").is_ok() && servers_user().is_ok()
}

/// Whether they can run PgBouncer.
#[must_use]
pub fn pooler_is_installed() -> bool {
    installed("pgbouncer").is_ok()
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("could not run `{command:?}`"))?;
    if !output.status.success() {
        bail!("`{command:?}` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Whether it lets a superuser in, which it does not while it starts.
fn answers(address: SocketAddr) -> bool {
    ask(address).is_some_and(|answer| answer == b'R')
}

/// The first byte that is answered to who wants to log in.
fn ask(address: SocketAddr) -> Option<u8> {
    let mut stream = TcpStream::connect_timeout(&address, answer::PATIENCE).ok()?;
    stream.set_read_timeout(Some(answer::PATIENCE)).ok()?;
    let names = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(names.len() + 8).ok()?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&196_608_u32.to_be_bytes());
    message.extend_from_slice(names);
    stream.write_all(&message).ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    let _ = stream.write_all(&[b'X', 0, 0, 0, 4]);
    Some(first[0])
}
