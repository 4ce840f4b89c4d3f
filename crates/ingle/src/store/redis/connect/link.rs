//! One connection to one server: made, looked at, used by all calls at once (`pipeline.rs`), and given up.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, Pipeline as Commands, Value};
use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

use super::{
    super::{
        error::{self, Cause, Failure},
        scripts::swap::Swap,
    },
    dial::{Address, dial},
    pipeline::{self, CALL_TIME_MAX, Pipeline, refused},
    server::Server,
    tls::Tls,
};
use crate::detach;

/// A call that is given up takes its connection along if somebody has waited there for so long, and no answer
/// came.
pub(in crate::store) const SILENCE_MAX: Duration = Duration::from_millis(300);

/// How long what is still under way on a connection that was given up may take.
const GRACE: Duration = CALL_TIME_MAX;

/// An open connection.
pub(super) struct Link {
    pipeline: Arc<Pipeline>,
    life: Arc<Life>,
    /// What the server has said of itself, when it was asked.
    server: Option<Server>,
}

struct Life {
    open: AtomicBool,
    /// Whether the server has `SET … IFEQ`.
    ifeq: AtomicBool,
    runtime: Handle,
    driver: OnceLock<AbortHandle>,
}

impl Life {
    /// Reads an answer. A server that does not know the option of a command has done nothing of it.
    fn read(&self, answer: Value) -> Result<Value, Failure> {
        let answer = refused(answer);
        if let Err(Failure::Refused(refusal)) = &answer
            && error::is_syntax_error(refusal)
            && self.ifeq.swap(false, Ordering::Relaxed)
        {
            tracing::warn!(
                "this server has no `SET … IFEQ`, though its version has: a script commits"
            );
        }
        answer
    }

    fn give_up(&self) {
        let was_open = self.open.swap(false, Ordering::Relaxed);
        if let Some(driver) = self.driver.get().filter(|_| was_open) {
            let driver = driver.clone();
            // What others wait for may still come; after that nobody is left who would read it.
            detach::spawn_on(&self.runtime, async move {
                sleep(GRACE).await;
                driver.abort();
            });
        }
    }
}

impl Link {
    /// Connects, and says nothing yet.
    pub(super) async fn open(tls: Option<&Tls>, address: &Address) -> Result<Self, Cause> {
        let (pipeline, driver) = pipeline::over(dial(tls, address).await?);
        let life = Arc::new(Life {
            open: AtomicBool::new(true),
            ifeq: AtomicBool::new(false),
            runtime: Handle::current(),
            driver: OnceLock::new(),
        });
        let driving = Driving(Arc::clone(&life));
        let driver = detach::spawn_on(&life.runtime, driver.run(move || drop(driving)));
        let _ = life.driver.set(driver);
        Ok(Self { pipeline, life, server: None })
    }

    /// The connection with what the server has said of itself.
    pub(super) fn with(mut self, server: Server) -> Self {
        self.life.ifeq.store(server.has_ifeq(), Ordering::Relaxed);
        self.server = Some(server);
        self
    }

    /// What the server has said of itself.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Whether the server has `SET … IFEQ`.
    pub(super) fn has_ifeq(&self) -> bool {
        self.life.ifeq.load(Ordering::Relaxed)
    }

    pub(super) fn is_open(&self) -> bool {
        self.life.open.load(Ordering::Relaxed)
    }

    /// Gives the connection up: nobody is to use it any more.
    pub(super) fn give_up(&self) {
        self.life.give_up();
    }

    /// Sends a command and returns its answer, or the server's refusal.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        let call = Call::begin(self);
        call.end(self.pipeline.call(command).await)
    }

    /// Makes a swap, together with those that meet it. Answers `OK` if it is done, else what there is, or
    /// nothing if that is not known.
    ///
    /// No async function, which would keep room for the swap until the answer comes.
    pub(super) fn swap(&self, swap: Swap) -> impl Future<Output = Result<Value, Failure>> {
        let call = Call::begin(self);
        let answer = self.pipeline.swap(swap, self.has_ifeq());
        async move { call.end(answer.await) }
    }

    /// Sends commands in one piece and returns their answers, each with what is said of it alone.
    pub(super) async fn call_all(
        &self,
        commands: &Commands,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let call = Call::begin(self);
        let mut answers = Vec::with_capacity(commands.len());
        for answer in self.pipeline.call_all(commands.cmd_iter()) {
            match answer.await {
                Ok(answer) => answers.push(self.life.read(answer)),
                Err(failure) => return call.end(Err(failure)).map(|_| answers),
            }
        }
        call.end(Ok(Value::Nil)).map(|_| answers)
    }

    /// Sends a command whose answer nobody needs.
    pub(super) fn tell(&self, command: &Cmd) {
        // What is told only saves work, so nothing is lost with it.
        drop(self.pipeline.call(command));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pipeline.leave();
    }
}

/// A call under way. If it is dropped on a connection that has been silent, then that is of no use to
/// the next one either.
struct Call<'a> {
    link: &'a Link,
    over: bool,
}

impl<'a> Call<'a> {
    fn begin(link: &'a Link) -> Self {
        Self { link, over: false }
    }

    fn end(mut self, answer: Result<Value, Failure>) -> Result<Value, Failure> {
        self.over = true;
        match answer {
            Ok(answer) => self.link.life.read(answer),
            // The connection has ended by itself, or has too much to do.
            Err(failure @ Failure::NotSent(_)) => Err(failure),
            Err(failure) => {
                // Silence, or bytes that make no sense: whatever comes next is not to be trusted.
                self.link.give_up();
                Err(failure)
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.over && self.link.pipeline.silence() >= SILENCE_MAX {
            self.link.give_up();
        }
    }
}

/// Says that a connection is closed when its driver ends, however it does.
struct Driving(Arc<Life>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Relaxed);
    }
}
