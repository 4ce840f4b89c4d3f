use proptest::prelude::*;

use super::*;
use crate::fuzz::{fuzz, spoiled};

const ID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str = "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// `id`, `nothing` or `ambiguous`.
fn read(headers: &[&[u8]]) -> &'static str {
    let mut map = HeaderMap::new();
    for header in headers {
        // What HTTP itself refuses never gets this far.
        if let Ok(value) = HeaderValue::from_bytes(header) {
            map.append(COOKIE, value);
        }
    }
    match Cookie::default().read(Form::Safe, &map) {
        Presented::Id(id) => {
            assert_eq!(id.encode(), ID);
            "id"
        }
        Presented::Nothing => "nothing",
        Presented::Ambiguous => "ambiguous",
    }
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
        ("__Host-id=V; __Host-id=W", "ambiguous"),
        ("__Host-id=V; __Host-id=", "ambiguous"),
        ("__Host-id=; __Host-id=V", "ambiguous"),
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
    assert_eq!(read(&[ours, other]), "ambiguous");
    assert_eq!(read(&[&[b"x".as_slice(), &[b'y'; 15_000]].concat(), ours]), "id");
    assert_eq!(read(&[&[b"__Host-id=".as_slice(), &[b'A'; 8192]].concat()]), "nothing");
}

/// The same in the plainest words, to compare with.
fn slow_read(header: &[u8]) -> Option<Vec<u8>> {
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
    values.dedup();
    match values.as_slice() {
        [one] if one.len() == 43 => Some(one.bytes().collect()),
        _ => None,
    }
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
        let Ok(value) = HeaderValue::from_bytes(&header) else { return Ok(()) };
        let mut map = HeaderMap::new();
        map.append(COOKIE, value);
        let fast = match Cookie::default().read(Form::Safe, &map) {
            Presented::Id(id) => Some(id.encode().into_bytes()),
            Presented::Nothing | Presented::Ambiguous => None,
        };
        let slow = slow_read(&header).filter(|value| SessionId::decode(Form::Safe, value).is_some());
        prop_assert_eq!(fast, slow);
    }
}

#[test]
fn fuzz_the_cookie_parser() {
    let pairs = [format!("__Host-id={ID}"), format!("__Host-id={OTHER}"), format!("a=b; c={ID}")];
    let many = format!("x=\"a;b\"; __Host-id={ID} ;\t__Host-id={ID}");
    let valid = [pairs[0].as_bytes(), pairs[1].as_bytes(), pairs[2].as_bytes(), many.as_bytes()];
    let words = ["__Host-id=", "__Host-id", ID, "; ", "=", "\t", "\u{2000}", "%5F", "\"", "\x0b"];
    fuzz("the cookie parser", |u| {
        let mut map = HeaderMap::new();
        let mut sent = Vec::new();
        for _ in 0..u.int_in_range(1..=3)? {
            let header = spoiled(u, &valid, &words)?;
            // What HTTP itself refuses never gets this far.
            if let Ok(value) = HeaderValue::from_bytes(&header) {
                map.append(COOKIE, value);
                sent.push(header);
            }
        }
        let fast = match Cookie::default().read(Form::Safe, &map) {
            Presented::Id(id) => Some(id.encode().into_bytes()),
            Presented::Nothing | Presented::Ambiguous => None,
        };
        let slow = slow_read(&sent.join(&b';'));
        let slow = slow.filter(|value| SessionId::decode(Form::Safe, value).is_some());
        assert_eq!(fast, slow, "{sent:?}");
        Ok(())
    });
}

fn written(cookie: &Cookie, news: News<'_>) -> String {
    let mut headers = HeaderMap::new();
    cookie.write(news, Duration::from_secs(3600), &mut headers);
    headers.get(SET_COOKIE).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn the_cookie_s_bytes() {
    let id = SessionId::decode(Form::Safe, ID.as_bytes()).unwrap();
    let default = Cookie::default();
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(written(&default, News::Begun(&id)), format!("__Host-id={ID}; {attributes}"));
    assert_eq!(written(&default, News::Ended), format!("__Host-id=; {attributes}; Max-Age=0"));
    assert_eq!(written(&default, News::Nothing), "");

    let config = CookieConfig { persistent: true, ..CookieConfig::default() };
    let persistent = Cookie::new(config).unwrap();
    let begun = written(&persistent, News::Begun(&id));
    assert_eq!(begun, format!("__Host-id={ID}; {attributes}; Max-Age=3600"));

    let config = CookieConfig {
        name: "__Secure-s".into(),
        domain: Some("example.org".into()),
        path: "/app".into(),
        same_site: SameSite::Strict,
        ..CookieConfig::default()
    };
    let shared = Cookie::new(config).unwrap();
    let attributes = "Path=/app; Domain=example.org; Secure; HttpOnly; SameSite=Strict";
    assert_eq!(written(&shared, News::Ended), format!("__Secure-s=; {attributes}; Max-Age=0"));
}

#[test]
fn no_cookie_outlives_what_browsers_keep() {
    let config = CookieConfig { persistent: true, ..CookieConfig::default() };
    let cookie = Cookie::new(config).unwrap();
    let id = SessionId::decode(Form::Safe, ID.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    cookie.write(News::Begun(&id), Duration::MAX, &mut headers);
    let value = headers.get(SET_COOKIE).unwrap().to_str().unwrap();
    assert!(value.ends_with("; Max-Age=34560000"), "{value}");
}

#[test]
fn the_app_s_cookie_of_our_name_gives_way_and_others_stay() {
    let mut headers = HeaderMap::new();
    for other in ["a=1", "__Host-id=forged", "b=2", " __Host-id =forged; Path=/x"] {
        headers.append(SET_COOKIE, HeaderValue::from_static(other));
    }
    Cookie::default().write(News::Ended, Duration::ZERO, &mut headers);
    let all: Vec<&str> = headers.get_all(SET_COOKIE).iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all.iter().filter(|value| value.contains("__Host-id")).count(), 1, "{all:?}");
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
