use proptest::prelude::*;

use std::time::Duration;

use super::*;
use crate::{
    fuzz::{fuzz, spoiled},
    id::{HashedIds, SessionId},
};

const ID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str = "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn look_up(headers: &[impl AsRef<[u8]>]) -> Presented {
    let (cookie, mut found) = (Cookie::default(), Presented::default());
    let ids = HashedIds::new("");
    headers.iter().for_each(|header| cookie.scan(header.as_ref(), &ids, &mut found));
    found
}

/// The ids that are found.
fn ids_of(headers: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let Presented { first, others, .. } = look_up(headers);
    first.iter().chain(&others).map(|id| id.as_str().as_bytes().to_vec()).collect()
}

/// `id`, `nothing` or `several`.
fn read(headers: &[&[u8]]) -> &'static str {
    match ids_of(headers).as_slice() {
        [] => "nothing",
        [id] => {
            assert_eq!(id, ID.as_bytes());
            "id"
        }
        [..] => "several",
    }
}

fn is_id(value: &[u8]) -> bool {
    HashedIds::new("").decode(value).is_some()
}

fn id() -> SessionId {
    HashedIds::new("").decode(ID.as_bytes()).unwrap()
}

#[test]
fn only_our_name_and_an_id_s_own_spelling_count() {
    let cases: &[(&str, &str)] = &[
        ("", "nothing"),
        (";;; ;", "nothing"),
        ("__Host-id=", "nothing"),
        ("__Host-id", "nothing"),
        ("=__Host-id=V", "nothing"),
        ("__host-id=V", "nothing"),
        ("__HOST-ID=V", "nothing"),
        ("%5F%5FHost-id=V", "nothing"),
        ("__%48ost-id=V", "nothing"),
        ("\u{2000}__Host-id=V", "nothing"),
        ("\u{a0}__Host-id=V", "nothing"),
        ("\u{3000}__Host-id=V", "nothing"),
        ("\u{feff}__Host-id=V", "nothing"),
        ("__Host-id\u{2000}=V", "nothing"),
        ("\u{85}__Host-id=V", "nothing"),
        ("__Host-id=V", "id"),
        (" \t__Host-id\t = \tV \t", "id"),
        ("__Host-id=V; __Host-id=V", "id"),
        ("__Host-id=V; __Host-id=W", "several"),
        ("__Host-id=V; __Host-id=", "id"),
        ("__Host-id=; __Host-id=V", "id"),
        ("__Host-id=5; __Host-id=V; __Host-id=V=", "id"),
        ("x=é世界; __Host-id=V", "id"),
        ("x=\"a;b\"; __Host-id=V", "id"),
        ("__Host-id=\"V\"", "nothing"),
        ("__Host-id=V=", "nothing"),
        ("__Host-id=V,", "nothing"),
        ("$Version=1; __Host-id=V", "id"),
        ("$Path=/; x__Host-id=V", "nothing"),
        ("__Host-id2=V; a__Host-id=V", "nothing"),
        ("a=1;b=2;__Host-id=V;c=3", "id"),
    ];
    for (header, expected) in cases {
        let header = header.replace("=V", &format!("={ID}")).replace("=W", &format!("={OTHER}"));
        let header =
            header.replace("\tV", &format!("\t{ID}")).replace("\"V\"", &format!("\"{ID}\""));
        assert_eq!(read(&[header.as_bytes()]), *expected, "{header:?}");
    }
}

#[test]
fn many_headers_are_one() {
    let ours = format!("__Host-id={ID}");
    let other = format!("__Host-id={OTHER}");
    let (ours, other) = (ours.as_bytes(), other.as_bytes());
    assert_eq!(read(&[b"a=1", ours, b"b=2"]), "id");
    assert_eq!(read(&[ours, ours]), "id");
    assert_eq!(read(&[ours, other]), "several");
    assert_eq!(read(&[&[b"x".as_slice(), &[b'y'; 15_000]].concat(), ours]), "id");
    assert_eq!(read(&[&[b"__Host-id=".as_slice(), &[b'A'; 8192]].concat()]), "nothing");
}

