//! The calls of one connection. Those that are made at the same time are sent in one write, and answers come in
//! the order in which their calls were sent. Swaps that take a script are one call of it.
//!
//! Each call gives its bytes to the connection, and the call that completes a batch writes it. The task of
//! the connection (`Driver`) writes what is no whole batch, when those who are about to call have done so:
//! nobody waits for a clock. An answer that is not waited for any more is read all the same, so that a call
//! which was dropped shifts no answer.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io, mem,
    ops::RangeInclusive,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _, ReadHalf, WriteHalf},
    sync::{Notify, oneshot},
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    super::{
        error::{Failure, not_now},
        scripts::swap::{self, Swap},
    },
    dial::Stream,
    frame::Frames,
};

/// How many calls go together: as many as wait for their answers already, so that the server is at work on
/// some while this process makes others, but enough to cost little.
pub(in crate::store) const BATCH: RangeInclusive<usize> = 8..=16;

/// How many calls wait for their answers at most.
pub(in crate::store) const CALLS_WAITING: usize = 4096;

/// No call takes longer, whoever made it; the guard of a session gives it far less.
pub(in crate::store) const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Room for so many bytes is kept for what is written.
const BUFFER: usize = 16 * 1024;

/// The side of those who call.
pub(super) struct Pipeline {
    state: Mutex<State>,
    /// Tells the task that there is something to write, or nothing to come any more.
    work: Notify,
}

struct State {
    /// Where it is written, or why there is no such place any more.
    writer: Result<WriteHalf<Box<dyn Stream>>, Failure>,
    /// What is to be written, of which so many bytes were.
    bytes: Vec<u8>,
    written: usize,
    /// Whether the stream may still hold some of what was written.
    is_held: bool,
    /// How many calls came since the last write.
    unwritten_calls: usize,
    /// How many calls have no answer yet, with these.
    unanswered_calls: usize,
    /// The swaps whose commands are still to be made.
    swaps: Vec<Pending>,
    /// Who waits, in the order of the answers.
    waiting: VecDeque<Waiting>,
    /// When the last answer came.
    heard: Instant,
    /// The task will come for what is to be written.
    is_attended: bool,
    /// The task waits until there is room for what is to be written.
    is_blocked: bool,
    /// Nobody calls any more.
    is_left: bool,
}

struct Pending {
    swap: Swap,
    is_native: bool,
    caller: Caller,
}

struct Waiting {
    callers: Callers,
    since: Instant,
}

/// Who waits for the answer to a command.
enum Callers {
    One(Caller),
    /// Of swaps, with the call, which a server may not know by its hash.
    OfHash(Box<Cmd>, Vec<Caller>),
    OfText(Vec<Caller>),
}

type Caller = oneshot::Sender<Result<Value, Failure>>;

/// The answer to a call, which is made whether this is polled or not.
pub(super) struct Answer(oneshot::Receiver<Result<Value, Failure>>);

impl Future for Answer {
    type Output = Result<Value, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Nobody is left who would tell: the connection, or its runtime, has ended.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }
}

impl Pipeline {
    /// Sends a command; what this returns is what the server answers.
    pub(super) fn call(&self, command: &Cmd) -> Answer {
        let mut state = self.state();
        let answer = state.call(command);
        self.send(state);
        answer
    }

