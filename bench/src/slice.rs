//! What one slice of time came to: what was answered, and what that took.

use anyhow::Result;
use testbed::load::Tally;

use crate::usage::{Tree, Watch};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// Answers in a second.
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU time for each request, in microseconds.
    pub(crate) app_us: f64,
    pub(crate) store_us: f64,
    /// The part of the machine that others used meanwhile.
    pub(crate) disturbed: f64,
    /// Answers with another count than the last one plus 1, and requests without a 200.
    pub(crate) wrong: u64,
    pub(crate) failed: u64,
}

impl Slice {
    /// Runs what makes a tally, and looks at what it took.
    pub(crate) fn watched(
        app: Vec<Tree>,
        store: Option<Tree>,
        run: impl FnOnce() -> Result<Tally>,
    ) -> Result<Self> {
        let watch = Watch::new(app, store);
        let tally = run()?;
        let used = watch.used();
        let us_each = 1e6 / tally.sent.max(1) as f64;
        Ok(Self {
            rate: tally.rate(),
            p50: tally.within(0.5),
            p99: tally.within(0.99),
            app_us: used.app_seconds * us_each,
            store_us: used.store_seconds * us_each,
            disturbed: used.disturbed,
            wrong: tally.wrong,
            failed: tally.failed(),
        })
    }
}
