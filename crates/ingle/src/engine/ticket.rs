//! Tickets: values that a session keeps until somebody brings the text of one, once.
//!
//! The session keeps a hash of the text and of its kind. So whoever reads a store or a backup of it can
//! redeem nothing, and a text is worth nothing as another kind. Which session has issued it needs no
//! check: no other one has the hash.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    clock::Timestamp,
    data::{InvalidValue, Limits, encode},
    id::NoRandomness,
};

/// How many tickets may wait to be redeemed.
pub(super) const TICKETS_MAX: usize = 64;

/// 144 bits, which are 24 characters with no bit left over. ASVS 5.0 7.2.3 asks for 128.
const TEXT_BYTES: usize = 18;

/// Separates these hashes from every other use of SHA-256 on the same bytes.
const DOMAIN: &[u8] = b"ingle ticket v1";

/// A ticket in the data.
#[derive(Serialize)]
struct Ticket<'a, T: ?Sized> {
    hash: &'a str,
    deadline: Timestamp,
    value: &'a T,
}

/// The text of a new ticket.
pub(crate) fn text() -> Result<String, NoRandomness> {
    let mut bytes = [0; TEXT_BYTES];
    getrandom::fill(&mut bytes).map_err(NoRandomness::new)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What a session knows a ticket by.
pub(crate) fn hash(kind: &str, text: &str) -> String {
    // The length keeps ("ab", "c…") and ("a", "bc…") apart.
    let length = (kind.len() as u64).to_be_bytes();
    let hash = Sha256::new().chain_update(DOMAIN).chain_update(length);
    URL_SAFE_NO_PAD.encode(hash.chain_update(kind).chain_update(text).finalize())
}

/// A ticket as the data has it.
pub(crate) fn encode<T: Serialize>(
    hash: &str,
    deadline: Timestamp,
    value: &T,
    limits: &Limits,
) -> Result<Value, InvalidValue> {
    encode::item(&Ticket { hash, deadline, value }, limits)
}

/// The tickets that can still be redeemed, the oldest first.
pub(super) fn live(tickets: Option<&Value>, now: Timestamp) -> Vec<Value> {
    let tickets = tickets.and_then(Value::as_array).into_iter().flatten();
    tickets.filter(|ticket| is_live(ticket, now)).cloned().collect()
}

/// The value of a ticket that can be redeemed, and the tickets that are left then.
pub(crate) fn take<'a>(
    tickets: Option<&'a Value>,
    hash: &str,
    now: Timestamp,
) -> Option<(&'a Value, Option<Value>)> {
    let tickets = tickets?.as_array()?;
    let is_it = |ticket: &&Value| ticket.get("hash").and_then(Value::as_str) == Some(hash);
    let value = tickets.iter().find(is_it).filter(|ticket| is_live(ticket, now))?.get("value")?;
    let left: Vec<Value> = tickets.iter().filter(|ticket| !is_it(ticket)).cloned().collect();
    Some((value, (!left.is_empty()).then_some(Value::Array(left))))
}

fn is_live(ticket: &Value, now: Timestamp) -> bool {
    let deadline = ticket.get("deadline").and_then(Value::as_u64);
    deadline.is_some_and(|deadline| now.as_millis() < deadline)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ticket(kind: &str, text: &str, deadline: u64, value: &Value) -> Value {
        encode(&hash(kind, text), at(deadline), value, &Limits::default()).unwrap()
    }

    #[test]
    fn no_text_comes_twice_and_each_can_stand_in_a_url() {
        let texts: HashSet<_> = (0..10_000).map(|_| text().unwrap()).collect();
        assert_eq!(texts.len(), 10_000);
        for text in texts {
            assert_eq!(text.len(), 24);
            assert!(
                text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_hash_is_of_one_kind_and_one_text() {
        let pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("a", "bd"), ("A", "bc")];
        let hashes: HashSet<_> = pairs.iter().map(|(kind, text)| hash(kind, text)).collect();
        assert_eq!(hashes.len(), pairs.len());
        assert!(hashes.iter().all(|hash| hash.len() == 43));
    }

    #[test]
    fn a_ticket_is_taken_before_its_deadline_and_the_others_stay() {
        let one = ticket("k", "one", 10, &json!(1));
        let (two, nothing) =
            (ticket("k", "two", 20, &json!({"a": 2})), ticket("k", "null", 30, &json!(null)));
        let all = json!([one, two, nothing]);
        let take = |text: &str, now| take(Some(&all), &hash("k", text), at(now));
        assert_eq!(take("one", 9), Some((&json!(1), Some(json!([two, nothing])))));
        assert_eq!(take("one", 10), None);
        assert_eq!(take("two", 10), Some((&json!({"a": 2}), Some(json!([one, nothing])))));
        assert_eq!(take("null", 10), Some((&json!(null), Some(json!([one, two])))));
        assert_eq!(take("three", 0), None);
        assert_eq!(live(Some(&all), at(10)), [two, nothing.clone()]);
        let last = json!([nothing]);
        assert_eq!(super::take(Some(&last), &hash("k", "null"), at(0)), Some((&json!(null), None)));
    }

    #[test]
    fn what_somebody_else_wrote_into_the_field_is_no_ticket() {
        let hash = hash("k", "one");
        for stored in [
            json!(null),
            json!(5),
            json!({"hash": hash, "deadline": 9, "value": 1}),
            json!([hash, 5, null, [], {}]),
            json!([{"hash": hash, "value": 1}]),
            json!([{"hash": hash, "deadline": "9", "value": 1}]),
            json!([{"hash": hash, "deadline": -9, "value": 1}]),
            json!([{"hash": hash, "deadline": 9}]),
            json!([{"deadline": 9, "value": 1}]),
        ] {
            assert_eq!(take(Some(&stored), &hash, at(1)), None, "{stored}");
        }
        assert!(live(Some(&json!([5, {}, {"deadline": 0}])), at(0)).is_empty());
    }
}
