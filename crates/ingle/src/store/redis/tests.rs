//! What can be told without a server: URLs, names, slots, and what a failure means.

use redis::Value;
use serde_json::json;

use super::{
    codec::{self, Entry},
    config::RedisConfig,
    connect::{self, server::Server},
    error::{self, Failure},
    mend,
    names::{Names, Partition},
    scripts::swap,
    write,
};
use crate::{
    clock::Timestamp,
    fuzz::{self, SECRET, fuzz, spoiled},
    id::Key,
    record::{Loaded, Op},
    store::{
        Applied, ErrorKind, OpenError, OpenErrorKind, Store as _, mark::Mark, open_lazily, page,
    },
};

fn parsed(url: &str) -> Result<RedisConfig, OpenError> {
    RedisConfig::parse(url)
}

#[test]
fn a_url_says_where_and_as_whom() {
    let config = parsed("redis://localhost").unwrap();
    assert_eq!(config, RedisConfig::new("localhost", 6379));
    for same in ["redis://localhost:6379/", " valkey://localhost\n"] {
        assert_eq!(parsed(same).unwrap(), config);
    }
    let config = parsed(
        "rediss://app:p%40ss%2f%F0%9F%94%A5:1@db.example:7000/3?prefix=shop:s&cacert=/etc/ca.pem",
    );
    let expected = RedisConfig {
        tls: true,
        cacert: Some("/etc/ca.pem".into()),
        user: Some("app".to_owned()),
        password: Some("p@ss/\u{1f525}:1".to_owned()),
        database: 3,
        prefix: "shop:s".to_owned(),
        ..RedisConfig::new("db.example", 7000)
    };
    assert_eq!(config.unwrap(), expected);
    let config = parsed("redis://:secret@[::1]:7000,[fe80::1],b:1").unwrap();
    assert_eq!((config.user.as_deref(), config.password.as_deref()), (None, Some("secret")));
    let servers = [("::1", 7000), ("fe80::1", 6379), ("b", 1)];
    assert_eq!(config.servers, servers.map(|(host, port)| (host.to_owned(), port)));
    let config = parsed("valkeys://h?cert=/c.pem&key=/k.pem&verify=none").unwrap();
    let expected = RedisConfig {
        tls: true,
        verify: false,
        cert: Some("/c.pem".into()),
        key: Some("/k.pem".into()),
        ..RedisConfig::new("h", 6379)
    };
    assert_eq!(config, expected);
}

#[test]
fn a_url_names_a_socket_as_other_clients_write_it() {
    let socket = || RedisConfig::unix("/run/redis/redis.sock");
    for url in [
        "redis+unix:///run/redis/redis.sock",
        "valkey+unix:///run/redis/redis.sock",
        "unix:///run/redis/redis.sock",
        "unix:/run/redis/redis.sock\n",
    ] {
        assert_eq!(parsed(url).unwrap(), socket(), "{url}");
    }
    let expected = RedisConfig {
        database: 2,
        user: Some("app".to_owned()),
        password: Some("p@ss".to_owned()),
        prefix: "shop".to_owned(),
        ..RedisConfig::unix("/run/a b.sock")
    };
    for url in [
        "redis+unix:///run/a%20b.sock?db=2&user=app&pass=p%40ss&prefix=shop",
        "unix://app:p%40ss@/run/a%20b.sock?db=2&prefix=shop",
    ] {
        assert_eq!(parsed(url).unwrap(), expected, "{url}");
    }
}

#[test]
fn an_apps_client_says_where_and_as_whom() {
    let of = |url: &str| RedisConfig::from_client(&redis::Client::open(url).unwrap()).unwrap();
    assert_eq!(of("redis://localhost"), RedisConfig::new("localhost", 6379));
    let expected = RedisConfig {
        database: 3,
        user: Some("app".to_owned()),
        password: Some("p@ss".to_owned()),
        ..RedisConfig::new("db.example", 7000)
    };
    assert_eq!(of("redis://app:p%40ss@db.example:7000/3"), expected);
    let expected = RedisConfig { database: 3, ..RedisConfig::unix("/run/redis.sock") };
    assert_eq!(of("redis+unix:///run/redis.sock?db=3"), expected);
    // Without a feature of the client that turns its TLS on, only an address can ask for it.
    let with_tls = |insecure| redis::ConnectionAddr::TcpTls {
        host: "h".to_owned(),
        port: 1,
        insecure,
        tls_params: None,
    };
    for insecure in [false, true] {
        let client = redis::Client::open(with_tls(insecure)).unwrap();
        let expected = RedisConfig { tls: true, verify: !insecure, ..RedisConfig::new("h", 1) };
        assert_eq!(RedisConfig::from_client(&client).unwrap(), expected);
    }
}

