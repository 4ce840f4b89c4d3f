//! What can be told without a server: lifetimes, addresses, claims, answers, and items.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::json;

use super::{
    codec::{Item, Left, exptime},
    config::{MemcachedConfig, claim},
    connect,
    error::{Failure, Unreadable},
    find,
    wire::{self, Command, Fault},
};
use crate::{
    clock::Timestamp,
    fuzz::{self, fuzz, spoiled},
    id::Key,
    record::{Epoch, FORMAT, Header, Op, Record},
    store::{Applied, ErrorKind, OpenErrorKind, page},
};

const NOW: u64 = 1_800_000_000;
const MONTH: u64 = 30 * 24 * 3600;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000)
}

fn record(key: Key) -> Record {
    let mut header = Header::foreign(key, now(), Epoch::from_bits(7));
    header.counter = u64::from(u32::MAX);
    header.ops.push(Op::from_bits(u64::MAX));
    let data = json!({ "n": 1, "double": 1.0, "text": "a\r\nEND\r\n", "min": i64::MIN });
    Record { header, data: data.as_object().unwrap().clone() }
}

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

fn lifetime(seconds: u64) -> u32 {
    let mut header = record(key(1)).header;
    header.idle_deadline = now().after(Duration::from_secs(seconds));
    exptime(&header, now(), NOW + 17)
}

#[test]
fn a_lifetime_is_behind_the_deadline_and_never_a_trap() {
    // What is dead already may stand for the slack, and neither for ever nor for no time.
    assert_eq!(lifetime(0), 301);
    assert_eq!(lifetime(1800), 2101);
    // The last one that memcached takes as seconds from now, and the first that it takes as a date.
    assert_eq!(lifetime(MONTH - 301), u32::try_from(MONTH).unwrap());
    assert_eq!(lifetime(MONTH - 300), u32::try_from(NOW + 17 + MONTH - 300 + 86_400).unwrap());
    // Beyond the year 2038 it is for ever.
    let last = i32::MAX as u64 - NOW - 17 - 86_400;
    assert_eq!(lifetime(last), i32::MAX.cast_unsigned());
    assert_eq!(lifetime(last + 1), 0);
    assert_eq!(lifetime(u64::MAX / 1000), 0);
}

#[test]
fn a_lifetime_ends_with_the_earlier_deadline_and_follows_the_servers_clock() {
    let mut header = record(key(1)).header;
    header.absolute_deadline = now().after(Duration::from_secs(60));
    assert_eq!(exptime(&header, now(), 0), 361, "no date is needed, so no server's clock counts");
    header.absolute_deadline = now().after(Duration::from_secs(2 * MONTH));
    for server_now in [NOW - 10_000_000, NOW, NOW + 10_000_000] {
        let date = u64::from(exptime(&header, now(), server_now));
        assert_eq!(date - server_now, 2 * MONTH + 86_400);
    }
    // An app whose clock is decades wrong, and right as to how long a session lives.
    let wrong = Timestamp::from_millis(5000);
    header.absolute_deadline = wrong.after(Duration::from_secs(60));
    assert_eq!(exptime(&header, wrong, NOW), 361);
}

proptest! {
    #[test]
    fn no_lifetime_ends_before_the_deadline(left in 0u64..400_000_000_000, server in 1_000_000_000u64..4_000_000_000) {
        let mut header = record(key(1)).header;
        header.idle_deadline = now().after(Duration::from_millis(left));
        let exptime = u64::from(exptime(&header, now(), server));
        let lives_to = match exptime {
            0 => u64::MAX,
            relative @ 1..=MONTH => server + relative,
            date => date,
        };
        let deadline = header.idle_deadline.since(now()).as_secs();
        prop_assert!(lives_to >= server.saturating_add(deadline).saturating_add(300));
        prop_assert!(exptime == 0 || lives_to <= server + deadline + 90_000);
    }

    #[test]
    fn no_answer_makes_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = wire::parse(&line);
    }

    #[test]
    fn no_item_makes_the_reader_panic(text in ".{0,200}") {
        let _ = Item::read(text.as_bytes(), &key(1));
    }
}

