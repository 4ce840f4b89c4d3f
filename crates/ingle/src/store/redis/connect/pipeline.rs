//! Calls that are made at the same time on a connection are sent in one write, and their answers read in one.
//! Swaps that take a script are one call of it.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::sync::oneshot;

use super::super::scripts::swap::{self, Swap};
use crate::store::floor::batch::Batcher;

/// How many calls go together at most: many enough to cost little, and few enough that the server is at
/// work on some while this process makes others.
pub(in crate::store) const MAX_BATCH: usize = 16;

/// Where calls of one connection wait for each other.
pub(super) struct Pipelines(Arc<Batcher<Call>>);

struct Call {
    what: What,
    caller: Caller,
}

enum What {
    Command(Cmd),
    Swap(Swap),
}

type Caller = oneshot::Sender<RedisResult<Value>>;

impl Pipelines {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self(Batcher::new(MAX_BATCH, move |calls: Vec<Call>| {
            let mut batch = Batch::of(calls.len());
            calls.into_iter().for_each(|call| batch.push(call));
            batch.end_group();
            batch.send(connection.clone())
        }))
    }

    /// Sends a command; what this returns is what the server answers.
    pub(super) fn call(&self, command: Cmd) -> Answer {
        self.send(What::Command(command))
    }

    /// Makes a swap by the script; what this returns is `OK`, or what there is if it is not done.
    pub(super) fn swap(&self, swap: Swap) -> Answer {
        self.send(What::Swap(swap))
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
struct Batch {
    commands: Pipeline,
    callers: Vec<Callers>,
    /// The swaps whose command is still to be made.
    swaps: Vec<Swap>,
    swapping: Vec<Caller>,
}

/// Who waits for the answer to a command.
enum Callers {
    One(Caller),
    OfSwaps(Vec<Caller>),
}

impl Batch {
    fn of(max: usize) -> Self {
        Self {
            commands: Pipeline::with_capacity(max),
            callers: Vec::with_capacity(max),
            swaps: Vec::new(),
            swapping: Vec::new(),
        }
    }

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
            What::Swap(swap) => {
                let is_large = swap.is_large();
                self.swaps.push(swap);
                self.swapping.push(caller);
                if is_large {
                    self.end_group();
                }
            }
        }
    }

    /// Makes one command of the swaps that came.
    fn end_group(&mut self) {
        if !self.swaps.is_empty() {
            self.commands.add_command(swap::call(&mem::take(&mut self.swaps)));
            self.callers.push(Callers::OfSwaps(mem::take(&mut self.swapping)));
        }
    }

    async fn send(self, mut connection: MultiplexedConnection) {
        let Self { commands, callers, .. } = self;
        if commands.is_empty() {
            return;
        }
        let answers = connection.send_packed_commands(&commands, 0, commands.len()).await;
        let mut answers = answers.map(Vec::into_iter);
        for (command, callers) in commands.cmd_iter().zip(callers) {
            let answer = match &mut answers {
                Ok(answers) => answers.next().ok_or_else(closed),
                Err(error) => Err(error.clone()),
            };
            match callers {
                Callers::One(caller) => _ = caller.send(answer),
                Callers::OfSwaps(callers) if is_unknown_script(&answer) => {
                    let whole = swap::script().with_text(command);
                    tell(callers, Box::pin(connection.send_packed_command(&whole)).await);
                }
                Callers::OfSwaps(callers) => tell(callers, answer),
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
        Ok(answer) => swap::answers(answer, count).unwrap_or_default(),
        Err(error) => {
            return callers.into_iter().for_each(|caller| _ = caller.send(Err(error.clone())));
        }
    };
    callers.into_iter().zip(answers).for_each(|(caller, answer)| _ = caller.send(Ok(answer)));
}

fn closed() -> RedisError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}
