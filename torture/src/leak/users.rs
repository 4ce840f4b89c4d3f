//! Users, each with a canary in their session: a text that nobody else may ever see.

use serde_json::{Map, Value};

/// How many there are.
pub(super) const USERS: usize = 64;

/// The field with the canary, and one that is written again and again with it in front.
pub(super) const CANARY: &str = "canary";
pub(super) const NOTE: &str = "note";

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) canary: String,
    pub(super) cookie: String,
}

/// What came of all requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) ok: u64,
    /// Clients that did not wait for the answer.
    pub(super) hung_up: u64,
    /// Answers that were errors.
    pub(super) failed: u64,
    /// Of these, records that were not used since they are somebody else's.
    pub(super) closed: u64,
    pub(super) leaks: u64,
    /// Answers without what the session holds.
    pub(super) empty: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.ok += other.ok;
        self.hung_up += other.hung_up;
        self.failed += other.failed;
        self.closed += other.closed;
        self.leaks += other.leaks;
        self.empty += other.empty;
    }

    /// Looks at the data that a user was answered.
    pub(super) fn look(&mut self, user: &User, body: &str) {
        let parts = body.split(CANARY_BEGINS).skip(1);
        let own = user.canary.trim_start_matches(CANARY_BEGINS);
        if parts.into_iter().any(|rest| !rest.starts_with(own)) {
            self.leaks += 1;
        }
        let data: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
        if data.get(CANARY).and_then(Value::as_str) != Some(&user.canary) {
            self.empty += 1;
        }
    }

    /// Looks at an answer of which nothing is expected.
    pub(super) fn look_at_error(&mut self, status: u16, body: &str) {
        self.failed += 1;
        self.closed += u64::from(status == 500);
        self.leaks += u64::from(body.contains(CANARY_BEGINS));
    }
}

const CANARY_BEGINS: &str = "canary:";

/// A canary, of a user with this number.
pub(super) fn canary(number: usize, rng: &mut fastrand::Rng) -> String {
    format!("{CANARY_BEGINS}{number:02}{:016x}", rng.u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_canary_is_seen_wherever_it_is() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (own, other) = (canary(1, &mut rng), canary(2, &mut rng));
        let user = User { canary: own.clone(), cookie: String::new() };
        let mut seen = Seen::default();
        seen.look(&user, &format!(r#"{{"canary":"{own}","note":"{own} 1"}}"#));
        assert_eq!((seen.leaks, seen.empty), (0, 0));
        seen.look(&user, &format!(r#"{{"canary":"{own}","note":"{other} 1"}}"#));
        assert_eq!((seen.leaks, seen.empty), (1, 0));
        seen.look(&user, "{}");
        assert_eq!((seen.leaks, seen.empty), (1, 1));
        seen.look_at_error(500, &other);
        assert_eq!((seen.leaks, seen.failed, seen.closed), (2, 1, 1));
    }
}