fn servers(rest: &str) -> Vec<String> {
    let config = MemcachedConfig::parse(&format!("memcached:{rest}")).unwrap();
    config.addresses().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn a_url_names_servers() {
    assert_eq!(servers("//localhost"), ["localhost:11211"]);
    assert_eq!(servers("//localhost \r\n"), ["localhost:11211"], "as mounted secrets end");
    assert_eq!(servers("//Cache-1.internal:1/"), ["cache-1.internal:1"]);
    assert_eq!(servers("//a,b:2,10.0.0.1:3"), ["a:11211", "b:2", "10.0.0.1:3"]);
    assert_eq!(servers("//[::1]:7,[2001:DB8::2]"), ["[::1]:7", "[2001:db8::2]:11211"]);
    let config = MemcachedConfig::parse("memcached://a?prefix=shop-1.x").unwrap();
    assert_eq!(config.prefix, "shop-1.x");
    assert_eq!(MemcachedConfig::parse("memcached://a").unwrap().prefix, "ingle");
}

#[test]
fn a_wrong_url_is_told_in_one_line() {
    for (url, expected) in [
        ("", "takes memcached://HOST"),
        ("localhost", "takes memcached://HOST"),
        ("redis://localhost", "takes memcached://HOST"),
        ("memcached:", "takes memcached://HOST"),
        ("memcached:localhost", "takes memcached://HOST"),
        ("memcached://", "takes memcached://HOST"),
        ("memcached://a,,b", "takes memcached://HOST"),
        ("memcached://a,", "takes memcached://HOST"),
        ("memcached://a:x", "is not a number from 1 to 65535"),
        ("memcached://a:", "is not a number from 1 to 65535"),
        ("memcached://a:0", "is not a number from 1 to 65535"),
        ("memcached://a:65536", "is not a number from 1 to 65535"),
        ("memcached://a:+1", "is not a number from 1 to 65535"),
        ("memcached://:11211", "takes memcached://HOST"),
        ("memcached://a b", "takes memcached://HOST"),
        ("memcached://a%20b", "names a host with"),
        ("memcached://a;b", "names a host with"),
        ("memcached://::1", "write an IPv6 address between"),
        ("memcached://::1:11211", "write an IPv6 address between"),
        ("memcached://[::1", "an IPv6 address stands between"),
        ("memcached://[nothing]", "an IPv6 address stands between"),
        ("memcached://[::1]x", "an IPv6 address stands between"),
        ("memcached://a,a:11211", "names a server twice"),
        ("memcached://A,a", "names a server twice"),
        ("memcached://mary:secret@a", "takes no user and no password"),
        ("memcached://:secret@a", "takes no user and no password"),
        ("memcached://a/0", "takes no path"),
        ("memcached://a?timeout=1", "has one option"),
        ("memcached://a?prefix=a&x=1", "has one option"),
        ("memcached://a?prefix=a&prefix=b", "has the option `prefix` twice"),
        ("memcached://a?prefx=a", "did you mean `prefix`?"),
        ("memcached://a?prefix=", "has a prefix of"),
        ("memcached://a?prefix=a%20b", "has a prefix of"),
        ("memcached://a?prefix=a b", "takes memcached://HOST"),
        ("memcached://a?prefix=a:b", "has a prefix of"),
    ] {
        let error = MemcachedConfig::parse(url).unwrap_err();
        assert_eq!((error.store(), error.kind()), ("memcached", OpenErrorKind::Config), "{url}");
        let error = error.to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains('\n') && !error.contains("secret"), "{url}: {error}");
    }
    let many: Vec<String> = (0..65).map(|n| format!("a{n}")).collect();
    assert!(MemcachedConfig::parse(&format!("memcached://{}", many.join(","))).is_err());
    let long = format!("memcached://a?prefix={}", "x".repeat(101));
    assert!(MemcachedConfig::parse(&long).is_err());
}

#[test]
fn servers_that_are_named_by_hand_are_read_as_those_of_a_url() {
    for (servers, expected) in [
        (["a:1", "b:x"], "is not a number from 1 to 65535"),
        (["a:1", "b:1?prefix=c"], "without options"),
        (["a:1", "b:1/0"], "takes no path"),
        (["a:1", "mary:secret@b"], "takes no user and no password"),
        (["a", "a:11211"], "names a server twice"),
    ] {
        let error = MemcachedConfig::new(servers).addresses().unwrap_err();
        assert!(error.contains(expected), "{servers:?}: {error}");
    }
    let mut config = MemcachedConfig::new(["a", "[::1]:2"]);
    let addresses: Vec<_> = config.addresses().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["a:11211", "[::1]:2"]);
    config.prefix = "a b".to_owned();
    assert!(config.addresses().unwrap_err().contains("has a prefix of"));
}

