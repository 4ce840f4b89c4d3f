//! Calls that meet on a connection are sent in one write, and their answers read in one.
//!
//! To send and to receive costs this process and the server more than to make what is sent and to do
//! it. So a call lets those that are about to be made in this process come first, which takes no time
//! where there are none.

use std::io;

use redis::{Cmd, Pipeline, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::yield_now,
};

use crate::background;

/// How many calls go together at most: the first one is answered with the last one.
const TOGETHER_MAX: usize = 32;

/// Where calls of one connection wait for each other; as many as there are callers, who wait for their
/// answers.
#[derive(Clone)]
pub(super) struct Bundles(mpsc::UnboundedSender<Call>);

struct Call {
    command: Cmd,
    answer: oneshot::Sender<RedisResult<Value>>,
}

impl Bundles {
    /// Sends on this connection, in a task of its own, for as long as there are clones.
    pub(super) fn new(connection: MultiplexedConnection, runtime: &Handle) -> Self {
        let (calls, waiting) = mpsc::unbounded_channel();
        drop(runtime.spawn(send_all(connection, waiting)));
        Self(calls)
    }

    /// Sends a command, and returns what the server answers.
    pub(super) async fn call(&self, command: Cmd) -> RedisResult<Value> {
        let (answer, answered) = oneshot::channel();
        // Without the task the answer is dropped here.
        let _ = self.0.send(Call { command, answer });
        let closed = |_| Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        answered.await.unwrap_or_else(closed)
    }
}

async fn send_all(connection: MultiplexedConnection, mut waiting: mpsc::UnboundedReceiver<Call>) {
    while let Some(first) = waiting.recv().await {
        // Who is about to call does so now.
        yield_now().await;
        let mut calls = vec![first];
        while calls.len() < TOGETHER_MAX
            && let Ok(call) = waiting.try_recv()
        {
            calls.push(call);
        }
        // Nothing was sent yet of what its caller has given up.
        calls.retain(|call| !call.answer.is_closed());
        if !calls.is_empty() {
            background::spawn(send(connection.clone(), calls));
        }
    }
}

async fn send(mut connection: MultiplexedConnection, calls: Vec<Call>) {
    let mut commands = Pipeline::with_capacity(calls.len());
    let mut callers = Vec::with_capacity(calls.len());
    for Call { command, answer } in calls {
        commands.add_command(command);
        callers.push(answer);
    }
    match connection.send_packed_commands(&commands, 0, commands.len()).await {
        Ok(answers) => {
            // With too few answers some callers learn of none.
            for (caller, answer) in callers.into_iter().zip(answers) {
                // Who asked may have gone meanwhile.
                let _ = caller.send(Ok(answer));
            }
        }
        Err(error) => callers.into_iter().for_each(|caller| _ = caller.send(Err(error.clone()))),
    }
}
