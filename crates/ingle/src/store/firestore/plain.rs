//! Plain ids: the UUIDs that apps of Google's tutorial have, which are the names of their documents.
//!
//! A key is 32 bytes that stand for an id. That of a plain id has the id in it, behind a hash by which
//! logs and lists may call the session, so that no handle tells an id.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::id::Key;

/// What stands between the hash and the id. No hash has it by chance.
const TAG: [u8; 8] = *b"plain id";

/// Separates our hashes from every other use of SHA-256 on the same bytes.
const DOMAIN: &[u8] = b"ingle plain id v1";

/// The key of a plain id.
pub(crate) fn key(id: Uuid) -> Key {
    let hash: [u8; 32] =
        Sha256::new().chain_update(DOMAIN).chain_update(id.as_bytes()).finalize().into();
    let mut key = hash;
    if let Some((tag, rest)) = key[8..].split_first_chunk_mut::<8>() {
        *tag = TAG;
        rest.copy_from_slice(id.as_bytes());
    }
    Key::from_bytes(key)
}

/// The plain id that a key is of, if it is of one.
pub(crate) fn id(key: &Key) -> Option<Uuid> {
    let (_, rest) = key.as_bytes().split_first_chunk::<8>()?;
    let (tag, rest) = rest.split_first_chunk::<8>()?;
    (*tag == TAG).then(|| Uuid::from_slice(rest).ok())?
}

impl Key {
    /// The key of a plain id ([`Ids::Plain`](crate::store::Ids)), if the text is one: for tools that
    /// look at such a session in the store.
    #[must_use]
    pub fn of_plain_id(id: &str) -> Option<Self> {
        parse(id).map(key)
    }
}

/// Reads a UUID in its one canonical spelling (RFC 9562 4): lower case, with four hyphens.
pub(crate) fn parse(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    let mut canonical = [0; uuid::fmt::Hyphenated::LENGTH];
    (id.hyphenated().encode_lower(&mut canonical) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_in_its_key_and_not_in_its_handle() {
        let text = "0b2f6c1e-7a3d-4c55-9d0a-5e1f2a3b4c5d";
        let key = key(parse(text).unwrap());
        assert_eq!(id(&key).unwrap().to_string(), text);
        let digits = text.replace('-', "");
        assert!(key.to_string().contains(&digits));
        assert!(!digits.contains(&key.handle().to_string()[..8]));
        assert_eq!(id(&Key::from_bytes([7; 32])), None);
    }

    #[test]
    fn a_plain_id_has_one_spelling() {
        let text = "0b2f6c1e-7a3d-4c55-9d0a-5e1f2a3b4c5d";
        let simple = text.replace('-', "");
        for other in
            [&text.to_uppercase(), &simple, &format!("{{{text}}}"), &format!("urn:uuid:{text}")]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
