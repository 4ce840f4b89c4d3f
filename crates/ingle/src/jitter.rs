//! Random times, so that tasks that wait for the same thing do not all come back at once.

use std::{cell::Cell, time::Duration};

/// A random time from `least` to `most`.
pub(crate) fn between(least: Duration, most: Duration) -> Duration {
    // Without random bytes the time is merely not random.
    let random = seeded().unwrap_or_else(|| getrandom::u32().unwrap_or(u32::MAX));
    least + most.saturating_sub(least).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes all random waits of this thread follow from `seed`; `None` makes them random again. A
/// simulation on one thread then takes the same course with the same seed.
///
/// Only waits follow from it, which nobody needs to guess. Ids stay random.
#[cfg(feature = "conformance")]
pub fn seed_waits(seed: Option<u64>) {
    SEED.set(seed);
}

/// The next number, if the thread has a seed (SplitMix64, by Steele, Lea and Flood, 2014).
fn seeded() -> Option<u32> {
    let seed = SEED.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(Some(seed));
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(((mixed ^ (mixed >> 31)) >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = || {
            SEED.set(Some(7));
            [(); 3].map(|()| between(Duration::ZERO, Duration::from_secs(1)))
        };
        let (first, second) = (waits(), waits());
        SEED.set(None);
        assert_eq!(first, second);
        assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
    }
}
