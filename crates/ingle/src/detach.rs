//! The one place where work outlives its caller.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use tokio::{runtime::Handle, task::AbortHandle};
use tracing::Instrument as _;

/// Runs `task` on its own, if there is a runtime to run it on.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        spawn_on(&runtime, task);
    }
}

/// The same on a certain runtime, whatever thread this is called on.
pub(crate) fn spawn_on(
    runtime: &Handle,
    task: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    runtime.spawn(task).abort_handle()
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work that goes on to its end even if the caller that awaits it is dropped or stops polling it.
///
/// A client that hangs up drops the future of its request at any point, and a handler may keep one
/// without polling it. A commit must not stop there: the store may already have it, and other
/// requests may wait for it. So the caller polls the work where it awaits it, which costs nothing.
/// When the caller is dropped, or somebody else needs the work, it becomes a task of its own.
pub(crate) struct Detachable<T>(Arc<Shared<T>>)
where
    T: Send + 'static;

struct Shared<T>(Mutex<State<T>>);

enum State<T> {
    /// The caller polls it. The waker is the caller's, after the first poll.
    Inline(Work<T>, Option<Waker>),
    /// It is polled at this moment. Whether it is to become a task after that.
    Polled {
        detach: bool,
    },
    /// A task of its own.
    Spawned(Option<Waker>),
    Done(Result<T, Box<dyn Any + Send>>),
    /// Its end was told, or it panicked. It is never polled again.
    Over,
}

/// Connects work with the caller that awaits it. Others that wait for the work detach it.
#[derive(Clone)]
pub(crate) struct DetachHandle(Weak<dyn Detach + Send + Sync>);

impl DetachHandle {
    /// Lets the work go on as a task of its own from here on.
    pub(crate) fn detach(&self) {
        if let Some(work) = self.0.upgrade() {
            work.detach();
        }
    }
}

trait Detach {
    fn detach(self: Arc<Self>);
}

impl<T: Send + 'static> Detachable<T> {
    /// The work gets its own handle, to leave with whatever it holds that others may wait for.
    pub(crate) fn new<F>(work: impl FnOnce(DetachHandle) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        Self(Arc::new_cyclic(|shared: &Weak<Shared<T>>| {
            let handle = DetachHandle(Weak::clone(shared) as Weak<dyn Detach + Send + Sync>);
            Shared(Mutex::new(State::Inline(Box::pin(work(handle)), None)))
        }))
    }
}

/// Work that becomes a task of its own if its first poll does not finish it. It is for work that
/// holds something everybody needs, such as a connection of a pool.
pub(crate) fn run_to_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Detachable<T> {
    Detachable::new(|handle| async move {
        handle.detach();
        work.await
    })
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Each use is one look and one write. The work is polled without the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Future for Detachable<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.state();
        let mut work = match std::mem::replace(&mut *state, State::Polled { detach: false }) {
            State::Inline(work, _) => work,
            State::Done(done) => {
                *state = State::Over;
                drop(state);
                return Poll::Ready(done.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            State::Spawned(_) => {
                *state = State::Spawned(Some(context.waker().clone()));
                return Poll::Pending;
            }
            over @ (State::Over | State::Polled { .. }) => {
                *state = over;
                return Poll::Pending;
            }
        };
        drop(state);
        let polled = work.as_mut().poll(context);
        let mut state = self.0.state();
        if let Poll::Ready(done) = polled {
            *state = State::Over;
            return Poll::Ready(done);
        }
        let detach = matches!(*state, State::Polled { detach: true });
        *state = State::Inline(work, Some(context.waker().clone()));
        drop(state);
        if detach {
            Arc::clone(&self.0).detach();
        }
        Poll::Pending
    }
}

impl<T: Send + 'static> Detach for Shared<T> {
    fn detach(self: Arc<Self>) {
        let mut state = self.state();
        let Ok(runtime) = Handle::try_current() else { return };
        match std::mem::replace(&mut *state, State::Over) {
            State::Inline(work, waker @ Some(_)) => {
                *state = State::Spawned(waker);
                drop(state);
                let task = Task { work: Some(work), shared: Arc::clone(&self) };
                drop(runtime.spawn(task.in_current_span()));
            }
            State::Polled { .. } => *state = State::Polled { detach: true },
            // It has not begun, and so holds nothing. Or it needs nobody any more.
            other => *state = other,
        }
    }
}

/// Work as a task of its own.
struct Task<T: Send + 'static> {
    /// None when it has come to its end.
    work: Option<Work<T>>,
    shared: Arc<Shared<T>>,
}

impl<T: Send + 'static> Task<T> {
    /// Leaves this for the caller that awaits the work, and wakes it.
    fn leave(&self, left: impl FnOnce(Option<Waker>) -> State<T>) {
        let mut state = self.shared.state();
        if let State::Spawned(waker) = std::mem::replace(&mut *state, State::Over) {
            *state = left(waker.clone());
            drop(state);
            waker.iter().for_each(Waker::wake_by_ref);
        }
    }
}

impl<T: Send + 'static> Future for Task<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        // The caller that awaits it gets the panic.
        let done = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(done)) => Ok(done),
            Err(panic) => Err(panic),
        };
        self.work = None;
        self.leave(|_| State::Done(done));
        Poll::Ready(())
    }
}

impl<T: Send + 'static> Drop for Task<T> {
    /// A runtime that ends drops its tasks. The caller may run on another one, and goes on with the work there.
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.leave(|waker| State::Inline(work, waker));
        }
    }
}

impl<T: Send + 'static> Drop for Detachable<T> {
    fn drop(&mut self) {
        Arc::clone(&self.0).detach();
    }
}

impl<T: Send + 'static> fmt::Debug for Detachable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detachable")
    }
}

#[cfg(test)]
mod tests;
