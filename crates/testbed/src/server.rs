//! A server under test: started, paused, killed and restarted as the test wants.

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::NamedTempFile;

use crate::{Program, answer, port::Port, process::Process};

/// No server takes so long to start on any machine, unless it never does.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at a server that starts.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a start is tried. One may fail because somebody else has the port.
const ATTEMPTS: usize = 4;

/// Doubled for each further attempt.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// How much of its log is shown if a server does not start, in lines.
const LINES_SHOWN: usize = 50;

/// A server that runs, or did until it was killed. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// None after it was killed.
    process: Option<Process>,
    program: Program,
    port: Port,
    log: NamedTempFile,
}

impl Server {
    /// Starts a server on a free port of this machine, and returns when it answers.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not answer; with what it printed.
    pub fn start(program: Program) -> Result<Self> {
        let log = NamedTempFile::new().context("could not create a file for a server's log")?;
        let mut server = Self { process: None, program, port: Port::free()?, log };
        server.try_often(|server| {
            server.port = Port::free()?;
            Ok(())
        })?;
        Ok(server)
    }

    /// Where it listens, from the start to the end and after each restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.program.name()
    }

    /// The id of its process, or none if it was killed.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        Some(self.process.as_ref()?.number())
    }

    /// What it printed since it was first started.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log.path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The id of its first process, or none after it was killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let id = self.process.as_ref()?.id();
        u32::try_from(id.as_raw_nonzero().get()).ok()
    }

    /// Whether it answers within a second.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.program.answers(self.address())
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    #[track_caller]
    pub fn pause(&self) {
        if let Err(error) = self.running().pause() {
            panic!("{} could not be paused: {error}", self.described());
        }
    }

    /// SIGCONT, after [`pause`](Self::pause).
    #[track_caller]
    pub fn resume(&self) {
        if let Err(error) = self.running().resume() {
            panic!("{} could not be resumed: {error}", self.described());
        }
    }

    /// SIGKILL: it gets no chance to do anything. Connections are refused until it is restarted.
    pub fn kill(&mut self) {
        if self.process.take().is_none() {
            return;
        }
        // The first process has ended. Those that it started may still listen for a moment, and we
        // cannot wait for them: they are not our children.
        let begin = Instant::now();
        while !answer::refuses(self.address()) && begin.elapsed() < PATIENCE {
            thread::sleep(PAUSE);
        }
    }

    /// Starts it again on the same port, and returns when it answers. It is killed first if it
    /// runs.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        if let Err(error) = self.try_often(|_| Ok(())) {
            panic!("{} could not be restarted: {error:#}", self.described());
        }
    }

    #[track_caller]
    fn running(&self) -> &Process {
        let Some(process) = &self.process else { panic!("{} was killed", self.described()) };
        process
    }

    fn described(&self) -> String {
        format!("{} on {}", self.program.name(), self.address())
    }

    /// Tries to run it. Before each further attempt calls `prepare`.
    fn try_often(&mut self, prepare: impl Fn(&mut Self) -> Result<()>) -> Result<()> {
        let begin = Instant::now();
        let mut pause = BETWEEN_ATTEMPTS;
        for _ in 1..ATTEMPTS {
            let result = self.run();
            // One that stayed silent would be silent again.
            if result.is_ok() || begin.elapsed() > PATIENCE {
                return result;
            }
            thread::sleep(pause);
            pause = pause.saturating_mul(2);
            prepare(self)?;
        }
        self.run()
    }

    /// Runs it, and returns when it answers.
    fn run(&mut self) -> Result<()> {
        let printed_before = self.log().len();
        let described = self.described();
        let said = |server: &Self| tail(server.log().get(printed_before..).unwrap_or_default());
        let command = self.program.command(self.address());
        let shown = format!("{command:?}");
        let mut process = Process::spawn(command, self.log.as_file())
            .with_context(|| format!("could not run `{shown}`"))?;
        let begin = Instant::now();
        loop {
            // The answer may be somebody else's who has the port, so that it runs is asked last.
            let answers = self.program.answers(self.address());
            if let Some(status) = process.ended()? {
                bail!("{described} ended with {status}; `{shown}` printed:\n{}", said(self));
            }
            if answers {
                self.process = Some(process);
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{described} does not answer; `{shown}` printed:\n{}", said(self));
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(LINES_SHOWN);
    lines.get(first..).unwrap_or_default().join("\n")
}
