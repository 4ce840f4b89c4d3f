//! Batches calls of a store that are made at the same time.
//!
//! A round trip costs a process and a server more than building and doing a command, so concurrent calls
//! share one. A call lets those come first that are about to be made in this process. That takes no time
//! where there are none: nobody waits for a clock.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::yield_now;

use crate::detach;

/// Collects calls of one kind.
pub(in crate::store) struct Batcher<T> {
    /// How many calls go together at most. They go at once, so that the server is at work on them while
    /// this process makes those that follow.
    max_batch: usize,
    /// What makes one call of those that met.
    go: Box<dyn Fn(Vec<T>) -> Work + Send + Sync>,
    state: Mutex<State<T>>,
}

/// Makes one call and waits for its answer.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct State<T> {
    waiting: Vec<T>,
    /// A task will come for what waits.
    is_attended: bool,
}

impl<T: Send + 'static> Batcher<T> {
    pub(in crate::store) fn new<F: Future<Output = ()> + Send + 'static>(
        max_batch: usize,
        go: impl Fn(Vec<T>) -> F + Send + Sync + 'static,
    ) -> Arc<Self> {
        let state = Mutex::new(State { waiting: Vec::new(), is_attended: false });
        Arc::new(Self { max_batch, go: Box::new(move |calls| Box::pin(go(calls))), state })
    }

    /// Makes a call together with those that meet it.
    pub(in crate::store) fn push(self: &Arc<Self>, call: T) {
        let mut state = self.state();
        state.waiting.push(call);
        if state.waiting.len() >= self.max_batch {
            let calls = mem::take(&mut state.waiting);
            drop(state);
            detach::spawn((self.go)(calls));
        } else if !mem::replace(&mut state.is_attended, true) {
            drop(state);
            let end = End(Some(Arc::clone(self)));
            detach::spawn(async move {
                // Who is about to call does so now.
                yield_now().await;
                if let Some(work) = end.come() {
                    work.await;
                }
            });
        }
    }

    /// Takes what waits, and leaves it to the next call to have somebody come.
    fn end(&self) -> Vec<T> {
        let mut state = self.state();
        state.is_attended = false;
        mem::take(&mut state.waiting)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Each use is one look and one write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Comes for what waits.
struct End<T: Send + 'static>(Option<Arc<Batcher<T>>>);

impl<T: Send + 'static> End<T> {
    fn come(mut self) -> Option<Work> {
        let batcher = self.0.take()?;
        let calls = batcher.end();
        (!calls.is_empty()).then(|| (batcher.go)(calls))
    }
}

impl<T: Send + 'static> Drop for End<T> {
    /// The runtime ends before it came. Who waits learns that nobody comes.
    fn drop(&mut self) {
        if let Some(batcher) = &self.0 {
            drop(batcher.end());
        }
    }
}
