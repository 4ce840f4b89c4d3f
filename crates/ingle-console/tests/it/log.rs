//! What this process logs at every level, while a test wants to know.

use std::{
    io,
    sync::{
        Mutex, Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use tracing_subscriber::{
    filter::dynamic_filter_fn,
    fmt::{self, format::FmtSpan},
    layer::SubscriberExt as _,
};

static CATCHING: AtomicUsize = AtomicUsize::new(0);
static CAUGHT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Until it is dropped, all that is logged is caught, whichever thread logs it and for whichever test.
pub(crate) struct Log(());

impl Log {
    pub(crate) fn catch() -> Self {
        static SUBSCRIBE: Once = Once::new();
        SUBSCRIBE.call_once(|| {
            let caught = dynamic_filter_fn(|_, _| CATCHING.load(Ordering::SeqCst) > 0);
            let text = fmt::layer().with_ansi(false).with_span_events(FmtSpan::FULL);
            let text = text.with_writer(|| Caught);
            let subscriber = tracing_subscriber::registry().with(caught).with(text);
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        CATCHING.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&CAUGHT.lock().unwrap()).into_owned()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        CATCHING.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Caught;

impl io::Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAUGHT.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
