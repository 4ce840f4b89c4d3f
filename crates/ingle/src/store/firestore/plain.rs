//! Plain ids: the UUIDs that apps of Google's tutorial have, which are the names of their documents.
//!
//! A key is 32 bytes that stand for an id. That of a plain id has the id in it, behind a hash by which
//! logs and lists may call the session, so that no handle tells an id.
//!
//! All that this store does otherwise for such keys is here: the names of documents, where marks
//! stand, and what no message may tell.

use sha2::{Digest as _, Sha256};
use uuid::{
    Uuid,
    fmt::{Hyphenated, Simple},
};

use crate::{id::Key, store::Ids};

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
    let mut canonical = [0; Hyphenated::LENGTH];
    (id.hyphenated().encode_lower(&mut canonical) == text).then_some(id)
}

/// The option `ids` of a URL.
pub(super) fn option(value: &str) -> Option<Ids> {
    match value {
        "plain" => Some(Ids::Plain),
        "upgrade" => Some(Ids::Upgrade),
        _ => None,
    }
}

/// The id of the document of a key: the UUID of a plain id, else the digits of the key.
pub(super) fn document_id(key: &Key) -> String {
    match id(key) {
        Some(id) => id.hyphenated().to_string(),
        None => key.to_string(),
    }
}

/// The id of the document with the mark of a key, where it cannot take the place of the record: the
/// tutorial's app would take it for a session.
pub(super) fn mark_id(key: &Key) -> Option<String> {
    id(key).map(|_| key.to_string())
}

/// The key of the session in the document with this id, if such a document can be one's.
pub(super) fn key_of_document(document_id: &str, ids: Ids) -> Option<Key> {
    match parse(document_id) {
        Some(id) => (ids != Ids::Hashed).then(|| key(id)),
        // Under the digits of a plain id's key there can only be its mark.
        None => document_id.parse().ok().filter(|key| id(key).is_none()),
    }
}

/// Whether another app may have locked the record, so that nothing must wait for a write of it.
pub(super) fn may_be_locked(key: &Key) -> bool {
    id(key).is_some()
}

/// A text without anything that may be a plain id, or the key of one: servers name documents in many
/// ways.
pub(super) fn without_ids(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (word, len) = match id_len(rest) {
            Some(len) => ("…", len),
            None => (rest.get(..first.len_utf8()).unwrap_or_default(), first.len_utf8()),
        };
        shown.push_str(word);
        rest = rest.get(len..).unwrap_or_default();
    }
    shown
}

/// How long the id is that a text may begin with: a UUID, or as many digits as one has or more.
fn id_len(text: &str) -> Option<usize> {
    let uuid = text.get(..Hyphenated::LENGTH);
    if uuid.is_some_and(|uuid| Uuid::try_parse(uuid).is_ok()) {
        return Some(Hyphenated::LENGTH);
    }
    let digits = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    (digits >= Simple::LENGTH).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0b2f6c1e-7a3d-4c55-9d0a-5e1f2a3b4c5d";

    #[test]
    fn a_plain_id_is_in_its_key_and_not_in_its_handle() {
        let key = key(parse(TEXT).unwrap());
        assert_eq!(id(&key).unwrap().to_string(), TEXT);
        let digits = TEXT.replace('-', "");
        assert!(key.to_string().contains(&digits));
        assert!(!digits.contains(&key.handle().to_string()[..8]));
        assert!(!format!("{key:?}").contains(&digits[..8]), "{key:?}");
        assert_eq!(id(&Key::from_bytes([7; 32])), None);
    }

    #[test]
    fn a_plain_id_has_one_spelling() {
        let simple = TEXT.replace('-', "");
        for other in
            [&TEXT.to_uppercase(), &simple, &format!("{{{TEXT}}}"), &format!("urn:uuid:{TEXT}")]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_document_has_the_name_of_its_plain_id_and_its_mark_another_one() {
        let plain = key(parse(TEXT).unwrap());
        assert_eq!(document_id(&plain), TEXT);
        assert_eq!(mark_id(&plain), Some(plain.to_string()));
        let hashed = Key::from_bytes([7; 32]);
        assert_eq!((document_id(&hashed), mark_id(&hashed)), (hashed.to_string(), None));
    }

    #[test]
    fn a_document_is_a_sessions_only_if_such_ids_are_in_use() {
        let (plain, hashed) = (key(parse(TEXT).unwrap()), Key::from_bytes([7; 32]));
        for ids in [Ids::Hashed, Ids::Plain, Ids::Upgrade] {
            assert_eq!(key_of_document(&hashed.to_string(), ids), Some(hashed), "{ids:?}");
            let expected = Some(plain).filter(|_| ids != Ids::Hashed);
            assert_eq!(key_of_document(TEXT, ids), expected, "{ids:?}");
            for other in [&plain.to_string(), &TEXT.to_uppercase(), "", "x"] {
                assert_eq!(key_of_document(other, ids), None, "{other} with {ids:?}");
            }
        }
    }

    #[test]
    fn a_text_is_told_without_plain_ids() {
        for (text, told) in [
            (format!("é {TEXT}!"), "é …!".to_owned()),
            (TEXT.to_uppercase(), "…".to_owned()),
            (format!("{TEXT}{TEXT}"), "……".to_owned()),
            (TEXT[1..].to_owned(), TEXT[1..].to_owned()),
            (format!("({})", TEXT.replace('-', "")), "(…)".to_owned()),
            (format!("/{}/", key(parse(TEXT).unwrap())), "/…/".to_owned()),
        ] {
            assert_eq!(without_ids(&text), told);
        }
    }
}