#[test]
fn a_wrong_url_is_told_in_one_line_without_its_password() {
    for url in [
        "redis:localhost",
        "redis:/localhost",
        "redis://",
        "redis:///1",
        "redis://:6379",
        "redis://a,,b",
        "redis://h:x",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:1:2",
        "redis://[::1",
        "redis://[::1]7",
        "redis://hunter2@h",
        "redis://u:hunter2/x@h",
        "redis://u:hunter2%@h",
        "redis://u:hunter2%+1@h",
        "redis://u:hunter2%ff@h",
        "redis://u:hunter2#@h",
        "redis://u:hunter 2@h",
        "redis://h/one",
        "redis://h/-1",
        "redis://h/0/1",
        "redis://h?prefix",
        "redis://h?prefix=",
        "redis://h?prefix={a}",
        "redis://h?prefix=a*",
        "redis://h?prefix=a&prefix=b",
        "redis://h?timeout=1",
        "redis://h?cacert=/etc/ca.pem",
        "redis://h?verify=none",
        "rediss://h?verify=full",
        "rediss://h?verify=none&cacert=/etc/ca.pem",
        "rediss://h?cert=/etc/c.pem",
        "unix://",
        "unix:",
        "unix:redis.sock",
        "unix:///",
        "unix://h/redis.sock",
        "unix://hunter2@/redis.sock",
        "unix:///redis.sock?user=hunter2",
        "unix:///redis.sock?db=one",
        "unix:///redis.sock?cacert=/etc/ca.pem",
        "redis-socket:///redis.sock",
        "hunter2",
    ] {
        let error = parsed(url).expect_err(url);
        assert_eq!((error.store(), error.kind()), ("redis", OpenErrorKind::Config), "{url}");
        let error = error.to_string();
        assert!(error.starts_with("could not open the redis store: the URL "), "{url}: {error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{url}: {error}");
    }
}

