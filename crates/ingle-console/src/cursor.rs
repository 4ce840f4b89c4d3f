//! Where the next page begins, as a text in an address.
//!
//! A cursor may name a record. On a store with hashed ids that is a key, which tells nothing. On one with
//! plain ids it is an id, which is as good as the visitor's cookie: there the address has a random name
//! instead, and this process remembers what it stands for.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ingle::store::{Cursor, Ids, Info};

use crate::problem::Problem;

/// How many cursors are remembered. An older one leads to the first page.
const KEPT_MAX: usize = 1000;

/// A cursor of a store is never so long.
const TEXT_MAX: usize = 2048;

pub(crate) enum Cursors {
    /// As they are.
    Plain,
    /// By random names.
    Named(Mutex<VecDeque<(String, Cursor)>>),
}

impl Cursors {
    pub(crate) fn for_store(info: &Info) -> Self {
        match info.ids {
            Ids::Hashed => Self::Plain,
            _ => Self::Named(Mutex::default()),
        }
    }

    /// The text for an address.
    pub(crate) fn text(&self, cursor: Cursor) -> Result<String, Problem> {
        match self {
            Self::Plain => Ok(URL_SAFE_NO_PAD.encode(cursor.0)),
            Self::Named(kept) => {
                let name = random_text()?;
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.truncate(KEPT_MAX - 1);
                kept.push_front((name.clone(), cursor));
                Ok(name)
            }
        }
    }

    /// The cursor of a text in an address; none for an empty one.
    pub(crate) fn read(&self, text: &str) -> Result<Option<Cursor>, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        let found = match self {
            Self::Plain if text.len() <= TEXT_MAX => {
                let bytes = URL_SAFE_NO_PAD.decode(text).ok();
                bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Cursor)
            }
            Self::Plain => None,
            Self::Named(kept) => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.iter().find(|(name, _)| name == text).map(|(_, cursor)| cursor.clone())
            }
        };
        let text = "The address does not say where this page begins, or not any more. Begin at the \
                    first page.";
        found.map(Some).ok_or_else(|| Problem::bad_request(text))
    }
}

/// 128 random bits.
pub(crate) fn random_text() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(ids: Ids) -> Cursors {
        Cursors::for_store(&Info::new("test", "nothing").with_ids(ids))
    }

    #[test]
    fn a_cursor_that_may_hold_an_id_is_not_in_an_address() {
        let id = "0b6c1f5e-4b0c-4b5e-9d0e-6f1f5e4b0c4b";
        for ids in [Ids::Plain, Ids::Upgrade] {
            let cursors = cursors(ids);
            let text = cursors.text(Cursor(id.to_owned())).unwrap();
            let decoded = URL_SAFE_NO_PAD.decode(&text).unwrap();
            assert!(!text.contains(id) && decoded.len() == 16);
            assert_eq!(cursors.read(&text).unwrap(), Some(Cursor(id.to_owned())));
            for _ in 0..KEPT_MAX {
                cursors.text(Cursor(String::new())).unwrap();
            }
            assert!(cursors.read(&text).is_err());
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_nothing_else_is() {
        let cursors = cursors(Ids::Hashed);
        let text = cursors.text(Cursor("a/b?&".to_owned())).unwrap();
        assert_eq!(cursors.read(&text).unwrap(), Some(Cursor("a/b?&".to_owned())));
        assert_eq!(cursors.read("").unwrap(), None);
        for text in ["?", "_w", &"a".repeat(TEXT_MAX + 1)] {
            assert!(cursors.read(text).is_err(), "{text}");
        }
    }
}