#[test]
fn a_server_that_is_added_takes_its_share_and_nothing_else_moves() {
    let keys: Vec<Key> = (0..20_000u32)
        .map(|n| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Key::from_bytes(bytes)
        })
        .collect();
    let of = |names: &[&'static str], key: &Key| {
        *names.iter().max_by_key(|name| claim(name, key)).unwrap()
    };
    let (three, four) = (["a:1", "b:1", "c:1"], ["d:1", "c:1", "a:1", "b:1"]);
    let moved: Vec<_> = keys.iter().filter(|key| of(&three, key) != of(&four, key)).collect();
    assert!(moved.iter().all(|key| of(&four, key) == "d:1"), "only to the one that was added");
    assert!((4500..5500).contains(&moved.len()), "a fourth of the keys, not {}", moved.len());
    for name in three {
        let share = keys.iter().filter(|key| of(&three, key) == name).count();
        assert!((6200..7150).contains(&share), "a third of the keys is on each, not {share}");
    }
}

#[test]
fn a_question_is_one_line_and_a_value() {
    let add = Command::Add { value: b"x\r\ny", exptime: 60 };
    assert_eq!(add.encode("ingle:k", 9), b"ms ingle:k 4 ME c T60 O9\r\nx\r\ny\r\n");
    let cas = Command::Cas { value: b"", exptime: 0, token: u64::MAX };
    assert_eq!(cas.encode("k", 1), b"ms k 0 C18446744073709551615 c T0 O1\r\n\r\n");
    assert_eq!(Command::Get.encode("k", 2), b"mg k v c O2\r\n");
    assert_eq!(Command::Delete { token: 5 }.encode("k", 3), b"md k C5 O3\r\n");
}

#[test]
fn only_an_answer_is_an_answer() {
    for garbled in [
        "",
        "OK",
        "VA",
        "VA x c1 O1",
        "VA -1 c1 O1",
        "VA 99999999999999999999999 c1",
        "HD c1 Ox",
        "HD c-1 O1",
        "HD cO1",
        "STORED",
        "VALUE k 0 1",
        "hd c1 O1",
        "HTTP/1.1 400 Bad Request",
        "-ERR unknown command",
    ] {
        let parsed = wire::parse(garbled.as_bytes());
        assert!(matches!(parsed, Err(Fault::Garbled)), "{garbled}: {parsed:?}");
    }
    let head = wire::parse(b"VA 12 c7 O1").unwrap();
    assert_eq!(head.size, Some(12));
    assert!(matches!(wire::parse(b"ERROR"), Err(Fault::Said(said)) if said == "ERROR"));
}

#[test]
fn an_error_line_says_whether_the_write_was_made() {
    for (line, kind, applied) in [
        ("SERVER_ERROR object too large for cache", ErrorKind::TooLarge, Applied::No),
        ("SERVER_ERROR out of memory storing object", ErrorKind::Unavailable, Applied::No),
        ("SERVER_ERROR backend failure", ErrorKind::Unavailable, Applied::Unknown),
        ("ERROR Too many open connections", ErrorKind::Unavailable, Applied::No),
        ("CLIENT_ERROR unauthenticated", ErrorKind::Refused, Applied::No),
        ("CLIENT_ERROR bad command line format", ErrorKind::Refused, Applied::No),
        ("ERROR", ErrorKind::Refused, Applied::No),
    ] {
        let failure = Failure::of(wire::parse(line.as_bytes()).unwrap_err(), "a:1");
        assert_eq!((failure.kind, failure.applied), (kind, applied), "{line}");
    }
    for fault in [Fault::Lost, Fault::Garbled] {
        let failure = Failure::of(fault, "a:1");
        assert_eq!((failure.kind, failure.applied), (ErrorKind::Unavailable, Applied::Unknown));
    }
}

