//! Deadlines, on timers that are used again.
//!
//! To add a timer to those of a runtime takes a lock, and a system call if it is due before the others:
//! tokio then wakes the runtime's thread, even where that thread itself adds it. To move a timer to a
//! later time takes one atomic write. So a timer that is no longer needed is kept as it is, and the
//! next work on its thread moves it on. If no work comes, it goes off once and wakes a task for nothing.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::{
    runtime::{self, Handle},
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// How many timers a thread keeps.
const KEPT_MAX: usize = 1024;

thread_local! {
    /// The timers that nothing uses, all of one runtime.
    static KEPT: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// The work was not done at its deadline.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Like tokio's function of that name. Work that is done at the first poll needs no timer.
pub(crate) fn timeout_at<F: Future>(deadline: Instant, work: F) -> TimeoutAt<F> {
    TimeoutAt { work, deadline: Deadline { at: deadline, timer: None } }
}

pin_project! {
    pub(crate) struct TimeoutAt<F> {
        #[pin]
        work: F,
        deadline: Deadline,
    }
}

impl<F: Future> Future for TimeoutAt<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.work.poll(context) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => this.deadline.poll(context).map(Err),
        }
    }
}

struct Deadline {
    at: Instant,
    timer: Option<Timer>,
}

impl Deadline {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Elapsed> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        if here.is_some() {
            // Work may move to another runtime. The one that it leaves may end, or be busy.
            drop(self.timer.take_if(|timer| timer.runtime != here));
        }
        let timer = self.timer.get_or_insert_with(|| Timer::new(here, self.at));
        // The deadline holds even if the work has used up what its task may do in one go.
        let sleep = unconstrained(timer.sleep.as_mut());
        std::pin::pin!(sleep).poll(context).map(|()| Elapsed)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.keep();
        }
    }
}

struct Timer {
    /// The one that it belongs to. Where there is none, no timer can be made.
    runtime: Option<runtime::Id>,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn new(runtime: Option<runtime::Id>, at: Instant) -> Self {
        match Self::kept(runtime) {
            Some(mut timer) => {
                timer.sleep.as_mut().reset(at);
                timer
            }
            None => Self { runtime, sleep: Box::pin(sleep_until(at)) },
        }
    }

    /// The timer that was kept last, whose time is most likely before all that are needed now.
    fn kept(runtime: Option<runtime::Id>) -> Option<Self> {
        let timer = KEPT.with_borrow_mut(Vec::pop)?;
        if timer.runtime == runtime {
            return Some(timer);
        }
        // The thread has turned to another runtime. A timer would keep parts of the old one in memory.
        drop(KEPT.take());
        None
    }

    /// Keeps it for the next work. No timer is dropped while the list is borrowed, because its waker may
    /// be the last of a task, with work that has a deadline.
    fn keep(self) {
        let left = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let is_alike = kept.last().is_none_or(|other| other.runtime == self.runtime);
            if is_alike && kept.len() < KEPT_MAX {
                kept.push(self);
                return None;
            }
            Some(self)
        });
        // Nor is there a list where the thread is about to end.
        drop(left);
    }
}

#[cfg(test)]
mod tests;