#[test]
fn debug_shows_no_password() {
    let config = parsed("redis://app:hunter2@h").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn names_carry_their_partition_and_can_be_read_back() {
    let names = Names::new("ingle");
    let key = Key::from_bytes([0x7f; 32]);
    let name = names.record(&key);
    assert_eq!(name, format!("ingle:{{7f}}:{}", "7f".repeat(32)));
    assert_eq!(names.key(name.as_bytes()), Some(key));
    for wrong in ["", "ingle", "ingle:{7e}:", "ingle:user:{3c}:mary", "\u{e9}ngle:{7f}:"] {
        assert_eq!(names.key(format!("{wrong}{key}").as_bytes()), None, "{wrong}");
    }
    assert!(names.user("}x{").starts_with("ingle:user:{"));
}

/// What `CLUSTER KEYSLOT` says.
#[test]
fn a_partition_has_the_slot_that_redis_says() {
    for (partition, slot) in [(0x00, 13254), (0x7f, 4194), (0xff, 11756)] {
        assert_eq!(Partition(partition).slot(), slot, "{partition:02x}");
    }
}

#[test]
fn an_answer_to_several_is_each_ones_or_nobodys() {
    let found = || Value::BulkString(b"{}".to_vec());
    let answer = |parts: &[Value]| swap::answers(Value::Array(parts.to_vec()), 3);
    assert_eq!(swap::answers(Value::Int(1), 2), Some(vec![Value::Okay, Value::Okay]));
    let expected = vec![Value::Okay, Value::Okay, found()];
    assert_eq!(answer(&[Value::Int(3), found()]), Some(expected));
    let expected = vec![found(), Value::Nil, Value::Okay];
    assert_eq!(answer(&[Value::Int(2), Value::Nil, Value::Int(1), found()]), Some(expected));
    let refusal = redis::parse_redis_value(b"-OOM command not allowed\r\n").unwrap();
    assert_eq!(swap::answers(refusal.clone(), 2), Some(vec![refusal.clone(), refusal]));
    for nonsense in [
        &[Value::Int(0), found()] as &[_],
        &[Value::Int(4), found()],
        &[Value::Int(-1), found()],
        &[Value::Int(1)],
        &[Value::Int(1), found(), Value::Int(2)],
        &[Value::Nil, found()],
        &[found(), Value::Int(1)],
    ] {
        assert_eq!(answer(nonsense), None, "{nonsense:?}");
    }
    for nonsense in [Value::Okay, Value::Nil, Value::Int(0)] {
        assert_eq!(swap::answers(nonsense, 1), None);
    }
}

#[test]
fn a_server_has_the_native_command_from_its_version_on() {
    for (name, version, has) in [
        ("redis", "7.0.15", false),
        ("redis", "8.2.3", false),
        ("redis", "8.3.99", false),
        ("redis", "8.4.0", true),
        ("redis", "8.10.2", true),
        ("redis", "9.0.0", true),
        ("redis", "255.255.255", true),
        ("valkey", "7.2.5", false),
        ("valkey", "8.0.1", false),
        ("valkey", "8.1.0", true),
        ("valkey", "9.1.2", true),
        ("valkey", "8.1.0-rc1", true),
        ("valkey", "", false),
        ("valkey", "hunter2", false),
        ("another", "9.9.9", false),
    ] {
        assert_eq!(Server::new(name, version, false).has_ifeq(), has, "{name} {version}");
    }
}

const KEY: Key = Key::from_bytes([0x7f; 32]);

/// Reads what must be a record.
fn read(text: &[u8], key: &Key) -> Loaded {
    codec::entry(text, key).unwrap().record().unwrap()
}

#[test]
fn a_mark_is_read_and_a_damaged_one_is_told_without_what_it_holds() {
    let (to, until) = (KEY, Timestamp::from_millis(60_000));
    for mark in [Mark { moved_to: Some(to), until }, Mark { moved_to: None, until }] {
        let text = codec::mark_text(&mark);
        assert_eq!(codec::entry(&text, &KEY).unwrap(), Entry::Mark(mark));
    }
    assert_eq!(
        codec::mark_text(&Mark { moved_to: None, until }),
        br#"{"ended":true,"until":60000}"#
    );
    for damaged in [
        r#"{"ended":true}"#,
        r#"{"ended":true,"until":"hunter2"}"#,
        r#"{"ended":false,"until":60000}"#,
        r#"{"moved_to":"hunter2","until":60000}"#,
        r#"{"moved_to":null,"until":60000}"#,
    ] {
        let error = codec::entry(damaged.as_bytes(), &KEY).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// A record, as it stands in Redis.
fn whole() -> String {
    let handle = KEY.handle();
    format!(
        r#"{{"format":1,"idle_deadline":2,"absolute_deadline":3,"created":1,"idle_timeout":4,"user":"mary","login":{{"at":7,"generation":5}},"counter":6,"epoch":"00000000000000ff","handle":"{handle}","ops":"AAAAAAAAAAIAAAAAAAAAAQ","data":{{"n":1}}}}"#
    )
}

#[test]
fn a_record_is_readable_json_whose_bytes_are_known() {
    let text = whole();
    let read = read(text.as_bytes(), &KEY).record;
    assert_eq!(read.header.created, Timestamp::from_millis(1));
    assert_eq!(read.header.idle_deadline, Timestamp::from_millis(2));
    assert_eq!(read.header.counter, 6);
    assert_eq!(read.header.ops.newest().map(Op::to_bits), Some(2));
    assert_eq!(read.header.ops.iter().count(), 2);
    assert_eq!(read.header.user.as_ref().map(|user| user.name.as_str()), Some("mary"));
    assert_eq!(json!(read.data), json!({ "n": 1 }));
    assert_eq!(String::from_utf8(codec::text(&read).unwrap()).unwrap(), text);
}

/// A person's tool may sort the fields, put them on lines of their own, and add some.
#[test]
fn a_record_that_a_person_wrote_is_the_same_under_another_version() {
    let fields: serde_json::Value = serde_json::from_str(&whole()).unwrap();
    let mut sorted: std::collections::BTreeMap<&str, &serde_json::Value> =
        fields.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value)).collect();
    let note = json!("mended");
    sorted.insert("note", &note);
    let text = serde_json::to_vec_pretty(&sorted).unwrap();
    let (edited, ours) = (read(&text, &KEY), read(whole().as_bytes(), &KEY));
    assert_eq!(edited.record, ours.record);
    assert_ne!(edited.version, ours.version);
    let mended = whole().replace(r#","login":{"at":7,"generation":5}"#, "");
    assert_eq!(read(mended.as_bytes(), &KEY).record.header.user.as_ref().unwrap().generation, 0);
}

#[test]
fn a_damaged_record_is_told_without_what_it_holds() {
    for (right, wrong) in [
        (r#""format":1"#, r#""format":0"#),
        (r#""format":1"#, r#""format":2"#),
        (r#""format":1"#, r#""format":70000"#),
        (r#""format":1"#, r#""format":"hunter2""#),
        (r#""created":1"#, r#""created":-1"#),
        (r#""absolute_deadline":3"#, r#""absolute_deadline":1e5"#),
        (r#""idle_timeout":4"#, r#""idle_timeout":"""#),
        (r#""generation":5"#, r#""generation":-5"#),
        (r#""user":"mary""#, r#""user":["hunter2"]"#),
        (r#""counter":6"#, r#""counter":1.5"#),
        ("00000000000000ff", "hunter2"),
        ("AAAAAAAAAAIAAAAAAAAAAQ", "hunter2!"),
        // Base64, but of six bytes.
        ("AAAAAAAAAAIAAAAAAAAAAQ", "hunter2A"),
        ("7f7f", "hunter2"),
        (r#"{"n":1}"#, r#""hunter2""#),
        (r#"{"n":1}"#, r#"["hunter2"]"#),
        (r#"{"n":1}"#, "{hunter2}"),
        (r#"{"n":1}}"#, r#"{"hunter2":1}"#),
        (r#"{"n":1}}"#, r#"{"hunter2":1}}}"#),
    ] {
        let text = whole().replacen(right, wrong, 1);
        assert_ne!(text, whole(), "{right}");
        let error = codec::entry(text.as_bytes(), &KEY).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let fields: serde_json::Value = serde_json::from_str(&whole()).unwrap();
    for (name, _) in fields.as_object().unwrap() {
        let mut fields = fields.clone();
        fields.as_object_mut().unwrap().remove(name);
        let found = codec::entry(fields.to_string().as_bytes(), &KEY);
        let optional = ["idle_timeout", "user", "login"].contains(&name.as_str());
        assert_eq!(found.is_ok(), optional, "{name}");
        if let Err(error) = found {
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }
    for nothing in ["", "{}", "null", "[]", "7", "\"\"", "\u{feff}{}"] {
        codec::entry(nothing.as_bytes(), &KEY).unwrap_err();
    }
    assert_eq!(codec::read(Value::Nil, &KEY).unwrap(), None);
    codec::read(Value::Okay, &KEY).unwrap_err();
}

#[test]
fn only_what_is_proof_says_that_nothing_happened() {
    let refused = |error: &str| {
        let Value::ServerError(refusal) = redis::parse_redis_value(error.as_bytes()).unwrap()
        else {
            unreachable!()
        };
        Failure::Refused(refusal).into_error("ingle")
    };
    for (error, kind, happened) in [
        ("-OOM command not allowed\r\n", ErrorKind::Refused, Applied::No),
        ("-NOPERM no permissions\r\n", ErrorKind::Refused, Applied::No),
        ("-READONLY You can't write\r\n", ErrorKind::Unavailable, Applied::No),
        ("-MISCONF Redis is configured\r\n", ErrorKind::Unavailable, Applied::No),
        ("-NOREPLICAS Not enough\r\n", ErrorKind::Unavailable, Applied::No),
        ("-LOADING Redis is loading\r\n", ErrorKind::Unavailable, Applied::No),
        ("-BUSY Redis is busy\r\n", ErrorKind::Unavailable, Applied::No),
        ("-TRYAGAIN Multiple keys\r\n", ErrorKind::Contended, Applied::No),
        ("-WRONGTYPE Operation against\r\n", ErrorKind::Corrupt, Applied::No),
        ("-ERR syntax error\r\n", ErrorKind::Unavailable, Applied::No),
        ("-ERR whatever\r\n", ErrorKind::Refused, Applied::Unknown),
        ("-SOMETHING new\r\n", ErrorKind::Refused, Applied::Unknown),
    ] {
        let told = refused(error);
        assert_eq!((told.kind(), told.applied()), (kind, happened), "{error}");
    }
    let told = refused("-NOPERM the key ingle:{7f}:7f7f may not be used\r\n").cause();
    assert!(!told.contains("7f7f"), "{told}");
    let lost = Failure::Lost(String::new()).into_error("ingle");
    assert_eq!((lost.kind(), lost.applied()), (ErrorKind::Unavailable, Applied::Unknown));
    for (cause, kind) in [
        (error::silent("h:1"), ErrorKind::Unavailable),
        (error::replica("h:1", None), ErrorKind::Unavailable),
        (error::not_covered("h:1"), ErrorKind::Unavailable),
        (error::wrong_password("h:1"), ErrorKind::Refused),
        (error::too_old("h:1", "redis 6.2.0"), ErrorKind::Refused),
    ] {
        let told = Failure::NotSent(cause.clone()).into_error("ingle");
        assert_eq!((told.kind(), told.applied()), (kind, Applied::No), "{cause}");
    }
}

#[test]
fn fuzz_the_text_of_a_record() {
    let words = [
        "moved_to",
        "ended",
        "until",
        "18446744073709551616",
        "-1",
        "0",
        "{}",
        "[]",
        "1e400",
        "\0",
        " ",
        "z",
        "\u{feff}",
        ",\"data\":{",
    ];
    fuzz("a record of Redis", |u| {
        let record = fuzz::record(u)?;
        let text = codec::text(&record).unwrap();
        let loaded = read(&text, &record.header.key);
        assert_eq!(*loaded.record, record);
        assert_eq!(codec::text(&loaded.record).unwrap(), text, "the same record, the same bytes");
        let text = spoiled(u, &[&text], &words)?;
        match codec::entry(&text, &record.header.key) {
            Ok(Entry::Record(found)) => {
                let text = codec::text(&found.record).unwrap();
                assert_eq!(read(&text, &found.record.header.key).record, found.record);
            }
            Ok(Entry::Mark(_)) => {}
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}

#[test]
fn fuzz_urls_of_redis() {
    let valid = [
        &format!("redis://app:{SECRET}@db.example:7000/3?prefix=shop:s"),
        &format!("rediss://:{SECRET}@[::1],b:1/0?cacert=/etc/ca.pem&prefix=a"),
        &format!("redis+unix://app:{SECRET}@/run/redis.sock?db=1&prefix=a"),
        &format!("unix:/run/redis.sock?pass={SECRET}"),
    ];
    let words = ["@", ":", "/", "?", "#", "%", "%zz", "[", "]", ",", "&", "=", "65536", "\0", "é"];
    fuzz("URLs of Redis", |u| {
        let url = fuzz::spoiled_text(u, &valid.map(String::as_str), &words)?;
        match parsed(&url) {
            // What became a host or a prefix is no password any more.
            Ok(config) if config.password.as_deref() == Some(SECRET) => {
                assert!(!format!("{config:?}").contains(SECRET), "{url}");
            }
            Ok(_) => {}
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}

/// A login may be the first that a process does, and draws its new id before the store is open.
#[tokio::test]
async fn a_store_that_is_not_open_yet_says_which_keys_a_session_can_move_to() {
    let store = open_lazily("redis://localhost:1").await.unwrap();
    let key = |first: u8, last: u8| {
        let mut bytes = [last; 32];
        bytes[0] = first;
        Key::from_bytes(bytes)
    };
    assert!(store.can_renew(&key(7, 1), &key(7, 2)));
    assert!(!store.can_renew(&key(7, 1), &key(8, 1)));
}

#[test]
fn the_page_says_the_bounds_of_the_code() {
    let own = [
        ("calls that wait for answers, on one connection", connect::CALLS_WAITING.to_string()),
        ("calls in one write", format!("{} to {}", connect::BATCH.start(), connect::BATCH.end())),
        ("one call", page::time(connect::CALL_TIME_MAX)),
        ("silence on a connection on which calls wait", page::time(connect::SILENCE_MAX)),
        ("each step of making a connection", page::time(connect::STEP_TIME_MAX)),
        ("the pause after a connection could not be made", page::time(connect::PAUSE)),
        ("looks of one write at a record that others change", write::LOOKS_MAX.to_string()),
        ("times that a cluster sends one command on", connect::HOPS_MAX.to_string()),
        (
            "the wait for a server that is asked where a cluster's records are",
            page::time(connect::ASK_TIME_MAX),
        ),
        (
            "scans to mend a user's set that somebody keeps changing by hand",
            mend::LOOKS_MAX.to_string(),
        ),
    ];
    page::check(include_str!("../../../docs/redis.md"), &own);
}
