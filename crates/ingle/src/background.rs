//! The one place where work outlives its caller.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{runtime::Handle, task::JoinHandle};
use tracing::Instrument as _;

/// Runs `task` on its own, if there is a runtime to run it on.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

/// A future that is finished also when whoever waits for it goes away, or looks away.
///
/// A client that hangs up drops the future of its request wherever it is, and one that reads slowly
/// keeps it without polling it. A commit must not stop there: it may already be with the store, and
/// others wait for it. So work that is not done at once goes on as a task of its own.
pub(crate) struct RunToEnd<T: 'static>(Work<T>);

enum Work<T> {
    Here(Pin<Box<dyn Future<Output = T> + Send>>),
    There(JoinHandle<T>),
    /// It ended or panicked, and is never polled again.
    Over,
}

impl<T: Send + 'static> RunToEnd<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Work::Here(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut task = match std::mem::replace(&mut self.0, Work::Over) {
            Work::Over => return Poll::Pending,
            Work::There(task) => task,
            Work::Here(mut work) => {
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    return Poll::Ready(done);
                }
                let Ok(runtime) = Handle::try_current() else {
                    self.0 = Work::Here(work);
                    return Poll::Pending;
                };
                runtime.spawn(work.in_current_span())
            }
        };
        match Pin::new(&mut task).poll(context) {
            Poll::Ready(Ok(done)) => Poll::Ready(done),
            Poll::Ready(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => Poll::Pending,
            },
            Poll::Pending => {
                self.0 = Work::There(task);
                Poll::Pending
            }
        }
    }
}

impl<T: 'static> fmt::Debug for RunToEnd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToEnd")
    }
}
