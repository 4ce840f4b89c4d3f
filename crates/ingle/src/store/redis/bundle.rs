//! Calls that meet on a connection are sent in one write, and their answers read in one. Advances among
//! them are one call of their script.

use std::{io, mem};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::advance::{self, Advance};
use crate::{background, store::meeting};

/// Where calls of one connection wait for each other.
#[derive(Clone)]
pub(super) struct Bundles(mpsc::UnboundedSender<Call>);

struct Call {
    what: What,
    answer: Answer,
}

enum What {
    Command(Cmd),
    Advance(Advance),
}

type Answer = oneshot::Sender<RedisResult<Value>>;

impl Bundles {
    /// Sends on this connection, in a task of its own, for as long as there are clones.
    pub(super) fn new(connection: MultiplexedConnection, runtime: &Handle) -> Self {
        let (calls, waiting) = mpsc::unbounded_channel();
        drop(runtime.spawn(send_all(connection, waiting)));
        Self(calls)
    }

    /// Sends a command, and returns what the server answers.
    pub(super) async fn call(&self, command: Cmd) -> RedisResult<Value> {
        self.send(What::Command(command)).await
    }

    /// Makes an advance, and returns what there is if it is not done.
    pub(super) async fn advance(&self, advance: Advance) -> RedisResult<Value> {
        self.send(What::Advance(advance)).await
    }

    async fn send(&self, what: What) -> RedisResult<Value> {
        let (answer, answered) = oneshot::channel();
        // Without the task the answer is dropped here.
        let _ = self.0.send(Call { what, answer });
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn send_all(connection: MultiplexedConnection, mut waiting: mpsc::UnboundedReceiver<Call>) {
    while let Some(calls) = meeting::next(&mut waiting).await {
        let mut bundle = Bundle::default();
        calls.into_iter().for_each(|call| bundle.take(call));
        bundle.end_group();
        if !bundle.callers.is_empty() {
            background::spawn(bundle.send(connection.clone()));
        }
    }
}

/// Commands that are sent in one write, and who waits for their answers.
#[derive(Default)]
struct Bundle {
    commands: Pipeline,
    callers: Vec<Callers>,
    /// The advances whose command is still to be made.
    advances: Vec<Advance>,
    advancing: Vec<Answer>,
}

/// Who waits for the answer to a command.
enum Callers {
    One(Answer),
    OfAdvances(Vec<Answer>),
}

impl Bundle {
    fn take(&mut self, Call { what, answer }: Call) {
        if answer.is_closed() {
            // Its caller has given up, and nothing of it was sent.
            return;
        }
        match what {
            What::Command(command) => {
                self.commands.add_command(command);
                self.callers.push(Callers::One(answer));
            }
            What::Advance(advance) => {
                let is_large = advance.is_large();
                self.advances.push(advance);
                self.advancing.push(answer);
                if is_large {
                    self.end_group();
                }
            }
        }
    }

    /// Makes one command of the advances that came.
    fn end_group(&mut self) {
        if !self.advances.is_empty() {
            self.commands.add_command(advance::call(&mem::take(&mut self.advances)));
            self.callers.push(Callers::OfAdvances(mem::take(&mut self.advancing)));
        }
    }

    async fn send(self, mut connection: MultiplexedConnection) {
        let Self { commands, callers, .. } = self;
        let answers = connection.send_packed_commands(&commands, 0, commands.len()).await;
        let mut answers = answers.map(Vec::into_iter);
        for (command, callers) in commands.cmd_iter().zip(callers) {
            let answer = match &mut answers {
                Ok(answers) => answers.next().ok_or_else(closed),
                Err(error) => Err(error.clone()),
            };
            match callers {
                Callers::One(caller) => _ = caller.send(answer),
                Callers::OfAdvances(callers) if is_unknown_script(&answer) => {
                    let whole = advance::script().with_text(command);
                    tell(callers, Box::pin(connection.send_packed_command(&whole)).await);
                }
                Callers::OfAdvances(callers) => tell(callers, answer),
            }
        }
    }
}

/// Whether the server does not have the script yet, which is proof that nothing happened.
fn is_unknown_script(answer: &RedisResult<Value>) -> bool {
    matches!(answer, Ok(Value::ServerError(refusal)) if refusal.code() == "NOSCRIPT")
}

/// Gives each its part of an answer; who asked may have gone meanwhile.
fn tell(callers: Vec<Answer>, answer: RedisResult<Value>) {
    let count = callers.len();
    let answers = match answer {
        // Without sense it is of no use to anybody, and they learn that there is none.
        Ok(answer) => advance::answers(answer, count).unwrap_or_default(),
        Err(error) => {
            return callers.into_iter().for_each(|caller| _ = caller.send(Err(error.clone())));
        }
    };
    callers.into_iter().zip(answers).for_each(|(caller, answer)| _ = caller.send(Ok(answer)));
}

fn closed() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}