/// The same in the plainest words, to compare with.
fn slow_read(header: &[u8]) -> Vec<Vec<u8>> {
    let text: Vec<char> = header.iter().map(|byte| char::from(*byte)).collect();
    let text: String = text.into_iter().collect();
    let mut values: Vec<String> = Vec::new();
    for pair in text.split(';') {
        if let Some((name, value)) = pair.split_once('=') {
            let space = [' ', '\t'];
            if name.trim_matches(space) == "__Host-id" {
                values.push(value.trim_matches(space).to_owned());
            }
        }
    }
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for value in values {
        let value: Vec<u8> = value.chars().map(|character| character as u8).collect();
        if is_id(&value) && !ids.contains(&value) {
            ids.push(value);
        }
    }
    ids
}

proptest! {
    #[test]
    fn the_parser_agrees_with_a_slow_one(
        parts in prop::collection::vec(
            prop_oneof![
                Just(format!("__Host-id={ID}").into_bytes()),
                Just(format!("__Host-id={OTHER}").into_bytes()),
                Just(b"__Host-id".to_vec()),
                Just(b";".to_vec()), Just(b"=".to_vec()), Just(b" ".to_vec()), Just(b"\t".to_vec()),
                prop::collection::vec(0x20u8..=0xff, 0..8),
            ],
            0..8,
        )
    ) {
        let header = parts.concat();
        let slow = slow_read(&header);
        prop_assert_eq!(ids_of(&[header]), slow);
    }
}

#[test]
fn fuzz_the_cookie_parser() {
    let pairs = [format!("__Host-id={ID}"), format!("__Host-id={OTHER}"), format!("a=b; c={ID}")];
    let many = format!("x=\"a;b\"; __Host-id={ID} ;\t__Host-id={ID}");
    let valid = [pairs[0].as_bytes(), pairs[1].as_bytes(), pairs[2].as_bytes(), many.as_bytes()];
    let words = ["__Host-id=", "__Host-id", ID, "; ", "=", "\t", "\u{2000}", "%5F", "\"", "\x0b"];
    fuzz("the cookie parser", |u| {
        let mut sent = Vec::new();
        for _ in 0..u.int_in_range(1..=3)? {
            sent.push(spoiled(u, &valid, &words)?);
        }
        let slow = slow_read(&sent.join(&b';'));
        assert_eq!(ids_of(&sent), slow, "{sent:?}");
        Ok(())
    });
}

#[test]
fn more_ids_than_are_looked_up_are_too_many() {
    let id = |n: usize| format!("__Host-id={n:02}{}", &ID[2..]);
    for (n, too_many) in [(1, false), (8, false), (9, true), (1000, true)] {
        let sent: Vec<String> = (0..n).map(|n| id(n % 100)).collect();
        assert_eq!(look_up(&sent).too_many, too_many, "{n}");
    }
    assert!(!look_up(&vec![id(0); 1000]).too_many, "they are one");
}

fn written(cookie: &Cookie, pending: &PendingCookie) -> String {
    cookie.write(pending).unwrap_or_default()
}

fn begun(kept_for: Option<Duration>) -> PendingCookie {
    PendingCookie::Id { id: id(), kept_for }
}

const ENDED: PendingCookie = PendingCookie::Ended { by_logout: false };

#[test]
fn the_cookie_s_bytes() {
    let begun = begun(None);
    let default = Cookie::default();
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(written(&default, &begun), format!("__Host-id={ID}; {attributes}"));
    assert_eq!(written(&default, &ENDED), format!("__Host-id=; {attributes}; Max-Age=0"));
    assert_eq!(written(&default, &PendingCookie::Nothing), "");

    let kept = PendingCookie::Id { id: id(), kept_for: Some(Duration::from_secs(3600)) };
    let kept = written(&default, &kept);
    assert_eq!(kept, format!("__Host-id={ID}; {attributes}; Max-Age=3600"));

    let config = CookieConfig {
        name: "__Secure-s".into(),
        domain: Some("example.org".into()),
        path: "/app".into(),
        same_site: SameSite::Strict,
        ..CookieConfig::default()
    };
    let shared = Cookie::new(config).unwrap();
    let attributes = "Path=/app; Domain=example.org; Secure; HttpOnly; SameSite=Strict";
    assert_eq!(written(&shared, &ENDED), format!("__Secure-s=; {attributes}; Max-Age=0"));

    let embedded =
        CookieConfig { same_site: SameSite::None, partitioned: true, ..CookieConfig::default() };
    let embedded = Cookie::new(embedded).unwrap();
    let attributes = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned";
    assert_eq!(written(&embedded, &begun), format!("__Host-id={ID}; {attributes}"));
    assert_eq!(written(&embedded, &ENDED), format!("__Host-id=; {attributes}; Max-Age=0"));
}

