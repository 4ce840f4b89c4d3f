//! Calls that are made at the same time on a connection are sent in one write, and their answers read in one.
//! Advances among them are one call of their script.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::sync::oneshot;

use super::super::scripts::advance::{self, Advance};
use crate::{detach, store::floor::batch::Batcher};

/// How many calls go together at most: many enough to cost little, and few enough that the server is at
/// work on some while this process makes others.
const MAX_BATCH: usize = 16;

/// Where calls of one connection wait for each other.
pub(super) struct Pipelines(Arc<Batcher<Call>>);

struct Call {
    what: What,
    caller: Caller,
}

enum What {
    Command(Cmd),
    Advance(Advance),
}

type Caller = oneshot::Sender<RedisResult<Value>>;

impl Pipelines {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self(Batcher::new(MAX_BATCH, move |calls: Vec<Call>| {
            let mut batch = Batch::default();
            calls.into_iter().for_each(|call| batch.push(call));
            batch.end_group();
            if !batch.callers.is_empty() {
                detach::spawn(batch.send(connection.clone()));
            }
        }))
    }

    /// Sends a command; what this returns is what the server answers.
    pub(super) fn call(&self, command: Cmd) -> Answer {
        self.send(What::Command(command))
    }

    /// Makes an advance; what this returns is what there is if it is not done.
    pub(super) fn advance(&self, advance: Advance) -> Answer {
        self.send(What::Advance(advance))
    }

    fn send(&self, what: What) -> Answer {
        let (caller, answer) = oneshot::channel();
        self.0.push(Call { what, caller });
        Answer(answer)
    }
}

/// The answer to a call, which is sent whether this is polled or not.
pub(super) struct Answer(oneshot::Receiver<RedisResult<Value>>);

impl Future for Answer {
    type Output = RedisResult<Value>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Where the runtime ended meanwhile, the answer was dropped.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }
}

/// Commands that are sent in one write, and who waits for their answers.
#[derive(Default)]
struct Batch {
    commands: Pipeline,
    callers: Vec<Callers>,
    /// The advances whose command is still to be made.
    advances: Vec<Advance>,
    advancing: Vec<Caller>,
}

/// Who waits for the answer to a command.
enum Callers {
    One(Caller),
    OfAdvances(Vec<Caller>),
}

impl Batch {
    fn push(&mut self, Call { what, caller }: Call) {
        if caller.is_closed() {
            // Its caller has given up, and nothing of it was sent.
            return;
        }
        match what {
            What::Command(command) => {
                self.commands.add_command(command);
                self.callers.push(Callers::One(caller));
            }
            What::Advance(advance) => {
                let is_large = advance.is_large();
                self.advances.push(advance);
                self.advancing.push(caller);
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
fn tell(callers: Vec<Caller>, answer: RedisResult<Value>) {
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
