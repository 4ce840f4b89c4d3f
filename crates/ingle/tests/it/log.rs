//! What this thread logs while a test runs.

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, Once},
};

use tracing_subscriber::{
    filter::dynamic_filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

thread_local! {
    static CAUGHT: RefCell<Option<Log>> = const { RefCell::new(None) };
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// Until it is dropped, what its thread logs is caught.
pub(crate) struct Catching(());

impl Drop for Catching {
    fn drop(&mut self) {
        CAUGHT.set(None);
    }
}

impl Log {
    /// Takes every event of this thread, until the guard is dropped.
    ///
    /// One subscriber serves all threads, and each looks whether it catches. A subscriber per thread would
    /// miss events: where another thread comes to an event first, `tracing` notes that nobody wants it.
    pub(crate) fn catch() -> (Self, Catching) {
        static SUBSCRIBE: Once = Once::new();
        SUBSCRIBE.call_once(|| {
            let caught = dynamic_filter_fn(|_, _| CAUGHT.with_borrow(Option::is_some));
            let text = fmt::layer().with_ansi(false).with_writer(OfThisThread);
            let subscriber = tracing_subscriber::registry().with(caught).with(text);
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        let log = Self::default();
        CAUGHT.set(Some(log.clone()));
        (log, Catching(()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct OfThisThread;

impl MakeWriter<'_> for OfThisThread {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        CAUGHT.with_borrow(Clone::clone).unwrap_or_default()
    }
}
