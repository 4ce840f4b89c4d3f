//! The wakes of many who wait on one thread, as one.
//!
//! To wake a task of a runtime that another thread runs alone is a system call. So who answers many does
//! it [`together`], and they wait by [`gathered`]: those of one such runtime are woken by a task there.
//! Only their wakes go that way. An answer is there at once, for whoever looks, and who has moved to
//! another runtime meanwhile is woken there.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    ptr,
    sync::{Arc, OnceLock},
    task::{Context, Poll, RawWakerVTable, Wake, Waker},
};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::detach;

thread_local! {
    /// What this thread gathers while it answers many.
    static GATHERED: Cell<Option<Vec<Due>>> = const { Cell::new(None) };
}

/// Who waits, and on which runtime.
struct Bell {
    task: Waker,
    runtime: Handle,
}

/// A wake that must come. It does when this is dropped, so it does however things end.
struct Due(Arc<Bell>);

/// Waits for an answer whose wake may go together with those of others.
pub(crate) async fn gathered<F: Future + Unpin>(mut answer: F) -> F::Output {
    poll_fn(move |context| {
        let answer = Pin::new(&mut answer);
        match Bell::here(context.waker()) {
            Some(bell) => answer.poll(&mut Context::from_waker(&Waker::from(Arc::new(bell)))),
            None => answer.poll(context),
        }
    })
    .await
}

/// Runs what answers many, and wakes them when it is through.
pub(crate) fn together<T>(answer: impl FnOnce() -> T) -> T {
    let _end = End(GATHERED.replace(Some(Vec::new())));
    answer()
}

impl Bell {
    /// None where the threads of a runtime wake each other, and for whoever is no task: to block on a
    /// future is to wait on a runtime that may not run.
    fn here(task: &Waker) -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        let is_alone = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        (is_alone && is_of_a_task(task)).then(|| Self { task: task.clone(), runtime })
    }
}

/// Whether Tokio itself polls who is woken by this. The first to ask learns "no", and lets a task find out
/// what those of tasks have in common.
fn is_of_a_task(waker: &Waker) -> bool {
    static OF_TASKS: OnceLock<&RawWakerVTable> = OnceLock::new();
    if let Some(of_tasks) = OF_TASKS.get() {
        return ptr::eq(*of_tasks, waker.vtable());
    }
    detach::spawn(poll_fn(|context| {
        let _ = OF_TASKS.set(context.waker().vtable());
        Poll::Ready(())
    }));
    false
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let due = Due(self);
        // A thread that ends gathers nothing.
        let _ = GATHERED.try_with(move |gathered| {
            let mut all = gathered.take();
            match &mut all {
                Some(all) => all.push(due),
                None => drop(due),
            }
            gathered.set(all);
        });
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.0.task.wake_by_ref();
    }
}

/// The end of what answers many, and what was gathered before it began.
struct End(Option<Vec<Due>>);

impl Drop for End {
    fn drop(&mut self) {
        wake(GATHERED.replace(self.0.take()).unwrap_or_default());
    }
}

fn wake(mut due: Vec<Due>) {
    let here = Handle::try_current().map(|runtime| runtime.id()).ok();
    while let Some(runtime) = due.first().map(|Due(bell)| bell.runtime.clone()) {
        let id = runtime.id();
        let same: Vec<_> = due.extract_if(.., |Due(bell)| bell.runtime.id() == id).collect();
        if same.len() > 1 && here != Some(id) {
            // A runtime that has ended drops the task at once. One that does not run has these wait for that:
            // its timers do not run either, and with them no deadline.
            drop(detach::spawn_on(&runtime, async move { drop(same) }));
        }
    }
}

#[cfg(test)]
mod tests;
