//! Plain ids: the UUIDs that Google's tutorial *Handling sessions with Firestore* gives its
//! sessions, in a cookie of their own. They are for apps that share their sessions with such an app
//! or move away from one.

use std::{sync::Arc, time::Duration};

use super::{
    cookie::{Cookie, CookieConfig},
    door::{IdSchemes, Settings},
};
use crate::{
    engine::policy::Policy,
    id::{HashedIds, IdScheme, Key, NoRandomness, SessionId},
    store::{Ids, firestore::plain},
};

/// The deadline where another app locks the records that it shares with this one. Firestore ends
/// transactions that wait for each other after about 2 to 15 seconds, and later ones wait as long.
const DEADLINE_BESIDE_LOCKS: Duration = Duration::from_secs(20);

/// Gives a layer the defaults for the ids of its store.
pub(super) fn set_up(ids: Ids, settings: &mut Settings, policy: &mut Policy) {
    if ids == Ids::Plain {
        settings.cookie = tutorial(&settings.cookie);
        policy.deadline = DEADLINE_BESIDE_LOCKS;
    }
}

/// How a layer makes and reads ids, and the cookie that may still bring others, with how to read them.
pub(super) fn schemes(ids: Ids, namespace: &str, cookie: &Cookie) -> IdSchemes {
    let hashed = || Arc::new(HashedIds::new(namespace));
    match ids {
        Ids::Hashed => IdSchemes { own: hashed(), legacy: None },
        Ids::Plain => IdSchemes { own: Arc::new(PlainIds { is_outdated: false }), legacy: None },
        Ids::Upgrade => {
            let outdated = Arc::new(PlainIds { is_outdated: true });
            IdSchemes { own: hashed(), legacy: Some((tutorial(cookie), outdated)) }
        }
    }
}

/// The tutorial's cookie. It is Secure if the layer's own is.
fn tutorial(like: &Cookie) -> Cookie {
    let config = CookieConfig { secure: like.config.secure, ..CookieConfig::tutorial() };
    Cookie::unchecked(config)
}

impl CookieConfig {
    /// The cookie of apps that follow the tutorial *Handling sessions with Firestore*, for sessions
    /// that are shared with them or come from them ([`Ids::Plain`](crate::store::Ids), `Upgrade`).
    ///
    /// It has no prefix `__Host-`, so another host of the domain can set it, too.
    #[must_use]
    pub fn tutorial() -> Self {
        Self { name: "session_id".to_owned(), ..Self::default() }
    }
}

/// UUIDs as ids.
#[derive(Debug)]
struct PlainIds {
    /// Whether sessions with such ids get new ones.
    is_outdated: bool,
}

impl IdScheme for PlainIds {
    fn generate(&self) -> Result<SessionId, NoRandomness> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(NoRandomness::new)?;
        // 122 random bits (RFC 9562 5.4).
        Ok(id(uuid::Builder::from_random_bytes(bytes).into_uuid()))
    }

    fn decode(&self, value: &[u8]) -> Option<SessionId> {
        let id = id(plain::parse(str::from_utf8(value).ok()?)?);
        Some(if self.is_outdated { id.outdated() } else { id })
    }

    /// Each of their records is a document that the tutorial's app takes for a session.
    fn key_of_user(&self, _: &str) -> Option<Key> {
        None
    }
}

fn id(uuid: uuid::Uuid) -> SessionId {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    uuid.hyphenated().encode_lower(&mut text);
    SessionId::new(text, plain::key(uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_survives_the_cookie_in_one_spelling_alone() {
        let ids = PlainIds { is_outdated: false };
        let text = ids.generate().unwrap().as_str().to_owned();
        assert_eq!(ids.decode(text.as_bytes()).unwrap().as_str(), text);
        let upper = text.to_uppercase();
        let simple = text.replace('-', "");
        let braced = format!("{{{text}}}");
        for other in [&*upper, &simple, &braced, &format!(" {text}"), "", "x"] {
            assert!(ids.decode(other.as_bytes()).is_none() || other == text, "{other}");
        }
    }
}