    /// Sends commands in one piece.
    pub(super) fn call_all<'a>(&self, commands: impl Iterator<Item = &'a Cmd>) -> Vec<Answer> {
        let mut state = self.state();
        let answers = commands.map(|command| state.call(command)).collect();
        self.send(state);
        answers
    }

    /// Makes a swap by the server's own command or by the script; what this returns is `OK`, or what there
    /// is if it is not done. Most are not sent if what this returns is dropped before the batch is written.
    pub(super) fn swap(&self, swap: Swap, is_native: bool) -> Answer {
        let mut state = self.state();
        let answer = state.swap(swap, is_native);
        self.send(state);
        answer
    }

    /// Says that nobody calls any more. What was called before is still done.
    pub(super) fn leave(&self) {
        self.state().is_left = true;
        self.work.notify_one();
    }

    /// For how long somebody has waited while no answer came to anybody. Zero if nobody waits.
    pub(super) fn silence(&self) -> Duration {
        let state = self.state();
        let since = state.waiting.front().map(|waiting| waiting.since.max(state.heard));
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes what came if it is many, else sees to it that somebody does.
    fn send(&self, mut state: MutexGuard<'_, State>) {
        if state.has_whole_batch() && !state.is_blocked {
            // What cannot be written now the task writes, and it is the task that fails.
            let _ = state.poll_write(&mut Context::from_waker(Waker::noop()));
        }
        if state.has_unwritten() && !mem::replace(&mut state.is_attended, true) {
            self.work.notify_one();
        }
    }

    /// Gives an answer to those who wait for it.
    fn answer(&self, answer: Value) -> Result<(), Failure> {
        let mut state = self.state();
        let Some(Waiting { callers, .. }) = state.waiting.pop_front() else {
            // As it does before it closes a connection that it does not take.
            refused(answer)?;
            return Err(lost("the server answered what nobody asked"));
        };
        state.heard = Instant::now();
        match callers {
            Callers::OfHash(call, callers) if is_unknown_script(&answer) => {
                state.push(&swap::script().with_text(&call), Callers::OfText(callers));
                self.send(state);
            }
            callers => {
                state.unanswered_calls = state.unanswered_calls.saturating_sub(callers.len());
                drop(state);
                callers.tell(answer);
            }
        }
        Ok(())
    }

    /// Ends all calls.
    fn close(&self, why: &Failure) {
        let mut state = self.state();
        if state.writer.is_ok() {
            state.writer = Err(why.clone());
        }
        let swaps = mem::take(&mut state.swaps);
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|waiting| waiting.callers.fail(why));
        swaps.into_iter().for_each(|swap| Callers::One(swap.caller).fail(why));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between a command and the entry of those who wait for its answer.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn call(&mut self, command: &Cmd) -> Answer {
        let (caller, answer) = oneshot::channel();
        if let Some(caller) = self.admit(caller) {
            self.push(command, Callers::One(caller));
        }
        Answer(answer)
    }

    fn swap(&mut self, swap: Swap, is_native: bool) -> Answer {
        let (caller, answer) = oneshot::channel();
        if let Some(caller) = self.admit(caller) {
            let is_large = swap.is_large();
            self.swaps.push(Pending { swap, is_native, caller });
            if is_large || self.swaps.len() >= *BATCH.end() {
                self.end_group();
            }
        }
        Answer(answer)
    }

    /// Counts a call, or refuses it.
    fn admit(&mut self, caller: Caller) -> Option<Caller> {
        let why = match &self.writer {
            Ok(_) if self.unanswered_calls < CALLS_WAITING => {
                self.unanswered_calls += 1;
                self.unwritten_calls += 1;
                return Some(caller);
            }
            Ok(_) => Failure::NotSent(not_now("too many calls wait for this server")),
            Err(refusal @ Failure::Refused(_)) => refusal.clone(),
            Err(_) => Failure::NotSent(not_now("the connection has ended")),
        };
        let _ = caller.send(Err(why));
        None
    }

    fn push(&mut self, command: &Cmd, callers: Callers) {
        command.write_packed_command(&mut self.bytes);
        self.wait(callers);
    }

    fn wait(&mut self, callers: Callers) {
        self.waiting.push_back(Waiting { callers, since: Instant::now() });
    }

    /// Makes commands of the swaps that came: one of all those by the script.
    fn end_group(&mut self) {
        let (mut group, mut callers) = (Vec::new(), Vec::new());
        let mut swaps = mem::take(&mut self.swaps);
        for Pending { swap, is_native, caller } in swaps.drain(..) {
            if caller.is_closed() {
                // Its caller has given up, and nothing of it was sent.
                self.unanswered_calls = self.unanswered_calls.saturating_sub(1);
            } else if is_native {
                self.push(&swap.native(), Callers::One(caller));
            } else {
                group.push(swap);
                callers.push(caller);
            }
        }
        self.swaps = swaps;
        if !group.is_empty() {
            let call = swap::call(&group);
            call.write_packed_command(&mut self.bytes);
            self.wait(Callers::OfHash(Box::new(call), callers));
        }
    }

    fn has_unwritten(&self) -> bool {
        self.written < self.bytes.len() || self.is_held || !self.swaps.is_empty()
    }

    /// Whether as many calls came as were without an answer before, within the bounds of a batch.
    fn has_whole_batch(&self) -> bool {
        let before = self.unanswered_calls.saturating_sub(self.unwritten_calls);
        self.unwritten_calls >= before.clamp(*BATCH.start(), *BATCH.end())
    }

    /// Writes all that came.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end_group();
        self.unwritten_calls = 0;
        let Ok(writer) = &mut self.writer else { return Poll::Ready(Ok(())) };
        let mut writer = Pin::new(writer);
        self.is_held = true;
        while let Some(bytes @ [_, ..]) = self.bytes.get(self.written..) {
            match writer.as_mut().poll_write(context, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.written > self.bytes.len() / 2 {
                        // More may come for as long as the server is behind.
                        self.bytes.drain(..mem::take(&mut self.written));
                    }
                    return Poll::Pending;
                }
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(BUFFER);
        self.written = 0;
        ready!(writer.poll_flush(context))?;
        self.is_held = false;
        Poll::Ready(Ok(()))
    }

    /// Whether nobody waits for anything, and nobody will.
    fn is_over(&self) -> bool {
        self.is_left && self.waiting.is_empty() && !self.has_unwritten()
    }
}

