//! The program under test, one or several on the same store.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testbed::http::Browser;
use tokio::time::{sleep, timeout};

use crate::place::Place;

/// Nothing that is waited for takes so long on any machine, unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks at what is waited for.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Times so long that a request is answered and a process ends in its own time, however busy the
/// machine is. A test that is about one of them sets it anew.
const PATIENT: [&str; 8] = [
    "--header-timeout",
    "1h",
    "--request-timeout",
    "1h",
    "--store-timeout",
    "2m",
    "--drain-timeout",
    "1h",
];

/// A program without the environment of those who run the tests.
pub(crate) fn program() -> Command {
    let mut program = Command::new(crate::PROGRAM);
    for name in [
        "PORT",
        "INGLE_STORE",
        "RUST_LOG",
        "FIRESTORE_EMULATOR_HOST",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GCE_METADATA_HOST",
        "K_SERVICE",
        "GAE_SERVICE",
        "KUBERNETES_SERVICE_HOST",
        "K_REVISION",
        "GAE_VERSION",
        "GOOGLE_CLOUD_PROJECT",
    ] {
        program.env_remove(name);
    }
    program
}

/// The same with patience, for a process that serves.
pub(crate) fn patient() -> Command {
    let mut program = program();
    program.args(PATIENT);
    program
}

/// Runs the program to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: &[S], environment: &[(&str, &OsStr)]) -> Output {
    program().args(arguments).envs(environment.iter().copied()).output().expect("the program runs")
}

/// A process that serves. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it said until it listened.
    pub(crate) banner: String,
    log: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts the lab on the sessions in a place.
    ///
    /// A store that has just been started may be slower on a busy machine than the program waits for
    /// it when it opens it. Then it is opened once more.
    pub(crate) fn start(place: &Place, options: &[&str]) -> Self {
        let begin = Instant::now();
        loop {
            let mut program = patient();
            program.args(["--lab", "--listen", "127.0.0.1:0", "--store", &place.url]).args(options);
            // The lines of requests are a matter of tests of their own.
            program.env("RUST_LOG", "warn");
            program.envs(place.environment.iter().map(|(name, value)| (name, value)));
            match Self::try_spawn(program) {
                Ok(process) => return process,
                Err(said) => {
                    let late = ["did not answer in time", "Timeout expired"];
                    let is_slow = late.iter().any(|late| said.contains(late));
                    assert!(is_slow && begin.elapsed() < PATIENCE, "it ended and said: {said}");
                }
            }
        }
    }

    pub(crate) fn spawn(program: Command) -> Self {
        Self::try_spawn(program).unwrap_or_else(|said| panic!("it ended and said: {said}"))
    }

    /// What it said, if it ended before it listened.
    fn try_spawn(mut program: Command) -> Result<Self, String> {
        let mut child = program.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut banner = String::new();
        let address = loop {
            let start = banner.len();
            let read = stderr.read_line(&mut banner).expect("its stderr is text");
            if read == 0 {
                child.wait().expect("it ends");
                return Err(banner);
            }
            let line = banner[start..].trim_end();
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse::<SocketAddr>().expect("an address");
            }
        };
        let log = thread::spawn(move || {
            let mut log = String::new();
            // It may be killed in the middle of a character.
            let _ = stderr.read_to_string(&mut log);
            log
        });
        let address = SocketAddr::from(([127, 0, 0, 1], address.port()));
        Ok(Self { child, address, banner, log: Some(log) })
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// Returns when so many slow requests of the lab have read and wait.
    pub(crate) async fn until_waiting(&self, n: usize) {
        let mut browser = self.browser();
        let waiting = async {
            while browser.get("/lab/waiting").await.body != n.to_string() {
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("they wait at the same time");
    }

    /// SIGKILL: the process gets no chance to do anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// SIGTERM, as a platform stops a process.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Its exit code, and what it logged.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                let log = self.log.take().expect("nobody took it").join();
                return (status.code(), log.expect("the log was read"));
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One or several processes that share a store.
#[derive(Debug)]
pub(crate) struct Instances {
    pub(crate) place: Place,
    pub(crate) processes: Vec<Process>,
}

impl Instances {
    pub(crate) fn start(place: Place, n: usize) -> Self {
        Self::start_with(place, n, &[])
    }

    pub(crate) fn start_with(place: Place, n: usize, options: &[&str]) -> Self {
        let processes = (0..n).map(|_| Process::start(&place, options)).collect();
        Self { place, processes }
    }

    pub(crate) fn first(&self) -> &Process {
        &self.processes[0]
    }

    /// Another process than the first, if there is one.
    pub(crate) fn last(&self) -> &Process {
        &self.processes[self.processes.len() - 1]
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(|process| process.address).collect()
    }

    /// The address that the `n`th client talks to.
    pub(crate) fn deal(&self, n: usize) -> SocketAddr {
        self.processes[n % self.processes.len()].address
    }

    /// Stops all processes in order, and counts the records that they leave. None if the store
    /// cannot list them.
    pub(crate) async fn stop_and_count(self) -> Option<usize> {
        for process in self.processes {
            process.terminate();
            assert_eq!(process.ended().0, Some(0));
        }
        self.place.count().await
    }
}
