//! Random words. One call of the operating system gives many.
//!
//! For names that need not be secret, only never the same. Where a machine goes on twice from one
//! snapshot, both copies have the same words left, and each would take the other's commit for its
//! own. So to each word is added the nanosecond at which it is taken.

use std::{cell::Cell, sync::LazyLock, time::Instant};

use crate::id::NoRandomness;

/// How many words one call gives: few, since two copies of a process share no more than these.
const WORDS: usize = 16;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static LEFT: Cell<Words> = const { Cell::new(Words { words: [0; WORDS], left: 0 }) };
}

/// A word that nothing else has.
pub(crate) fn next() -> Result<u64, NoRandomness> {
    let mut words = LEFT.get();
    let word = words.take(ORIGIN.elapsed().as_nanos() as u64);
    LEFT.set(words);
    word
}

#[derive(Clone, Copy)]
struct Words {
    words: [u64; WORDS],
    left: usize,
}

impl Words {
    fn take(&mut self, nanosecond: u64) -> Result<u64, NoRandomness> {
        loop {
            if let Some(left) = self.left.checked_sub(1)
                && let Some(word) = self.words.get(left)
            {
                self.left = left;
                return Ok(word ^ nanosecond);
            }
            let mut bytes = [0; WORDS * 8];
            getrandom::fill(&mut bytes).map_err(NoRandomness::new)?;
            let (eights, _) = bytes.as_chunks();
            self.words.iter_mut().zip(eights).for_each(|(word, eight)| {
                *word = u64::from_ne_bytes(*eight);
            });
            self.left = WORDS;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn no_word_comes_twice() {
        let draw = || (0..10_000).map(|_| next().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(draw)).collect();
        let words: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
    }

    #[test]
    fn copies_of_one_process_draw_different_words() {
        let mut original = Words { words: [0; WORDS], left: 0 };
        original.take(1).unwrap();
        let mut copy = original;
        let of = |words: &mut Words, from| -> Vec<u64> {
            (from..from + 100).map(|nanosecond| words.take(nanosecond).unwrap()).collect()
        };
        let (first, second) = (of(&mut original, 1000), of(&mut copy, 1001));
        assert!(first.iter().all(|word| !second.contains(word)));
    }
}