impl Callers {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::OfHash(_, callers) | Self::OfText(callers) => callers.len(),
        }
    }

    /// Gives each its part of an answer; who asked may have gone meanwhile.
    fn tell(self, answer: Value) {
        match self {
            Self::One(caller) => _ = caller.send(Ok(answer)),
            Self::OfHash(_, callers) | Self::OfText(callers) => {
                // Without sense it is of no use to anybody, and they learn that there is none.
                let answers = swap::answers(answer, callers.len()).unwrap_or_default();
                let told = callers.into_iter().zip(answers);
                told.for_each(|(caller, answer)| _ = caller.send(Ok(answer)));
            }
        }
    }

    fn fail(self, why: &Failure) {
        match self {
            Self::One(caller) => _ = caller.send(Err(why.clone())),
            Self::OfHash(_, callers) | Self::OfText(callers) => {
                callers.into_iter().for_each(|caller| _ = caller.send(Err(why.clone())));
            }
        }
    }
}

/// An answer, or the refusal that it is.
pub(super) fn refused(answer: Value) -> Result<Value, Failure> {
    match answer {
        Value::ServerError(refusal) => Err(Failure::Refused(refusal)),
        answer => Ok(answer),
    }
}

/// Whether the server does not have the script yet, which is proof that nothing happened.
fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(refusal) if refusal.code() == "NOSCRIPT")
}

fn closed() -> Failure {
    lost("the connection has ended")
}

fn lost(why: impl fmt::Display) -> Failure {
    Failure::Lost(why.to_string())
}

/// The task of a connection: it writes what nobody else has written, and reads all answers. When it is
/// dropped, all calls end.
pub(super) struct Driver {
    pipeline: Arc<Pipeline>,
    reader: ReadHalf<Box<dyn Stream>>,
}

/// Speaks Redis on a stream.
pub(super) fn over(stream: Box<dyn Stream>) -> (Arc<Pipeline>, Driver) {
    let (reader, writer) = tokio::io::split(stream);
    let state = State {
        writer: Ok(writer),
        bytes: Vec::new(),
        written: 0,
        is_held: false,
        unwritten_calls: 0,
        unanswered_calls: 0,
        swaps: Vec::new(),
        waiting: VecDeque::new(),
        heard: Instant::now(),
        is_attended: false,
        is_blocked: false,
        is_left: false,
    };
    let pipeline = Arc::new(Pipeline { state: Mutex::new(state), work: Notify::new() });
    (Arc::clone(&pipeline), Driver { pipeline, reader })
}

impl Driver {
    /// Runs until the connection ends, or nobody needs it. Then it says so by `ended`, before those who wait
    /// learn of it and make another.
    pub(super) async fn run(mut self, ended: impl FnOnce()) {
        let why = {
            let pipeline = &*self.pipeline;
            let mut reading = pin!(read(pipeline, &mut self.reader));
            let mut writing = pin!(write(pipeline));
            let mut patience = pin!(patience(pipeline));
            poll_fn(|context| {
                if let ended @ Poll::Ready(_) = reading.as_mut().poll(context) {
                    return ended;
                }
                if let ended @ Poll::Ready(_) = writing.as_mut().poll(context) {
                    return ended;
                }
                patience.as_mut().poll(context)
            })
            .await
        };
        ended();
        if let Err(why) = why {
            self.pipeline.close(&why);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.pipeline.close(&closed());
    }
}

/// Reads answers until nobody waits for one, and nobody will.
async fn read(pipeline: &Pipeline, reader: &mut ReadHalf<Box<dyn Stream>>) -> Result<(), Failure> {
    let mut frames = Frames::new();
    loop {
        if reader.read_buf(frames.room()).await.map_err(lost)? == 0 {
            return Err(lost("the server closed the connection"));
        }
        while let Some(answer) = frames.take().map_err(lost)? {
            pipeline.answer(answer)?;
        }
        if pipeline.state().is_over() {
            return Ok(());
        }
    }
}

/// Writes what there is each time that the task is told of it.
async fn write(pipeline: &Pipeline) -> Result<(), Failure> {
    loop {
        pipeline.work.notified().await;
        // Who is about to call does so now.
        yield_now().await;
        poll_fn(|context| {
            let mut state = pipeline.state();
            let written = state.poll_write(context);
            state.is_blocked = written.is_pending();
            state.is_attended = state.is_blocked;
            written
        })
        .await
        .map_err(lost)?;
        if pipeline.state().is_over() {
            return Ok(());
        }
    }
}

/// Ends the connection when somebody has waited for too long.
async fn patience(pipeline: &Pipeline) -> Result<(), Failure> {
    loop {
        let oldest = pipeline.state().waiting.front().map(|waiting| waiting.since);
        let until = oldest.unwrap_or_else(Instant::now) + CALL_TIME_MAX;
        if until <= Instant::now() {
            return Err(lost("the server did not answer within 10 seconds"));
        }
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests;
