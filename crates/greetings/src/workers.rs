//! The threads that serve connections, each on a runtime of its own.
//!
//! A request stays on one thread from its first byte to its last. Where all threads share a runtime, what a
//! request waits for is often done on another thread, and to wake a thread costs more than this app's page.
//! The threads share the sessions: requests that change one session meet, whatever threads they are on.

use std::{
    io,
    num::NonZero,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
};

use tokio::{
    runtime::{self, Handle},
    sync::watch,
};

use crate::BACKGROUND_TIME_MAX;

/// How many threads serve: one for each CPU that this process may use.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Where connections are served until this is dropped.
pub(crate) struct Workers {
    first: Worker,
    others: Vec<Worker>,
    threads: Option<Threads>,
}

struct Worker {
    runtime: Handle,
    /// Held once for each connection, and once more.
    taken: Arc<()>,
}

struct Threads {
    /// They stop when it is dropped.
    stop: watch::Sender<()>,
    /// Says nothing, and ends when all have stopped.
    stopped: Receiver<()>,
}

/// The place of one connection.
pub(crate) struct Seat {
    pub(crate) runtime: Handle,
    /// Hold it for as long as the connection is there.
    pub(crate) taken: Arc<()>,
}

impl Workers {
    /// The runtime that this is called in, and no thread of its own.
    pub(crate) fn here() -> Self {
        Self { first: Worker::on(Handle::current()), others: Vec::new(), threads: None }
    }

    /// As many threads as [`count`] says.
    pub(crate) fn start() -> io::Result<Self> {
        let (stop, stopping) = watch::channel(());
        let (running, stopped) = mpsc::channel();
        let start = |number: usize| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let worker = Worker::on(runtime.handle().clone());
            let (mut stopping, running) = (stopping.clone(), running.clone());
            let serve = move || {
                // Nothing is ever sent: it ends when the other end is dropped.
                let _ = runtime.block_on(stopping.changed());
                runtime.shutdown_timeout(BACKGROUND_TIME_MAX);
                drop(running);
            };
            thread::Builder::new().name(format!("worker-{number}")).spawn(serve)?;
            Ok(worker)
        };
        let first = start(0)?;
        let others = (1..count()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { first, others, threads: Some(Threads { stop, stopped }) })
    }

    /// A place where there are the fewest connections.
    pub(crate) fn seat(&self) -> Seat {
        let fewest = self.others.iter().fold(&self.first, |fewest, worker| {
            if worker.connections() < fewest.connections() { worker } else { fewest }
        });
        Seat { runtime: fewest.runtime.clone(), taken: Arc::clone(&fewest.taken) }
    }
}

impl Worker {
    fn on(runtime: Handle) -> Self {
        Self { runtime, taken: Arc::default() }
    }

    fn connections(&self) -> usize {
        Arc::strong_count(&self.taken) - 1
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(Threads { stop, stopped }) = self.threads.take() {
            drop(stop);
            // A thread that does not stop ends with the process.
            let _ = stopped.recv_timeout(BACKGROUND_TIME_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_seated_where_there_are_the_fewest() {
        let workers = Workers::start().unwrap();
        let seats: Vec<_> = (0..2 * count()).map(|_| workers.seat()).collect();
        let all = || [&workers.first].into_iter().chain(&workers.others);
        assert!(all().all(|worker| worker.connections() == 2));
        drop(seats);
        assert!(all().all(|worker| worker.connections() == 0));
    }
}
