//! Ctrl-C, heard between two steps of a command, so that none is left half done.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use crate::exit::Failed;

/// Whether somebody has asked to stop. The second time the program ends at once.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    is_asked: Arc<AtomicBool>,
    asked: Arc<Notify>,
}

impl Stop {
    #[expect(clippy::disallowed_methods, reason = "the task ends with the program")]
    pub(crate) fn listen() -> Self {
        let stop = Self { is_asked: Arc::default(), asked: Arc::default() };
        let heard = stop.clone();
        // From here on, and not from the first turn of the task.
        let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return stop };
        tokio::spawn(async move {
            while interrupts.recv().await.is_some() {
                if heard.is_asked.swap(true, Ordering::Relaxed) {
                    process::exit(130);
                }
                heard.asked.notify_one();
            }
        });
        stop
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Fails if somebody has asked to stop.
    pub(crate) fn check(&self, said: &str) -> Result<(), Failed> {
        if self.is_asked() { Err(Failed::interrupted(said)) } else { Ok(()) }
    }

    /// Waits until somebody asks to stop.
    pub(crate) async fn asked(&self) {
        if !self.is_asked() {
            self.asked.notified().await;
        }
    }
}
