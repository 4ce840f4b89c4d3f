//! What another server says, kept for a while. It is asked by one request at a time, and not again at once,
//! whoever asks and however often.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ingle::clock::Timestamp;

/// Between two times that the server is asked.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// How old what is kept may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    /// What is older is asked for.
    pub(super) fresh: Duration,
    /// What is older is not used, also if nobody answers.
    pub(super) usable: Duration,
}

#[derive(Debug)]
pub(super) struct Cached<T> {
    state: Mutex<State<T>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<T> {
    known: Option<(Timestamp, Arc<T>)>,
    asked: Option<Timestamp>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        let state = Mutex::new(State { known: None, asked: None });
        Self { state, asking: tokio::sync::Mutex::default() }
    }
}

/// Whether an instant is in the time before now. A clock that was set back leaves none.
fn is_within(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    at <= now && now.since(at) <= age
}

impl<T> Cached<T> {
    /// What was last known, however long ago.
    pub(super) fn last(&self) -> Option<Arc<T>> {
        self.known().map(|(_, known)| known)
    }

    fn known(&self) -> Option<(Timestamp, Arc<T>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).known.clone()
    }

    fn known_within(&self, age: Duration, now: Timestamp) -> Option<Arc<T>> {
        self.known().filter(|(at, _)| is_within(*at, age, now)).map(|(_, known)| known)
    }

    /// What is known, or what the server says. `ask` is not begun where what is known will do.
    ///
    /// # Errors
    /// What the server is asked by failed, or it was asked just now, and nothing is known that can be used.
    pub(super) async fn get<E>(
        &self,
        age: Age,
        now: Timestamp,
        ask: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, Option<E>> {
        if let Some(known) = self.known_within(age.fresh, now) {
            return Ok(known);
        }
        let usable = || self.known_within(age.usable, now);
        let Some(_asking) = self.turn(usable().is_some()).await else {
            return usable().ok_or(None);
        };
        // Another request may have asked meanwhile.
        if let Some(known) = self.known_within(age.fresh, now) {
            return Ok(known);
        }
        if !self.may_ask(now) {
            return usable().ok_or(None);
        }
        match ask.await {
            Ok(told) => {
                let told = Arc::new(told);
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.known = Some((now, Arc::clone(&told)));
                Ok(told)
            }
            Err(error) => usable().ok_or(Some(error)),
        }
    }

    /// The turn to ask. Whoever has something to use does not wait for it.
    async fn turn(&self, has_usable: bool) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match has_usable {
            true => self.asking.try_lock().ok(),
            false => Some(self.asking.lock().await),
        }
    }

    fn may_ask(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_just_asked = state.asked.is_some_and(|at| is_within(at, PAUSE, now));
        if !was_just_asked {
            state.asked = Some(now);
        }
        !was_just_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Age = Age { fresh: Duration::from_secs(60), usable: Duration::from_secs(60 * 60) };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000).after(Duration::from_secs(seconds))
    }

    async fn answer(
        cached: &Cached<u32>,
        now: Timestamp,
        told: Result<u32, ()>,
    ) -> Result<u32, Option<()>> {
        cached.get(AGE, now, async { told }).await.map(|known| *known)
    }

    #[tokio::test]
    async fn a_server_is_asked_when_what_is_known_is_old_and_not_twice_at_once() {
        let cached = Cached::default();
        assert_eq!(answer(&cached, at(0), Err(())).await, Err(Some(())));
        assert_eq!(answer(&cached, at(5), Ok(1)).await, Err(None), "it was asked just now");
        assert_eq!(answer(&cached, at(6), Ok(1)).await, Ok(1));
        assert_eq!(answer(&cached, at(66), Ok(2)).await, Ok(1), "it is fresh");
        assert_eq!(answer(&cached, at(67), Err(())).await, Ok(1), "it is usable");
        assert_eq!(answer(&cached, at(72), Ok(2)).await, Ok(1), "it was asked just now");
        assert_eq!(answer(&cached, at(73), Ok(2)).await, Ok(2));
        assert_eq!(answer(&cached, at(73 + 3601), Err(())).await, Err(Some(())));
        assert_eq!(cached.last().as_deref(), Some(&2));
        // A clock that was set back.
        assert_eq!(answer(&cached, at(3), Ok(3)).await, Ok(3));
    }

    #[tokio::test]
    async fn whoever_has_something_to_use_does_not_wait_for_who_asks() {
        let cached = Cached::default();
        answer(&cached, at(0), Ok(1)).await.unwrap();
        let slow = cached.get(AGE, at(100), async {
            // The other request is answered while this one waits.
            assert_eq!(answer(&cached, at(100), Ok(3)).await, Ok(1));
            Ok::<_, ()>(2)
        });
        assert_eq!(slow.await.as_deref(), Ok(&2));
    }
}
