//! The one place where work outlives its caller.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// Runs `task` on its own, if there is a runtime to run it on.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

/// A future that is finished also when whoever waits for it goes away.
///
/// A client that hangs up drops the future of its request wherever it is. A commit must not stop
/// there: it may already be with the store, and others may wait for it.
pub(crate) struct RunToEnd<T: 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> RunToEnd<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: 'static> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out meanwhile: work that panicked or ended is never polled again.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let done = work.as_mut().poll(context);
        if done.is_pending() {
            self.0 = Some(work);
        }
        done
    }
}

impl<T: 'static> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            spawn(async move { drop(work.await) });
        }
    }
}

impl<T: 'static> fmt::Debug for RunToEnd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToEnd")
    }
}
