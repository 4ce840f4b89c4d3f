//! Random times, so that those who wait for the same thing do not all come back at once.

use std::time::Duration;

/// A random time from `least` to `most`.
pub(crate) fn between(least: Duration, most: Duration) -> Duration {
    // Without random bytes the time is merely not random.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    least + most.saturating_sub(least).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
