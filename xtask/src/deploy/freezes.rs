//! The app where a platform takes its CPU away between requests: the test that `cargo xtask test` runs for a
//! shorter time, with the servers that it needs.

use anyhow::Result;

use crate::step::{self, Steps, cargo};

/// The app stands still three times, so many seconds each.
const SECONDS: &str = "45";

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    steps.run(&format!("freezes of {SECONDS} s"), || {
        let mut test = cargo(&["xtask", "test", "firestore::stopped"]);
        test.env("INGLE_TEST_STOP_SECONDS", SECONDS);
        step::run(test)
    })
}