#[test]
fn an_item_comes_back_as_it_was_and_can_be_read() {
    let (here, from) = (record(key(1)), key(2));
    let bytes = Item::here(&here).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.starts_with(r#"{"header":{"format":1,"#), "{text}");
    assert!(
        text.contains(r#""data":{"n":1,"double":1.0,"text":"a\r\nEND\r\n""#)
            || text.contains(r#""n":1"#),
        "{text}"
    );
    assert_eq!(Item::read(&bytes, &key(1)).unwrap(), Item::Here(Arc::new(here.clone())));
    let arriving = Item::arriving(&here, &from).unwrap();
    let expected = Item::Arriving { from, record: Arc::new(here) };
    assert_eq!(Item::read(&arriving, &key(1)).unwrap(), expected);
    let left = Left { to: key(3), op: Op::from_bits(5), arrived: 7, until: now() };
    let bytes = Item::left(&left).unwrap();
    assert_eq!(Item::read(&bytes, &key(1)).unwrap(), Item::Left(left));
    let ended = Item::ended(now()).unwrap();
    assert_eq!(ended, format!(r#"{{"ended":true,"until":{NOW}000}}"#).into_bytes());
    assert_eq!(Item::read(&ended, &key(1)).unwrap(), Item::Ended { until: now() });
}

#[test]
fn what_is_no_session_is_not_read_and_not_quoted() {
    let mut newer = record(key(1));
    newer.header.format = FORMAT + 1;
    let other = Item::here(&record(key(2))).unwrap();
    for value in [
        b"".as_slice(),
        b"hunter2",
        b"{}",
        b"null",
        br#"{"header":"hunter2","data":{}}"#,
        br#"{"left_for":"hunter2"}"#,
        br#"{"ended":"hunter2","until":1}"#,
        br#"{"ended":true}"#,
        &Item::here(&newer).unwrap(),
        &other,
        &other[..other.len() - 1],
    ] {
        let error = Item::read(value, &key(1)).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(matches!(Item::read(&other, &key(1)), Err(Unreadable::OtherKey)));
}

#[test]
fn fuzz_an_item() {
    let words = [
        "18446744073709551616",
        "-1",
        "null",
        "{}",
        "[",
        "1e400",
        "\0",
        "\\ud800",
        "\"left_for\":",
        "\"ended\":true,",
        "\"until\":",
        "\"arriving_from\":",
        "\"header\":null,",
        "\u{feff}",
        "é",
    ];
    fuzz("an item of memcached", |u| {
        let record = fuzz::record(u)?;
        let own = record.header.key;
        let here = Item::here(&record).unwrap();
        assert_eq!(Item::read(&here, &own).unwrap(), Item::Here(Arc::new(record.clone())));
        let arriving = Item::arriving(&record, &key(1)).unwrap();
        let (op, arrived) = (Op::from_bits(u.arbitrary()?), u.arbitrary()?);
        let left = Item::left(&Left { to: own, op, arrived, until: now() }).unwrap();
        let ended = Item::ended(now()).unwrap();
        match Item::read(&spoiled(u, &[&here, &arriving, &left, &ended], &words)?, &own) {
            Ok(Item::Here(read)) => {
                assert_eq!(read.header.key, own);
                let again = Item::here(&read).unwrap();
                assert_eq!(Item::read(&again, &own).unwrap(), Item::Here(read));
            }
            Ok(Item::Arriving { record, .. }) => assert_eq!(record.header.key, own),
            Ok(Item::Left(_) | Item::Ended { .. }) => {}
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}

#[test]
fn fuzz_the_lines_of_memcached() {
    let valid: [&[u8]; 6] =
        [b"HD c123 O7", b"VA 12 c9 O8", b"EN", b"NS O1", b"SERVER_ERROR out of memory", b"EX O2"];
    let words = ["18446744073709551616", "-1", "+1", " ", "c", "O", "VA", "\0", "\r", "é", "ERROR"];
    fuzz("lines of memcached", |u| {
        let line = spoiled(u, &valid, &words)?;
        match wire::parse(&line) {
            Ok(_) | Err(Fault::Garbled | Fault::Lost) => {}
            Err(Fault::Said(said)) => {
                assert!(said.len() <= 80 && !said.contains(char::is_control), "{said:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn fuzz_urls_of_memcached() {
    let valid = [
        "memcached://10.0.0.1,[::1]:11212,cache.example?prefix=shop",
        "memcached://h:1",
        "memcached:///run/m.sock",
    ];
    let words = ["@", ":", "/", "?", "%", "[", "]", ",", "&", "=", "65536", "\0", "é", "prefix="];
    fuzz("URLs of memcached", |u| {
        let url = fuzz::spoiled_text(u, &valid, &words)?;
        match MemcachedConfig::parse(&url) {
            // What was read can be read again, as an app's own configuration.
            Ok(config) => assert!(config.addresses().is_ok(), "{url:?}"),
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{url:?}"),
        }
        Ok(())
    });
}

#[test]
fn the_page_says_the_bounds_of_the_code() {
    let own = [
        ("connections of one process to one server", connect::CONNECTIONS_MAX.to_string()),
        ("one call, the wait for a connection included", page::time(connect::CALL_TIME)),
        ("a connection", page::time(connect::CONNECT_TIME)),
        ("looks of one call at an item that others change", find::LOOKS_MAX.to_string()),
    ];
    page::check(include_str!("../../../docs/memcached.md"), &own);
}
