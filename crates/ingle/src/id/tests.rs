use std::collections::HashSet;

use super::*;
use crate::fuzz::{fuzz, spoiled};

#[test]
fn an_id_survives_the_cookie() {
    let id = SessionId::random(Form::Safe).unwrap();
    let value = id.encode();
    assert_eq!(value.len(), ID_CHARS);
    assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    let read = SessionId::decode(Form::Safe, value.as_bytes()).unwrap();
    assert_eq!(read.encode(), value);
}

#[test]
fn each_other_spelling_is_refused() {
    let value = SessionId::Safe([0xa5; 32]).encode();
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
        assert!(SessionId::decode(Form::Safe, bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn no_two_spellings_are_one_id() {
    // The last character carries 4 bits of the id; the 2 bits behind them must be zero.
    let value = SessionId::Safe([0xff; 32]).encode();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let accepted = alphabet.iter().filter(|last| {
        let spelling = [&value.as_bytes()[..ID_CHARS - 1], &[**last]].concat();
        SessionId::decode(Form::Safe, &spelling).is_some()
    });
    assert_eq!(accepted.count(), 16);
}

#[test]
fn ids_are_random_at_every_position() {
    const N: usize = 100_000;
    let ids: HashSet<String> =
        (0..N).map(|_| SessionId::random(Form::Safe).unwrap().encode()).collect();
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
    let id = SessionId::Safe([1; 32]);
    let keys: HashSet<Key> = ["", "a", "b", "ab"].map(|name| id.key(&Namespace::new(name))).into();
    assert_eq!(keys.len(), 4);
    assert_eq!(id.key(&Namespace::new("a")), id.key(&Namespace::new("a")));
}

#[test]
fn a_key_reads_back_from_its_digits_alone() {
    let key = SessionId::Safe([7; 32]).key(&Namespace::new("x"));
    assert_eq!(key.to_string().parse::<Key>(), Ok(key));
    assert_eq!(key.to_string().to_uppercase().parse::<Key>(), Err(NotAKey));
    assert_eq!("é".repeat(32).parse::<Key>(), Err(NotAKey));
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
}

#[test]
fn nothing_prints_a_secret() {
    let id = SessionId::Safe([0x41; 32]);
    let log_key = LogKey::new(&[0x42; 32]);
    for text in [format!("{id:?}"), format!("{log_key:?}"), format!("{:?}", Namespace::new("shop"))]
    {
        assert!(
            !text.contains("41")
                && !text.contains("42")
                && !text.contains("65")
                && !text.contains("66"),
            "{text}"
        );
        assert!(!text.contains(&id.encode()));
    }
    assert_eq!(id.tag(&log_key).to_string().len(), 8);
    assert_ne!(id.tag(&log_key), id.tag(&LogKey::new(&[0x43; 32])));
}

#[test]
fn fuzz_ids_and_keys() {
    let safe = SessionId::Safe([0xa5; 32]);
    let (value, key) = (safe.encode(), safe.key(&Namespace::new("x")).to_string());
    let valid = [value.as_bytes(), key.as_bytes(), b"5e7bd1b0-7b9c-4f4e-9d3b-0a1b2c3d4e5f"];
    let words = ["=", "-", "A", "a", "%2F", "+", "é", "../", "\n", "' OR 1=1--", "${jndi:x}"];
    fuzz("ids and keys", |u| {
        let text = spoiled(u, &valid, &words)?;
        for form in [Form::Safe, Form::Plain] {
            if let Some(id) = SessionId::decode(form, &text) {
                assert_eq!(id.encode().as_bytes(), text, "another spelling of an id");
                assert_eq!(id.form(), form);
                assert!(!format!("{id:?}").contains(&id.encode()));
            }
        }
        let text = String::from_utf8_lossy(&text);
        if let Ok(key) = text.parse::<Key>() {
            assert_eq!(key.to_string(), text, "another spelling of a key");
        }
        Ok(())
    });
}