#[test]
fn no_cookie_outlives_what_browsers_keep() {
    let cookie = Cookie::default();
    let value = cookie.write(&begun(Some(Duration::MAX))).unwrap();
    assert!(value.ends_with("; Max-Age=34560000"), "{value}");
    for (millis, seconds) in [(1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
        let value = cookie.write(&begun(Some(Duration::from_millis(millis)))).unwrap();
        assert!(value.ends_with(&format!("; Max-Age={seconds}")), "{millis}: {value}");
    }
}

#[test]
fn a_set_cookie_header_of_our_name_is_known() {
    for ours in ["__Host-id=forged", " __Host-id =forged; Path=/x", "__Host-id"] {
        assert!(sets(ours.as_bytes(), "__Host-id"), "{ours}");
    }
    for other in ["a=1", "__Host-id2=x", "__host-id=x", "a=__Host-id=1", ""] {
        assert!(!sets(other.as_bytes(), "__Host-id"), "{other}");
    }
}

#[test]
fn what_browsers_reject_cannot_be_made() {
    let default = CookieConfig::default;
    let named = |name: &str| CookieConfig { name: name.into(), ..default() };
    let cases = [
        (named(""), CookieError::Name),
        (named("a b"), CookieError::Name),
        (named("a;b"), CookieError::Name),
        (named("a=b"), CookieError::Name),
        (named("a\r\nb"), CookieError::Name),
        (named("é"), CookieError::Name),
        (named(&"a".repeat(65)), CookieError::Name),
        (CookieConfig { secure: false, ..default() }, CookieError::HostPrefix),
        (CookieConfig { path: "/app".into(), ..default() }, CookieError::HostPrefix),
        (CookieConfig { domain: Some("a.org".into()), ..default() }, CookieError::HostPrefix),
        (CookieConfig { secure: false, ..named("__HOST-x") }, CookieError::HostPrefix),
        (CookieConfig { secure: false, ..named("__secure-x") }, CookieError::SecurePrefix),
        (
            CookieConfig { same_site: SameSite::None, ..CookieConfig::development() },
            CookieError::SameSiteNone,
        ),
        (CookieConfig { partitioned: true, ..default() }, CookieError::Partitioned),
        (
            CookieConfig { partitioned: true, same_site: SameSite::Strict, ..default() },
            CookieError::Partitioned,
        ),
        (
            CookieConfig {
                partitioned: true,
                same_site: SameSite::None,
                ..CookieConfig::development()
            },
            CookieError::Partitioned,
        ),
        (CookieConfig { path: "app".into(), ..named("id") }, CookieError::Path),
        (CookieConfig { path: "/a;b".into(), ..named("id") }, CookieError::Path),
        (CookieConfig { path: "/\r\n".into(), ..named("id") }, CookieError::Path),
        (CookieConfig { domain: Some(String::new()), ..named("id") }, CookieError::Domain),
        (CookieConfig { domain: Some("a.org:80".into()), ..named("id") }, CookieError::Domain),
        (CookieConfig { domain: Some("a.org; x".into()), ..named("id") }, CookieError::Domain),
    ];
    for (config, expected) in cases {
        assert_eq!(Cookie::new(config.clone()), Err(expected), "{config:?}");
    }
    for config in [default(), CookieConfig::development(), named("__session")] {
        assert!(Cookie::new(config.clone()).is_ok(), "{config:?}");
    }
}
