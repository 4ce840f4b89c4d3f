//! How often somebody may try a password for one account, in this process.
//!
//! Each name has five attempts, and gets one back each minute. So a stranger can try 1440 passwords a day,
//! and a user who mistypes theirs waits for a minute at most. A stranger who goes on and on keeps the user
//! from logging in meanwhile. Sessions that are logged in stay what they are.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many attempts a name has.
const ATTEMPTS: u32 = 5;

/// After so long it gets one back.
const EACH: Duration = Duration::from_secs(60);

/// How many names are remembered. To push one out that has no attempt left, somebody must use up those of
/// half as many others within five minutes: some 25,000 passwords, more than most processes can check.
const NAMES_MAX: usize = 10_000;

/// The attempts of each name.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// When a name has all its attempts again. One that is not here has.
    full: Mutex<HashMap<String, Instant>>,
}

impl Attempts {
    /// Takes one of the name's attempts. Where none is left, it says how long until there is one.
    pub(crate) fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let before = full.get(name).copied().unwrap_or(now).max(now);
        let after = before + EACH;
        let wait = after.saturating_duration_since(now + ATTEMPTS * EACH);
        if !wait.is_zero() {
            return Err(wait);
        }
        if full.len() >= NAMES_MAX && !full.contains_key(name) {
            // Those that have most of their attempts give way, and all that have theirs.
            let mut times: Vec<Instant> = full.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(NAMES_MAX / 2);
            let first = now.max(*middle);
            full.retain(|_, full| *full > first);
        }
        full.insert(name.to_owned(), after);
        Ok(())
    }

    /// Gives a name back one attempt that was taken: no password was checked.
    pub(crate) fn give_back(&self, name: &str, now: Instant) {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = full.get_mut(name) {
            *until = until.checked_sub(EACH).unwrap_or(now);
            if *until <= now {
                full.remove(name);
            }
        }
    }

    /// Gives a name all its attempts back: its password was right.
    pub(crate) fn forget(&self, name: &str) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_five_attempts_and_one_more_each_minute() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 0..ATTEMPTS {
            attempts.take("ada", now).unwrap();
        }
        assert_eq!(attempts.take("ada", now), Err(EACH));
        assert_eq!(attempts.take("bob", now), Ok(()), "another name has its own");
        now += EACH / 2;
        assert_eq!(attempts.take("ada", now), Err(EACH / 2), "a refused one takes nothing");
        now += EACH / 2;
        assert_eq!(attempts.take("ada", now), Ok(()));
        assert_eq!(attempts.take("ada", now), Err(EACH));
        now += 10 * EACH;
        for _ in 0..ATTEMPTS {
            attempts.take("ada", now).unwrap();
        }
        assert_eq!(attempts.take("ada", now), Err(EACH), "never more than five");
        attempts.give_back("ada", now);
        assert_eq!(attempts.take("ada", now), Ok(()));
        assert_eq!(attempts.take("ada", now), Err(EACH), "one, and no more");
        attempts.forget("ada");
        assert_eq!(attempts.take("ada", now), Ok(()));
        attempts.give_back("ada", now);
        attempts.give_back("ada", now);
        assert!(!attempts.full.lock().unwrap().contains_key("ada"), "it has all of them");
    }

    #[test]
    fn no_number_of_names_takes_more_memory() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..ATTEMPTS {
            attempts.take("ada", now).unwrap();
        }
        for number in 0..2 * NAMES_MAX {
            attempts.take(&format!("user{number}"), now).unwrap();
        }
        assert!(attempts.full.lock().unwrap().len() <= NAMES_MAX);
        assert!(attempts.take("ada", now).is_err(), "others give way");
    }
}
