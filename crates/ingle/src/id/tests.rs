use std::collections::HashSet;

use super::*;
use crate::fuzz::{fuzz, spoiled};

fn ids() -> HashedIds {
    HashedIds::new("")
}

fn of_bytes(bytes: [u8; ID_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key_in(namespace: &str, bytes: [u8; ID_BYTES]) -> Key {
    HashedIds::new(namespace).decode(of_bytes(bytes).as_bytes()).unwrap().key()
}

#[test]
fn an_id_survives_the_cookie() {
    let id = ids().generate().unwrap();
    let value = id.as_str().as_bytes();
    assert_eq!(value.len(), ID_CHARS);
    assert!(value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    let read = ids().decode(value).unwrap();
    assert_eq!((read.as_str(), read.key()), (id.as_str(), id.key()));
}

#[test]
fn each_other_spelling_is_refused() {
    let value = of_bytes([0xa5; 32]);
    for bad in [
        "",
        &value[1..],
        &format!("{value}A"),
        &format!("{value}="),
        &format!("{}+", &value[1..]),
        &format!("{}/", &value[1..]),
        &format!("{}%", &value[1..]),
        &format!("{}.", &value[1..]),
        "../../../../../../../../../../../etc/passwd",
        "00000000-0000-4000-8000-000000000000",
    ] {
        assert!(ids().decode(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn no_two_spellings_are_one_id() {
    // The last character carries 4 bits of the id; the 2 bits behind them must be zero.
    let value = of_bytes([0xff; 32]);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let accepted = alphabet.iter().filter(|last| {
        let spelling = [&value.as_bytes()[..ID_CHARS - 1], &[**last]].concat();
        ids().decode(&spelling).is_some()
    });
    assert_eq!(accepted.count(), 16);
}

#[test]
fn ids_are_random_at_every_position() {
    const N: usize = 100_000;
    let ids: HashSet<String> =
        (0..N).map(|_| ids().generate().unwrap().as_str().to_owned()).collect();
    assert_eq!(ids.len(), N);
    for position in 0..ID_CHARS {
        let mut counts = [0_u32; 256];
        ids.iter().for_each(|id| counts[usize::from(id.as_bytes()[position])] += 1);
        let seen: Vec<f64> = counts.into_iter().filter(|n| *n > 0).map(f64::from).collect();
        let symbols = if position == ID_CHARS - 1 { 16 } else { 64 };
        assert_eq!(seen.len(), symbols, "position {position}");
        // Twelve standard deviations: by chance, less than once in 10^15 runs.
        let (expected, freedom) = (N as f64 / symbols as f64, symbols as f64 - 1.0);
        let chi_square: f64 = seen.iter().map(|n| (n - expected).powi(2) / expected).sum();
        let bound = freedom + 12.0 * (2.0 * freedom).sqrt();
        assert!(chi_square < bound, "position {position}: {chi_square} of {bound}");
    }
}

#[test]
fn the_same_id_has_another_key_in_each_namespace() {
    let keys: HashSet<Key> = ["", "a", "b", "ab"].map(|name| key_in(name, [1; 32])).into();
    assert_eq!(keys.len(), 4);
    assert_eq!(key_in("a", [1; 32]), key_in("a", [1; 32]));
}

#[test]
fn a_key_and_a_handle_read_back_from_their_digits_alone() {
    let key = key_in("x", [7; 32]);
    assert_eq!(key.to_string().parse::<Key>(), Ok(key));
    assert_eq!(key.to_string().to_uppercase().parse::<Key>(), Err(NotAKey));
    assert_eq!("é".repeat(32).parse::<Key>(), Err(NotAKey));
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);

    let handle = key.handle();
    assert!(key.to_string().starts_with(&handle.to_string()));
    assert_eq!(handle.to_string().parse::<Handle>(), Ok(handle));
    assert_eq!(key.to_string().parse::<Handle>(), Err(NotAHandle));
}

#[test]
fn nothing_prints_a_secret() {
    let id = HashedIds::new("shop").decode(of_bytes([0x41; 32]).as_bytes()).unwrap();
    for text in [format!("{id:?}"), format!("{:?}", HashedIds::new("shop"))] {
        assert!(!text.contains("41") && !text.contains("65") && !text.contains("shop"), "{text}");
        assert!(!text.contains(id.as_str()));
    }
    let text = format!("{:?}", id.key());
    assert!(!text.contains(&id.key().to_string()), "{text}");
}

#[test]
fn fuzz_ids_and_keys() {
    let (value, key) = (of_bytes([0xa5; 32]), key_in("x", [0xa5; 32]).to_string());
    let valid = [value.as_bytes(), key.as_bytes(), b"5e7bd1b0-7b9c-4f4e-9d3b-0a1b2c3d4e5f"];
    let words = ["=", "-", "A", "a", "%2F", "+", "é", "../", "\n", "' OR 1=1--", "${jndi:x}"];
    fuzz("ids and keys", |u| {
        let text = spoiled(u, &valid, &words)?;
        if let Some(id) = ids().decode(&text) {
            assert_eq!(id.as_str().as_bytes(), text, "another spelling of an id");
            assert!(!format!("{id:?}").contains(id.as_str()));
        }
        let text = String::from_utf8_lossy(&text);
        if let Ok(key) = text.parse::<Key>() {
            assert_eq!(key.to_string(), text, "another spelling of a key");
        }
        if let Ok(handle) = text.parse::<Handle>() {
            assert_eq!(handle.to_string(), text, "another spelling of a handle");
        }
        Ok(())
    });
}

#[test]
fn the_beginning_of_a_handle_has_1_to_16_digits() {
    let handle: Handle = "00ab5f0123456789".parse().unwrap();
    for good in ["0", "00a", "00ab5f0123456789"] {
        let prefix: HandlePrefix = good.parse().unwrap();
        assert!(prefix.is_of(&handle), "{good}");
        assert_eq!(prefix.to_string(), good);
    }
    assert_eq!(HandlePrefix::from(handle), "00ab5f0123456789".parse().unwrap());
    for other in ["1", "00ac", "00ab5f0123456788", "00ab5f012345678a"] {
        assert!(!other.parse::<HandlePrefix>().unwrap().is_of(&handle), "{other}");
    }
    for bad in ["", "g", "0x1", "AB", " 0", "0 ", "é", "00ab5f01234567890", "-1", "+1"] {
        assert_eq!(bad.parse::<HandlePrefix>(), Err(NotAHandlePrefix), "{bad}");
    }
}

#[test]
fn the_keys_of_the_audit_log_are_in_order_the_newest_first_and_no_sessions() {
    let at = |millis| Key::of_audit(Timestamp::from_millis(millis)).unwrap();
    let (older, newer) = (at(1_700_000_000_000), at(1_700_000_000_001));
    assert!(newer < older);
    for key in [older, newer, at(0)] {
        assert!(key.is_of_audit() && !key.is_of_session() && !key.is_of_user());
    }
    let user = ids().key_of_user("ada").unwrap();
    assert!(user.is_of_user() && !user.is_of_session() && !user.is_of_audit());
    assert!(Key::from_bytes([1; 32]).is_of_session());
    assert_ne!(at(0), at(0));
}
